"""``MULTI`` … ``EXEC`` as one command in the log: nothing comes between, and it applies as a whole or not at all."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS, NO_KEYS, Arguments, command
from quorate.kv.replies import NULL_ARRAY, REPLY_BYTES_MAX, CommandError, Reply, size_of
from quorate.kv.weights import string_bytes

EXEC = b"QUORATE.EXEC"
FENCED = b"QUORATE.FENCED"
COPIED_BYTES_MAX = 64 << 20
"""So much a transaction copies at most, by the estimate of :mod:`quorate.kv.weights`."""
TOO_HEAVY = f"EXECABORT the transaction would copy more than {COPIED_BYTES_MAX} bytes of strings, nothing was applied"
LEFT_OUT = (
    f"ERR carried out, but the reply is left out: those of the transaction have more than {REPLY_BYTES_MAX} bytes"
)


class Transaction(msgspec.Struct, array_like=True, frozen=True):
    """``requests`` are carried out if all ``watched`` keys still have these revisions (0: there is no such key)."""

    watched: list[tuple[bytes, int]]
    requests: list[list[bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Transaction).decode


def as_request(transaction: Transaction) -> list[bytes]:
    """The command for the log."""
    return [EXEC, _encode(transaction)]


def checked_weight(db: Keyspace, transaction: Transaction) -> int:
    """About how many bytes a transaction copies. Raises :class:`CommandError` for too many.

    What one of its commands makes long is long for those that follow.
    """
    total = 0
    lengths: dict[bytes, int] = {}
    """Of strings that it changes, at most."""
    for request in transaction.requests:
        carried = request[3:] if request[0] == FENCED else request
        spec = COMMANDS[carried[0].upper()]
        if not spec.write:
            continue
        keys = spec.keys.of(carried)
        length = sum(map(len, carried)) + sum([lengths.get(key, 0) for key in keys])
        if spec.weigh is not None:
            length = max(length, sum(map(len, carried)) + spec.weigh(db, carried))
            total += length
        elif len(keys) > 1:  # it may move them
            length += string_bytes(db, keys)
        lengths.update(dict.fromkeys(keys, length))
    if total > COPIED_BYTES_MAX:
        raise CommandError(TOO_HEAVY)
    return total


def revision_of(db: Keyspace, key: bytes) -> int:
    """When a key was last changed; 0 if it is not there."""
    item = db.find(key)
    return item.revision if item is not None else 0


@command(EXEC.decode(), 2, group="transactions", write=True, keys=NO_KEYS, internal=True)
def execute(db: Keyspace, arguments: Arguments) -> Reply:
    """Carries out a transaction, or nothing if a watched key has changed."""
    transaction = _decode(arguments[1])
    if any(revision_of(db, key) != revision for key, revision in transaction.watched):
        return NULL_ARRAY
    replies: list[Any] = []
    left = REPLY_BYTES_MAX
    for request in transaction.requests:
        reply = _reply(db, request)
        size = size_of(reply)
        if size > left:
            reply, size = CommandError(LEFT_OUT), 0
        left -= size
        replies.append(reply)
    return replies


def _reply(db: Keyspace, request: list[bytes]) -> Any:
    try:
        return COMMANDS[request[0]].handler(db, request)
    except CommandError as error:
        return error
