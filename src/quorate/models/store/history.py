"""What the fields of one model's objects were before: for those that are declared ``track_history`` or ``audited``.

Each change of an object that concerns such a field is a row: when, by whom, and of each of these fields the new value;
of an audited one the old one as well. A field's ``retention`` says how long. It is a command of the log that deletes
what is older, so all nodes delete the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw
import msgspec

from quorate.models.store.columns import SqlValue
from quorate.models.store.events import Cause, Kind
from quorate.models.store.schema import Column, ModelSchema, Row
from quorate.models.store.tables import quoted

RETENTIONS_TABLE = "quorate_retentions"
READ_BYTES_MAX = 256 * 1024
"""Reading ends behind the entry with which they come to this."""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {RETENTIONS_TABLE} (
    model TEXT NOT NULL,
    retention_us INTEGER NOT NULL,
    deleted_to INTEGER NOT NULL,
    PRIMARY KEY (model, retention_us)
) STRICT, WITHOUT ROWID;
"""

COLUMNS = ("sequence", "key", "entry_index", "time_us", "origin", "actor", "kind", "name", "changes")
"""Those of a history table, in their order."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[Any]]).decode


class FieldChange(NamedTuple):
    """The stored values of one field; ``old`` only if the field is audited."""

    new: SqlValue
    old: SqlValue
    has_old: bool


class Entry(NamedTuple):
    """What one change was to one object. A creation names all the fields concerned, a deletion none."""

    sequence: int
    key: SqlValue
    entry_index: int
    time_us: int
    origin: int
    actor: str | None
    kind: Kind
    name: str
    changes: dict[str, FieldChange]


def history_table(schema: ModelSchema) -> str:
    """The name of a model's history table."""
    return f"history_{schema.table}"


def create_history_sql(table: str, key_type: str, index: str) -> str:
    """Creates such a table and its index; ``key_type`` is the SQL type of the objects' keys."""
    return f"""
    CREATE TABLE {quoted(table)} (
        sequence INTEGER PRIMARY KEY,
        key {key_type} NOT NULL,
        entry_index INTEGER NOT NULL,
        time_us INTEGER NOT NULL,
        origin INTEGER NOT NULL,
        actor TEXT,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        changes BLOB NOT NULL
    ) STRICT;
    CREATE INDEX {quoted(index)} ON {quoted(table)} (key);
    """


def history_index(table: str) -> str:
    """What the index of a history table is called, unless the table was renamed: it keeps its index."""
    return f"{table}__key"


def _make_if_missing(connection: apsw.Connection, schema: ModelSchema) -> None:
    connection.execute(SCHEMA)
    table = history_table(schema)
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).get is None:
        connection.execute(create_history_sql(table, schema.key.codec.sql_type, history_index(table)))


