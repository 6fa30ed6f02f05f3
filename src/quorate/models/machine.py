"""The state machine of declared models: every command is one atomic change of the group's SQLite file."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw
import msgspec

from quorate.errors import StorageError
from quorate.machine.contract import ApplyContext, DiskStateMachine
from quorate.machine.sqlite import SqliteState
from quorate.models.columns import SqlValue
from quorate.models.commands import Create, Delete, MergePatch, Patch, Replace, decode_command
from quorate.models.constraints import explain_delete, explain_write
from quorate.models.errors import Immutable, NotFound, SchemaBehind
from quorate.models.evolution import RECORDS_TABLE, open_tables
from quorate.models.merge import merged_row
from quorate.models.schema import ModelSchema, Row
from quorate.models.tables import Table

MACHINE = "models"
"""The machine's name: under it the router finds it and the file keeps its applied index."""


class ModelsMachine(DiskStateMachine):
    """Applies the commands of :mod:`quorate.models.commands`.

    Refuses with :class:`~quorate.models.errors.ModelRefusal`. :class:`~quorate.models.errors.SchemaBehind` and
    :class:`apsw.Error` (a full disk, a corrupt file) are no refusals: other nodes do not meet them, so the node
    must stop.
    """

    local_tables = frozenset({RECORDS_TABLE})  # an index may be declared on some nodes before the others

    def __init__(self, schemas: Sequence[ModelSchema]) -> None:
        """``schemas`` come in the order of their references, targets first (:attr:`quorate.app.App.schemas`)."""
        self._schemas = tuple(schemas)
        self.tables: dict[str, Table] = {}

    def open(self, state: SqliteState) -> None:
        try:
            with state.savepoint():
                open_tables(state.connection, self._schemas)
            self._state = state
            self.tables = {schema.name: Table(state.connection, schema) for schema in self._schemas}
        except apsw.Error as error:
            raise StorageError(f"the tables in {state.path} cannot be opened: {error}") from error

    def apply(self, command: bytes, context: ApplyContext) -> object:
        try:
            decoded = decode_command(command)
        except msgspec.MsgspecError as error:
            raise SchemaBehind(f"entry {context.index} is not a command this version knows: {error}") from error
        table = self.tables.get(decoded.model)
        if table is None:
            raise SchemaBehind(f"entry {context.index} names the model {decoded.model}, which is not declared here")
        match decoded:
            case Create():
                return self._create(table, decoded, context)
            case Replace() | Patch():
                self._check_columns(table, decoded.columns, context)
                return self._update(table, decoded.key, decoded.columns, decoded.values)
            case MergePatch():
                return self._merge(table, decoded)
            case Delete():
                self._delete(table, decoded.key)
                return None

    def _create(self, table: Table, command: Create, context: ApplyContext) -> list[SqlValue]:
        columns, rows = command.columns, command.rows
        self._check_columns(table, columns, context)
        at = columns.index(table.schema.key.name)
        if table.schema.key_is_stamped:
            rows = [row if row[at] is not None else (*row[:at], context.uuid7_bytes(), *row[at + 1 :]) for row in rows]
        if len(rows) == 1:
            try:
                table.insert(columns, rows[0])
            except apsw.ConstraintError:
                raise explain_write(self.tables, table, columns, rows[0], None) from None
        else:
            with self._state.savepoint():
                self._insert_all(table, columns, rows)
        return [row[at] for row in rows]

    def _insert_all(self, table: Table, columns: tuple[str, ...], rows: list[Row]) -> None:
        changes_before = table.connection.total_changes()
        try:
            table.insert_many(columns, rows)
        except apsw.ConstraintError:
            at = table.connection.total_changes() - changes_before  # so many rows went in before the bad one
            raise explain_write(self.tables, table, columns, rows[at], None, row=at) from None

    def _update(self, table: Table, key: SqlValue, columns: tuple[str, ...], values: Row) -> Row:
        self._check_immutable(table, key, columns, values)
        try:
            row = table.update(key, columns, values) if columns else table.get(key)
        except apsw.ConstraintError:
            raise explain_write(self.tables, table, columns, values, key) from None
        if row is None:
            raise NotFound(table.schema.name, table.schema.show_key(key))
        return row

    def _merge(self, table: Table, command: MergePatch) -> Row:
        current = table.get(command.key)
        if current is None:
            raise NotFound(table.schema.name, table.schema.show_key(command.key))
        schema = table.schema
        row = merged_row(schema, current, json.loads(command.document))
        if row[schema.key_position] != command.key:
            raise Immutable(schema.name, schema.key.name)
        return self._update(table, command.key, schema.names_without_key, schema.without_key(row))

    def _delete(self, table: Table, key: SqlValue) -> None:
        try:
            found = table.delete(key)
        except apsw.ConstraintError:
            raise explain_delete(self.tables, table, key) from None
        if not found:
            raise NotFound(table.schema.name, table.schema.show_key(key))

    def _check_columns(self, table: Table, columns: tuple[str, ...], context: ApplyContext) -> None:
        for name in columns:
            if name not in table.schema.by_name:
                raise SchemaBehind(
                    f"entry {context.index} names {table.schema.name}.{name}, which is not declared here"
                )

    def _check_immutable(self, table: Table, key: SqlValue, columns: tuple[str, ...], values: Row) -> None:
        frozen = table.schema.immutable_names
        if frozen.isdisjoint(columns):
            return
        current = table.get(key)
        if current is not None:
            changed = changed_immutable(table.schema, current, columns, values)
            if changed is not None:
                raise Immutable(table.schema.name, changed)


def changed_immutable(schema: ModelSchema, current: Row, columns: Sequence[str], values: Row) -> str | None:
    """The first immutable field that ``values`` would change."""
    for name, value in zip(columns, values, strict=True):
        column = schema.by_name[name]
        if not column.immutable:
            continue
        before = current[schema.names.index(name)]
        if column.codec.is_json and isinstance(before, str) and isinstance(value, str):
            if json.loads(before) != json.loads(value):  # the order of members does not count
                return name
        elif before != value:
            return name
    return None
