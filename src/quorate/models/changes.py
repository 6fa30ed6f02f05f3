"""Carries out the operations of commands: on tables, in the event log, in the history, and on what refers to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apsw

from quorate.models.calls import called_row
from quorate.models.commands import Call, Check, Create, Delete, MergePatch, Operation, Patch, Replace
from quorate.models.errors import Conflict, Immutable, NotFound, VersionMismatch
from quorate.models.merge import merged_row
from quorate.models.store.columns import SqlValue
from quorate.models.store.constraints import explain_delete, explain_write
from quorate.models.store.events import Cause, EventLog
from quorate.models.store.history import History
from quorate.models.store.schema import Column, ModelSchema, Row
from quorate.models.store.tables import Stored, Table

CASCADE_MAX = 10_000
"""So many objects may one deletion delete or change beside its own; more would hold up everything else."""


class Changes:
    """All tables of one file. Each operation either succeeds or raises
    :class:`~quorate.models.errors.ModelRefusal`; it may have changed something by then, which the caller undoes.
    """

    def __init__(self, tables: Mapping[str, Table], events: EventLog, histories: Mapping[str, History]) -> None:
        self._tables = tables
        self._events = events
        self._histories = histories

    def perform(self, operation: Operation, cause: Cause) -> object:
        """The operation's result: see :mod:`quorate.models.commands`."""
        table = self._tables[operation.model]
        match operation:
            case Create():
                return self._create(table, operation, cause)
            case Replace() | Patch():
                current = self._current(table, operation.key, operation.expected)
                return self._update(table, current, operation.columns, operation.values, cause)
            case MergePatch():
                current = self._current(table, operation.key, operation.expected)
                row = merged_row(table.schema, current.row, json.loads(operation.document), whole=operation.whole)
                return self._replace_row(table, current, row, cause)
            case Call():
                current = self._current(table, operation.key, operation.expected)
                row = called_row(table.schema, current.row, operation.event, operation.arguments, cause.context)
                return self._replace_row(table, current, row, cause, operation.event)
            case Delete():
                self._delete(table, self._current(table, operation.key, operation.expected), cause)
                return None
            case Check():
                return self._current(table, operation.key, operation.expected).version

    def _current(self, table: Table, key: SqlValue, expected: int | None) -> Stored:
        stored = table.stored(key)
        if stored is None:
            raise NotFound(table.schema.name, table.schema.show_key(key))
        if expected is not None and stored.version != expected:
            raise VersionMismatch(table.schema.name, table.schema.show_key(key), stored.version)
        return stored

    # -- creating ----------------------------------------------------------------------------------------

    def _create(self, table: Table, command: Create, cause: Cause) -> list[SqlValue]:
        columns, rows = command.columns, command.rows
        at = columns.index(table.schema.key.name)
        if table.schema.key_is_stamped:
            stamp = cause.context.uuid7_bytes
            rows = [row if row[at] is not None else (*row[:at], stamp(), *row[at + 1 :]) for row in rows]
        first = self._events.last + 1
        if len(rows) == 1:
            try:
                table.insert(columns, rows[0], first)
            except apsw.ConstraintError:
                raise explain_write(self._tables, table, columns, rows[0], None) from None
        else:
            self._insert_all(table, columns, rows, first)
        keys = [row[at] for row in rows]
        self._events.created(cause, table.schema.name, columns, rows, at)
        history = self._histories.get(table.schema.name)
        if history is not None:
            history.created(cause, first, _complete(table.schema, columns, rows))
        return [first, *keys]

    def _insert_all(self, table: Table, columns: tuple[str, ...], rows: Sequence[Row], first: int) -> None:
        changes_before = table.connection.total_changes()
        try:
            table.insert_many(columns, rows, first)
        except apsw.ConstraintError:
            at = table.connection.total_changes() - changes_before  # so many rows went in before the bad one
            raise explain_write(self._tables, table, columns, rows[at], None, row=at) from None

    # -- changing ----------------------------------------------------------------------------------------

    def _replace_row(self, table: Table, current: Stored, row: Row, cause: Cause, name: str = "") -> list[object]:
        schema = table.schema
        if row[schema.key_position] != current.row[schema.key_position]:
            raise Immutable(schema.name, schema.key.name)
        return self._update(table, current, schema.names, row, cause, name)

    def _update(
        self, table: Table, current: Stored, columns: tuple[str, ...], values: Row, cause: Cause, name: str = ""
    ) -> list[object]:
        """Changes what is different, and nothing if nothing is. Returns the row and its version."""
        schema = table.schema
        before = current.row
        changed = tuple(
            (column, value)
            for column, value in zip(columns, values, strict=True)
            if before[schema.position(column)] != value
        )
        if not changed and not name:
            return [before, current.version]
        columns, values = tuple(column for column, _ in changed), tuple(value for _, value in changed)
        immutable = changed_immutable(schema, before, columns, values)
        if immutable is not None:
            raise Immutable(schema.name, immutable)
        key, version = before[schema.key_position], self._events.last + 1
        try:
            table.update(key, columns, values, version)
        except apsw.ConstraintError:
            raise explain_write(self._tables, table, columns, values, key) from None
        self._events.updated(cause, schema.name, name, key, columns, values)
        row = schema.with_values(before, columns, values)
        history = self._histories.get(schema.name)
        if history is not None:
            history.updated(cause, version, name, before, row)
        return [row, version]

    # -- deleting ----------------------------------------------------------------------------------------

    def _delete(self, table: Table, current: Stored, cause: Cause) -> None:
        """Delete an object, and before it what refers to it, as that declares.

        Depth first, so that nothing is deleted while something refers to it; a chain may be as long as
        :data:`CASCADE_MAX`. Only a model that refers to itself can close a circle. What refers to an object and
        restricts is found by SQLite, as the last.
        """
        root, left = current.row[table.schema.key_position], CASCADE_MAX
        path = [_Deletion(table, current.row, self._following(table.schema, root))]
        begun = {(table.schema.name, root)}
        while path:
            deletion = path[-1]
            follower = next(deletion.followers, None)
            if follower is None:
                path.pop()
                self._delete_one(deletion.table, deletion.row, cause)
                continue
            other, column, key = follower
            if (other.schema.name, key) in begun:
                other.detach(deletion.key, column.name, key)
                continue
            left -= 1
            if left < 0:
                shown = table.schema.show_key(root)
                raise Conflict(table.schema.name, f"{other.schema.name}.{column.name}", "too_many", shown)
            stored = other.stored(key)
            assert stored is not None, "only what is in begun can have gone meanwhile"
            if column.references is not None and column.references.on_delete == "cascade":
                begun.add((other.schema.name, key))
                path.append(_Deletion(other, stored.row, self._following(other.schema, key)))
            else:
                self._update(other, stored, (column.name,), (None,), cause)

    def _following(self, schema: ModelSchema, key: SqlValue) -> Iterator[tuple[Table, Column, SqlValue]]:
        """What has to follow a deletion, in an order that is the same however the models are declared."""
        referring = [
            (other, column)
            for other in self._tables.values()
            for column in other.schema.columns
            if column.references is not None
            and column.references.model == schema.name
            and column.references.on_delete != "restrict"
        ]
        for other, column in sorted(referring, key=lambda each: (each[0].schema.name, each[1].name)):
            for found in other.referring(column.name, key, CASCADE_MAX + 1):
                yield other, column, found

    def _delete_one(self, table: Table, row: Row, cause: Cause) -> None:
        schema = table.schema
        key = row[schema.key_position]
        try:
            table.delete(key)
        except apsw.ConstraintError:
            raise explain_delete(self._tables, table, key) from None
        version = self._events.last + 1
        self._events.deleted(cause, schema.name, key)
        history = self._histories.get(schema.name)
        if history is not None:
            history.deleted(cause, version, row)


class _Deletion(NamedTuple):
    """An object that is about to be deleted, and what has to go before it."""

    table: Table
    row: Row
    followers: Iterator[tuple[Table, Column, SqlValue]]

    @property
    def key(self) -> SqlValue:
        return self.row[self.table.schema.key_position]


def _complete(schema: ModelSchema, columns: tuple[str, ...], rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with all columns: those that an older declaration does not know have their defaults."""
    if columns == schema.names:
        return rows
    return [schema.with_values(schema.defaults, columns, row) for row in rows]


def changed_immutable(schema: ModelSchema, current: Row, columns: Sequence[str], values: Row) -> str | None:
    """The first immutable field that ``values`` would change."""
    for name, value in zip(columns, values, strict=True):
        column = schema.by_name[name]
        if not column.immutable:
            continue
        before = current[schema.position(name)]
        if column.codec.is_json and isinstance(before, str) and isinstance(value, str):
            if json.loads(before) != json.loads(value):  # the order of members does not count
                return name
        elif before != value:
            return name
    return None
