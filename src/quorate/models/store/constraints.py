"""Which constraint SQLite's refusal was about.

SQLite names at most the constraint, and of several broken ones it names whichever it met first, which depends
on how the file came to be. Every node must give the same answer, so the broken constraint is looked for here, in
the order of the declaration. Only refusals pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quorate.models.errors import Conflict, Invalid, ModelRefusal
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Column, Row
from quorate.models.store.tables import Table

VALUE_CHARACTERS_MAX = 200


def explain_write(
    tables: Mapping[str, Table],
    table: Table,
    columns: Sequence[str],
    values: Row,
    own_key: SqlValue,
    row: int | None = None,
) -> ModelRefusal:
    """Why these values could not be written. ``own_key`` is ``None`` for a new object."""
    schema = table.schema
    given = dict(zip(columns, values, strict=True))
    for column in schema.columns:
        value = given.get(column.name)
        if value is None:
            continue
        if column.primary_key or column.unique:
            holder = table.find(column.name, value)
            if holder is not None and holder != own_key:
                return Conflict(schema.name, column.name, "unique", _shown(table, column, value), row)
        if column.references is not None and not tables[column.references.model].exists(value):
            return Conflict(schema.name, column.name, "foreign_key", _shown(table, column, value), row)
    # Only a node with another idea of the columns can have let such a command through.
    return Invalid.of(schema.name, [("", "constraint", "the values do not fit the columns")], row)


def explain_delete(tables: Mapping[str, Table], table: Table, key: SqlValue) -> Conflict:
    """Which object still refers to the one that was to be deleted."""
    schema = table.schema
    shown = _shown(table, schema.key, key)
    for other in tables.values():
        for column in other.schema.columns:
            if column.references is not None and column.references.model == schema.name:
                holder = other.find(column.name, key)
                if holder is not None:
                    return Conflict(schema.name, f"{other.schema.name}.{column.name}", "referenced", shown)
    return Conflict(schema.name, schema.key.name, "referenced", shown)


def _shown(table: Table, column: Column, value: SqlValue) -> str:
    return str(table.schema.show(column, value))[:VALUE_CHARACTERS_MAX]
