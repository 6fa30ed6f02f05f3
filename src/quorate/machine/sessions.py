"""Exactly-once requests: a command with a request id is applied once, its retries get the same answer (§8).

The table is part of the replicated state: it is filled by applying, and kept where the machine's own state is kept,
so both always agree about what was applied. It is bounded by count, and in memory by bytes; never by time. Time in the
log is the leader's clock, and one that jumps a day ahead would make every node forget what clients are still retrying.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from typing import Protocol

from quorate.errors import CommandFailed
from quorate.machine.outcome import encode_outcome
from quorate.machine.sqlite import SqliteState

REQUESTS_MAX = 100_000
OUTCOME_BYTES_MAX = 64 << 20
OUTCOME_KEPT_BYTES_MAX = 64 << 10
"""Of a larger outcome, only that there was one is kept in memory: else a few could have all others forgotten."""


_TOO_LARGE = encode_outcome(CommandFailed("the request was applied before; its answer was too large to be kept"))


def kept_in_memory(outcome: bytes) -> bytes:
    """What is kept of an encoded outcome."""
    return outcome if len(outcome) <= OUTCOME_KEPT_BYTES_MAX else _TOO_LARGE


def fingerprint_of(body: bytes) -> bytes:
    """Tells one command's body from another's (8 bytes)."""
    return blake2b(body, digest_size=8).digest()


class Sessions(Protocol):
    """Remembered requests of one machine."""

    def find(self, request_id: str) -> tuple[bytes, bytes] | None:
        """(fingerprint of the command, encoded outcome), if the request was applied and not yet forgotten."""
        ...

    def remember(self, request_id: str, fingerprint: bytes, outcome: bytes, time_us: int) -> None:
        """Keep the outcome of a request that is not remembered yet.

        The oldest give way beyond ``REQUESTS_MAX``, however long ago they were.
        """
        ...


Request = tuple[str, bytes, bytes, int]
"""A remembered request: its id, the command's fingerprint, the encoded outcome, log time in µs."""


class MemorySessions:
    """For machines in memory, so bounded by bytes too."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        """``requests``, oldest first, are what :meth:`requests` gave elsewhere."""
        self._oldest_first = deque(requests)
        self._by_id = {request[0]: request for request in self._oldest_first}
        self._bytes = sum(len(request[2]) for request in self._oldest_first)

    @property
    def count(self) -> int:
        """How many are remembered."""
        return len(self._oldest_first)

    def requests(self) -> list[Request]:
        """All that is remembered, oldest first. Takes about a millisecond where ``REQUESTS_MAX`` are remembered."""
        return list(self._oldest_first)

    def find(self, request_id: str) -> tuple[bytes, bytes] | None:
        remembered = self._by_id.get(request_id)
        return remembered[1:3] if remembered else None

    def remember(self, request_id: str, fingerprint: bytes, outcome: bytes, time_us: int) -> None:
        outcome = kept_in_memory(outcome)
        request = (request_id, fingerprint, outcome, time_us)
        self._oldest_first.append(request)
        self._by_id[request_id] = request
        self._bytes += len(outcome)
        while len(self._oldest_first) > REQUESTS_MAX or self._bytes > OUTCOME_BYTES_MAX:
            oldest_id, _, oldest, _ = self._oldest_first.popleft()
            del self._by_id[oldest_id]
            self._bytes -= len(oldest)


class SqliteSessions:
    """For machines in the group's SQLite file."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS quorate_sessions (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        machine TEXT NOT NULL,
        request_id TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        outcome BLOB NOT NULL,
        time_us INTEGER NOT NULL,
        UNIQUE (machine, request_id)
    ) STRICT;
    """
    _FORGOTTEN_AT_ONCE = 8  # more than one, so that the table shrinks; few, so that no command pays for a purge

    def __init__(self, state: SqliteState, machine: str) -> None:
        self._connection = state.connection
        self._machine = machine
        self._connection.execute(self.SCHEMA)

    def find(self, request_id: str) -> tuple[bytes, bytes] | None:
        row = self._connection.execute(
            "SELECT fingerprint, outcome FROM quorate_sessions WHERE machine = ? AND request_id = ?",
            (self._machine, request_id),
        ).fetchone()
        return (row[0], row[1]) if row else None

    def remember(self, request_id: str, fingerprint: bytes, outcome: bytes, time_us: int) -> None:
        # The count is that of all the file's machines together.
        self._connection.execute(
            "INSERT INTO quorate_sessions (machine, request_id, fingerprint, outcome, time_us) VALUES (?, ?, ?, ?, ?)",
            (self._machine, request_id, fingerprint, outcome, time_us),
        )
        newest = self._connection.last_insert_rowid()
        if newest > REQUESTS_MAX:
            self._connection.execute(
                "DELETE FROM quorate_sessions WHERE sequence IN "
                "(SELECT sequence FROM quorate_sessions WHERE sequence <= ? ORDER BY sequence LIMIT ?)",
                (newest - REQUESTS_MAX, self._FORGOTTEN_AT_ONCE),
            )
