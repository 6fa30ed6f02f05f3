"""What an OpenAPI document says of events, streams of them, and the past."""

from __future__ import annotations

from typing import Any

from quorate.models.store.schema import ModelSchema
from quorate.rest.params import LIMIT_DEFAULT, LIMIT_MAX, SEQUENCE_MAX

Json = dict[str, Any]

_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": SEQUENCE_MAX}
_TIMESTAMP: Json = {"type": "string", "format": "date-time", "description": "The log's time, in UTC."}
_EVENT_TYPE: Json = {"type": "string", "examples": ["ProductUpdated"]}
_ACTOR: Json = {"type": ["string", "null"], "description": "Who asked for it, as X-Actor said."}
_SHARED: Json = {
    "sequence_number": {"type": "integer", "description": "Counts the changes of all objects, equal on every node."},
    "timestamp": _TIMESTAMP,
    "event_type": _EVENT_TYPE,
    "actor": _ACTOR,
    "node_id": {"type": "integer", "description": "The node that it was asked of."},
    "index": {"type": "integer", "description": "The log entry."},
}
EVENT: Json = {
    "type": "object",
    "properties": {
        "event_id": {"type": "string", "format": "uuid"},
        "aggregate_id": {"type": "string", "description": "The object's path below /api."},
        "event_data": {"type": "object", "description": "The fields that changed, and what they are now."},
        "term": {"type": "integer"},
        "model": {"type": "string"},
        **_SHARED,
    },
}
HISTORY_ENTRY: Json = {
    "type": "object",
    "properties": {
        **_SHARED,
        "changes": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["new"],
                "properties": {"new": {}, "old": {"description": "Of audited fields."}},
            },
        },
    },
}
for _schema in (EVENT, HISTORY_ENTRY):
    _schema["required"] = list(_schema["properties"])
_LINK: Json = {"Link": {"schema": {"type": "string"}, "description": 'The next page: rel="next".'}}
_FIRST: Json = {"X-First-Sequence": {"schema": {"type": "integer"}, "description": "The oldest event that is kept."}}
_LAST: Json = {"X-Last-Sequence": {"schema": {"type": "integer"}, "description": "The newest event."}}
_AS_OF: Json = {
    "name": "as_of",
    "in": "query",
    "description": "Show the object as it was: a timestamp (RFC 3339), or the index of a log entry. Only fields with a "
    "history are shown then, as far as it reaches. No other parameter but consistency goes with it.",
    "schema": {"anyOf": [{"type": "string", "format": "date-time"}, _NUMBER]},
}


def item_paths(schema: ModelSchema, path: str, key: Json) -> Json:
    """What a resource has beside its objects: the changes of them, and of each its history."""
    tags, table = [schema.resource], schema.table
    watch = _watch(f"watch_{table}", f"Follow the changes of {schema.resource}", tags)
    if not schema.has_history:
        return {f"{path}/_watch": watch}
    answer = _answer({"type": "array", "items": HISTORY_ENTRY}, _LINK)
    errors = _problems({404: "No object has or had this id.", **_BAD_QUERY, **_UNCONFIRMED})
    return {
        f"{path}/_watch": watch,
        f"{path}/{{id}}/history": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": key}],
            "get": {
                "operationId": f"history_{table}",
                "summary": f"What has changed of a {schema.name}, in order; also of one that was deleted",
                "tags": tags,
                "parameters": [_after("Entries behind this sequence number."), _limit(), _consistency()],
                "responses": {"200": answer, **errors},
            },
        },
    }


def shared_paths(prefix: str, resources: list[str]) -> Json:
    """The events of all models."""
    errors = {410: "What comes behind after is not kept any more.", **_BAD_QUERY, **_UNCONFIRMED}
    resource: Json = {"name": "resource", "in": "query", "schema": {"enum": resources}}
    after = _after("Events behind this sequence number; from the oldest on if it is not given.")
    return {
        f"{prefix}/_events": {
            "get": {
                "operationId": "events",
                "summary": "What has changed, in order. A page may hold fewer than limit: follow Link",
                "tags": ["events"],
                "parameters": [after, _limit(), resource, _consistency()],
                "responses": {
                    "200": _answer({"type": "array", "items": EVENT}, _LINK | _FIRST | _LAST),
                    **_problems(errors),
                },
            }
        },
        f"{prefix}/_watch": _watch("watch", "Follow the changes of all models", ["events"]),
    }


def with_as_of(get: Json, schema: ModelSchema) -> Json:
    """A read of one object, which may be of the past."""
    if not schema.has_history:
        return get
    answer = get["responses"]["200"]
    content = {
        kind: {"schema": {"anyOf": [value["schema"], {"type": "object", "description": "With as_of."}]}}
        for kind, value in answer["content"].items()
    }
    gone = _problems({410: "What it was at that moment is not known any more."})
    responses = {**get["responses"], "200": {**answer, "content": content}, **gone}
    return {**get, "parameters": [*get["parameters"], _AS_OF], "responses": responses}


_BAD_QUERY = {422: "A query parameter is not valid."}
_UNCONFIRMED = {503: "A strong read could not be confirmed."}


def _watch(operation: str, summary: str, tags: list[str]) -> Json:
    last: Json = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "As after, and instead of it: the id of the last event that the client has.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    }
    stream: Json = {
        "description": "Server-sent events, without end: id is the sequence number, event its type, data an event.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    errors = {
        400: "Last-Event-ID is no number.",
        410: "What comes behind after is not kept any more.",
        503: "A strong read could not be confirmed, the node stops, or too many watch it.",
        **_BAD_QUERY,
    }
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "tags": tags,
            "parameters": [_after("Events behind this sequence number; from now on by default."), last, _consistency()],
            "responses": {"200": stream, **_problems(errors)},
        }
    }


def _after(description: str) -> Json:
    return {"name": "after", "in": "query", "description": description, "schema": _NUMBER}


def _limit() -> Json:
    bounds = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return {"name": "limit", "in": "query", "schema": bounds}


def _consistency() -> Json:
    return {"name": "consistency", "in": "query", "schema": {"enum": ["strong", "eventually"], "default": "strong"}}


def _answer(schema: Json, headers: Json) -> Json:
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}, "headers": headers}


def _problems(errors: dict[int, str]) -> Json:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": text, "content": content} for status, text in sorted(errors.items())}
