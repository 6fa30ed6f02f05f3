"""Which constraint SQLite's refusal was about.

SQLite names at most the constraint, and of several broken ones it names whichever it met first, which depends
on how the file came to be. Every node must give the same answer, so the broken constraint is looked for here: values
that are taken, the primary key first, groups of them, and references that dangle, each by the names of the fields,
for the order in which they are declared may differ between nodes. Only refusals pay for it.
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
    if own_key is not None:
        before = table.get(own_key)
        assert before is not None
        given = dict(zip(schema.names, before, strict=True)) | given
    return (
        _taken(table, given, own_key, row)
        or _dangling(tables, table, given, row)
        # Only a node with another idea of the columns can have let such a command through.
        or Invalid.of(schema.name, [("", "constraint", "the values do not fit the columns")], row)
    )


def _taken(table: Table, given: Mapping[str, SqlValue], own_key: SqlValue, row: int | None) -> Conflict | None:
    """The first value, or group of values, that another object has."""
    schema = table.schema
    single = [column for column in _in_order(table) if column.primary_key or column.unique]
    for reason, group in (
        *(("unique", (column.name,)) for column in single),
        *(("unique_together", group) for group in sorted(schema.unique_together)),
    ):
        wanted = tuple(given.get(name) for name in group)
        if None in wanted:
            continue
        holder = table.find(group, wanted)
        if holder is not None and holder != own_key:
            return Conflict(schema.name, ", ".join(group), reason, _shown(table, group, wanted), row)
    return None


def _dangling(
    tables: Mapping[str, Table], table: Table, given: Mapping[str, SqlValue], row: int | None
) -> Conflict | None:
    """The first reference to an object that is not there."""
    schema = table.schema
    for column in _in_order(table):
        value, references = given.get(column.name), column.references
        if value is None or references is None or tables[references.model].exists(value):
            continue
        if references.model != schema.name or value != given.get(schema.key.name):  # it may refer to itself
            return Conflict(schema.name, column.name, "foreign_key", _shown(table, (column.name,), (value,)), row)
    return None


def explain_delete(tables: Mapping[str, Table], table: Table, key: SqlValue) -> Conflict:
    """Which object still refers to the one that was to be deleted."""
    schema = table.schema
    shown = _shown(table, (schema.key.name,), (key,))
    for _, other in sorted(tables.items()):
        for column in _in_order(other):
            if column.references is not None and column.references.model == schema.name:
                holder = other.find((column.name,), (key,))
                if holder is not None and not (other is table and holder == key):
                    return Conflict(schema.name, f"{other.schema.name}.{column.name}", "referenced", shown)
    return Conflict(schema.name, schema.key.name, "referenced", shown)


def _in_order(table: Table) -> list[Column]:
    """The primary key and then the others by their names."""
    return sorted(table.schema.columns, key=lambda column: (not column.primary_key, column.name))


def _shown(table: Table, names: Sequence[str], values: Row) -> str:
    """The values as clients know them; nothing if one of them is of a field that they do not get to see."""
    columns = [table.schema.by_name[name] for name in names]
    if not all(column.exposed for column in columns):
        return ""
    return ", ".join(
        str(table.schema.show(column, value))[:VALUE_CHARACTERS_MAX]
        for column, value in zip(columns, values, strict=True)
    )
