"""Carries out what leads from one form of the tables to another: everything in a file, between two commands."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from quorate.models.migrations import Fields, Migration, RenameModel, Stored, encoded
from quorate.models.store.columns import SqlValue
from quorate.models.store.events import EVENTS_TABLE, Kind
from quorate.models.store.evolution import Draft, create_tables
from quorate.models.store.forms import Form, former_schema
from quorate.models.store.history import RETENTIONS_TABLE, history_table
from quorate.models.store.schema import ModelSchema, Row
from quorate.models.store.tables import CREATED, VERSION, column_sql, create_index_sql, quoted

log = logging.getLogger(__name__)

_PREFIX = "quorate_former_"
_ROWS_AT_ONCE = 1000
_ROWS_TOLD = 100_000
"""After so many rows the log says how far it is."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Migrator:
    """The way from the form ``before`` to ``after``, on which ``draft`` is what the migrations alone lead to."""

    def __init__(
        self, connection: apsw.Connection, before: Form, after: Form, draft: Draft, migrations: Sequence[Migration]
    ) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._draft = draft
        self._migrations = migrations
        self._before = {name: former_schema(name, before) for name in before}
        self._after = {name: former_schema(name, after) for name in after}
        self._removed = [name for name in before if name not in draft.names.values()]
        self._rebuilt = self._to_rebuild()

    def _to_rebuild(self) -> list[str]:
        """The models, by their names now, whose tables are made anew: SQLite drops no table that is referred to."""
        rebuilt = [name for name in self._draft.names if self._draft.is_changed(name)]
        for name in rebuilt:  # which grows
            former = self._draft.names[name]
            for other, was in self._draft.names.items():
                if other not in rebuilt and _refers(self._before[was], former):
                    rebuilt.append(other)
        return rebuilt

    def run(self) -> None:
        """All of it. The caller undoes it if this raises :class:`apsw.ConstraintError`, or what a migration raises."""
        self._execute("PRAGMA defer_foreign_keys = 1")
        try:
            self._rebuild()
        finally:
            self._execute("PRAGMA defer_foreign_keys = 0")
        self._extend()
        self._rewrite_history()
        self._rewrite_events()
        for name in self._rebuilt:
            if self._execute(f"PRAGMA foreign_key_check({quoted(self._after[name].table)})").fetchone():
                raise apsw.ConstraintError(f"a field of {name} refers to what is not there")

    # -- tables ------------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        former = [self._before[name] for name in (*self._removed, *map(self._draft.names.__getitem__, self._rebuilt))]
        for schema in former:
            sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
            indexes: list[Any] = self._execute(sql, (schema.table,)).fetchall()
            for (index,) in indexes:
                self._execute(f"DROP INDEX {quoted(index)}")
            self._execute(f"ALTER TABLE {quoted(schema.table)} RENAME TO {quoted(_PREFIX + schema.table)}")
        create_tables(self._connection, [self._after[name] for name in self._rebuilt])
        for name in self._rebuilt:
            self._copy(self._before[self._draft.names[name]], self._after[name])
        for schema in referring_first(former):
            self._drop(schema)

    def _copy(self, before: ModelSchema, after: ModelSchema) -> None:
        columns = (*before.names, VERSION, CREATED)
        rows = self._execute(
            f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(_PREFIX + before.table)} "
            f"ORDER BY {quoted(before.key.name)}"  # what is refused first is so on every node
        )
        names = ", ".join(map(quoted, (*after.names, VERSION, CREATED)))
        marks = ", ".join("?" * (len(after.names) + 2))
        insert = f"INSERT INTO {quoted(after.table)} ({names}) VALUES ({marks})"
        steps = steps_of(before.name, self._migrations)
        done = 0
        for batch in _batches(rows):
            self._connection.executemany(
                insert, [(*whole_row(before, after, steps, row[:-2]), *row[-2:]) for row in batch]
            )
            done += len(batch)
            if done % _ROWS_TOLD == 0:
                log.info("migrating %s: %d objects so far", after.name, done)
        log.info("migrated %s: %d objects", after.name, done)

    def _drop(self, schema: ModelSchema) -> None:
        table = quoted(_PREFIX + schema.table)
        for column in schema.columns:
            if column.references is not None and column.references.model == schema.name:
                self._execute(f"UPDATE {table} SET {quoted(column.name)} = {quoted(schema.key.name)}")
        self._execute(f"DROP TABLE {table}")

    def _extend(self) -> None:
        """What no migration is needed for: new models and new fields."""
        for name, schema in self._after.items():
            if name not in self._draft.names:
                create_tables(self._connection, [schema])
            elif name not in self._rebuilt:
                known = self._before[self._draft.names[name]].by_name
                for column in schema.columns:
                    if column.name not in known:
                        self._execute(f"ALTER TABLE {quoted(schema.table)} ADD COLUMN {column_sql(column)}")
                        self._execute(create_index_sql(schema, column))

    # -- what is told of the objects ---------------------------------------------------------------------

    def _rewrite_history(self) -> None:
        for name, was in self._draft.names.items():
            before, after = self._before[was], self._after[name]
            if not before.has_history:
                continue
            table = history_table(after)
            if before.table != after.table:
                self._execute(f"DROP INDEX {quoted(history_table(before) + '__key')}")
                self._execute(f"ALTER TABLE {quoted(history_table(before))} RENAME TO {quoted(table)}")
                self._execute(f"UPDATE {RETENTIONS_TABLE} SET model = ? WHERE model = ?", (name, was))
            if not after.has_history:
                self._forget_history(table, name)
            elif steps := steps_of(was, self._migrations):
                rows: list[Any] = self._execute(f"SELECT sequence, changes FROM {quoted(table)}").fetchall()
                update = f"UPDATE {quoted(table)} SET changes = ? WHERE sequence = ?"
                for sequence, changes in rows:
                    self._execute(update, (_encode(_changes(before, after, steps, _decode(changes))), sequence))
        for was in self._removed:
            if self._before[was].has_history:
                self._forget_history(history_table(self._before[was]), was)

    def _forget_history(self, table: str, model: str) -> None:
        self._execute(f"DROP TABLE {quoted(table)}")
        self._execute(f"DELETE FROM {RETENTIONS_TABLE} WHERE model = ?", (model,))

    def _rewrite_events(self) -> None:
        """The events of a model that is removed stay, for their numbers are those of the log."""
        for name, was in self._draft.names.items():
            steps = steps_of(was, self._migrations)
            if not steps:
                continue
            before, after = self._before[was], self._after[name]
            sql = f"SELECT sequence, kind, data FROM {EVENTS_TABLE} WHERE model = ?"
            update = f"UPDATE {EVENTS_TABLE} SET data = ?, model = ? WHERE sequence = ?"
            rows: list[Any] = self._execute(sql, (was,)).fetchall()
            for sequence, kind, data in rows:
                self._execute(
                    update, (_encode(_event(before, after, steps, Kind(kind), _decode(data))), name, sequence)
                )


