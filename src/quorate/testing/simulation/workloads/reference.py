"""What declared models promise, said once more in short: dicts instead of tables, copies instead of savepoints.

The reference carries out the committed log from its beginning. What it comes to is what every node must hold, and what
clients must have been told. It shares nothing with the models but how commands are written, and what was declared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from quorate.machine.contract import ApplyContext
from quorate.models.commands import Call, Change, Check, Create, Delete, MergePatch, Operation, Retain, decode_command
from quorate.models.machine import MACHINE, RETAIN_AT_ONCE
from quorate.models.store.columns import SqlValue
from quorate.models.store.events import Event, Kind
from quorate.models.store.history import Entry as Past
from quorate.models.store.history import FieldChange
from quorate.models.store.schema import Column, ModelSchema
from quorate.raft.entry import Entry
from quorate.testing.simulation.workloads.replaying import commands_for

Values = dict[str, SqlValue]
Rule = Callable[[Values, Mapping[str, Any], ApplyContext], Values]
"""What an event makes of an object's values. Raises :class:`Refused`."""


class Refused(Exception):
    """A command changes nothing; ``args`` are the name of the refusal."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object, and the number of its last change."""

    values: Values
    version: int


@dataclass(frozen=True, slots=True)
class Carried:
    """How a change was carried out."""

    index: int
    origin: int
    refusal: str
    """The name of the refusal; empty if there is none."""
    results: Sequence[Held | None]
    """For each operation the object behind it, the first of several, or ``None``."""
    sequence: int
    """The number of the last change of any object, behind it."""


