"""One model's table: its SQL, and the statements that change and read it."""

from __future__ import annotations

from collections.abc import Sequence
from random import randint

import apsw

from quorate.models.columns import SqlValue
from quorate.models.schema import Column, ModelSchema, NoDefault, Row


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
        parts.append(f"REFERENCES {quoted(target.table)} ({quoted(target.column)}) ON DELETE {target.on_delete}")
    return " ".join(parts)


def create_table_sql(schema: ModelSchema) -> str:
    """A rowid table: its secondary indexes stay small, and a random rowid finds a random object."""
    definitions = ", ".join(column_sql(column) for column in schema.columns)
    return f"CREATE TABLE {quoted(schema.table)} ({definitions}) STRICT"


def index_name(table: str, column: str) -> str:
    """The quoted name of the index on one column."""
    return quoted(f"{table}__{column}")


def create_index_sql(table: str, column: Column) -> str:
    """The index that the column's attributes ask for; empty if they ask for none."""
    if not (column.unique or column.indexed):
        return ""
    kind = "UNIQUE INDEX" if column.unique else "INDEX"
    return f"CREATE {kind} {index_name(table, column.name)} ON {quoted(table)} ({quoted(column.name)})"


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
        self._get = f"SELECT {columns} FROM {name} WHERE {key} = ?"
        self._exists = f"SELECT 1 FROM {name} WHERE {key} = ?"
        self._page = f"SELECT {columns} FROM {name} ORDER BY {key} LIMIT ? OFFSET ?"
        self._delete = f"DELETE FROM {name} WHERE {key} = ?"
        self._rowids = f"SELECT (SELECT min(_rowid_) FROM {name}), (SELECT max(_rowid_) FROM {name})"
        self._from_rowid = f"SELECT {key} FROM {name} WHERE _rowid_ >= ? ORDER BY _rowid_ LIMIT 1"
        self._inserts: dict[tuple[str, ...], str] = {}
        self._updates: dict[tuple[str, ...], str] = {}
        self.count: int = connection.execute(f"SELECT count(*) FROM {name}").get

    # -- changes -----------------------------------------------------------------------------------------

    def insert(self, columns: tuple[str, ...], row: Row) -> None:
        self._execute(self._insert_sql(columns), row)
        self.count += 1

    def insert_many(self, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Stops at the first row that is refused; the caller undoes those before it."""
        self.connection.executemany(self._insert_sql(columns), rows)
        self.count += len(rows)

    def update(self, key: SqlValue, columns: tuple[str, ...], values: Row) -> Row | None:
        """The row after the change, or ``None`` if there is none with this key."""
        sql = self._updates.get(columns)
        if sql is None:
            changes = ", ".join(f"{quoted(name)} = ?" for name in columns)
            key_name, names = quoted(self.schema.key.name), ", ".join(map(quoted, self.schema.names))
            sql = f"UPDATE {quoted(self.schema.table)} SET {changes} WHERE {key_name} = ? RETURNING {names}"
            self._updates[columns] = sql
        row: Row | None = self._execute(sql, (*values, key)).fetchone()
        return row

    def delete(self, key: SqlValue) -> bool:
        """Whether there was such a row."""
        self._execute(self._delete, (key,))
        found = self.connection.changes() == 1
        self.count -= found
        return found

    def _insert_sql(self, columns: tuple[str, ...]) -> str:
        sql = self._inserts.get(columns)
        if sql is None:
            names, marks = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
            sql = f"INSERT INTO {quoted(self.schema.table)} ({names}) VALUES ({marks})"
            self._inserts[columns] = sql
        return sql

    # -- reads -------------------------------------------------------------------------------------------

    def get(self, key: SqlValue) -> Row | None:
        row: Row | None = self._execute(self._get, (key,)).fetchone()
        return row

    def exists(self, key: SqlValue) -> bool:
        return self._execute(self._exists, (key,)).fetchone() is not None

    def page(self, limit: int, offset: int, bytes_max: int | None = None) -> list[Row]:
        """Rows in the order of their primary keys.

        The page ends early, behind its first row at the soonest, where texts and blobs come to ``bytes_max``.
        """
        cursor = self._execute(self._page, (limit, offset))
        if bytes_max is None:
            return cursor.fetchall()
        rows: list[Row] = []
        for row in cursor:
            rows.append(row)
            bytes_max -= sum([len(value) for value in row if isinstance(value, str | bytes)])
            if bytes_max <= 0:
                break
        return rows

    def find(self, column: str, value: SqlValue) -> SqlValue:
        """The key of an object with this value, the smallest if there are several; ``None`` if there is none."""
        key = quoted(self.schema.key.name)
        found: SqlValue = self._execute(
            f"SELECT {key} FROM {quoted(self.schema.table)} WHERE {quoted(column)} = ? ORDER BY {key} LIMIT 1",
            (value,),
        ).get
        return found

    def random_key(self) -> SqlValue:
        """The key of some object, ``None`` if there is none. Even, as far as nothing was deleted."""
        first, last = self._execute(self._rowids).get
        if first is None:
            return None
        key: SqlValue = self._execute(self._from_rowid, (randint(first, last),)).get
        return key
