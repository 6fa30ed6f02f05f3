"""What a replicated state machine is.

The same log of commands is applied in the same order on every node. For the states to stay equal, ``apply``
must be **deterministic**: no clock, no ``random``, no ``uuid4``, no ``hash()`` of strings, no iteration over a
set, no I/O. Time, ids and randomness come from the :class:`ApplyContext`, where the leader stamped them.

Guaranteed: ``apply`` is called in log order, from one task at a time, never twice for one index in the life of
a state. Not guaranteed: that the node which proposed a command is the one that answers it, or that every
command proposed is applied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from quorate.errors import CommandFailed

if TYPE_CHECKING:
    from quorate.machine.digest import Hash
    from quorate.machine.sqlite import SqliteState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_FIXED_BITS = (0x7 << 76) | (0b10 << 62)  # version 7, RFC 9562 variant


class ApplyContext:
    """Where and when a command is applied. Equal on every node, which makes it the only source of ids and time.

    ``index`` and ``term`` are those of the log entry; ``position`` counts the commands that share it;
    ``time_us`` is the leader's clock (microseconds since 1970, UTC), made strictly increasing along the log;
    ``origin`` is the node that the command was proposed at, of a request that was sent again the one whose proposal
    came first.
    """

    __slots__ = ("_part", "_seed", "ids_made", "index", "origin", "position", "term", "time_us")

    def __init__(self, index: int, term: int, time_us: int, seed: int = 0, position: int = 0, origin: int = 0) -> None:
        self.index = index
        self.term = term
        self.time_us = time_us
        self.position = position
        self.origin = origin
        self._seed = seed
        self._part = 0
        self.ids_made = 0
        """By this command so far; of a joint one, by its earlier parts, too."""

    def of_part(self, part: int, ids_made: int) -> ApplyContext:
        """The context of a joint command's part, which goes on behind the ids that earlier ones have made."""
        context = ApplyContext(self.index, self.term, self.time_us, self._seed, self.position, self.origin)
        context._part, context.ids_made = part, ids_made
        return context

    @property
    def random_seed(self) -> int:
        """A seed for this command's randomness: 64 bits that the leader chose, and the command's place in the log."""
        return (self._part << 160) | (self._seed << 96) | (self.index << 32) | self.position

    @property
    def time(self) -> datetime:
        """The log's time as an aware UTC datetime."""
        return _EPOCH + timedelta(microseconds=self.time_us)

    def uuid7(self) -> UUID:
        """A new UUIDv7 (RFC 9562 §5.7, §6.2 methods 1 and 3), increasing along the log, the same on every node."""
        return UUID(bytes=self.uuid7_bytes())

    def uuid7_bytes(self) -> bytes:
        """The same as its 16 bytes, for those who store it so."""
        counter = (self.position << 16) + self.ids_made
        self.ids_made += 1
        return _uuid7_bits(self.time_us, counter, self._seed).to_bytes(16, "big")


