"""The OpenAPI 3.1 description of an app's model resources, from pydantic's JSON schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quorate.models.query.fields import QueryFields
from quorate.models.rest.bodies import BULK_ROWS_MAX
from quorate.models.rest.json_schemas import REF, Json, arguments_name, component_schemas
from quorate.models.rest.list_parameters import (
    aggregate_parameters,
    filter_parameters,
    list_parameters,
    some_fields,
)
from quorate.models.rest.openapi_past import item_paths, shared_paths, with_as_of
from quorate.models.rest.serving import Served
from quorate.models.rest.transaction_schemas import transaction_schemas
from quorate.models.rest.transactions import PATH
from quorate.models.store.schema import ModelSchema
from quorate.node.reads import Consistency
from quorate.rest.heads import IDEMPOTENCY_KEY_CHARACTERS_MAX

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
_DONE_IN_PART = "What is replicated is stored, as `version`; what this node was to keep for itself is not: `fields`."
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
            "enum": ["not_applied", "unknown", "done_in_part"],
            "description": "What became of a write that was not answered as asked.",
        },
        "version": {"type": "integer", "description": "Of the (first) object, where a write was done in part."},
        "ids": {"type": "array", "description": "The objects that such a write is about."},
        "fields": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Those that each node keeps for itself, and this one did not.",
        },
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason", "message"],
                "properties": {
                    "row": {"type": "integer", "description": "Position in a bulk request, from 0."},
                    "operation": {"type": "integer", "description": "Position in a transaction, from 0."},
                    "position": {"type": "integer", "description": "Position in a batch of tasks, from 0."},
                    "field": {"type": "string", "description": "Dotted path; empty for the object as a whole."},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def describe(
    schemas: Iterable[ModelSchema],
    *,
    title: str,
    version: str,
    prefix: str = "/api",
    read_consistency: Consistency = "strong",
) -> Json:
    """A complete document. The web layer may add paths of its own to ``paths``."""
    listed, served = list(schemas), Served(read_consistency)
    components: Json = {"Problem": PROBLEM, **component_schemas(listed)}
    paths: Json = {}
    for schema in listed:
        components[f"{schema.name}Fields"] = some_fields(components[schema.name], schema.name)
        stored_key = components[schema.name]["properties"][schema.key.name]
        key = {name: value for name, value in stored_key.items() if name != "title"}
        paths.update(_Operations(schema, key, served).paths(f"{prefix}/{schema.resource}"))
    if listed:
        components["Transaction"], components["TransactionResults"] = transaction_schemas(listed)
        paths[f"{prefix}/{PATH}"] = {"post": _transaction()}
        paths.update(shared_paths(prefix, [schema.resource for schema in listed]))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


class _Operations:
    """The operations of one model."""

    def __init__(self, schema: ModelSchema, key: Json, served: Served) -> None:
        self._schema = schema
        self._consistency = served.consistency_of(schema, schema.exposed_names)
        self._consistency_of_key = served.consistency_of(schema, (schema.key.name,))
        self._key = key
        self._name = schema.name
        self._fields = QueryFields(schema)
        self._one = _ref(schema.name)
        self._many = {"type": "array", "items": self._one}
        self._given = _ref(f"{schema.name}Create")

    def paths(self, path: str) -> Json:
        """Every path of the resource, with what can be done there."""
        return {
            path: {"get": self._list(), "post": self._create()},
            f"{path}/_bulk": {"post": self._create_many()},
            f"{path}/count": {"get": self._count()},
            f"{path}/_aggregate": {"get": self._aggregate()},
            f"{path}/random-id": {"get": self._random_id()},
            f"{path}/{{id}}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": self._key}],
                "get": with_as_of(self._get(), self._schema),
                **self._changes(),
            },
            **self._events(path),
            **item_paths(self._schema, path, self._key),
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
        default = self._consistency_of_key if verb in ("count", "random_id") else self._consistency
        return self._operation(verb, summary, responses, [*parameters, _consistency(default)])

    def _write(self, verb: str, summary: str, responses: Json, **more: Any) -> Json:
        if self._schema.local_columns and verb != "delete":
            responses = {**responses, **_problems({500: _DONE_IN_PART})}
        return self._operation(verb, summary, responses, [_IDEMPOTENCY_KEY], **more)

    def _list(self) -> Json:
        headers = {"X-Total-Count": {"schema": {"type": "integer"}}, "Link": {"schema": {"type": "string"}}}
        some = {"type": "array", "items": _ref(f"{self._name}Fields")}
        return self._read(
            "list",
            f"List {self._schema.resource}, in the order of their ids unless another is asked for",
            _answers(200, some, _READ_ERRORS, headers),
            *list_parameters(self._fields),
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
        summary = f"Count the {self._schema.resource}"
        return self._read(
            "count", summary, _answers(200, count, _READ_ERRORS), *filter_parameters(self._fields, ("consistency",))
        )

    def _aggregate(self) -> Json:
        groups = {"type": "array", "items": {"type": "object"}}
        return self._read(
            "aggregate",
            f"Count {self._schema.resource} by groups, add them up, find the least and the greatest",
            _answers(200, groups, _READ_ERRORS, {"Link": {"schema": {"type": "string"}}}),
            *aggregate_parameters(self._fields),
        )

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

    def _events(self, path: str) -> Json:
        """A path for each event."""
        errors = _WRITE_ERRORS | _NOT_FOUND
        errors[409] = f"The event refuses, or would leave a {self._name} that breaks a rule. {errors[409]}"
        return {
            f"{path}/{{id}}/{method.path}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": self._key}],
                "post": self._write(
                    f"call_{method.name}",
                    method.summary or f"Have a {self._name} take the event {method.name}",
                    _answers(200, self._one, errors),
                    requestBody=_body(_ref(arguments_name(self._schema, method)), is_required=method.needs_arguments),
                ),
            }
            for method in self._schema.events.values()
        }


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry with the same key and body is applied once and gets the same answer.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": IDEMPOTENCY_KEY_CHARACTERS_MAX,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}


def _transaction() -> Json:
    errors = _WRITE_ERRORS | _NOT_FOUND
    errors[409] = f"{errors[409]} None of the operations has any effect."
    errors[412] = "An object is not of the version that its operation gives."
    return {
        "operationId": "transaction",
        "summary": "Carry out several operations, on objects of any models, or none",
        "tags": ["transactions"],
        "parameters": [_IDEMPOTENCY_KEY],
        "requestBody": _body(_ref("Transaction")),
        "responses": _answers(200, _ref("TransactionResults"), errors),
    }


def _consistency(default: Consistency) -> Json:
    return {
        "name": "consistency",
        "in": "query",
        "description": "strong: sees every write acknowledged before; eventually: this node's state as it is.",
        "schema": {"enum": ["strong", "eventually"], "default": default},
    }


def _ref(name: str) -> Json:
    return {"$ref": REF + name}


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _body(schema: Json, *also: str, is_required: bool = True) -> Json:
    return {"required": is_required, "content": {kind: {"schema": schema} for kind in ("application/json", *also)}}


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
