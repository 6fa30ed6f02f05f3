"""Values of fields that each node has for itself: on disk, in a file of their own, or in memory.

They are no part of the replicated state, so they are not in its file either: that one is compared with other nodes',
and replaced by their snapshots. A value belongs to one object: to its model, its primary key and its first version, by
which a later object with the same key is another one. So nothing has to be done when an object is deleted: what it
leaves is never found again, and swept away in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import apsw

from quorate.errors import StorageError
from quorate.models.store.columns import SqlValue

FILE = "local.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS local_values (
    model TEXT NOT NULL,
    key ANY NOT NULL,
    field TEXT NOT NULL,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    value ANY,
    PRIMARY KEY (model, key, field)
) STRICT, WITHOUT ROWID;
"""
BUSY_MS = 5000
_OF_OBJECT = "SELECT field, type, value FROM local_values WHERE model = ? AND key = ? AND created = ?"
_SET = "INSERT OR REPLACE INTO local_values VALUES (?, ?, ?, ?, ?, ?)"
_AFTER = "SELECT DISTINCT model, key, created FROM local_values WHERE (model, key) > (?, ?) ORDER BY model, key LIMIT ?"
_FIRST = "SELECT DISTINCT model, key, created FROM local_values ORDER BY model, key LIMIT ?"
_REMOVE = "DELETE FROM local_values WHERE model = ? AND key = ? AND created = ?"


class Owner(NamedTuple):
    """The object that a value belongs to; ``created`` is its first version."""

    model: str
    key: SqlValue
    created: int


class Value(NamedTuple):
    """One field's value in stored form, and the name of its codec."""

    field: str
    type: str
    value: SqlValue


class MemoryValues:
    """Until the node stops."""

    def __init__(self) -> None:
        self._objects: dict[Owner, dict[str, Value]] = {}

    def of(self, owner: Owner) -> list[Value]:
        """What was set."""
        return list(self._objects.get(owner, {}).values())

    def set(self, values: Iterable[tuple[Owner, Value]]) -> None:
        """Values, in the place of those that the same fields had."""
        for owner, value in values:
            self._objects.setdefault(owner, {})[value.field] = value

    def owners(self) -> list[Owner]:
        """Whose values are here."""
        return list(self._objects)

    def remove(self, owners: Iterable[Owner]) -> None:
        """Forget their values."""
        for owner in owners:
            self._objects.pop(owner, None)


class DiskValues:
    """For ever. A value is durable when :meth:`set` returns. Raises :class:`StorageError` for what SQLite reports."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = Lock()
        try:
            self._writer = _connect(path)
            self._writer.execute(SCHEMA)
            self._reader = _connect(path)
        except apsw.Error as error:
            raise self._failed("open", error) from error

    def of(self, owner: Owner) -> list[Value]:
        """What was set."""
        try:
            found = self._reader.execute(_OF_OBJECT, (owner.model, owner.key, owner.created))
            return [Value(*row) for row in found]
        except apsw.Error as error:
            raise self._failed("read", error) from error

    async def set(self, values: Iterable[tuple[Owner, Value]]) -> None:
        """Values, in the place of those that the same fields had. All of them are there then, or none."""
        rows = [(owner.model, owner.key, each.field, each.type, owner.created, each.value) for owner, each in values]
        await asyncio.to_thread(self._execute, _SET, rows)

    def owners_after(self, last: Owner | None, limit: int) -> list[Owner]:
        """Whose values are here, in order, from the one behind ``last`` on."""
        sql, bindings = (_FIRST, (limit,)) if last is None else (_AFTER, (last.model, last.key, limit))
        try:
            return [Owner(*row) for row in self._reader.execute(sql, bindings)]
        except apsw.Error as error:
            raise self._failed("read", error) from error

    async def remove(self, owners: Iterable[Owner]) -> None:
        """Forget their values."""
        await asyncio.to_thread(self._execute, _REMOVE, list(owners))

    def _execute(self, sql: str, rows: Sequence[tuple[SqlValue, ...]]) -> None:
        with self._writing:
            try:
                with self._writer:
                    self._writer.executemany(sql, rows)
            except apsw.Error as error:
                raise self._failed("write to", error) from error

    def close(self) -> None:
        """Close the file; waits for what is being written."""
        self._reader.close()
        with self._writing:
            self._writer.close()

    def _failed(self, action: str, error: apsw.Error) -> StorageError:
        return StorageError(f"cannot {action} {self._path}: {error}")


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    return connection
