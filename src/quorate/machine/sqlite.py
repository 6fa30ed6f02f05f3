"""The SQLite file in which a group's on-disk machines keep their state.

One connection, used from the event loop, does all writing; other connections may read. SQLite does not need to
fsync per transaction, because the Raft log keeps every entry until :meth:`SqliteState.sync` has made it durable
here: in WAL mode with ``synchronous=NORMAL`` a crash, even of the machine, leaves a consistent earlier state, and
the entries behind it are applied again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from quorate.errors import StorageFailed

SCHEMA = """
CREATE TABLE IF NOT EXISTS quorate_applied (
    machine TEXT PRIMARY KEY,
    entry_index INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
CACHE_KIB = 64 * 1024
BUSY_MS = 5000


class SqliteState:
    """The open file. ``connection`` is for the machines; transactions are the router's business.

    Every method raises :class:`StorageFailed` for what SQLite reports.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        with self._failing("open"):
            self.connection = _connect(self.path)
            try:
                self.connection.execute(SCHEMA)
                self._checkpointer = _connect(self.path)  # kept open: a sync must not fail for want of a descriptor
            except BaseException:
                self.connection.close()
                raise
        self._in_transaction = False

    def applied(self, machine: str) -> tuple[int, int]:
        """(index, log time in µs) up to which ``machine`` has applied the log; (0, 0) when it is new."""
        with self._failing("read"):
            row = self.connection.execute(
                "SELECT entry_index, time_us FROM quorate_applied WHERE machine = ?", (machine,)
            ).fetchone()
        return (row[0], row[1]) if row else (0, 0)

    def set_applied(self, machine: str, index: int, time_us: int) -> None:
        """Record the applied index; it becomes visible and durable together with the data."""
        with self._failing("write to"):
            self.connection.execute(
                "INSERT INTO quorate_applied VALUES (?, ?, ?) ON CONFLICT (machine) "
                "DO UPDATE SET entry_index = excluded.entry_index, time_us = excluded.time_us",
                (machine, index, time_us),
            )

    def begin(self) -> None:
        """Open the write transaction unless it is open."""
        if not self._in_transaction:
            with self._failing("write to"):
                self.connection.execute("BEGIN IMMEDIATE")
            self._in_transaction = True

    def commit(self) -> None:
        """Hand what was applied to the operating system: it now survives the process, not yet a power loss."""
        if self._in_transaction:
            with self._failing("commit to"):
                self.connection.execute("COMMIT")
            self._in_transaction = False

    def rollback(self) -> None:
        """Forget everything since the last :meth:`commit`; the entries behind it will be applied again."""
        self._in_transaction = False
        if self.connection.in_transaction:  # some failures have already ended it
            with self._failing("roll back"):
                self.connection.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo everything done inside if an exception leaves the block."""
        self.connection.execute("SAVEPOINT command")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO command; RELEASE command")
            raise
        self.connection.execute("RELEASE command")

    def sync(self) -> int:
        """Make all that was committed durable (a checkpoint with fsync); returns the pages in SQLite's own log.

        That log starts anew, instead of growing, only with a commit behind a sync during which nothing was
        committed. Where the file is busy, nothing is moved and 0 returned: try again later. Blocking: call it from a
        thread, one at a time.
        """
        with self._failing("checkpoint"):
            try:
                pages, _ = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                return 0  # it met a commit or another program's checkpoint; the Raft log still has everything
        return pages

    def close(self) -> None:
        """Close; what was not committed is forgotten."""
        try:
            self.rollback()
        finally:
            self._checkpointer.close()
            self.connection.close()

    @contextmanager
    def _failing(self, action: str) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise StorageFailed(f"cannot {action} {self.path}: {error}") from error


def _connect(path: str) -> apsw.Connection:
    connection = apsw.Connection(path, statementcachesize=256)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "normal")
        connection.pragma("foreign_keys", True)
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("cache_size", -CACHE_KIB)
        connection.pragma("temp_store", "memory")
    except BaseException:
        connection.close()
        raise
    return connection
