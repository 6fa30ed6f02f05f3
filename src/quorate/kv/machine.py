"""The state machine of the keys: each command is a list of requests, answered one by one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

import quorate.kv.commands  # noqa: F401  (declares them)
from quorate.errors import StorageError
from quorate.kv.checkpoint import DIRTY_KEYS, ROWS_PER_SEGMENT, Checkpoints
from quorate.kv.codec import encode_row, from_portable, to_portable
from quorate.kv.feed import Feed
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS, Arguments
from quorate.kv.replies import CommandError, Reply
from quorate.kv.segments import TABLES
from quorate.kv.trial import Trial
from quorate.machine.contract import ApplyContext, CachedStateMachine, Rows
from quorate.machine.digest import Hash
from quorate.machine.sqlite import SqliteState

log = logging.getLogger(__name__)

MACHINE = "kv"
"""The machine's name."""

COMMANDS_UNCOVERED = 250_000
"""So many commands behind the last checkpoint are worth the next: to apply them again takes a restart half a second."""

_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(list[list[bytes]]).decode


class KvMachine(CachedStateMachine):
    """Applies requests to a :class:`Keyspace`. ``keyspace`` is another one behind each :meth:`open`."""

    local_tables = TABLES
    rows_per_segment = ROWS_PER_SEGMENT
    """See :class:`Checkpoints`; for tests."""

    def __init__(self, wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        """By ``wall_clock_us`` reads tell the time that is left; nothing else depends on it."""
        self.keyspace = Keyspace()
        self._wall_clock_us = wall_clock_us
        self._uncovered = 0
        self.feed: Feed | None = None
        """Who is told of what is applied: see :meth:`Feed.of`."""
        self.after_apply: Callable[[], None] | None = None
        """Told when a command has been applied, as a whole."""
        self.after_open: Callable[[], None] | None = None
        """Told that ``keyspace`` is another one."""
        self._checkpoints: Checkpoints | None = None
        self._trial = Trial(self._answer)

    def open(self, state: SqliteState) -> None:
        """Load the keys: about a second for a million."""
        keyspace = Keyspace() if self.keyspace.revision else self.keyspace  # where nothing ever was, it is as good
        keyspace.on_change, keyspace.on_publish = self.keyspace.on_change, self.keyspace.on_publish
        self._checkpoints = Checkpoints(state, keyspace, self.rows_per_segment)
        self.keyspace = keyspace
        if self.after_open is not None:
            self.after_open()

    @property
    def readable(self) -> Keyspace:
        """``keyspace``, for commands that only read: the log's time would stand still while nothing is written."""
        self.keyspace.clock_us = self._wall_clock_us()
        return self.keyspace

    def close(self) -> None:
        """Let go of the file; the keys stay."""
        self._checkpoints = None
        self.keyspace.before_change = None

    # -- applying ----------------------------------------------------------------------------------------

    def apply(self, command: bytes, context: ApplyContext) -> list[Reply]:
        """The replies to a msgpack list of requests, each a list of its name in capitals and its arguments.

        A request that is refused is answered with a :class:`CommandError`; the others are not concerned.
        """
        requests = _decode_requests(command)
        keyspace = self.keyspace
        keyspace.time_us = context.time_us
        keyspace.clock_us = 0
        keyspace.random.seed(context.random_seed)
        self._uncovered += len(requests)
        replies = [self._answer(keyspace, request, context) for request in requests]
        if self.after_apply is not None:
            self.after_apply()
        return replies

    def check(self, command: bytes, context: ApplyContext) -> None:
        """Raises :class:`~quorate.kv.trial.KeysRefused` if not each of the requests would be carried out."""
        self._trial.check(self.keyspace, _decode_requests(command), context)

    def _answer(self, keyspace: Keyspace, request: Arguments, context: ApplyContext) -> Reply:
        spec = COMMANDS.get(request[0]) if request else None
        if spec is None:
            name = request[0].decode(errors="replace") if request else ""
            return CommandError(f"ERR unknown command '{name[:128]}'")
        try:
            spec.check_arguments(request)
            return spec.handler(keyspace, request)
        except CommandError as refusal:
            return refusal.with_traceback(None)
        except (OSError, MemoryError, StorageError):  # other nodes do not meet these
            raise
        except Exception as error:
            log.exception("entry %d: %r failed", context.index, request[0])
            return CommandError(f"ERR internal error: {type(error).__name__}")

    def to_portable(self, result: object) -> object:
        return to_portable(result)

    def from_portable(self, portable: object) -> object:
        return from_portable(portable)

    # -- checkpoints -------------------------------------------------------------------------------------

    @property
    def is_checkpoint_due(self) -> bool:
        if self._uncovered >= COMMANDS_UNCOVERED:
            return True
        return len(self.keyspace.dirty) + len(self.keyspace.discarded) >= DIRTY_KEYS

    def begin_checkpoint(self) -> None:
        self._uncovered = 0
        self._opened.begin()

    def write_checkpoint(self, seconds: float) -> bool:
        return self._opened.write(seconds)

    def checkpoint_rows(self) -> list[Rows]:
        return self._opened.rows()

    @property
    def _opened(self) -> Checkpoints:
        assert self._checkpoints is not None, "not open"
        return self._checkpoints

    def digest_into(self, digest: Hash) -> None:
        keyspace = self.keyspace
        digest.update(_encode((keyspace.revision, keyspace.time_us)))
        for key, item in keyspace.items.items():
            digest.update(encode_row(key, item))
