"""The SQLite file in which a group's on-disk machines keep their state.

One connection, used from the event loop, does all writing; other connections may read. SQLite does not need to
fsync per transaction, because the Raft log keeps every entry until :meth:`SqliteState.sync` has made it durable
here: in WAL mode with ``synchronous=NORMAL`` a crash, even of the machine, leaves a consistent earlier state, and
the entries behind it are applied again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import apsw

from quorate.errors import StorageFailed
from quorate.machine.copies import Pinned, examine_copy
from quorate.machine.digest import Hash, digest_tables

SCHEMA = """
CREATE TABLE IF NOT EXISTS quorate_applied (
    machine TEXT PRIMARY KEY,
    entry_index INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quorate_latecomers (
    machine TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
"""
CACHE_KIB = 64 * 1024
PIN_CACHE_KIB = 1024  # a copy reads every page once
BUSY_MS = 5000


class Synced(NamedTuple):
    """What :meth:`SqliteState.sync` has done."""

    pages: int
    """How many pages SQLite's own log holds."""
    complete: bool
    """Whether all that was committed before it began is durable in the file itself."""


class SqliteState:
    """The open file. ``connection`` is for the machines; transactions are the router's business.

    Every method raises :class:`StorageFailed` for what SQLite reports. A state that is kept elsewhere overrides
    :meth:`connect` and the methods under "the file".
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._in_transaction = False
        self._pins: list[Pinned] = []
        self._syncing = Lock()
        self._closed = False
        with self._failing("open"):
            self.connection = self.connect()
            try:
                self.connection.execute(SCHEMA)
                self._checkpointer = self.connect()  # kept open: a sync must not fail for want of a descriptor
            except BaseException:
                self.connection.close()
                raise

    def connect(self) -> apsw.Connection:
        """A new connection to the file. Raises what SQLite raises."""
        return _connect(self.path)

    def applied(self) -> dict[str, tuple[int, int]]:
        """(index, log time in µs) up to which each machine has applied the log; none for one that is new.

        For one that this program did not run: up to which there was nothing for it.
        """
        with self._failing("read"):
            rows: list[Any] = self.connection.execute(
                "SELECT machine, entry_index, time_us FROM quorate_applied"
            ).fetchall()
        return {machine: (index, time_us) for machine, index, time_us in rows}

    def set_applied(self, machine: str, index: int, time_us: int) -> None:
        """Record the applied index; it becomes visible and durable together with the data."""
        with self._failing("write to"):
            self.connection.execute(
                "INSERT INTO quorate_applied VALUES (?, ?, ?) ON CONFLICT (machine) "
                "DO UPDATE SET entry_index = excluded.entry_index, time_us = excluded.time_us",
                (machine, index, time_us),
            )

    def latecomers(self) -> set[str]:
        """The machines that nothing came for behind where they stand: see :mod:`quorate.machine.latecomers`."""
        with self._failing("read"):
            return {machine for (machine,) in self.connection.execute("SELECT machine FROM quorate_latecomers")}

    def set_latecomer(self, machine: str, *, is_one: bool) -> None:
        """Record it; see :meth:`latecomers`."""
        added, removed = "INSERT OR IGNORE INTO {} VALUES (?)", "DELETE FROM {} WHERE machine = ?"
        with self._failing("write to"):
            self.connection.execute((added if is_one else removed).format("quorate_latecomers"), (machine,))

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

    def digest_into(self, digest: Hash, local_tables: frozenset[str]) -> None:
        """Add what is in the tables, committed or not, to ``digest``; see :func:`digest_tables`."""
        with self._failing("read"):
            digest_tables(self.connection, local_tables, digest)

    # -- the file ----------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds, by which those who write bit by bit know when to pause."""
        return time.perf_counter()

    def sync(self) -> Synced:
        """Make all that was committed durable in the file: a passive checkpoint with fsync.

        It is complete unless it found the file busy, or a moment pinned behind which something was committed: try
        again later. SQLite's own log starts anew, instead of growing, only with a commit behind a sync during which
        nothing was committed. Blocking: call it from a thread.
        """
        with self._syncing, self._failing("checkpoint"):
            if self._closed:
                return Synced(0, False)
            try:
                pages, moved = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                return Synced(0, False)  # it met another checkpoint; the Raft log still has everything
        return Synced(pages, moved == pages)

    def begin_log(self) -> None:
        """Let SQLite's own log start anew now, if a complete :meth:`sync` has just allowed it.

        The first commit behind such a sync waits for an fsync; this makes one, so that none on the event loop has
        to. Nothing may be written meanwhile. Blocking: call it from a thread.
        """
        with self._syncing, self._failing("write to"):
            if not self._closed:
                self._checkpointer.execute("BEGIN IMMEDIATE; UPDATE quorate_applied SET time_us = time_us; COMMIT")

    def pin(self) -> Pinned:
        """Keep the moment: all that was committed by now, and nothing else, for a copy. Takes microseconds."""
        with self._failing("read"):
            connection = self.connect()
            try:
                connection.pragma("cache_size", -PIN_CACHE_KIB)
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM quorate_applied").fetchall()  # the transaction begins here
            except BaseException:
                connection.close()
                raise
        self._pins = [pinned for pinned in self._pins if not pinned.closed]
        self._pins.append(pinned := Pinned(connection))
        return pinned

    def examine(self, path: Path) -> Mapping[str, tuple[int, int]]:
        """What a copy at ``path`` says of each machine in it but latecomers: (applied index, log time in µs).

        Blocking, for any thread. Raises :class:`~quorate.errors.CorruptLog` for what is no copy, or a damaged one.
        """
        return examine_copy(path)

    def close(self) -> None:
        """Close; what was not committed is forgotten. Waits for a sync under way, and ends copies. Idempotent."""
        if self._closed:
            return
        try:
            self.rollback()
        finally:
            with self._syncing:
                self._closed = True
                for pinned in self._pins:
                    pinned.close()
                self._checkpointer.close()
                self.connection.close()

    def check_released(self) -> None:
        """After :meth:`close`: raises :class:`StorageFailed` if another connection still has the file open.

        Then the file must not be replaced: SQLite's own log is found by its name, and would be taken for that of the
        new file, or be removed under it.
        """
        if os.path.exists(f"{self.path}-wal"):  # the last connection removes it
            raise StorageFailed(f"{self.path} cannot be replaced: another program has it open")

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
