"""Fields that each node has values of its own for: ``field(replicate=False)`` and ``field(memory_only=True)``.

A write sets them on the node that answers it, behind the rest: when that is applied there. A change of nothing else
needs neither the log nor a leader. Other nodes show their own values, or the default; commands, events and history know
nothing of these fields.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import apsw
import msgspec
from pydantic import ValidationError

from quorate.errors import QuorateError, StorageFailed
from quorate.models.errors import DoneInPart, Invalid
from quorate.models.machine import ModelsMachine
from quorate.models.merge import merge_patch, plain_errors
from quorate.models.store.columns import SqlValue, Unstorable
from quorate.models.store.local_values import DiskValues, MemoryValues, Owner, Value
from quorate.models.store.schema import ModelSchema, Row
from quorate.models.store.tables import Table
from quorate.node.ports import Engine

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
"""So often is looked for values whose objects were deleted."""
ROWS_AT_ONCE = 100
"""So many rows are completed without a pause."""
SWEEP_AT_ONCE = 200
"""So many objects are looked for without a pause."""

Members = dict[str, msgspec.Raw]
"""A JSON object whose values were not looked at: a number in it keeps all its digits."""
_members_of = msgspec.json.Decoder(Members).decode
_list_of = msgspec.json.Decoder(list[Members]).decode
_encode = msgspec.json.Encoder().encode


class Kept(NamedTuple):
    """What a change sets of one object's local fields, in stored form. The change made it what is in ``row``."""

    row: Row
    version: int
    values: dict[str, SqlValue]


class LocalStore:
    """The values of one node; ``disk`` may be missing where no model has fields for it."""

    def __init__(self, disk: DiskValues | None = None) -> None:
        self.disk = disk
        self.memory = MemoryValues()

    def of(self, owner: Owner) -> list[Value]:
        """What was set here for one object."""
        return [*self.memory.of(owner), *(self.disk.of(owner) if self.disk is not None else ())]

    async def sweep(self, gone_of: Callable[[list[Owner]], Awaitable[list[Owner]]]) -> None:
        """Forget the values of those objects that are gone."""
        owners = self.memory.owners()
        for first in range(0, len(owners), SWEEP_AT_ONCE):
            self.memory.remove(await gone_of(owners[first : first + SWEEP_AT_ONCE]))
            await asyncio.sleep(0)
        last: Owner | None = None
        while self.disk is not None:
            found = self.disk.owners_after(last, SWEEP_AT_ONCE)
            if not found:
                break
            gone = await gone_of(found)
            if gone:
                await self.disk.remove(gone)
            last = found[-1]
            await asyncio.sleep(0)

    def close(self) -> None:
        """Nothing is read or written any more."""
        if self.disk is not None:
            self.disk.close()


