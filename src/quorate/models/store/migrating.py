"""Carries out what leads from one form of the tables to another: everything in a file, between two commands.

In steps, for it takes long: first what is to be there is made beside the state, while all goes on and sees what was
there before; the last step puts it in place. See :data:`quorate.machine.contract.Steps`.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from quorate.machine.sqlite import SqliteState
from quorate.models.migrations import Migration
from quorate.models.store.columns import SqlValue
from quorate.models.store.converting import Conversion, steps_of
from quorate.models.store.events import COLUMNS as EVENTS_COLUMNS
from quorate.models.store.events import EVENTS_TABLE, Kind
from quorate.models.store.events import SCHEMA as EVENTS_SCHEMA
from quorate.models.store.evolution import Draft
from quorate.models.store.forms import Form, former_schema
from quorate.models.store.history import COLUMNS as HISTORY_COLUMNS
from quorate.models.store.history import RETENTIONS_TABLE, create_history_sql, history_index, history_table
from quorate.models.store.leftovers import FORMER, NEXT
from quorate.models.store.schema import Column, ModelSchema, Row
from quorate.models.store.tables import (
    CREATED,
    VERSION,
    create_group_sql,
    create_index_sql,
    create_table_sql,
    index_name,
    literal,
    quoted,
)

log = logging.getLogger(__name__)

STEP_SECONDS = 0.0015
"""A step ends when it has taken so long, or soon after."""
_ROWS_AT_ONCE = 16
_ROWS_COPIED_AT_ONCE = 100
"""Where nothing is to be done to them but by SQLite."""
_ROWS_TOLD = 100_000
"""After so many rows the log says how far it is."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Migrator:
    """The way from the form ``before`` to ``after``, on which ``draft`` is what the migrations alone lead to."""

    def __init__(
        self,
        state: SqliteState,
        before: Form,
        after: Form,
        draft: Draft,
        migrations: Sequence[Migration],
        own: Mapping[str, ModelSchema],
    ) -> None:
        """``own`` is what the app declares: it is to find its indexes, which take long to make later."""
        self._clock = state.clock
        self._ends = 0.0
        self._connection = state.connection
        self._execute = state.connection.execute
        self._draft = draft
        self._before = {name: former_schema(name, before) for name in before}
        self._after = {name: _with_indexes(former_schema(name, after), own.get(name)) for name in after}
        self._steps = {name: steps_of(was, migrations) for name, was in draft.names.items()}
        self._conversions = {
            name: Conversion(self._before[was], self._after[name], self._steps[name])
            for name, was in draft.names.items()
        }
        self._removed = [name for name in before if name not in draft.names.values()]
        self._rebuilt = self._to_rebuild()
        self._made = [*self._rebuilt, *(name for name in after if name not in draft.names)]
        self._replaced: list[str] = []
        """Tables of which the next has been made."""

    def _to_rebuild(self) -> list[str]:
        """The models, by their names now, whose tables are made anew: those that change, and all that refer to them.

        To add a column to a table, or an index, would take one step of some 200 ms for a million objects.
        """
        rebuilt = [name for name, was in self._draft.names.items() if self._draft.is_changed(name) or self._grows(name)]
        for name in rebuilt:  # which grows
            former = self._draft.names[name]
            for other, was in self._draft.names.items():
                if other not in rebuilt and refers(self._before[was], former):
                    rebuilt.append(other)
        return rebuilt

    def _grows(self, name: str) -> bool:
        return bool(self._after[name].by_name.keys() - self._before[self._draft.names[name]].by_name.keys())

    # -- beside the state --------------------------------------------------------------------------------

    def prepare(self) -> Iterator[None]:
        """Make what is to be there. Raises :class:`apsw.ConstraintError`, and what migrations raise."""
        self._ends = self._clock() + STEP_SECONDS
        schemas = [self._after[name] for name in self._made]
        for schema in reversed(list(referring_first(schemas))):
            self._create(schema)
            yield from self._pause()
            if schema.name in self._rebuilt:
                yield from self._fill(schema)
        for name in self._draft.names:
            yield from self._convert_history(name)
        yield from self._convert_events()

    def _pause(self) -> Iterator[None]:
        """The end of a step, where it has taken long enough."""
        if self._clock() > self._ends:
            yield
            self._ends = self._clock() + STEP_SECONDS

    def _create(self, schema: ModelSchema) -> None:
        following = self._following(schema)
        taken = {name for (name,) in self._execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}

        def named_by(columns: str) -> str:
            """Of the two names that an index may have, the table that goes has one at most."""
            return following.table if index_name(schema.table, columns).strip('"') in taken else schema.table

        self._execute(create_table_sql(following))
        for group in schema.unique_together:
            self._execute(create_group_sql(following.table, group, named_by(",".join(group))))
        for column in following.columns:
            self._execute(create_index_sql(following, column, named_by(column.name)))
        if schema.name in self._rebuilt:
            self._replaced.append(self._before[self._draft.names[schema.name]].table)

    def _following(self, schema: ModelSchema) -> ModelSchema:
        """What will be the model's table, under the name that it has until then."""
        columns = tuple(
            replace(column, references=replace(column.references, table=NEXT + column.references.table))
            if column.references is not None and column.references.model in self._made
            else column
            for column in schema.columns
        )
        return replace(schema, table=NEXT + schema.table, columns=columns)

    def _fill(self, after: ModelSchema) -> Iterator[None]:
        before = self._before[self._draft.names[after.name]]
        own = [at for at, column in enumerate(after.columns) if _refers_to(column, after.name)]
        if own or self._steps[after.name]:
            yield from self._fill_converted(before, after, own)
            if own:
                yield from self._refer(before, after, own)
        else:
            yield from self._fill_as_it_is(before, after)

    def _fill_converted(self, before: ModelSchema, after: ModelSchema, own: Sequence[int]) -> Iterator[None]:
        conversion, at_key = self._conversions[after.name], after.key_position
        names = (*after.names, VERSION, CREATED)
        marks = ", ".join("?" * len(names))
        insert = f"INSERT INTO {quoted(NEXT + after.table)} ({_list(names)}) VALUES ({marks})"
        done = 0
        for rows in self._pages(before.table, (*before.names, VERSION, CREATED), before.key.name):
            made = [(*conversion.row(row[:-2]), *row[-2:]) for row in rows]
            if own:
                made = [_detached(after, own, row, row[at_key]) for row in made]
            self._connection.executemany(insert, made)
            done += len(rows)
            _tell(after.name, done, done - len(rows))
            yield from self._pause()
        log.info("migrated %s: %d objects", after.name, done)

    def _refer(self, before: ModelSchema, after: ModelSchema, own: Sequence[int]) -> Iterator[None]:
        """Have the objects refer to one another: all are there now."""
        conversion, at_key = self._conversions[after.name], after.key_position
        changes = ", ".join(f"{quoted(after.names[at])} = ?" for at in own)
        update = f"UPDATE {quoted(NEXT + after.table)} SET {changes} WHERE {quoted(after.key.name)} = ?"
        for rows in self._pages(before.table, before.names, before.key.name):
            made = [conversion.row(row) for row in rows]
            self._connection.executemany(
                update,
                [(*(row[at] for at in own), row[at_key]) for row in made if any(row[at] is not None for at in own)],
            )
            yield from self._pause()

    def _fill_as_it_is(self, before: ModelSchema, after: ModelSchema) -> Iterator[None]:
        """No migration concerns the model: SQLite does it alone, which is ten times as fast."""
        table, key = quoted(before.table), quoted(before.key.name)
        names = (*after.names, VERSION, CREATED)
        values = [
            quoted(name) if name in before.by_name else literal(default)
            for name, default in zip(after.names, after.defaults, strict=True)
        ]
        into = f"INSERT INTO {quoted(NEXT + after.table)} ({_list(names)}) "
        copy = f"{into} SELECT {', '.join(values)}, {VERSION}, {CREATED} FROM {table} WHERE {key} BETWEEN ? AND ?"
        end = f"SELECT max(k) FROM (SELECT {key} AS k FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?)"
        first: SqlValue = self._execute(f"SELECT min({key}) FROM {table}").get
        while first is not None:
            last: SqlValue = self._execute(end, (first, _ROWS_COPIED_AT_ONCE)).get
            self._execute(f"{copy} ORDER BY {key}", (first, last))
            first = self._execute(f"SELECT min({key}) FROM {table} WHERE {key} > ?", (last,)).get
            yield from self._pause()

    def _pages(self, table: str, columns: Sequence[str], key: str) -> Iterator[list[Any]]:
        """All rows, in the order of their keys: so what is refused first is so on every node."""
        some, order = f"SELECT {_list(columns)} FROM {quoted(table)}", f"ORDER BY {quoted(key)} LIMIT {_ROWS_AT_ONCE}"
        at_key = columns.index(key)
        rows: list[Any] = self._execute(f"{some} {order}").fetchall()
        while rows:
            yield rows
            rows = self._execute(f"{some} WHERE {quoted(key)} > ? {order}", (rows[-1][at_key],)).fetchall()

    # -- what is told of the objects ---------------------------------------------------------------------

    def _convert_history(self, name: str) -> Iterator[None]:
        before, after = self._before[self._draft.names[name]], self._after[name]
        if not (self._steps[name] and before.has_history and after.has_history):
            return
        conversion, table = self._conversions[name], history_table(after)
        index = history_index(table)
        taken = self._execute("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?", (index,)).get
        self._execute(create_history_sql(NEXT + table, after.key.codec.sql_type, NEXT + index if taken else index))
        self._replaced.append(history_table(before))
        insert = f"INSERT INTO {quoted(NEXT + table)} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        done = 0
        for rows in self._pages(history_table(before), HISTORY_COLUMNS, "sequence"):
            self._connection.executemany(
                insert, [(*row[:-1], _encode(conversion.changes(_decode(row[-1])))) for row in rows]
            )
            done += len(rows)
            _tell(f"the history of {name}", done, done - len(rows))
            yield from self._pause()

    def _convert_events(self) -> Iterator[None]:
        """The events of a model that is removed stay, for their numbers are those of the log."""
        now = {was: name for name, was in self._draft.names.items() if self._steps[name]}
        if not now:
            return
        self._execute(EVENTS_SCHEMA.replace(EVENTS_TABLE, NEXT + EVENTS_TABLE))
        self._replaced.append(EVENTS_TABLE)
        insert = f"INSERT INTO {NEXT}{EVENTS_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        at_model, at_kind = EVENTS_COLUMNS.index("model"), EVENTS_COLUMNS.index("kind")
        for rows in self._pages(EVENTS_TABLE, EVENTS_COLUMNS, "sequence"):
            for row in rows:
                name, data = now.get(row[at_model]), row[-1]
                if name is not None:
                    data = yield from self._converted_event(name, Kind(row[at_kind]), _decode(data))
                self._execute(insert, (*row[:at_model], name or row[at_model], *row[at_model + 1 : -1], data))
            yield from self._pause()

    def _converted_event(self, name: str, kind: Kind, data: Any) -> Generator[None, None, bytes]:
        conversion = self._conversions[name]
        match kind, data:
            case Kind.CREATED, [columns, rows, _]:
                each: list[dict[str, SqlValue]] = []
                for row in rows:  # hundreds, maybe
                    each.append(conversion.some(columns, row))
                    yield from self._pause()
                names = list(each[0])
                data = (names, [tuple(values.values()) for values in each], names.index(self._after[name].key.name))
            case Kind.UPDATED, [columns, key, values]:
                changed = conversion.some(columns, values)
                data = (list(changed), key, tuple(changed.values()))
        return _encode(data)

    # -- the last step -----------------------------------------------------------------------------------

    def switch(self) -> None:
        """Put what was prepared in the place of what was there. What was there is a leftover then."""
        former = (*self._removed, *(was for name, was in self._draft.names.items() if self._forgets(name)))
        gone = [self._before[was].table for was in self._removed]
        gone += [history_table(self._before[was]) for was in former if self._before[was].has_history]
        for table in (*self._replaced, *gone):
            self._rename(table, FORMER + table)
        tables: list[Any] = self._execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith(NEXT):
                self._rename(table, table.removeprefix(NEXT))
        for was in former:
            self._execute(f"DELETE FROM {RETENTIONS_TABLE} WHERE model = ?", (was,))
        for name, was in self._draft.names.items():
            if name != was and self._before[was].has_history:
                self._execute(f"UPDATE {RETENTIONS_TABLE} SET model = ? WHERE model = ?", (name, was))

    def _forgets(self, name: str) -> bool:
        return self._before[self._draft.names[name]].has_history and not self._after[name].has_history

    def _rename(self, table: str, now: str) -> None:
        self._execute(f"ALTER TABLE {quoted(table)} RENAME TO {quoted(now)}")


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _tell(what: str, done: int, before: int) -> None:
    if done // _ROWS_TOLD != before // _ROWS_TOLD:
        log.info("migrating %s: %d so far", what, done)


