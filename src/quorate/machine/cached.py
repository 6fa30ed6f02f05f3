"""Machines that write their state to the SQLite file bit by bit, and the checkpoints that this takes.

Their applied index in the file is that of the last complete checkpoint. What they remember of requests is written with
the same checkpoints: a request that was remembered, but whose command has to be applied again, would be lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext, CachedStateMachine, Rows
from quorate.machine.host import DiskHost
from quorate.machine.outcome import decode_outcome, encode_outcome
from quorate.machine.sessions import MemorySessions, Request, kept_in_memory
from quorate.machine.sqlite import SqliteState

ROWS_PER_STEP = 20


class CachedSessions(MemorySessions):
    """Requests in memory, of which each checkpoint writes those that came since the last.

    Each has a number; the file says which of its rows, from the number ``first`` on and before ``behind``, count.
    """

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS quorate_cached_sessions (
        machine TEXT PRIMARY KEY,
        first INTEGER NOT NULL,
        behind INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS quorate_cached_requests (
        machine TEXT NOT NULL,
        number INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        outcome BLOB NOT NULL,
        time_us INTEGER NOT NULL,
        PRIMARY KEY (machine, number)
    ) STRICT, WITHOUT ROWID;
    """

    def __init__(self, state: SqliteState, machine: str) -> None:
        self._connection = state.connection
        self._machine = machine
        self._connection.execute(self.SCHEMA)
        header = "SELECT first, behind FROM quorate_cached_sessions WHERE machine = ?"
        first, behind = self._connection.execute(header, (machine,)).fetchone() or (0, 0)
        rows = (
            "SELECT request_id, fingerprint, outcome, time_us FROM quorate_cached_requests "
            "WHERE machine = ? AND number >= ? AND number < ? ORDER BY number"
        )
        super().__init__(self._connection.execute(rows, (machine, first, behind)))
        self._connection.execute(
            "DELETE FROM quorate_cached_requests WHERE machine = ? AND (number < ? OR number >= ?)",
            (machine, first, behind),
        )
        self._behind = behind
        self._deleted_to = first
        self._complete = (first, behind)
        self._next = (first, behind)
        self._fresh: deque[Request] = deque()
        self._writing: deque[Request] = deque()

    def remember(self, request_id: str, fingerprint: bytes, outcome: bytes, time_us: int) -> None:
        outcome = kept_in_memory(outcome)
        super().remember(request_id, fingerprint, outcome, time_us)
        self._fresh.append((request_id, fingerprint, outcome, time_us))
        self._behind += 1

    def begin_checkpoint(self) -> None:
        """What is remembered now is to be written."""
        self._next = (self._behind - self.count, self._behind)
        self._writing, self._fresh = self._fresh, deque()

    def write_step(self) -> bool:
        """Write some rows; returns whether that was all."""
        first, behind = self._complete[0], self._next[1]
        if self._deleted_to < first:  # what no checkpoint needs any more
            upto = min(self._deleted_to + ROWS_PER_STEP, first)
            self._connection.execute(
                "DELETE FROM quorate_cached_requests WHERE machine = ? AND number >= ? AND number < ?",
                (self._machine, self._deleted_to, upto),
            )
            self._deleted_to = upto
            return False
        number = behind - len(self._writing)
        some = [self._writing.popleft() for _ in range(min(ROWS_PER_STEP, len(self._writing)))]
        self._connection.executemany(
            "INSERT OR REPLACE INTO quorate_cached_requests VALUES (?, ?, ?, ?, ?, ?)",
            [(self._machine, number + at, *request) for at, request in enumerate(some)],
        )
        return not self._writing

    def complete_checkpoint(self) -> None:
        """All was written: from now on it counts."""
        self._connection.execute(
            "INSERT OR REPLACE INTO quorate_cached_sessions VALUES (?, ?, ?)", (self._machine, *self._next)
        )
        self._complete = self._next

    def checkpoint_rows(self) -> list[Rows]:
        """See :meth:`CachedStateMachine.checkpoint_rows`."""
        return [
            Rows(
                "SELECT * FROM quorate_cached_requests WHERE machine = ? AND number >= ? AND number < ?",
                (self._machine, *self._complete),
                "INSERT OR REPLACE INTO quorate_cached_requests VALUES (?, ?, ?, ?, ?, ?)",
            ),
            Rows(
                "SELECT * FROM quorate_cached_sessions WHERE machine = ?",
                (self._machine,),
                "INSERT OR REPLACE INTO quorate_cached_sessions VALUES (?, ?, ?)",
            ),
        ]


class CachedHost(DiskHost):
    """A machine in memory and in the file. ``flushed`` is the index of the last complete checkpoint."""

    def __init__(self, name: str, machine: CachedStateMachine, sessions: CachedSessions, applied: int) -> None:
        super().__init__(name, machine, sessions, applied)
        self.machine: CachedStateMachine = machine
        self.sessions = sessions

    def _encoded(self, outcome: object) -> bytes:
        if isinstance(outcome, CommandFailed):
            return encode_outcome(outcome)
        return encode_outcome(self.machine.to_portable(outcome))

    def _decoded(self, encoded: bytes) -> object:
        outcome = decode_outcome(encoded)
        return outcome if isinstance(outcome, CommandFailed) else self.machine.from_portable(outcome)

    def check(self, body: bytes, context: ApplyContext) -> None:
        """Raises the :class:`CommandFailed` with which the machine refuses this part of a joint command."""
        try:
            self.machine.check(body, context)
        except CommandFailed:
            raise
        except Exception as error:
            raise self._outcome_of(error, context) from error

    def checkpoint_rows(self) -> list[Rows]:
        """All that the last checkpoint has written, the applied index included."""
        applied = Rows(
            "SELECT machine, entry_index, time_us FROM quorate_applied WHERE machine = ?",
            (self.name,),
            "INSERT OR REPLACE INTO quorate_applied VALUES (?, ?, ?)",
        )
        return [applied, *self.sessions.checkpoint_rows(), *self.machine.checkpoint_rows()]


class Checkpoint:
    """One checkpoint, which all machines that need one begin at the same time."""

    def __init__(self, state: SqliteState, hosts: Sequence[CachedHost], time_us: int) -> None:
        """Begins. ``time_us`` is the log's time."""
        self._state = state
        self._time_us = time_us
        self._todo = deque((host, host.applied) for host in hosts)
        self._done: list[tuple[CachedHost, int]] = []
        self._sessions_done = False
        for host in hosts:
            host.sessions.begin_checkpoint()
            host.machine.begin_checkpoint()

    @property
    def is_written(self) -> bool:
        """Whether all of it is in the file, committed or not."""
        return not self._todo

    def write(self, seconds: float) -> None:
        """Write for about so long, in a transaction."""
        clock = self._state.clock
        ends = clock() + seconds
        while self._todo:
            host, index = self._todo[0]
            while not self._sessions_done:
                self._sessions_done = host.sessions.write_step()
                if clock() > ends:
                    return
            if not host.machine.write_checkpoint(max(ends - clock(), 0.0)):
                return
            host.sessions.complete_checkpoint()
            self._state.set_applied(host.name, index, self._time_us)
            self._todo.popleft()
            self._done.append((host, index))
            self._sessions_done = False

    def committed(self) -> None:
        """What was written is committed."""
        for host, index in self._done:
            host.flushed = index

    def rows(self) -> list[Rows]:
        """All that it has written."""
        return [rows for host, _ in self._done for rows in host.checkpoint_rows()]
