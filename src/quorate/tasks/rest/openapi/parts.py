"""What descriptions of operations consist of."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.rest.heads import IDEMPOTENCY_KEY_CHARACTERS_MAX
from quorate.rest.params import LIMIT_DEFAULT, LIMIT_MAX
from quorate.tasks.codes import FOUND, TABLE
from quorate.tasks.lifecycle import BY_LABEL
from quorate.tasks.limits import ID_CHARACTERS_MAX
from quorate.tasks.submission import ID_PATTERN

Json = dict[str, Any]
Kind = type[msgspec.Struct]

PREFIX = "tasks."
"""Of the schemas' names: no model's is like that."""
REF = f"#/components/schemas/{PREFIX}{{name}}"
PROBLEM = "Problem"
READS = {422: "A query parameter is not valid.", 503: "A strong read could not be confirmed."}
WRITES = {
    422: "The request is well-formed but not valid.",
    503: "There is no leader now. The write was certainly not applied.",
    504: "The outcome is unknown.",
}
BODY = {400: "The body is not valid JSON.", 413: "The body is too large.", 415: "The content type is not accepted."}
FULL = {429: "The queue is full, or a bound of the cluster is reached: try again after Retry-After."}


def ref(kind: Kind) -> Json:
    """To a schema of ours."""
    return {"$ref": REF.format(name=kind.__name__)}


def array(items: Json, **more: Any) -> Json:
    """Of such items."""
    return {"type": "array", "items": items, **more}


def object_of(properties: Json) -> Json:
    """One that has them all."""
    return {"type": "object", "required": [*properties], "properties": properties}


def in_path(name: str, characters_max: int, pattern: str) -> Json:
    """A parameter in the path."""
    schema = {"type": "string", "minLength": 1, "maxLength": characters_max, "pattern": f"^{pattern}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def in_query(name: str, schema: Json, description: str) -> Json:
    """A parameter behind it; the description has no stop."""
    return {"name": name, "in": "query", "description": f"{description}.", "schema": schema}


def problem() -> Json:
    """What every problem of the node has, and what refusals that concern tasks have beside it."""
    members = {name: kind for coded in TABLE for name, kind in coded.members.items() if name not in FOUND}
    told = "; ".join(f"{coded.code} ({coded.status}): {coded.when}" for coded in TABLE)
    return {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {
            "code": {"type": "string", "examples": [coded.code for coded in TABLE], "description": f"{told}."},
            "retry_after": {"type": "integer", "description": "Seconds after which the same may be asked again."},
            **{name: msgspec.json.schema(kind) for name, kind in sorted(members.items())},
        },
    }


COUNT: Json = {"type": "integer", "minimum": 0}
STATUS: Json = object_of({"status": {"enum": [*BY_LABEL]}})
CONSISTENCY = in_query(
    "consistency", {"enum": ["strong", "eventually"]}, "How fresh the answer is to be; strong if it is not said"
)
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Stands for the id if none is given: the request can be made again.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": min(ID_CHARACTERS_MAX, IDEMPOTENCY_KEY_CHARACTERS_MAX),
        "pattern": f"^{ID_PATTERN}$",
    },
}


def list_parameters() -> list[Json]:
    """Of pages of tasks."""
    states = "|".join(BY_LABEL)
    return [
        in_query("status", {"type": "string", "pattern": f"^({states})(,({states}))*$"}, "Of these states, by commas"),
        *(in_query(name, {"type": "string"}, f"Of this {name} alone") for name in ("queue", "type", "worker")),
        *page_parameters({"type": "string", "pattern": "^[0-9]{1,18}$"}),
    ]


def page_parameters(after: Json) -> list[Json]:
    """Of pages whose ``next`` is like ``after``."""
    limits: Json = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return [
        in_query("limit", limits, "How many at most"),
        in_query("after", after, "The 'next' of the page before"),
        CONSISTENCY,
    ]


def operation(
    summary: str,
    name: str,
    answer: Json | dict[int, tuple[str, Json]] | None,
    errors: dict[int, str],
    *,
    body: Json | None = None,
    optional: bool = False,
    parameters: list[Json] | None = None,
) -> Json:
    """One operation. ``answer`` is the schema of what a 200 has, or tells of each status; ``None`` stands for 204."""
    problem = {"application/problem+json": {"schema": {"$ref": REF.format(name=PROBLEM)}}}
    responses: Json = {
        str(status): {"description": text, "content": problem} for status, text in sorted(errors.items())
    }
    if answer is None:
        responses["204"] = {"description": "Done."}
    else:
        answers = answer if all(isinstance(each, int) for each in answer) and answer else {200: ("Done.", answer)}
        for status, (text, schema) in answers.items():
            responses[str(status)] = {"description": text, "content": {"application/json": {"schema": schema}}}
    described: Json = {"summary": summary, "operationId": name, "tags": ["tasks"], "responses": responses}
    if body is not None:
        described["requestBody"] = {"required": not optional, "content": {"application/json": {"schema": body}}}
    if parameters:
        described["parameters"] = parameters
    return described