# -- the values of one object ---------------------------------------------------------------------------------


def steps_of(model: str, migrations: Iterable[Migration]) -> list[Migration]:
    """The migrations that concern the model, which is called so before them."""
    found = []
    for migration in migrations:
        if migration.model == model:
            found.append(migration)
            if isinstance(migration, RenameModel):
                model = migration.now
    return found


def whole_row(before: ModelSchema, after: ModelSchema, steps: Sequence[Migration], row: Row) -> Row:
    """The row of an object in its new form. Raises what the functions of migrations raise."""
    fields = _fields(before, before.names, row)
    for step in steps:
        step.change(fields, is_whole=True)
    defaults = dict(zip(after.names, after.defaults, strict=True))
    return tuple(
        encoded(column, fields[column.name]) if column.name in fields else defaults[column.name]
        for column in after.columns
    )


def some_values(
    before: ModelSchema, after: ModelSchema, steps: Sequence[Migration], names: Sequence[str], values: Row
) -> dict[str, SqlValue]:
    """What some fields of an object are in its new form, as far as they are still there."""
    fields = _fields(before, names, values)
    for step in steps:
        step.change(fields, is_whole=False)
    return {name: encoded(after.by_name[name], value) for name, value in fields.items()}


def _fields(schema: ModelSchema, names: Sequence[str], values: Row) -> Fields:
    return {name: Stored(schema.by_name[name].codec.name, value) for name, value in zip(names, values, strict=True)}


def _event(before: ModelSchema, after: ModelSchema, steps: Sequence[Migration], kind: Kind, data: Any) -> object:
    match kind, data:
        case Kind.CREATED, [columns, rows, _]:
            each = [some_values(before, after, steps, columns, row) for row in rows]
            names = list(each[0])
            return (names, [tuple(values.values()) for values in each], names.index(after.key.name))
        case Kind.UPDATED, [columns, key, values]:
            changed = some_values(before, after, steps, columns, values)
            return (list(changed), key, tuple(changed.values()))
    return data


def _changes(
    before: ModelSchema, after: ModelSchema, steps: Sequence[Migration], changes: Mapping[str, Sequence[SqlValue]]
) -> dict[str, list[SqlValue]]:
    """An entry of the history: of each field its new value, and maybe the old one."""
    result: dict[str, list[SqlValue]] = {}
    for name, change in changes.items():
        moved = [some_values(before, after, steps, [name], (value,)) for value in change]
        for now in moved[0]:
            result[now] = [each[now] for each in moved]
    return result


# -- tables and their references ------------------------------------------------------------------------------


def _refers(schema: ModelSchema, target: str) -> bool:
    return any(column.references is not None and column.references.model == target for column in schema.columns)


def referring_first(schemas: Sequence[ModelSchema]) -> Iterator[ModelSchema]:
    """Each before those that it refers to, but for itself."""
    left = list(schemas)
    while left:
        free = [each for each in left if not any(_refers(other, each.name) for other in left if other is not each)]
        assert free, "a model can refer only to models that were declared before it"
        yield from free
        left = [each for each in left if each not in free]


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
