"""``Product.watch()``: the changes of a model's objects, each told once, in the order of the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from quorate.models.feeds import changes
from quorate.models.objects.binding import binding_of
from quorate.models.store.columns import INT64_MAX
from quorate.models.store.events import Event, Kind
from quorate.models.store.loading import loader_of
from quorate.models.store.schema import ModelSchema

if TYPE_CHECKING:
    from quorate.models.model import Model

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """One change of one object.

    ``version`` is the object's version behind it, and what to go on after. ``event`` is the name of the declared event
    that it was, empty for a plain change. ``fields`` are those that have another value now, of a new object all.
    ``actor`` is who caused it, if that is known, ``node_id`` the node that was asked, ``time`` the log's.
    """

    id: Any
    kind: Kind
    event: str
    fields: Mapping[str, Any]
    version: int
    actor: str | None
    node_id: int
    time: datetime


async def watch(model: type[Model], after: int | None) -> AsyncGenerator[ObjectChange, None]:
    """The changes behind ``after``, and then those to come."""
    if after is not None and not 0 <= after <= INT64_MAX // 2:
        raise ValueError("a watch begins behind a version, or 0")
    binding, schema = binding_of(model), model.__model_schema__
    await binding.read("strong" if after is None else "eventually")
    begin = binding.machine.events.last if after is None else after
    async with aclosing(changes(binding.machine, binding.engine, begin, schema.name)) as told:
        async for event in told:
            yield _change(schema, event)


def _change(schema: ModelSchema, event: Event) -> ObjectChange:
    return ObjectChange(
        id=_value(schema, schema.key.name, event.key),
        kind=event.kind,
        event=event.name,
        fields={
            name: _value(schema, name, value)
            for name, value in zip(event.columns, event.values, strict=True)
            if name in schema.by_name  # another version of the app may know others
        },
        version=event.sequence,
        actor=event.actor,
        node_id=event.origin,
        time=_EPOCH + timedelta(microseconds=event.time_us),
    )


def _value(schema: ModelSchema, name: str, value: Any) -> Any:
    load = loader_of(schema.model.model_fields[name], schema.by_name[name].codec)
    return value if value is None or load is None else load(value)
