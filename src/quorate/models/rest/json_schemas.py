"""The JSON schemas of models, as an OpenAPI document's components."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydantic.json_schema import models_json_schema

from quorate.models.store.columns import INT64_MAX, INT64_MIN, INTEGER
from quorate.models.store.schema import ModelSchema

Json = dict[str, Any]

REF = "#/components/schemas/"


def component_schemas(schemas: list[ModelSchema]) -> Json:
    """For each model: ``X`` (as stored), ``XCreate`` and ``XPatch`` (as sent), and what they refer to."""
    if not schemas:
        return {}
    wanted: list[Any] = [(schema.model, mode) for schema in schemas for mode in ("validation", "serialization")]
    references, document = models_json_schema(wanted, ref_template=REF + "{model}")
    definitions: Json = document.get("$defs", {})
    own = {
        (schema.name, mode): references[(schema.model, mode)]["$ref"].removeprefix(REF)
        for schema in schemas
        for mode in ("validation", "serialization")
    }
    result = {name: value for name, value in definitions.items() if name not in own.values()}
    for schema in schemas:
        stored = deepcopy(definitions[own[schema.name, "serialization"]])
        sent = deepcopy(definitions[own[schema.name, "validation"]])
        _tighten(schema, sent)
        stored["required"] = list(schema.names)
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


def _tighten(schema: ModelSchema, sent: Json) -> None:
    """Say what the store asks for beyond pydantic: integers of 64 bits, and a key that may be missing."""
    for column in schema.columns:
        value = sent["properties"][column.name]
        if column.primary_key:
            value.pop("default", None)
        if column.codec is INTEGER:
            for part in (value, *value.get("anyOf", ())):
                if part.get("type") == "integer":
                    if "exclusiveMinimum" not in part:
                        part.setdefault("minimum", INT64_MIN)
                    if "exclusiveMaximum" not in part:
                        part.setdefault("maximum", INT64_MAX)