@dataclass(slots=True)
class Reference:
    """``rules`` are those of the declared events, by model and name."""

    schemas: Mapping[str, ModelSchema]
    rules: Mapping[tuple[str, str], Rule] = field(default_factory=dict)
    objects: dict[str, dict[SqlValue, Held]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    """All there ever were: number n is at n - 1."""
    pasts: dict[str, list[Past]] = field(default_factory=dict)
    """The history of each model that has one, in order."""
    carried: dict[str, Carried] = field(default_factory=dict)
    """By the actors of changes, who are the names of operations, in the log's order. Of what was carried out twice,
    the first time."""
    times: Counter[str] = field(default_factory=Counter)
    """How often each was carried out."""
    states: dict[tuple[str, SqlValue], list[tuple[int, Values | None]]] = field(default_factory=dict)
    """Of each object that ever was, (number of the change, values behind it)."""
    _retained: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, schema in self.schemas.items():
            self.objects[name] = {}
            if schema.has_history:
                self.pasts[name] = []

    def run(self, entries: Iterable[Entry]) -> Reference:
        """Carry out a log, from its first entry on."""
        for body, context in commands_for(MACHINE, entries):
            match decode_command(body):
                case Change() as change:
                    self._change(change, context)
                case Retain():
                    self._retain(context.time_us)
        return self

    # -- changes -----------------------------------------------------------------------------------------

    def _change(self, change: Change, context: ApplyContext) -> None:
        objects = {name: dict(held) for name, held in self.objects.items()}
        events, pasts = len(self.events), {name: len(past) for name, past in self.pasts.items()}
        results: list[Held | None] = []
        refusal = ""
        carrying = _Carrying(self, change.actor, context)
        try:
            results.extend(carrying.out(operation) for operation in change.operations)
        except Refused as refused:
            (refusal,) = refused.args
            self.objects = objects
            del self.events[events:]
            for name, past in self.pasts.items():
                del past[pasts[name] :]
        for told in self.events[events:]:
            held = self.objects[told.model].get(told.key)
            # Of several changes by one command nobody sees any but the last.
            self.states.setdefault((told.model, told.key), []).append(
                (told.sequence, None if held is None else held.values)
            )
        if change.actor is not None:
            self.times[change.actor] += not refusal
            self.carried.setdefault(
                change.actor, Carried(context.index, context.origin, refusal, results, len(self.events))
            )

    def at(self, model: str, key: SqlValue, sequence: int) -> tuple[int, Values | None]:
        """What there was of an object behind change number ``sequence``, and since which one."""
        latest: tuple[int, Values | None] = (0, None)
        for number, values in self.states.get((model, key), ()):
            if number <= sequence:
                latest = (number, values)
        return latest

    # -- retention ---------------------------------------------------------------------------------------

    def _retain(self, now_us: int) -> None:
        left = RETAIN_AT_ONCE
        for name, past in sorted(self.pasts.items()):
            kept = {column.name: column.retention_us for column in self.schemas[name].columns if column.has_history}
            for retention_us in sorted({each for each in kept.values() if each is not None}):
                since = self._retained.get((name, retention_us), 0)
                looked_at = [each for each in past if each.sequence > since][:left]
                over = [each for each in looked_at if each.time_us < now_us - retention_us]
                left -= len(over)
                if over:
                    self._retained[name, retention_us] = over[-1].sequence
                longer = [field for field, each in kept.items() if each is None or each > retention_us]
                gone = {field for field, each in kept.items() if each == retention_us}
                past[:] = [each for each in map(_without(gone, bool(longer), over), past) if each is not None]


def _without(gone: set[str], has_longer: bool, over: Sequence[Past]) -> Callable[[Past], Past | None]:
    numbers = {each.sequence for each in over}

    def shortened(past: Past) -> Past | None:
        if past.sequence not in numbers:
            return past
        changes = {name: change for name, change in past.changes.items() if name not in gone}
        is_empty = not changes and past.kind is Kind.UPDATED
        return None if not has_longer or is_empty else past._replace(changes=changes)

    return shortened


@dataclass(frozen=True, slots=True)
class _Carrying:
    """One change that is carried out."""

    state: Reference
    actor: str | None
    context: ApplyContext

    def out(self, operation: Operation) -> Held | None:
        """The object behind the operation. Raises :class:`Refused`."""
        schema = self.state.schemas[operation.model]
        if isinstance(operation, Create):
            first, *_ = [self._create(schema, operation.columns, row) for row in operation.rows]
            return first
        held = self._held(schema, operation.key)
        if operation.expected is not None and held.version != operation.expected:
            raise Refused("VersionMismatch")
        match operation:
            case Check():
                return held
            case Delete():
                self._delete(schema, operation.key)
                return None
            case Call():
                rule = self.state.rules[operation.model, operation.event]
                values = rule(dict(held.values), msgspec.json.decode(operation.arguments), self.context)
                return self._update(schema, operation.key, values, operation.event)
            case MergePatch():
                raise NotImplementedError("no model of these workloads has rules of its own")
        values = dict(zip(operation.columns, operation.values, strict=True))
        return self._update(schema, operation.key, {**held.values, **values})

    def _held(self, schema: ModelSchema, key: SqlValue) -> Held:
        held = self.state.objects[schema.name].get(key)
        if held is None:
            raise Refused("NotFound")
        return held

    def _create(self, schema: ModelSchema, columns: Sequence[str], row: Sequence[SqlValue]) -> Held:
        values = dict(zip(columns, row, strict=True))
        if values[schema.key.name] is None:
            values[schema.key.name] = self.context.uuid7_bytes()
        key = values[schema.key.name]
        if key in self.state.objects[schema.name]:
            raise Refused("Conflict")
        kept = _kept(schema)
        changes = {column.name: _changed(column, values[column.name], None) for column in kept}
        return self._put(schema, key, values, Kind.CREATED, "", values, changes)

    def _update(self, schema: ModelSchema, key: SqlValue, values: Values, name: str = "") -> Held:
        before = self._held(schema, key)
        changed = {field: value for field, value in values.items() if value != before.values[field]}
        if not changed and not name:
            return before
        if any(schema.by_name[field].immutable for field in changed):
            raise Refused("Immutable")
        changes = {
            column.name: _changed(column, changed[column.name], before.values[column.name])
            for column in _kept(schema)
            if column.name in changed
        }
        return self._put(schema, key, values, Kind.UPDATED, name, changed, changes)

    def _put(
        self, schema: ModelSchema, key: SqlValue, values: Values, kind: Kind, name: str, told: Values,
        changes: dict[str, FieldChange],
    ) -> Held:  # fmt: skip
        self._check(schema, key, values)
        held = Held(values, self._tell(schema, key, kind, name, told, changes))
        self.state.objects[schema.name][key] = held
        return held

    def _check(self, schema: ModelSchema, key: SqlValue, values: Values) -> None:
        """No two objects have one unique value, and none refers to what is not there."""
        groups = [(column.name,) for column in schema.columns if column.unique]
        for group in (*groups, *schema.unique_together):
            wanted = [values[name] for name in group]
            for other, held in self.state.objects[schema.name].items():
                if other != key and None not in wanted and [held.values[name] for name in group] == wanted:
                    raise Refused("Conflict")
        for column in schema.columns:
            target = column.references
            if target is not None and values[column.name] not in (None, *self.state.objects[target.model]):
                raise Refused("Conflict")

    def _delete(self, schema: ModelSchema, key: SqlValue) -> None:
        """What refers to it goes first, or lets go of it; no model here refers to itself."""
        for other, column, referring in list(self._referring(schema, key)):
            assert column.references is not None
            if column.references.on_delete == "cascade":
                self._delete(other, referring)
            elif column.references.on_delete == "set_null":
                values = self.state.objects[other.name][referring].values
                self._update(other, referring, {**values, column.name: None})
        if any(True for _ in self._referring(schema, key)):
            raise Refused("Conflict")
        before = self.state.objects[schema.name].pop(key)
        changes = {
            column.name: _changed(column, None, before.values[column.name])
            for column in _kept(schema)
            if column.audited
        }
        self._tell(schema, key, Kind.DELETED, "", {}, changes)

    def _referring(self, schema: ModelSchema, key: SqlValue) -> Iterator[tuple[ModelSchema, Column, SqlValue]]:
        """In the order of models, fields and keys."""
        for _, other in sorted(self.state.schemas.items()):
            for column in sorted(other.columns, key=lambda each: each.name):
                if column.references is not None and column.references.model == schema.name:
                    objects: dict[Any, Held] = self.state.objects[other.name]
                    for found in sorted(objects):
                        if objects[found].values[column.name] == key:
                            yield other, column, found

    def _tell(
        self, schema: ModelSchema, key: SqlValue, kind: Kind, name: str, told: Values, changes: dict[str, FieldChange]
    ) -> int:
        """One more event, and an entry of the history if there is to be one; returns its number."""
        state, context = self.state, self.context
        sequence = len(state.events) + 1
        state.events.append(
            Event(
                sequence, context.index, context.term, context.time_us, context.origin, self.actor, schema.name, kind,
                name, key, tuple(told), tuple(told.values()),
            )
        )  # fmt: skip
        if schema.has_history and (changes or kind is not Kind.UPDATED):
            past = Past(sequence, key, context.index, context.time_us, context.origin, self.actor, kind, name, changes)
            state.pasts[schema.name].append(past)
        return sequence


def _kept(schema: ModelSchema) -> list[Column]:
    return [column for column in schema.columns if column.has_history]


def _changed(column: Column, new: SqlValue, old: SqlValue) -> FieldChange:
    return FieldChange(new, old, True) if column.audited else FieldChange(new, new, False)
