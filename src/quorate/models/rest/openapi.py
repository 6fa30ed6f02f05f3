"""The OpenAPI 3.1 description of an app's model resources, from pydantic's JSON schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quorate.models.rest.bodies import BULK_ROWS_MAX
from quorate.models.rest.json_schemas import REF, Json, component_schemas
from quorate.models.rest.params import IDEMPOTENCY_KEY_CHARACTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX
from quorate.models.store.schema import ModelSchema

_WRITE_ERRORS = {
    307: "This node does not lead; the leader is in Location and X-Raft-Leader.",
    400: "The body is not valid JSON, or the Idempotency-Key is malformed.",
    409: "A unique value is taken, a foreign key would dangle, or the Idempotency-Key belongs to another request.",
    413: "The body is too large.",
    415: "The content type is not accepted.",
    422: "The request is well-formed but not valid.",
    503: "There is no leader now. The write was certainly not applied.",
    504: "The outcome is unknown. Retry with the same Idempotency-Key.",
}
_READ_ERRORS = {
    422: "A query parameter is not valid.",
    503: "A strong read could not be confirmed.",
}
_NOT_FOUND = {404: "No object has this id."}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "outcome": {
            "enum": ["not_applied", "unknown"],
            "description": "What became of a write that was not answered as asked.",
        },
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason", "message"],
                "properties": {
                    "row": {"type": "integer", "description": "Position in a bulk request, from 0."},
                    "field": {"type": "string", "description": "Dotted path; empty for the object as a whole."},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def describe(schemas: Iterable[ModelSchema], *, title: str, version: str, prefix: str = "/api") -> Json:
    """A complete document. The web layer may add paths of its own to ``paths``."""
    listed = list(schemas)
    components: Json = {"Problem": PROBLEM, **component_schemas(listed)}
    paths: Json = {}
    for schema in listed:
        stored_key = components[schema.name]["properties"][schema.key.name]
        key = {name: value for name, value in stored_key.items() if name != "title"}
        paths.update(_Operations(schema, key).paths(f"{prefix}/{schema.resource}"))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


class _Operations:
    """The operations of one model."""

    def __init__(self, schema: ModelSchema, key: Json) -> None:
        self._schema = schema
        self._key = key
        self._name = schema.name
        self._one = _ref(schema.name)
        self._many = {"type": "array", "items": self._one}
        self._given = _ref(f"{schema.name}Create")

    def paths(self, path: str) -> Json:
        """Every path of the resource, with what can be done there."""
        return {
            path: {"get": self._list(), "post": self._create()},
            f"{path}/_bulk": {"post": self._create_many()},
            f"{path}/count": {"get": self._count()},
            f"{path}/random-id": {"get": self._random_id()},
            f"{path}/{{id}}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": self._key}],
                "get": self._get(),
                **self._changes(),
            },
        }

    def _operation(self, verb: str, summary: str, responses: Json, parameters: list[Json], **more: Any) -> Json:
        return {
            "operationId": f"{verb}_{self._schema.table}",
            "summary": summary,
            "tags": [self._schema.resource],
            "parameters": parameters,
            "responses": responses,
            **more,
        }

    def _read(self, verb: str, summary: str, responses: Json, *parameters: Json) -> Json:
        return self._operation(verb, summary, responses, [*parameters, _CONSISTENCY])

    def _write(self, verb: str, summary: str, responses: Json, **more: Any) -> Json:
        return self._operation(verb, summary, responses, [_IDEMPOTENCY_KEY], **more)

    def _list(self) -> Json:
        headers = {"X-Total-Count": {"schema": {"type": "integer"}}, "Link": {"schema": {"type": "string"}}}
        return self._read(
            "list",
            f"List {self._schema.resource} in the order of their ids",
            _answers(200, self._many, _READ_ERRORS, headers),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
            _query("offset", {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0}),
        )

    def _create(self) -> Json:
        stamped = " A missing id is stamped by the leader." if self._schema.key_is_stamped else ""
        located = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
        return self._write(
            "create",
            f"Create a {self._name}.{stamped}",
            _answers(201, self._one, _WRITE_ERRORS, located),
            requestBody=_body(self._given),
        )

    def _create_many(self) -> Json:
        return self._write(
            "create_many",
            f"Create all of an array of {self._schema.resource}, or none",
            _answers(201, self._many, _WRITE_ERRORS),
            requestBody=_body({"type": "array", "items": self._given, "maxItems": BULK_ROWS_MAX}),
        )

    def _count(self) -> Json:
        count = _object({"count": {"type": "integer", "minimum": 0}})
        return self._read("count", f"Count the {self._schema.resource}", _answers(200, count, _READ_ERRORS))

    def _random_id(self) -> Json:
        errors = _READ_ERRORS | {404: f"There is no {self._name} yet."}
        return self._read(
            "random_id", f"The id of some {self._name}", _answers(200, _object({"id": self._key}), errors)
        )

    def _get(self) -> Json:
        return self._read("get", f"Read a {self._name}", _answers(200, self._one, _READ_ERRORS | _NOT_FOUND))

    def _changes(self) -> Json:
        """What can be done to one object, by method."""
        errors = _WRITE_ERRORS | _NOT_FOUND
        changed = _answers(200, self._one, errors)
        patch = _body(_ref(f"{self._name}Patch"), "application/merge-patch+json")
        merging = f"Change some fields of a {self._name} (JSON merge patch, RFC 7396)"
        deleted = {"204": {"description": "Deleted."}, **_problems(errors)}
        return {
            "put": self._write("replace", f"Replace a {self._name}", changed, requestBody=_body(self._given)),
            "patch": self._write("change", merging, changed, requestBody=patch),
            "delete": self._write("delete", f"Delete a {self._name}", deleted),
        }


_CONSISTENCY: Json = {
    "name": "consistency",
    "in": "query",
    "description": "strong: sees every write acknowledged before; eventually: this node's state as it is.",
    "schema": {"enum": ["strong", "eventually"], "default": "strong"},
}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry with the same key and body is applied once and gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX},
}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _ref(name: str) -> Json:
    return {"$ref": REF + name}


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _body(schema: Json, *also: str) -> Json:
    return {"required": True, "content": {kind: {"schema": schema} for kind in ("application/json", *also)}}


def _answers(status: int, schema: Json, errors: dict[int, str], headers: Json | None = None) -> Json:
    answer: Json = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if headers:
        answer["headers"] = headers
    return {str(status): answer, **_problems(errors)}


def _problems(errors: dict[int, str]) -> Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {
        str(status): {"description": text} | ({} if status == 307 else {"content": content})
        for status, text in sorted(errors.items())
    }