def _with_indexes(schema: ModelSchema, own: ModelSchema | None) -> ModelSchema:
    """With those indexes, too, that are not part of the form: each node may have the indexes that it likes."""
    if own is None:
        return schema
    indexed = {column.name for column in own.columns if column.indexed}
    columns = [
        replace(column, indexed=not column.unique and (column.indexed or column.name in indexed))
        for column in schema.columns
    ]
    return replace(schema, columns=tuple(columns))


def _detached(schema: ModelSchema, own: Sequence[int], row: Row, key: SqlValue) -> Row:
    """A row that refers to no other of its table: that may not be there yet."""
    values = list(row)
    for at in own:
        values[at] = None if schema.columns[at].nullable or values[at] is None else key
    return tuple(values)


# -- tables and their references ------------------------------------------------------------------------------


def _refers_to(column: Column, target: str) -> bool:
    return column.references is not None and column.references.model == target


def refers(schema: ModelSchema, target: str) -> bool:
    """Whether the model has a field that refers to the other."""
    return any(_refers_to(column, target) for column in schema.columns)


def referring_first(schemas: Sequence[ModelSchema]) -> Iterator[ModelSchema]:
    """Each before those that it refers to, but for itself."""
    left = list(schemas)
    while left:
        free = [each for each in left if not any(refers(other, each.name) for other in left if other is not each)]
        assert free, "a model can refer only to models that were declared before it"
        yield from free
        left = [each for each in left if each not in free]
