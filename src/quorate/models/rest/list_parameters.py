"""What the OpenAPI document says of the parameters of lists, counts and aggregates."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from quorate.models.query.aggregation import FIELDS_MAX, FUNCTIONS
from quorate.models.query.cursors import CURSOR_CHARACTERS_MAX
from quorate.models.query.fields import Kind, Operator, QueryField, QueryFields
from quorate.models.query.filters import IN_VALUES_MAX
from quorate.models.query.ordering import TERMS_MAX
from quorate.models.rest.json_schemas import Json
from quorate.models.rest.listing import AGGREGATE_PARAMETERS, ALL, LIST_PARAMETERS
from quorate.models.store.columns import INT64_MAX, INT64_MIN
from quorate.rest.params import LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX

_BOOLEAN: Json = {"type": "boolean"}
_TEXT: Json = {"type": "string", "pattern": r"^[^\u0000]*$"}
_BY_KIND: dict[Kind, Json] = {
    Kind.TEXT: _TEXT,
    Kind.INTEGER: {"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX},
    Kind.FLOAT: {"type": "number"},
    Kind.DECIMAL: {"type": "string", "pattern": r"^-?[0-9]{1,40}(\.[0-9]{1,40})?$"},
    Kind.BOOLEAN: _BOOLEAN,
}
_BY_CODEC: dict[str, Json] = {
    "uuid": {"type": "string", "format": "uuid"},
    "bytes": {"type": "string", "contentEncoding": "base64url", "pattern": "^([A-Za-z0-9_-]{4})*$"},
    "datetime": {"type": "string", "format": "date-time"},
    "datetime_naive": {
        "type": "string",
        "pattern": r"^[12][0-9]{3}-0[1-9]-[012][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9]$",
    },
    "date": {"type": "string", "format": "date"},
}
_OFFSET: Json = {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0}
_LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}


def list_parameters(fields: QueryFields) -> list[Json]:
    """All of a list but ``consistency``."""
    ordered = [sign + name for name in fields.ordered for sign in ("", "-")]
    return [
        *filter_parameters(fields, LIST_PARAMETERS),
        _listed("order_by", ordered, TERMS_MAX, "By these fields; a - before a name: from the greatest to the least."),
        _parameter("limit", {"anyOf": [_LIMIT, {"const": ALL}]}, "Of all objects there are no pages."),
        _parameter("offset", _OFFSET, "How many to pass over."),
        _parameter("cursor", {"type": "string", "maxLength": CURSOR_CHARACTERS_MAX}, "Where to go on, as Link has it."),
        _listed("fields", list(fields.schema.exposed_names), None, "Only these, in this order."),
    ]


def filter_parameters(fields: QueryFields, taken: tuple[str, ...] = ()) -> list[Json]:
    """One for each field and operator. A field whose name is ``taken`` is asked for with ``__eq``."""
    found = []
    for name, each in fields.by_name.items():
        for operator in each.operators:
            is_bare = operator is Operator.EQ and name not in taken
            found.append(_filter(each, operator, name if is_bare else f"{name}__{operator}"))
    return found


def aggregate_parameters(fields: QueryFields) -> list[Json]:
    """All of aggregates but ``consistency``."""
    numbers = [name for name, each in fields.by_name.items() if each.has_sum]
    operands = {"sum": numbers, "avg": numbers, "min": fields.ordered, "max": fields.ordered}
    return [
        *filter_parameters(fields, AGGREGATE_PARAMETERS),
        _listed("group_by", fields.ordered, FIELDS_MAX, "A group has the same values of these fields."),
        {**_parameter("count", {"enum": ["", "true"]}, "Count the objects of each group."), "allowEmptyValue": True},
        *(
            _listed(function, operands[function], FIELDS_MAX, "Of these fields.")
            for function in FUNCTIONS
            if operands[function]
        ),
        _parameter("limit", _LIMIT, "How many groups at most."),
        _parameter("offset", _OFFSET, "How many groups to pass over."),
    ]


def some_fields(stored: Json, name: str) -> Json:
    """The schema of an object of which only some fields were asked for."""
    part = deepcopy(stored)
    part.pop("required", None)
    return {**part, "title": f"{name}Fields"}


def _filter(field: QueryField, operator: Operator, parameter: str) -> Json:
    if operator is Operator.ISNULL:
        return _parameter(parameter, _BOOLEAN)
    value = _value(field)
    if operator is Operator.IN:
        listed = {"type": "array", "items": value, "minItems": 1, "maxItems": IN_VALUES_MAX}
        return {**_parameter(parameter, listed), "style": "form", "explode": False}
    return _parameter(parameter, value)


def _value(field: QueryField) -> Json:
    if field.kind is Kind.CHOICE:
        return {"enum": list(field.choices.values())}
    return _BY_KIND.get(field.kind) or _BY_CODEC[field.column.codec.name]


def _listed(name: str, names: list[str], most: int | None, description: str) -> Json:
    items: dict[str, Any] = {"type": "array", "items": {"enum": names}, "minItems": 1, "uniqueItems": True}
    if most is not None:
        items["maxItems"] = most
    return {**_parameter(name, items, description), "style": "form", "explode": False}


def _parameter(name: str, schema: Json, description: str = "") -> Json:
    told = {"description": description} if description else {}
    return {"name": name, "in": "query", **told, "schema": schema}
