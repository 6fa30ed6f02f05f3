"""What migrations make of the values of one object: of its row, and of what events and history tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from quorate.models.migrations import Fields, Migration, RenameModel, Stored, encoded
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Column, ModelSchema, Row


def steps_of(model: str, migrations: Iterable[Migration]) -> list[Migration]:
    """The migrations that concern the model, which is called so before them."""
    found = []
    for migration in migrations:
        if migration.model == model:
            found.append(migration)
            if isinstance(migration, RenameModel):
                model = migration.now
    return found


class _Way(NamedTuple):
    """Where a field's values go. ``column`` is the field's now, if it is still there."""

    column: Column | None
    is_straight: bool
    """Whether they stay as they are stored."""


class Conversion:
    """From one form of a model to another, by the migrations that concern it.

    Its methods raise what the functions of migrations raise, and what comes of values that do not fit.
    """

    def __init__(self, before: ModelSchema, after: ModelSchema, steps: Sequence[Migration]) -> None:
        self._steps = steps
        self._names = before.names
        self._types = {column.name: column.codec.name for column in before.columns}
        self._after = after.by_name
        self._places = list(zip(after.columns, after.defaults, strict=True))
        self._ways = {name: self._way(name) for name in before.names}

    def _way(self, name: str) -> _Way:
        probe = Stored(self._types[name], None)
        fields: Fields = {name: probe}
        for step in self._steps:
            step.change(fields, is_whole=False)
        if not fields:
            return _Way(None, is_straight=True)
        ((now, value),) = fields.items()
        column = self._after[now]
        return _Way(column, is_straight=value is probe and column.codec.name == probe.type)

    def row(self, row: Row) -> Row:
        """The whole row of an object."""
        types = self._types
        fields: Fields = {name: Stored(types[name], value) for name, value in zip(self._names, row, strict=True)}
        for step in self._steps:
            step.change(fields, is_whole=True)
        return tuple(
            [
                encoded(column, fields[column.name]) if column.name in fields else default
                for column, default in self._places
            ]
        )

    def some(self, names: Sequence[str], values: Row) -> dict[str, SqlValue]:
        """Some of the fields of an object, as far as they are still there."""
        result = {}
        for name, value in zip(names, values, strict=True):
            column, is_straight = self._ways[name]
            if column is not None:
                result[column.name] = value if is_straight else self._value(name, column, value)
        return result

    def changes(self, changes: Mapping[str, Sequence[SqlValue]]) -> dict[str, Sequence[SqlValue]]:
        """An entry of the history: of each field its new value, and maybe the old one."""
        result: dict[str, Sequence[SqlValue]] = {}
        for name, change in changes.items():
            column, is_straight = self._ways[name]
            if column is not None:
                result[column.name] = change if is_straight else [self._value(name, column, each) for each in change]
        return result

    def _value(self, name: str, column: Column, value: SqlValue) -> SqlValue:
        """What one field's value is, of an object of which the rest is not at hand."""
        fields: Fields = {name: Stored(self._types[name], value)}
        for step in self._steps:
            step.change(fields, is_whole=False)
        return encoded(column, fields[column.name])
