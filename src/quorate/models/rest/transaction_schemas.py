"""What a transaction's body and answer look like, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quorate.models.rest.json_schemas import REF, Json, arguments_name
from quorate.models.rest.transactions import OPERATIONS_MAX
from quorate.models.store.columns import INT64_MAX, INTEGER
from quorate.models.store.schema import ModelSchema

_VERSION: Json = {
    "type": ["integer", "null"],
    "minimum": 0,
    "maximum": INT64_MAX,
    "description": "The version that the object must be of; its ETag, as a number.",
}


def transaction_schemas(schemas: Sequence[ModelSchema]) -> tuple[Json, Json]:
    """The components ``Transaction`` and ``TransactionResults``."""
    operations = [operation for schema in schemas for operation in _operations(schema)]
    stored = [{"$ref": REF + schema.name} for schema in schemas]
    result = {
        "object": {"anyOf": [*stored, {"type": "null"}], "description": "As it is stored; null if it was not changed."},
        "version": {"type": ["integer", "null"], "description": "Its version; null if it was deleted."},
    }
    listed = {"type": "array", "items": {"anyOf": operations}, "minItems": 1, "maxItems": OPERATIONS_MAX}
    results = {"type": "array", "items": {"type": "object", "required": list(result), "properties": result}}
    return _closed({"operations": listed}), {
        "type": "object",
        "required": ["results"],
        "properties": {"results": results},
    }


def _operations(schema: ModelSchema) -> Iterable[Json]:
    created, changed = {"$ref": f"{REF}{schema.name}Create"}, {"$ref": f"{REF}{schema.name}Patch"}
    yield _operation(schema, "create", {"body": created}, on_one=False)
    yield _operation(schema, "replace", {"body": created})
    yield _operation(schema, "update", {"body": changed})
    yield _operation(schema, "delete", {})
    yield _operation(schema, "check", {})
    for method in schema.events.values():
        arguments = {"$ref": REF + arguments_name(schema, method)}
        yield _operation(schema, "call", {"event": {"const": method.path}, "arguments": arguments})


def _operation(schema: ModelSchema, op: str, members: Json, *, on_one: bool = True) -> Json:
    id_type = {"type": ["string", "integer"]} if schema.key.codec is INTEGER else {"type": "string"}
    required: Json = {
        "op": {"const": op},
        "resource": {"const": schema.resource},
        **({"id": id_type} if on_one else {}),
    }
    return _closed({**required, **members}, {"version": _VERSION} if on_one else {})


def _closed(required: Json, optional: Json | None = None) -> Json:
    """An object with these members and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}
