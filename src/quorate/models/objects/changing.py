"""What changes objects: operations for the log, and what their results make of the objects at hand."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from quorate.models.commands import Call, Create, Delete, MergePatch, Operation, Patch
from quorate.models.domain_events import CONTEXT
from quorate.models.errors import Immutable, Invalid, NotFound, VersionMismatch
from quorate.models.local import Kept
from quorate.models.objects import stored
from quorate.models.objects.binding import Binding, binding_of
from quorate.models.objects.transaction import OnOne, open_transaction
from quorate.models.store.columns import SqlValue, Unstorable
from quorate.models.store.schema import ModelSchema, Row

if TYPE_CHECKING:
    from quorate.models.model import Model

M = TypeVar("M", bound="Model")


async def create(model: type[M], fields: Mapping[str, Any]) -> M:
    """A new object, stored."""
    schema = model.__model_schema__
    given = dict(fields)
    if schema.key_is_stamped and given.get(schema.key.name, ...) is None:
        del given[schema.key.name]
    instance = cast("M", model.__pydantic_validator__.validate_python(given))
    transaction = open_transaction()
    if transaction is not None:
        transaction.identify(instance)
    row, own = schema.encode(instance), _own_values(schema, instance)

    async def created(binding: Binding, result: object) -> None:
        version, key = cast("list[Any]", result)
        whole = schema.with_key(row, key)
        await _take(binding, instance, Kept(whole, version, own))

    operation = Create(schema.name, schema.names, [row])
    if transaction is not None:
        transaction.create(instance, operation, created)
    else:
        await _at_once(model, operation, created)
    return instance


async def update(instance: M, changes: Mapping[str, Any], expected: int | None) -> M:
    """The object with other values for some fields."""
    schema = instance.__model_schema__
    key = stored.key_of(instance)
    given = schema.patch_model.__pydantic_validator__.validate_python(dict(changes))
    own = _own_values(schema, given)
    names = tuple(name for name in schema.names if name in given.__pydantic_fields_set__)
    values = schema.encode_fields(given.__dict__, names)
    if schema.key.name in names:
        at = names.index(schema.key.name)
        if values[at] != key:
            raise Immutable(schema.name, schema.key.name)
        names, values = (*names[:at], *names[at + 1 :]), (*values[:at], *values[at + 1 :])
    if own and schema.has_rules:
        instance.__pydantic_validator__.validate_python({**instance.__dict__, **changes})
    if own and not names:
        return await _keep(instance, own, expected)
    if schema.has_rules:  # they are judged together with the rest of the object, as it is in the log
        document = given.model_dump_json(include=set(names))
        return await _change(instance, MergePatch(schema.name, key, document, expected, whole=True), own)
    return await _change(instance, Patch(schema.name, key, names, values, expected), own)


async def delete(instance: Model, expected: int | None) -> None:
    """The object is no more."""

    async def deleted(binding: Binding, result: object) -> None:
        stored.forget(instance)

    operation = Delete(instance.__model_schema__.name, stored.key_of(instance), expected)
    await _carry_out(instance, operation, deleted)


async def call(instance: M, event: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> M:
    """The object after one of its events."""
    schema = instance.__model_schema__
    given = _arguments(schema, event, arguments, named)
    return await _change(instance, Call(schema.name, stored.key_of(instance), event, given))


def _arguments(schema: ModelSchema, event: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """What the event is called with, as JSON that was checked."""
    method = schema.events[event]
    signature = inspect.signature(method.function)
    parameters = list(signature.parameters.values())[1:]
    accepted = signature.replace(parameters=[each for each in parameters if each.name != CONTEXT])
    try:
        given = accepted.bind(*arguments, **named).arguments
    except TypeError as error:
        raise TypeError(f"{schema.name}.{event}(): {error}") from None
    return str(method.arguments.__pydantic_validator__.validate_python(given).model_dump_json())


async def _take(binding: Binding, instance: Model, kept: Kept) -> None:
    """The object at hand is now what the change has made it. Raises :class:`~quorate.models.errors.DoneInPart`."""
    if not instance.__model_schema__.local_columns:
        stored.take(binding, instance, kept.row, kept.version)
        return
    stored.take_shared(instance, kept.row, kept.version)  # whatever becomes of the rest
    with binding.behind(type(instance), kept):
        await binding.engine.read_barrier(consistency="eventually")  # a snapshot may be taking the state's place
        await binding.keep(type(instance), kept)
        stored.take(binding, instance, kept.row, kept.version)


async def _change(
    instance: M, operation: Patch | MergePatch | Call, own: Mapping[str, SqlValue] = MappingProxyType({})
) -> M:
    async def changed(binding: Binding, result: object) -> None:
        row, version = cast("tuple[Row, int]", result)
        await _take(binding, instance, Kept(tuple(row), version, dict(own)))

    await _carry_out(instance, operation, changed)
    return instance


async def _keep(instance: M, own: Mapping[str, SqlValue], expected: int | None) -> M:
    """A change of nothing but what each node has values of its own for: it needs no log."""
    model, schema, key = type(instance), instance.__model_schema__, stored.key_of(instance)
    binding = binding_of(model)
    await binding.read("strong")
    found = binding.table(model).stored(key)
    if found is None:
        raise NotFound(schema.name, schema.show_key(key))
    if expected not in (None, found.version):
        raise VersionMismatch(schema.name, schema.show_key(key), found.version)
    await binding.keep(model, Kept(found.row, found.version, dict(own)))
    stored.take(binding, instance, found.row, found.version)
    return instance


def _own_values(schema: ModelSchema, given: BaseModel) -> dict[str, SqlValue]:
    """The stored form of the given fields that each node has values of its own for."""
    found: dict[str, SqlValue] = {}
    for column in schema.local_columns:
        if column.name in given.__pydantic_fields_set__:
            value = given.__dict__[column.name]
            try:
                found[column.name] = None if value is None else column.codec.encode(value)
            except Unstorable as error:
                raise Invalid.of(schema.name, [(column.name, error.reason, error.message)]) from None
    if found and open_transaction() is not None:
        raise RuntimeError(f"{', '.join(found)}: each node keeps this for itself, it cannot be set in a transaction")
    return found


async def _carry_out(instance: Model, operation: OnOne, settle: stored.Settle) -> None:
    transaction = open_transaction()
    if transaction is not None:
        transaction.change(instance, operation, settle)
    else:
        await _at_once(type(instance), operation, settle)


async def _at_once(model: type[Model], operation: Operation, settle: stored.Settle) -> None:
    binding = binding_of(model)
    (result,) = await binding.submit([operation])
    await settle(binding, result)
