"""The declarations recorded in the file, and what may change between two starts.

Every node applies the same log, possibly under an older or a newer declaration than its peers. So only those
changes are made by just starting with a new declaration which no outcome of a command depends on: a new
model, a new field that old commands need not mention, an index. Whatever would make two nodes judge one
command differently is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from quorate.errors import ConfigError, StorageError
from quorate.models.store.schema import Column, ModelSchema, NoDefault
from quorate.models.store.tables import column_sql, create_index_sql, create_table_sql, index_name, quoted

RECORDS_TABLE = "quorate_models"
RECORDS = (
    f"CREATE TABLE IF NOT EXISTS {RECORDS_TABLE} "
    "(name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) STRICT, WITHOUT ROWID"
)
_FREE = ("indexed",)  # may differ between nodes without changing what a command does


def open_tables(connection: apsw.Connection, schemas: Sequence[ModelSchema]) -> None:
    """Create, extend or check the tables of ``schemas``, which are in the order of their references.

    Raises :class:`~quorate.errors.ConfigError` if the file holds something that the declarations do not fit, and
    :class:`~quorate.errors.StorageError` if what it says of them cannot be read.
    """
    try:
        _open_tables(connection, schemas)
    except (ValueError, KeyError, TypeError) as error:  # SQLite has no checksums: a record that decayed gets this far
        raise StorageError(
            f"the declarations recorded in {connection.filename} cannot be read ({error!r}): the file is damaged. "
            "Remove it: the state is made anew from the log"
        ) from error


def _open_tables(connection: apsw.Connection, schemas: Sequence[ModelSchema]) -> None:
    connection.execute(RECORDS)
    records: list[Any] = connection.execute("SELECT name, fingerprint FROM quorate_models").fetchall()
    recorded: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in records}
    forgotten = sorted(recorded.keys() - {schema.name for schema in schemas})
    if forgotten:
        raise ConfigError(f"the data directory holds the model {forgotten[0]}, which the app does not declare")
    for schema in schemas:
        fingerprint = schema.fingerprint()
        before = recorded.get(schema.name)
        if before == fingerprint:
            continue
        if before is None:
            connection.execute(create_table_sql(schema))
            for column in schema.columns:
                _create_index(connection, schema, column)
        else:
            _extend(connection, schema, before)
        connection.execute(
            "INSERT INTO quorate_models VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint",
            (schema.name, json.dumps(fingerprint)),
        )


def _extend(connection: apsw.Connection, schema: ModelSchema, before: dict[str, Any]) -> None:
    old = {column["name"]: column for column in before["columns"]}
    _refuse_incompatible(schema, before, old)
    for column in schema.columns:
        if column.name not in old:
            connection.execute(f"ALTER TABLE {quoted(schema.table)} ADD COLUMN {column_sql(column)}")
            _create_index(connection, schema, column)
        elif old[column.name]["indexed"] != column.indexed:
            if column.indexed:
                _create_index(connection, schema, column)
            else:
                connection.execute(f"DROP INDEX IF EXISTS {index_name(schema.table, column.name)}")


def _create_index(connection: apsw.Connection, schema: ModelSchema, column: Column) -> None:
    sql = create_index_sql(schema.table, column)
    if sql:
        connection.execute(sql)


def _refuse_incompatible(schema: ModelSchema, before: dict[str, Any], old: dict[str, dict[str, Any]]) -> None:
    if before["table"] != schema.table:
        raise ConfigError(f"{schema.name}: stored in the table {before['table']}, not in {schema.table}")
    for name in old:
        if name not in schema.by_name:
            raise ConfigError(f"{schema.name}.{name}: stored in the data directory but no longer declared")
    for column in schema.columns:
        where = f"{schema.name}.{column.name}"
        if column.name not in old:
            _check_new(where, column)
            continue
        for attribute, value in column.fingerprint().items():
            stored = old[column.name][attribute]
            if stored != value and attribute not in _FREE:
                raise ConfigError(
                    f"{where}: {attribute} was {stored} when the data was stored and is now {value}; "
                    "this is not a change that a node can make by itself"
                )


def _check_new(where: str, column: Column) -> None:
    if isinstance(column.default, NoDefault):
        raise ConfigError(f"{where}: a field added to stored data needs a default")
    if column.default is not None and (column.references is not None or column.unique):
        raise ConfigError(f"{where}: a unique field or foreign key added to stored data needs default=None")
