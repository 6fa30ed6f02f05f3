"""Requests carried out on copies of their keys, to learn beforehand whether one of them would be refused.

For joint commands, of which the keys' part must not fail once it has begun. A copy has the revision and the deadline of
its key, and the trial the time and the randomness of the entry, so each request gets just the reply that it will get.
That takes commands which touch nothing but keys that they name; others are refused, and so is what takes long to copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from quorate.errors import CommandFailed
from quorate.kv.commands.inner import inner_write
from quorate.kv.commands.revisions import cas_options
from quorate.kv.discarded import Discarded
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS, NO_KEYS, Arguments
from quorate.kv.replies import NULL_ARRAY, CommandError, Reply
from quorate.kv.transactions import EXEC, FENCED, Transaction, checked_weight
from quorate.kv.values import Lease, Value, copy_of
from quorate.machine.contract import ApplyContext

REQUESTS_MAX = 1000
KEYS_MAX = 1000
BYTES_MAX = 1 << 20
"""So much the keys have at most, and so much their strings are copied in all, by the estimates for memory."""

WATCHED_CHANGED = "EXECABORT a watched key has changed"

CAS = b"QUORATE.CAS"
_TOUCHES_OTHERS = frozenset({b"SORT", b"SORT_RO", b"QUORATE.LEASE", b"QUORATE.LEASED"})
"""Which keys these touch is not said by their arguments alone."""

Answer = Callable[[Keyspace, Arguments, ApplyContext], Reply]

_decode_transaction = msgspec.msgpack.Decoder(Transaction).decode


class KeysRefused(CommandFailed):
    """The keys' part of a joint command was refused, and with it the whole.

    ``line`` is the error reply to the request of this number; those in transactions count one by one, from 0 on.
    """

    def __init__(self, number: int, line: str) -> None:
        super().__init__(number, line)
        self.number, self.line = number, line

    def __str__(self) -> str:
        return f"request {self.number} for the keys: {self.line}"


class WatchedChanged(KeysRefused):
    """A key that a transaction watches has another revision by now."""


class Trial:
    """Tries requests on copies; for one machine."""

    def __init__(self, answer: Answer) -> None:
        """``answer`` carries out one request, and returns the refusal if it is one."""
        self._answer = answer
        self._scratch: Keyspace | None = None
        """Without keys, between trials: to make one takes a millisecond."""

    def check(self, keyspace: Keyspace, requests: Sequence[list[bytes]], context: ApplyContext) -> None:
        """Raises :class:`KeysRefused` if one of them would be refused in ``keyspace``, which stays as it is."""
        named, watched, plain = _taken_apart(requests)
        rows = [*_copies(keyspace, named), *_stand_ins(keyspace, [key for key in watched if key not in named])]
        scratch = Keyspace() if self._scratch is None else self._scratch
        try:
            scratch.load(rows)
            scratch.revision, scratch.time_us = keyspace.revision, context.time_us
            scratch.random.seed(context.random_seed)
            _check_weight(scratch, plain)
            self._try(scratch, requests, context)
        finally:
            for key in (*named, *watched):
                if key in scratch.items:
                    del scratch.items[key]
            scratch.take_dirty()
            scratch.discarded = Discarded()
            self._scratch = scratch if not len(scratch) else None

    def _try(self, scratch: Keyspace, requests: Sequence[list[bytes]], context: ApplyContext) -> None:
        number = 0
        for request in requests:
            reply = self._answer(scratch, request, context)
            is_transaction = request[0] == EXEC
            if is_transaction and reply is NULL_ARRAY:
                raise WatchedChanged(number, WATCHED_CHANGED)
            for each in reply if is_transaction and isinstance(reply, list) else [reply]:
                if isinstance(each, CommandError):
                    raise KeysRefused(number, each.line)
                number += 1


def check_alone(requests: Sequence[list[bytes]]) -> None:
    """Raises :class:`KeysRefused` for what can be told without the data: such requests need not get into the log."""
    _taken_apart(requests)


def _taken_apart(
    requests: Sequence[list[bytes]],
) -> tuple[dict[bytes, None], dict[bytes, None], list[list[bytes]]]:
    """The keys that are named, those that are watched, and the requests without the transactions around them."""
    plain: list[list[bytes]] = []
    watched: dict[bytes, None] = {}
    for request in requests:
        if request and request[0] == EXEC:
            COMMANDS[EXEC].check_arguments(request)
            transaction = _decode_transaction(request[1])
            watched.update(dict.fromkeys(key for key, _ in transaction.watched))
            plain.extend(transaction.requests)
        else:
            plain.append(request)
    if len(plain) > REQUESTS_MAX:
        raise KeysRefused(REQUESTS_MAX, f"ERR a joint command has at most {REQUESTS_MAX} requests for the keys")
    named: dict[bytes, None] = {}
    for number, request in enumerate(plain):
        try:
            named.update(dict.fromkeys(_keys_of(request)))
        except CommandError as error:
            raise KeysRefused(number, error.line) from None
        if len(named) + len(watched) > KEYS_MAX:
            raise KeysRefused(number, f"ERR the requests of a joint command name at most {KEYS_MAX} keys")
    return named, watched, plain


def _keys_of(request: Arguments) -> list[bytes]:
    """All that a request can touch. Raises :class:`CommandError` if that cannot be told, or it is wrong by itself."""
    spec = COMMANDS.get(request[0]) if request else None
    if spec is None:
        raise CommandError("ERR unknown command")
    spec.check_arguments(request)
    if spec.name == FENCED:
        return [request[1], *_keys_of(inner_write(request, 3)[1])]
    touches_others = spec.name in _TOUCHES_OTHERS or (spec.name == CAS and cas_options(request).lease is not None)
    if spec.blocking or spec.keys == NO_KEYS or touches_others:
        raise CommandError(f"ERR {spec.name.decode()} like this can be no part of a joint command")
    return spec.keys.of(request)


def _copies(keyspace: Keyspace, keys: Iterable[bytes]) -> Iterator[tuple[bytes, Value, int, int]]:
    left = BYTES_MAX
    found = [(key, item) for key in keys if (item := keyspace.items.get(key)) is not None]
    for key, item in found:
        if type(item.value) is Lease:  # other keys end with it
            raise KeysRefused(0, f"ERR a joint command cannot touch a lease, which '{key.decode(errors='replace')}' is")
        left -= item.size
    if left < 0:
        raise KeysRefused(
            0, f"ERR the keys of a joint command take at most {BYTES_MAX} bytes, these {BYTES_MAX - left}"
        )
    return ((key, copy_of(item.value), item.revision, item.expires_us) for key, item in found)


def _stand_ins(keyspace: Keyspace, keys: Iterable[bytes]) -> Iterator[tuple[bytes, Value, int, int]]:
    """For keys of which nothing but the revision is looked at."""
    for key in keys:
        item = keyspace.items.get(key)
        if item is not None:
            yield key, b"", item.revision, item.expires_us


def _check_weight(scratch: Keyspace, plain: list[list[bytes]]) -> None:
    try:
        weight = checked_weight(scratch, Transaction([], plain))
    except CommandError as error:
        raise KeysRefused(0, error.line) from None
    if weight > BYTES_MAX:
        raise KeysRefused(0, f"ERR a joint command copies at most {BYTES_MAX} bytes of strings, this {weight}")
