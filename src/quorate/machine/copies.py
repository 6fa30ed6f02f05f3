"""Copies of the SQLite file: made while it is written to, and examined before they are trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import apsw

from quorate.errors import CorruptLog, StorageError
from quorate.machine.contract import Rows

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

Amend = Callable[[apsw.Connection], None]

ROWS_PER_STEP = 200
PAGES_PER_STEP = 128
"""Copied at once (of 4 KiB each): so long does :meth:`Pinned.close` wait for a copy under way."""
STEPS_PER_FSYNC = 64
"""A copy becomes durable bit by bit, so that no fsync of the Raft log has to wait behind all of it."""
CHECK_SECONDS_MAX = 5.0
"""A copy that takes longer to check as a whole is trusted as far as that."""
_PROGRESS_OPCODES = 10_000
_SIZE_AT = slice(28, 32)  # of the database in pages, big-endian (sqlite.org/fileformat2.html §1.3)
_PAGE_SIZE_AT = slice(16, 18)


class Pinned:
    """One moment of the file, kept by a read transaction on a connection of its own.

    Writers go on; what they commit is not part of the moment. Until :meth:`close`, checkpoints move nothing that was
    committed behind the moment, so SQLite's own log grows.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        """``connection`` is in its read transaction, and closed by :meth:`close`."""
        self._connection = connection
        self._lock = Lock()
        self.closed = False

    def copy_to(self, path: Path, amend: Amend | None = None) -> None:
        """Write the file of that moment to ``path``, a database by itself, and fsync it. Blocking.

        ``amend`` changes the copy before it is finished. Raises :class:`StorageError`, also when :meth:`close` is
        called meanwhile.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                self._copy(path, descriptor, amend)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)  # behind SQLite's own: closing it would take SQLite's locks with it
        except (OSError, apsw.Error) as error:
            raise StorageError(f"cannot copy the state to {path}: {error}") from error

    def _copy(self, path: Path, descriptor: int, amend: Amend | None) -> None:
        target = apsw.Connection(str(path))
        try:
            target.pragma("journal_mode", "off")  # a copy that is not finished is worth nothing
            target.pragma("synchronous", "off")
            with self._open():
                backup = target.backup("main", self._connection, "main")
            steps = 0
            done = False
            while not done:
                with self._open():
                    done = backup.step(PAGES_PER_STEP)
                steps += 1
                if steps % STEPS_PER_FSYNC == 0:
                    _sync_data(descriptor)
            with self._open():
                backup.finish()
            if amend is not None:
                with target:
                    amend(target)
        finally:
            target.close()

    def carry_rows(self, rows: Rows, target: apsw.Connection) -> None:
        """Put rows of this moment into another file. Blocking; raises :class:`StorageError` as :meth:`copy_to`."""
        with self._open():
            cursor = self._connection.execute(rows.select, rows.bindings)
        while True:
            with self._open():
                found = list(islice(cursor, ROWS_PER_STEP))
            if not found:
                return
            target.executemany(rows.insert, found)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """For one step of a copy: the connection is not closed inside."""
        with self._lock:
            if self.closed:
                raise StorageError("the copy of the state was given up")
            yield

    def close(self) -> None:
        """Let go of the moment. Idempotent, for any thread; a copy under way ends with :class:`StorageError`."""
        with self._lock:
            self.closed = True
            self._connection.close()  # ends a copy under way with it


def examine_copy(path: Path) -> dict[str, tuple[int, int]]:
    """What the copy at ``path`` says of each machine in it but latecomers: (applied index, log time in µs). Blocking.

    Raises :class:`CorruptLog` for what is no copy of ours, or a damaged one: its size must be what its header says,
    and as much as ``CHECK_SECONDS_MAX`` allows is read and checked.
    """
    try:
        _check_size(path)
        uri = f"file:{quote(str(path.absolute()))}?immutable=1"  # takes no locks and leaves no files beside it
        connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            applied = applied_in(connection)
            _check_pages(connection, path)
        finally:
            connection.close()
    except (OSError, apsw.Error) as error:
        raise CorruptLog(f"{path} is no copy of the state: {error}") from error
    return applied


def applied_in(connection: apsw.Connection) -> dict[str, tuple[int, int]]:
    """The same of an open copy. Nothing came for latecomers: whoever takes the copy may run them or not."""
    sql = "SELECT machine, entry_index, time_us FROM quorate_applied"
    if connection.table_exists(None, "quorate_latecomers"):  # not if an earlier program made it
        sql += " WHERE machine NOT IN (SELECT machine FROM quorate_latecomers)"
    rows: list[Any] = connection.execute(sql).fetchall()
    return {machine: (index, time_us) for machine, index, time_us in rows}


def _check_size(path: Path) -> None:
    with open(path, "rb") as file:
        header = file.read(100)
        size = os.fstat(file.fileno()).st_size
    pages = int.from_bytes(header[_SIZE_AT])
    page_size = int.from_bytes(header[_PAGE_SIZE_AT])
    expected = pages * (65_536 if page_size == 1 else page_size)
    if size != expected or not size:
        raise CorruptLog(f"{path} is no copy of the state: it has {size} bytes instead of {expected}")


def _check_pages(connection: apsw.Connection, path: Path) -> None:
    ends = time.monotonic() + CHECK_SECONDS_MAX
    connection.set_progress_handler(lambda: time.monotonic() > ends, _PROGRESS_OPCODES)
    try:
        problem = connection.execute("PRAGMA quick_check(1)").get
    except apsw.InterruptError:
        return
    if problem != "ok":
        raise CorruptLog(f"{path} is no copy of the state: {problem}")
