"""Conditions with Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter

from quorate.models.annotations import value_type
from quorate.models.query.errors import BadQuery
from quorate.models.query.fields import Kind, Operator, QueryField, QueryFields
from quorate.models.query.filters import IN_VALUES_MAX, Condition, named
from quorate.models.store.columns import TEXT, SqlValue, Unstorable

if TYPE_CHECKING:
    from quorate.models.model import Model

_CONFIG = ConfigDict(val_json_bytes="base64")


@cache
def fields_of(model: type[Model]) -> QueryFields:
    """What can be asked of a model here: all of its fields, those too that never leave the process."""
    return QueryFields(model.__model_schema__, hidden=True)


def conditions_of(model: type[Model], given: Mapping[str, Any]) -> tuple[Condition, ...]:
    """What ``field=value`` and ``field__operator=value`` ask for.

    Raises :class:`BadQuery` for names, and pydantic's ``ValidationError`` for values.
    """
    fields = fields_of(model)
    return tuple(_condition(model, *named(fields, name), name, value) for name, value in given.items())


def _condition(model: type[Model], field: QueryField, operator: Operator, parameter: str, value: Any) -> Condition:
    if value is None and operator in (Operator.EQ, Operator.NE):
        return Condition(field.name, Operator.ISNULL, (int(operator is Operator.EQ),))
    if operator is Operator.ISNULL:
        return Condition(field.name, operator, (int(TypeAdapter(bool).validate_python(value)),))
    if operator is not Operator.IN:
        return Condition(field.name, operator, (_stored(model, field, parameter, value),))
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise BadQuery(parameter, "list", "It takes a list of values")
    values = tuple(_stored(model, field, parameter, each) for each in value)
    if len(values) > IN_VALUES_MAX:
        raise BadQuery(parameter, "too_long", f"At most {IN_VALUES_MAX} values can be listed")
    return Condition(field.name, operator, values)


def _stored(model: type[Model], field: QueryField, parameter: str, value: Any) -> SqlValue:
    """The stored form of a value of the field's type, within the field's own limits or not."""
    encode = TEXT.encode if field.kind is Kind.TEXT else field.column.codec.encode
    try:
        return encode(_adapter(model, field.name).validate_python(value))
    except Unstorable as error:
        raise BadQuery(parameter, error.reason, error.message) from None


@cache
def _adapter(model: type[Model], name: str) -> TypeAdapter[Any]:
    bare, _ = value_type(model.model_fields[name].annotation)
    return TypeAdapter(bare, config=_CONFIG)
