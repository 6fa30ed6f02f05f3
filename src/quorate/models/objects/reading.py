"""Reads of single objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import apsw

from quorate.errors import StorageFailed
from quorate.models.errors import Invalid, NotFound
from quorate.models.objects import stored
from quorate.models.objects.binding import Binding, binding_of
from quorate.models.objects.keys import as_key
from quorate.models.store.columns import SqlValue
from quorate.models.store.tables import Stored
from quorate.node.reads import Consistency

if TYPE_CHECKING:
    from quorate.models.model import Model

M = TypeVar("M", bound="Model")


async def get(model: type[M], id: object, consistency: Consistency | None) -> M:
    """The object. Without a ``consistency`` it is that of the app. Raises :class:`NotFound`."""
    found = await get_or_none(model, id, consistency)
    if found is None:
        raise NotFound(model.__name__, str(id)[:200])
    return found


async def get_or_none(model: type[M], id: object, consistency: Consistency | None) -> M | None:
    """The object, if there is one."""
    try:
        key = as_key(model, id)
    except Invalid:  # no object can have it
        return None
    binding, found = await _stored(model, key, consistency)
    return None if found is None else stored.load(binding, model, found)


async def refresh(instance: M, consistency: Consistency | None) -> M:
    """The object at hand as it is now. Raises :class:`NotFound`."""
    schema, key = instance.__model_schema__, stored.key_of(instance)
    binding, found = await _stored(type(instance), key, consistency)
    if found is None:
        raise NotFound(schema.name, schema.show_key(key))
    stored.take(binding, instance, found.row, found.version)
    return instance


async def _stored(model: type[Model], key: SqlValue, consistency: Consistency | None) -> tuple[Binding, Stored | None]:
    binding = binding_of(model)
    await binding.read(consistency or binding.consistency_of(model))
    try:
        return binding, binding.table(model).stored(key)
    except apsw.Error as error:
        raise StorageFailed(f"cannot read {model.__name__}: {error}") from error
