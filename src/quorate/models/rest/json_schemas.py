"""The JSON schemas of models, as an OpenAPI document's components."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydantic.json_schema import models_json_schema

from quorate.models.store.columns import INT64_MAX, INT64_MIN, INTEGER
from quorate.models.store.schema import EventMethod, ModelSchema

Json = dict[str, Any]

REF = "#/components/schemas/"
DECIMAL_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def component_schemas(schemas: list[ModelSchema]) -> Json:
    """For each model: ``X`` (as stored), ``XCreate`` and ``XPatch`` (as sent), and what they refer to.

    For each of its events, what that is called with: ``XStockChanged``.
    """
    if not schemas:
        return {}
    wanted: list[Any] = [(schema.model, mode) for schema in schemas for mode in ("validation", "serialization")]
    calls = [(schema, method) for schema in schemas for method in schema.events.values()]
    wanted += [(method.arguments, "validation") for _, method in calls]
    references, document = models_json_schema(wanted, ref_template=REF + "{model}")
    definitions: Json = document.get("$defs", {})
    own = {
        (schema.name, mode): references[(schema.model, mode)]["$ref"].removeprefix(REF)
        for schema in schemas
        for mode in ("validation", "serialization")
    }
    called = {
        arguments_name(schema, method): references[(method.arguments, "validation")]["$ref"].removeprefix(REF)
        for schema, method in calls
    }
    hidden = {*own.values(), *called.values()}
    result = {name: value for name, value in definitions.items() if name not in hidden}
    for name, definition in called.items():
        result[name] = {**definitions[definition], "title": name}
    for schema in schemas:
        stored = deepcopy(definitions[own[schema.name, "serialization"]])
        sent = deepcopy(definitions[own[schema.name, "validation"]])
        _tighten(schema, sent)
        stored["properties"] = {name: stored["properties"][name] for name in schema.exposed_names}
        stored["required"] = list(schema.exposed_names)
        stored["properties"][schema.key.name].pop("default", None)
        stored["title"] = schema.name
        patch = deepcopy(sent)
        patch.pop("required", None)
        for value in patch["properties"].values():
            value.pop("default", None)
        result[schema.name] = stored
        result[f"{schema.name}Create"] = {**sent, "title": f"{schema.name}Create"}
        result[f"{schema.name}Patch"] = {**patch, "title": f"{schema.name}Patch"}
    return result


def arguments_name(schema: ModelSchema, method: EventMethod) -> str:
    """The component that describes what an event is called with."""
    return f"{schema.name}{''.join(word.capitalize() for word in method.name.split('_'))}"


def _tighten(schema: ModelSchema, sent: Json) -> None:
    """Say what the store asks for beyond pydantic: integers of 64 bits, and a key that may be missing."""
    for column in schema.columns:
        value = sent["properties"][column.name]
        if column.primary_key:
            value.pop("default", None)
        if column.codec.name.startswith("decimal"):
            for part in (value, *value.get("anyOf", ())):
                if part.get("type") == "string":
                    part["pattern"] = DECIMAL_PATTERN
        if column.codec is INTEGER:
            for part in (value, *value.get("anyOf", ())):
                if part.get("type") == "integer":
                    if "exclusiveMinimum" not in part:
                        part.setdefault("minimum", INT64_MIN)
                    if "exclusiveMaximum" not in part:
                        part.setdefault("maximum", INT64_MAX)
