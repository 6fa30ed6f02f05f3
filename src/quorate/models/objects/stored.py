"""What an object knows about itself in the store: that it is there, and its version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Row
from quorate.models.store.tables import Stored

if TYPE_CHECKING:
    from quorate.models.model import Model
    from quorate.models.objects.binding import Binding

M = TypeVar("M", bound="Model")

Settle = Callable[["Binding", object], Awaitable[None]]
"""Takes an operation's result over into the object at hand, and keeps what is for the node alone."""

TO_BE_CREATED = 0
"""Stands for the version of an object whose transaction has not ended yet."""

_SLOT = "__quorate_version__"


def load(binding: Binding, model: type[M], found: Stored) -> M:
    """The object as it was read."""
    instance = cast("M", model.__model_schema__.load(binding.whole(model, found.row)))
    mark(instance, found.version)
    return instance


def take(binding: Binding, instance: Model, row: Row, version: int) -> None:
    """The object at hand is now this one."""
    values: dict[str, Any] = instance.__model_schema__.load(binding.whole(type(instance), row)).__dict__
    instance.__dict__.update(values)
    mark(instance, version)


def take_shared(instance: Model, row: Row, version: int) -> None:
    """The object at hand is now this one, but for what each node has values of its own for."""
    schema = instance.__model_schema__
    values = schema.load(row).__dict__
    instance.__dict__.update({name: values[name] for name in schema.names})
    mark(instance, version)


def mark(instance: Model, version: int) -> None:
    """The object is stored, and of this version."""
    object.__setattr__(instance, _SLOT, version)


def forget(instance: Model) -> None:
    """The object is not stored any more."""
    if is_stored(instance):
        object.__delattr__(instance, _SLOT)


def is_stored(instance: Model) -> bool:
    """Whether the object was read, or created: one that was made by hand is not."""
    return _mark(instance) is not None


def _mark(instance: Model) -> int | None:
    try:
        found: int = object.__getattribute__(instance, _SLOT)
    except AttributeError:
        return None
    return found


def version_of(instance: Model) -> int:
    """Its version. Raises :class:`RuntimeError` if it has none."""
    version = _mark(instance)
    if version is None:
        raise RuntimeError(f"this {type(instance).__name__} is not stored: create() one, or get() it")
    if version == TO_BE_CREATED:
        raise RuntimeError(f"this {type(instance).__name__} has a version when its transaction has ended")
    return version


def key_of(instance: Model) -> SqlValue:
    """The stored form of its primary key. Raises :class:`RuntimeError` if it is not stored."""
    if not is_stored(instance):
        raise RuntimeError(f"this {type(instance).__name__} is not stored: create() one, or get() it")
    schema = instance.__model_schema__
    return schema.encode_fields(instance.__dict__, (schema.key.name,))[0]