@lru_cache(maxsize=1)
def _uuid7_time_bits(time_us: int) -> int:
    """48 bits of milliseconds, 12 of their fraction, and the fixed ones. All ids of an entry have them in common."""
    milliseconds, microseconds = divmod(time_us, 1000)
    return (milliseconds & 0xFFFFFFFFFFFF) << 80 | _UUID_FIXED_BITS | (microseconds * 4096 // 1000) << 64


def _uuid7_bits(time_us: int, counter: int, seed: int) -> int:
    """Those of the time, 32 of counter, 30 of randomness.

    Log time is strictly increasing, so (time, counter) alone is unique and ordered; the random bits come from
    the leader's seed and keep two clusters' ids apart.
    """
    mixed = (seed + counter + 1) * 0x9E3779B97F4A7C15 >> 34  # Fibonacci hashing: spreads the counter
    return _uuid7_time_bits(time_us) | (counter & 0xFFFFFFFF) << 30 | mixed & 0x3FFFFFFF


Steps = Generator[None, None, object]
"""What a command does that takes long, in steps of some 2 ms. It returns the command's result, or raises as ``apply``.

The node goes on between them: it answers, flushes, makes snapshots, and may stop. Only nothing else is applied. So
**the steps before the last one change nothing of the state**: they prepare beside it, in tables that do not count as
state (:data:`~quorate.machine.digest.BESIDE_THE_STATE`), what the last one puts in its place. What was prepared is
found again by the ``open`` behind a crash, or in a snapshot, and is a leftover then: the command begins anew.

In an entry with other commands, it is all one step: propose it with ``alone``.
"""


R = TypeVar("R")


def all_at_once(steps: Generator[None, None, R]) -> R:
    """What steps return, without anything between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


class StateMachine(ABC):
    """A state machine in memory: a restart rebuilds it from the last snapshot and the log behind it.

    ``snapshot`` is called on the event loop, while everything else waits: a state whose bytes take more than a few
    milliseconds to make belongs into a :class:`DiskStateMachine`.
    """

    unordered: ClassVar[bool] = False
    """See :attr:`DiskStateMachine.unordered`."""

    @abstractmethod
    def apply(self, command: bytes, context: ApplyContext) -> object:
        """Change the state by one command and return its result.

        An :class:`Exception` means that the command is refused: the caller sees it (as
        :class:`~quorate.errors.CommandFailed`), the log goes on. Raise before changing anything, and
        depend on nothing but state and command. ``OSError`` and ``MemoryError`` are not refusals: they
        stop the node, for its state can no longer be trusted.
        """

    @abstractmethod
    def snapshot(self) -> bytes:
        """The whole state as bytes, equal on every node that has applied the same entries.

        Called on the event loop, between two entries. Changes nothing.
        """

    @abstractmethod
    def restore(self, data: bytes) -> None:
        """Replace the state, whatever it is, by that of a snapshot: ``data`` is what :meth:`snapshot` returned on
        some node, perhaps one that runs an older version of the program.

        May raise only for data that no version of this machine has made: the node stops then.
        """


class DiskStateMachine(ABC):
    """A state machine whose state lives in the group's SQLite file and survives restarts by itself.

    The router writes the machine's applied index in the same transaction as its data, so after a crash
    the machine opens at an index of its own and only the entries behind it are applied again.

    A snapshot is a copy of that file. One that is installed takes the file's place while the node runs: the machine
    is closed, and opened again on the new file, in which its tables are those of another node.
    """

    local_tables: ClassVar[frozenset[str]] = frozenset()
    """Tables of this machine that may differ between nodes which have applied the same entries."""
    unordered: ClassVar[bool] = False
    """Whether nobody proposes a command before the last is answered, and relies on their order: small ones may then
    pass large ones on their way into the log."""

    @abstractmethod
    def open(self, state: SqliteState) -> None:
        """Create or check the tables. Raises :class:`~quorate.errors.ConfigError` if they do not fit.

        May be called again after :meth:`close`, with another file: nothing that was read from the earlier one, no
        connection, cursor, count or cache, may be used from then on.
        """

    @abstractmethod
    def apply(self, command: bytes, context: ApplyContext) -> object:
        """As :meth:`StateMachine.apply`, inside a transaction that the router keeps.

        A refusal must leave no half-done change: use ``state.savepoint()`` where a command takes several
        statements. A command that takes longer than some milliseconds returns :data:`Steps` instead of a result.

        As a part of a joint command (:mod:`quorate.machine.joint`) it may be undone before anything else runs. So
        whoever is told here of a change looks at it in a later turn of the event loop, if it is there.
        """

    def mark(self) -> object:
        """What :meth:`undo` needs: all that :meth:`apply` changes in memory. For machines that keep something there,
        as a count of their rows.
        """
        return None

    def undo(self, mark: Any) -> None:
        """Have in memory what was there when :meth:`mark` was called. The file has been brought back to it already."""

    @property
    def has_leftovers(self) -> bool:
        """Whether the file holds what does not count as state, and nobody needs any more: nothing is applied then."""
        return False

    def remove_leftovers(self) -> None:
        """Remove some of that, which takes some 2 ms, in a transaction that the router keeps."""

    def close(self) -> None:
        """Called once for each :meth:`open`, before the file is closed.

        Whatever the machine itself has opened on the file must be closed by then, for the file may be replaced: SQLite
        does not survive that under an open connection.
        """


class Rows(NamedTuple):
    """Rows to be carried from one SQLite file into another that has the same tables."""

    select: str
    bindings: tuple[str | int, ...]
    insert: str


class CachedStateMachine(DiskStateMachine):
    """A state machine that answers from memory, and writes what was changed to the group's SQLite file bit by bit.

    That is a checkpoint: the state as it is when the checkpoint begins, however long the writing takes and whatever is
    applied meanwhile. In the same transaction in which it is complete, the router writes the applied index of its
    beginning. Should the process end before that, :meth:`open` must find the state of the checkpoint before: the
    commands behind it are applied again.

    :meth:`apply` writes nothing to the file, and :meth:`open` loads what the last complete checkpoint holds.
    """

    def check(self, command: bytes, context: ApplyContext) -> None:
        """Raise what refuses ``command`` as a part of a joint command, and change nothing.

        What this lets pass, :meth:`apply` then carries out as a whole, whatever it would do with the command by itself.
        Both go by state and command alone. A machine that does not say what to check takes no part.
        """
        raise CommandFailed(f"{type(self).__name__} takes no part in joint commands")

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether so much was changed that a checkpoint should begin; some seconds behind a change one does anyway."""
        return False

    @abstractmethod
    def begin_checkpoint(self) -> None:
        """The checkpoint is to hold the state as it is now. Called between two entries; takes microseconds."""

    @abstractmethod
    def write_checkpoint(self, seconds: float) -> bool:
        """Write for about so long, in a transaction that the router keeps; returns whether the checkpoint is complete.

        What :meth:`open` goes by must say so in that transaction, and in none before.
        """

    @abstractmethod
    def checkpoint_rows(self) -> list[Rows]:
        """What the last checkpoint has written: brings the file as it was when that began to where it ended."""

    @abstractmethod
    def digest_into(self, digest: Hash) -> None:
        """Add the state, equal on every node that has applied the same entries, to ``digest``.

        The tables belong into :attr:`local_tables`, for checkpoints come at other moments on each node.
        """

    def to_portable(self, result: object) -> object:
        """A result of :meth:`apply` in plain data, to be kept for retries of the request."""
        return result

    def from_portable(self, portable: object) -> object:
        """The result that :meth:`to_portable` was given."""
        return portable


Machine = StateMachine | DiskStateMachine
"""What a node runs."""
