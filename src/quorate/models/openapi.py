"""The OpenAPI 3.1 description of an app's model resources, from pydantic's JSON schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quorate.models.bodies import BULK_ROWS_MAX
from quorate.models.json_schemas import REF, component_schemas
from quorate.models.params import IDEMPOTENCY_KEY_CHARACTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX
from quorate.models.schema import ModelSchema

_Json = dict[str, Any]

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
PROBLEM: _Json = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
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


def describe(schemas: Iterable[ModelSchema], *, title: str, version: str, prefix: str = "/api") -> _Json:
    """A complete document. The web layer may add paths of its own to ``paths``."""
    listed = list(schemas)
    components: _Json = {"Problem": PROBLEM, **component_schemas(listed)}
    paths: _Json = {}
    for schema in listed:
        paths.update(_paths(schema, f"{prefix}/{schema.resource}", components))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _paths(schema: ModelSchema, path: str, components: _Json) -> _Json:
    name, tag = schema.name, [schema.resource]
    key = {key: value for key, value in components[name]["properties"][schema.key.name].items() if key != "title"}
    identified = [{"name": "id", "in": "path", "required": True, "schema": key}]
    paging = [
        _query("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
        _query("offset", {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0}),
    ]
    one, many = _ref(name), {"type": "array", "items": _ref(name)}
    created = {"type": "array", "items": _ref(f"{name}Create"), "maxItems": BULK_ROWS_MAX}
    put_errors = _WRITE_ERRORS | _NOT_FOUND
    total = {"X-Total-Count": {"schema": {"type": "integer"}}, "Link": {"schema": {"type": "string"}}}
    located = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
    stamped = " A missing id is stamped by the leader." if schema.key_is_stamped else ""

    def operation(verb: str, summary: str, responses: _Json, **more: Any) -> _Json:
        return {"operationId": f"{verb}_{schema.table}", "summary": summary, "tags": tag, "responses": responses} | more

    return {
        path: {
            "get": operation(
                "list",
                f"List {schema.resource} in the order of their ids",
                _answers(200, many, _READ_ERRORS, total),
                parameters=[*paging, _CONSISTENCY],
            ),
            "post": operation(
                "create",
                f"Create a {name}.{stamped}",
                _answers(201, one, _WRITE_ERRORS, located),
                parameters=[_IDEMPOTENCY_KEY],
                requestBody=_body(_ref(f"{name}Create")),
            ),
        },
        f"{path}/_bulk": {
            "post": operation(
                "create_many",
                f"Create all of an array of {schema.resource}, or none",
                _answers(201, many, _WRITE_ERRORS),
                parameters=[_IDEMPOTENCY_KEY],
                requestBody=_body(created),
            ),
        },
        f"{path}/count": {
            "get": operation(
                "count",
                f"Count the {schema.resource}",
                _answers(200, _object({"count": {"type": "integer", "minimum": 0}}), _READ_ERRORS),
                parameters=[_CONSISTENCY],
            ),
        },
        f"{path}/random-id": {
            "get": operation(
                "random_id",
                f"The id of some {name}",
                _answers(200, _object({"id": key}), _READ_ERRORS | {404: f"There is no {name} yet."}),
                parameters=[_CONSISTENCY],
            ),
        },
        f"{path}/{{id}}": {
            "parameters": identified,
            "get": operation(
                "get",
                f"Read a {name}",
                _answers(200, one, _READ_ERRORS | _NOT_FOUND),
                parameters=[_CONSISTENCY],
            ),
            "put": operation(
                "replace",
                f"Replace a {name}",
                _answers(200, one, put_errors),
                parameters=[_IDEMPOTENCY_KEY],
                requestBody=_body(_ref(f"{name}Create")),
            ),
            "patch": operation(
                "change",
                f"Change some fields of a {name} (JSON merge patch, RFC 7396)",
                _answers(200, one, put_errors),
                parameters=[_IDEMPOTENCY_KEY],
                requestBody=_body(_ref(f"{name}Patch"), "application/merge-patch+json"),
            ),
            "delete": operation(
                "delete",
                f"Delete a {name}",
                {"204": {"description": "Deleted."}, **_problems(put_errors)},
                parameters=[_IDEMPOTENCY_KEY],
            ),
        },
    }


_CONSISTENCY: _Json = {
    "name": "consistency",
    "in": "query",
    "description": "strong: sees every write acknowledged before; eventually: this node's state as it is.",
    "schema": {"enum": ["strong", "eventually"], "default": "strong"},
}
_IDEMPOTENCY_KEY: _Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry with the same key and body is applied once and gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX},
}


def _query(name: str, schema: _Json) -> _Json:
    return {"name": name, "in": "query", "schema": schema}


def _ref(name: str) -> _Json:
    return {"$ref": REF + name}


def _object(properties: _Json) -> _Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _body(schema: _Json, *also: str) -> _Json:
    return {"required": True, "content": {kind: {"schema": schema} for kind in ("application/json", *also)}}


def _answers(status: int, schema: _Json, errors: dict[int, str], headers: _Json | None = None) -> _Json:
    answer: _Json = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if headers:
        answer["headers"] = headers
    return {str(status): answer, **_problems(errors)}


def _problems(errors: dict[int, str]) -> _Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {
        str(status): {"description": text} | ({} if status == 307 else {"content": content})
        for status, text in sorted(errors.items())
    }