class History:
    """The history of one model."""

    def __init__(self, connection: apsw.Connection, schema: ModelSchema) -> None:
        _make_if_missing(connection, schema)
        self._connection = connection
        self.schema = schema
        positions = {name: at for at, name in enumerate(schema.names)}
        self._kept = [(column, positions[column.name]) for column in schema.columns if column.has_history]
        table = quoted(history_table(schema))
        columns = ", ".join(COLUMNS)
        self._insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._of_key = f"SELECT {columns} FROM {table} WHERE key = ? AND sequence > ? ORDER BY sequence LIMIT ?"
        self._back = f"SELECT {columns} FROM {table} WHERE key = ? AND sequence <= ? ORDER BY sequence DESC LIMIT ?"
        self._count = f"SELECT count(*) FROM {table} WHERE key = ?"
        # The times are in the order of the sequence, so nothing old is behind the first that is not.
        self._old = (
            "SELECT sequence, kind, changes "
            f"FROM (SELECT * FROM {table} WHERE sequence > ?1 ORDER BY sequence LIMIT ?3) "
            "WHERE time_us < ?2 ORDER BY sequence"
        )
        self._rewrite = f"UPDATE {table} SET changes = ? WHERE sequence = ?"
        self._delete = f"DELETE FROM {table} WHERE sequence = ?"

    # -- writing -----------------------------------------------------------------------------------------

    def created(self, cause: Cause, first: int, rows: Iterable[Row]) -> None:
        """Objects were created, with the sequence numbers from ``first`` on."""
        at_key = self.schema.key_position
        self._add_all(
            cause,
            Kind.CREATED,
            "",
            (
                (sequence, row[at_key], {column.name: _change(column, row[at], None) for column, at in self._kept})
                for sequence, row in enumerate(rows, first)
            ),
        )

    def updated(self, cause: Cause, sequence: int, name: str, old: Row, new: Row) -> None:
        """An object was changed; that may concern none of the fields."""
        changes = {column.name: _change(column, new[at], old[at]) for column, at in self._kept if new[at] != old[at]}
        if changes:
            self._add_all(cause, Kind.UPDATED, name, [(sequence, new[self.schema.key_position], changes)])

    def deleted(self, cause: Cause, sequence: int, old: Row) -> None:
        """An object was deleted. What audited fields were is told."""
        changes = {column.name: [None, old[at]] for column, at in self._kept if column.audited}
        self._add_all(cause, Kind.DELETED, "", [(sequence, old[self.schema.key_position], changes)])

    def _add_all(
        self, cause: Cause, kind: Kind, name: str, entries: Iterable[tuple[int, SqlValue, dict[str, list[SqlValue]]]]
    ) -> None:
        context = cause.context
        shared = (context.index, context.time_us, context.origin, cause.actor, kind.value, name)
        self._connection.executemany(
            self._insert, [(sequence, key, *shared, _encode(changes)) for sequence, key, changes in entries]
        )

    # -- reading -----------------------------------------------------------------------------------------

    def of(self, key: SqlValue, after: int, limit: int) -> list[Entry]:
        """The entries of one object behind the sequence number ``after``, in order; some of them, bounded in bytes."""
        return self._read(self._of_key, (key, after, limit))

    def back(self, key: SqlValue, sequence: int, limit: int) -> list[Entry]:
        """The entries of one object up to number ``sequence``, the last one first; some of them, likewise."""
        return self._read(self._back, (key, sequence, limit))

    def _read(self, sql: str, bindings: tuple[SqlValue, ...]) -> list[Entry]:
        entries: list[Entry] = []
        bytes_left = READ_BYTES_MAX
        for row in self._connection.execute(sql, bindings):
            entries.append(_entry(row))
            bytes_left -= len(row[-1])
            if bytes_left <= 0:
                break
        return entries

    def count(self, key: SqlValue) -> int:
        """How many entries an object has."""
        found: int = self._connection.execute(self._count, (key,)).get
        return found

    # -- retention ---------------------------------------------------------------------------------------

    @property
    def retentions_us(self) -> list[int]:
        """The lengths of time for which some field is kept."""
        return sorted({column.retention_us for column, _ in self._kept if column.retention_us is not None})

    def retain(self, now_us: int, limit: int) -> int:
        """Delete what is too old, of ``limit`` entries at most; returns how many were looked at."""
        looked_at = 0
        for retention_us in self.retentions_us:
            looked_at += self._retain(retention_us, now_us - retention_us, limit - looked_at)
        return looked_at

    def is_over(self, now_us: int) -> bool:
        """Whether :meth:`retain` would find something."""
        return any(
            self._connection.execute(self._old, (self._deleted_to(retention_us), now_us - retention_us, 1)).fetchone()
            for retention_us in self.retentions_us
        )

    def _deleted_to(self, retention_us: int) -> int:
        found: int | None = self._connection.execute(
            f"SELECT deleted_to FROM {RETENTIONS_TABLE} WHERE model = ? AND retention_us = ?",
            (self.schema.name, retention_us),
        ).get
        return found or 0

    def _retain(self, retention_us: int, before_us: int, limit: int) -> int:
        others = {column.name: column.retention_us for column, _ in self._kept if column.retention_us != retention_us}
        is_last = all(other is not None and other < retention_us for other in others.values())
        bindings = (self._deleted_to(retention_us), before_us, limit)
        found: list[Any] = self._connection.execute(self._old, bindings).fetchall()
        for sequence, kind, encoded in found:
            changes = {name: change for name, change in _decode(encoded).items() if name in others}
            if is_last or (not changes and kind == Kind.UPDATED):
                self._connection.execute(self._delete, (sequence,))
            else:
                self._connection.execute(self._rewrite, (_encode(changes), sequence))
        if found:
            self._connection.execute(
                f"INSERT OR REPLACE INTO {RETENTIONS_TABLE} VALUES (?, ?, ?)",
                (self.schema.name, retention_us, found[-1][0]),
            )
        return len(found)


def _change(column: Column, new: SqlValue, old: SqlValue) -> list[SqlValue]:
    return [new, old] if column.audited else [new]


def _entry(row: Any) -> Entry:
    sequence, key, entry_index, time_us, origin, actor, kind, name, encoded = row
    changes = {
        field: FieldChange(change[0], change[-1], has_old=len(change) > 1) for field, change in _decode(encoded).items()
    }
    return Entry(sequence, key, entry_index, time_us, origin, actor, Kind(kind), name, changes)
