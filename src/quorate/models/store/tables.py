"""One model's table: its SQL, and the statements that change and read it."""

from __future__ import annotations

from collections.abc import Sequence
from random import randint
from typing import NamedTuple

import apsw

from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Column, ModelSchema, NoDefault, Row

VERSION = "_version"
"""The column of the object's version; a field's name does not begin like this."""
CREATED = "_created"
"""The column of its first version, which tells it from an earlier object with the same primary key."""


class Stored(NamedTuple):
    """An object as it is in its table. Its version is the sequence number of its last change."""

    row: Row
    version: int


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: SqlValue) -> str:
    """An SQL literal."""
    return str(apsw.format_sql_value(value))


def column_sql(column: Column) -> str:
    """The column's definition, fit for CREATE TABLE and for ADD COLUMN."""
    parts = [quoted(column.name), column.codec.sql_type]
    if not column.nullable:
        parts.append("NOT NULL")
    if column.primary_key:
        parts.append("PRIMARY KEY")
    if not isinstance(column.default, NoDefault) and column.default is not None:
        parts.append(f"DEFAULT {literal(column.default)}")
    if column.references is not None:
        target = column.references
        # What follows a deletion is done by :mod:`quorate.models.changes`, which tells of it; this is the last guard.
        parts.append(f"REFERENCES {quoted(target.table)} ({quoted(target.column)}) ON DELETE RESTRICT")
    return " ".join(parts)


def create_table_sql(schema: ModelSchema) -> str:
    """A rowid table: its secondary indexes stay small, and a random rowid finds a random object."""
    definitions = ", ".join(column_sql(column) for column in schema.columns)
    own = f"{VERSION} INTEGER NOT NULL, {CREATED} INTEGER NOT NULL"
    return f"CREATE TABLE {quoted(schema.table)} ({definitions}, {own}) STRICT"


def index_name(table: str, column: str) -> str:
    """The quoted name of the index on one column."""
    return quoted(f"{table}__{column}")


def create_index_sql(schema: ModelSchema, column: Column, named_by: str = "") -> str:
    """The index that the column's attributes ask for; empty if they ask for none.

    ``named_by`` is the table of which it has its name, if that is another: a table that was renamed keeps its indexes.
    Behind the column comes the primary key, which makes every order total: see :mod:`quorate.models.query.ordering`.
    """
    if not (column.unique or column.indexed):
        return ""
    kind, key = ("UNIQUE INDEX", "") if column.unique else ("INDEX", f", {quoted(schema.key.name)}")
    name = index_name(named_by or schema.table, column.name)
    return f"CREATE {kind} {name} ON {quoted(schema.table)} ({quoted(column.name)}{key})"


def create_group_sql(table: str, group: Sequence[str], named_by: str = "") -> str:
    """The index on fields that are unique together."""
    columns = ", ".join(map(quoted, group))
    return f"CREATE UNIQUE INDEX {index_name(named_by or table, ','.join(group))} ON {quoted(table)} ({columns})"


