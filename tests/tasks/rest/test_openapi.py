"""What is described is what is served: no path or method is missing, none is too many."""

from __future__ import annotations

import json
from typing import Any

from quorate.tasks.rest import openapi
from quorate.testing import TestCluster

from .support import Api

METHODS = {"get", "post", "put", "patch", "delete"}
PATHS: dict[str, dict[str, Any]] = openapi.paths("/api/v1")
OPERATIONS = [
    (path, method, operation)
    for path, operations in PATHS.items()
    for method, operation in operations.items()
    if method in METHODS
]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_it_is_plain_json_without_dangling_references() -> None:
    whole = {"paths": PATHS, "schemas": openapi.schemas()}
    assert json.loads(json.dumps(whole)) == whole
    known = {f"#/components/schemas/{name}" for name in openapi.schemas()}
    assert references(whole) - known == {"#/components/schemas/Problem"}
    assert all(name.startswith("tasks.") for name in openapi.schemas())


def test_every_operation_has_an_id_of_its_own_and_problems_as_errors() -> None:
    ids = [operation["operationId"] for *_, operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    for path, method, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            kinds = set(answer.get("content", {}))
            if status == "204":
                assert not kinds
            elif status < "400":
                assert kinds == {"text/event-stream" if path.endswith("_watch") else "application/json"}
            else:
                assert kinds == {"application/problem+json"}, (path, method, status)
        assert ("requestBody" in operation) <= {"400", "415"}.issubset(operation["responses"])


async def test_every_route_is_described_and_every_description_has_a_route(cluster: TestCluster, api: Api) -> None:
    described: dict[str, set[str]] = {}
    for path, method, _ in OPERATIONS:
        described.setdefault(path.removeprefix("/api/v1/"), set()).add(method.upper())
    served = {path: set(routes) for path, routes in api.resource._routes.items()}
    for (collection, action), routes in api.resource._routes_of_one.items():
        key = "name" if collection in ("queues", "schedules") else "id"
        served[f"{collection}/{{{key}}}{'/' if action else ''}{action}"] = set(routes)
    assert described == served