class LocalFields:
    """The local fields of one model. Raises :class:`~quorate.models.errors.Invalid` for values that break a rule."""

    def __init__(self, schema: ModelSchema, store: LocalStore) -> None:
        self.schema = schema
        self.names = tuple(column.name for column in schema.local_columns)
        self._columns = {column.name: column for column in schema.local_columns}
        self._types = [(column.name, column.codec.name) for column in schema.local_columns]
        self._documents = schema.documents((*schema.names, *self.names))
        self._store = store
        self._changing = asyncio.Lock()

    # -- reading -----------------------------------------------------------------------------------------

    def whole(self, table: Table, row: Row) -> Row:
        """The row with the values that this node has for it."""
        key = row[self.schema.key_position]
        created = table.created(key)
        found = self._store.of(Owner(self.schema.name, key, created)) if created is not None else []
        values = {(each.field, each.type): each.value for each in found}
        return (*row, *map(values.get, self._types, self.schema.local_defaults))

    async def whole_rows(self, engine: Engine, table: Callable[[], Table], rows: Sequence[Row]) -> list[Row]:
        """As :meth:`whole`, for many: others get their turn meanwhile."""
        found: list[Row] = []
        for first in range(0, len(rows), ROWS_AT_ONCE):
            if first:
                await asyncio.sleep(0)
                await engine.read_barrier(consistency="eventually")  # the table may be replaced by a snapshot's
            now = table()
            found += [self.whole(now, row) for row in rows[first : first + ROWS_AT_ONCE]]
        return found

    # -- what a request says -----------------------------------------------------------------------------

    def is_all_of(self, body: bytes) -> bool:
        """Whether a JSON object sets such fields and nothing else."""
        try:
            return _members_of(body).keys() <= set(self.names) | {self.schema.key.name} and self.in_change(body) != {}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False

    def in_change(self, body: bytes) -> Members:
        """What a JSON merge patch says of them."""
        return {name: value for name, value in _members_of(body).items() if name in self._columns}

    def in_object(self, body: bytes) -> dict[str, SqlValue]:
        """The values that a new object, valid as a whole, gives to them."""
        return self._given(_members_of(body))

    def in_array(self, body: bytes) -> list[dict[str, SqlValue]]:
        """As :meth:`in_object`, for each of them."""
        return [self._given(members) for members in _list_of(body)]

    def in_replacement(self, body: bytes, key: SqlValue) -> dict[str, SqlValue]:
        """As :meth:`in_object`, and the defaults for those that are not given."""
        members = _members_of(body)
        members.setdefault(self.schema.key.name, msgspec.Raw(_encode(self.schema.show(self.schema.key, key))))
        return self._valid(members, self.names)

    def merged(self, table: Table, row: Row, change: Members) -> dict[str, SqlValue]:
        """The values after a change, judged together with the rest of the object."""
        members = _members_of(self._documents.one(self.whole(table, row)))
        for name, raw in change.items():
            given = json.loads(bytes(raw))
            if isinstance(given, dict):
                raw = msgspec.Raw(_encode(merge_patch(json.loads(bytes(members[name])), given)))
            members[name] = raw
        return self._valid(members, tuple(change))

    def _given(self, members: Members) -> dict[str, SqlValue]:
        given = tuple(name for name in self.names if name in members)
        return self._valid(members, given) if given else {}

    def _valid(self, members: Members, names: Sequence[str]) -> dict[str, SqlValue]:
        try:
            instance = self.schema.model.__pydantic_validator__.validate_json(_encode(members))
        except ValidationError as error:
            raise Invalid.of(self.schema.name, plain_errors(error, self.schema.hidden_names)) from None
        return {name: self._encoded(name, instance.__dict__[name]) for name in names}

    def _encoded(self, name: str, value: Any) -> SqlValue:
        try:
            return None if value is None else self._columns[name].codec.encode(value)
        except Unstorable as error:
            raise Invalid.of(self.schema.name, [(name, error.reason, error.message)]) from None

    # -- writing -----------------------------------------------------------------------------------------

    async def change(self, engine: Engine, table: Callable[[], Table], row: Row, version: int, change: Members) -> Row:
        """Carry out a change of nothing but these fields; returns the whole row. They are durable by then, if ever."""
        async with self._changing:  # what is merged must not change until it is written
            await engine.read_barrier(consistency="eventually")  # the wait was long enough for another table
            values = self.merged(table(), row, change)
            whole = self.with_values(self.whole(table(), row), values)
            await self.keep(table(), [Kept(row, version, values)])
        return whole

    def with_values(self, row: Row, values: Mapping[str, SqlValue]) -> Row:
        """The whole row with some of its local values replaced."""
        whole, first = self.schema.whole(row), len(self.schema.columns)
        return (*whole[:first], *map(values.get, self.names, whole[first:]))

    @contextmanager
    def behind(self, changes: Sequence[Kept]) -> Iterator[None]:
        """What fails inside fails behind changes that are applied, which :class:`DoneInPart` says.

        But where the state itself cannot be read, for then the node must stop.
        """
        try:
            yield
        except StorageFailed:
            raise
        except QuorateError as error:
            schema = self.schema
            ids = [schema.show(schema.key, row[schema.key_position]) for row, _, _ in changes]
            fields = [name for name in self.names if any(name in values for _, _, values in changes)]
            raise DoneInPart(schema.name, changes[0].version, ids, fields, str(error)) from error

    async def keep(self, table: Table, changes: Iterable[Kept]) -> None:
        """Set values of objects, unless those were deleted meanwhile."""
        in_memory: list[tuple[Owner, Value]] = []
        on_disk: list[tuple[Owner, Value]] = []
        for row, version, values in changes:
            key = row[self.schema.key_position]
            created = table.created(key)
            if created is None or created > version:  # later there was another with this key
                continue
            for name, value in values.items():
                there = in_memory if name in self.schema.memory_only else on_disk
                there.append(
                    (Owner(self.schema.name, key, created), Value(name, self._columns[name].codec.name, value))
                )
        if on_disk:
            assert self._store.disk is not None, "a model with such fields needs a file"
            await self._store.disk.set(on_disk)
        self._store.memory.set(in_memory)  # which cannot fail: all of them are kept, or none


def is_gone(machine: ModelsMachine, owner: Owner) -> bool:
    """Whether the object was deleted. Behind a restart it may not be there yet: then its creation was not applied."""
    if machine.events.last < owner.created:
        return False
    table = machine.tables.get(owner.model)
    return table is None or table.created(owner.key) != owner.created


async def sweep_for_ever(
    store: LocalStore, machine: ModelsMachine, engine: Engine, seconds: float = SWEEP_SECONDS
) -> None:
    """Forget, from time to time, the values of objects that are gone."""

    async def gone_of(owners: list[Owner]) -> list[Owner]:
        await engine.read_barrier(consistency="eventually")
        return [owner for owner in owners if is_gone(machine, owner)]

    while True:
        await asyncio.sleep(seconds)
        try:
            await store.sweep(gone_of)
        except (QuorateError, apsw.Error) as error:
            log.warning("values of deleted objects stay: %s", error)