class Table:
    """The open table of one model. ``count`` follows every insert and delete, so asking for it costs nothing.

    Keys and rows are in stored form; rows are complete and in the order of the declaration.
    """

    def __init__(self, connection: apsw.Connection, schema: ModelSchema) -> None:
        self.schema = schema
        self.connection = connection
        self._execute = connection.execute
        name, key = quoted(schema.table), quoted(schema.key.name)
        columns = ", ".join(map(quoted, schema.names))
        self._stored = f"SELECT {columns}, {VERSION} FROM {name} WHERE {key} = ?"
        self._exists = f"SELECT 1 FROM {name} WHERE {key} = ?"
        self._created = f"SELECT {CREATED} FROM {name} WHERE {key} = ?"
        self._page = f"SELECT {columns} FROM {name} ORDER BY {key} LIMIT ? OFFSET ?"
        self._delete = f"DELETE FROM {name} WHERE {key} = ?"
        self._rowids = f"SELECT (SELECT min(_rowid_) FROM {name}), (SELECT max(_rowid_) FROM {name})"
        self._from_rowid = f"SELECT {key} FROM {name} WHERE _rowid_ >= ? ORDER BY _rowid_ LIMIT 1"
        self._inserts: dict[tuple[str, ...], str] = {}
        self._updates: dict[tuple[str, ...], str] = {}
        self.count: int = connection.execute(f"SELECT count(*) FROM {name}").get

    # -- changes -----------------------------------------------------------------------------------------

    def insert(self, columns: tuple[str, ...], row: Row, version: int) -> None:
        """A new object. All changes raise :class:`apsw.ConstraintError` for what would break a constraint."""
        self._execute(self._insert_sql(columns), (*row, version, version))
        self.count += 1

    def insert_many(self, columns: tuple[str, ...], rows: Sequence[Row], first_version: int) -> None:
        """New objects, each one version on. Stops at the first row that is refused; the caller undoes those before."""
        versioned = [(*row, version, version) for version, row in enumerate(rows, first_version)]
        self.connection.executemany(self._insert_sql(columns), versioned)
        self.count += len(rows)

    def update(self, key: SqlValue, columns: tuple[str, ...], values: Row, version: int) -> None:
        """Other values for an object that is there."""
        sql = self._updates.get(columns)
        if sql is None:
            changes = ", ".join(f"{quoted(name)} = ?" for name in (*columns, VERSION))
            sql = f"UPDATE {quoted(self.schema.table)} SET {changes} WHERE {quoted(self.schema.key.name)} = ?"
            self._updates[columns] = sql
        self._execute(sql, (*values, version, key))

    def detach(self, key: SqlValue, column: str, own_key: SqlValue) -> None:
        """The object ``own_key``, which is about to be deleted, refers to ``key`` no more, but to itself."""
        self._execute(
            f"UPDATE {quoted(self.schema.table)} SET {quoted(column)} = ? "
            f"WHERE {quoted(self.schema.key.name)} = ? AND {quoted(column)} = ?",
            (own_key, own_key, key),
        )

    def delete(self, key: SqlValue) -> None:
        """An object that is there is no more."""
        self._execute(self._delete, (key,))
        self.count -= 1

    def _insert_sql(self, columns: tuple[str, ...]) -> str:
        sql = self._inserts.get(columns)
        if sql is None:
            names, marks = ", ".join(map(quoted, (*columns, VERSION, CREATED))), ", ".join("?" * (len(columns) + 2))
            sql = f"INSERT INTO {quoted(self.schema.table)} ({names}) VALUES ({marks})"
            self._inserts[columns] = sql
        return sql

    # -- reads -------------------------------------------------------------------------------------------

    def stored(self, key: SqlValue) -> Stored | None:
        """The object with this key."""
        found: Row | None = self._execute(self._stored, (key,)).fetchone()
        return None if found is None else Stored(found[:-1], found[-1])  # type: ignore[arg-type]

    def get(self, key: SqlValue) -> Row | None:
        """Its row alone."""
        stored = self.stored(key)
        return None if stored is None else stored.row

    def exists(self, key: SqlValue) -> bool:
        return self._execute(self._exists, (key,)).fetchone() is not None

    def created(self, key: SqlValue) -> int | None:
        """The first version of the object with this key."""
        found: int | None = self._execute(self._created, (key,)).get
        return found

    def referring(self, column: str, key: SqlValue, limit: int) -> list[SqlValue]:
        """The keys of objects that have ``key`` in this column, in their order, ``limit`` at most."""
        own = quoted(self.schema.key.name)
        sql = f"SELECT {own} FROM {quoted(self.schema.table)} WHERE {quoted(column)} = ? ORDER BY {own} LIMIT ?"
        return [found for (found,) in self._execute(sql, (key, limit))]

    def page(self, limit: int, offset: int) -> list[Row]:
        """Rows in the order of their primary keys."""
        return self._execute(self._page, (limit, offset)).fetchall()

    def find(self, columns: Sequence[str], values: Row) -> SqlValue:
        """The key of an object with these values, the smallest if there are several; ``None`` if there is none."""
        key = quoted(self.schema.key.name)
        having = " AND ".join(f"{quoted(column)} = ?" for column in columns)
        found: SqlValue = self._execute(
            f"SELECT {key} FROM {quoted(self.schema.table)} WHERE {having} ORDER BY {key} LIMIT 1", values
        ).get
        return found

    def random_key(self) -> SqlValue:
        """The key of some object, ``None`` if there is none. Even, as far as nothing was deleted."""
        first, last = self._execute(self._rowids).get
        if first is None:
            return None
        key: SqlValue = self._execute(self._from_rowid, (randint(first, last),)).get
        return key
