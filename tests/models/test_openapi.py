"""The OpenAPI description says what the resource does."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from quorate.app import App
from quorate.models.rest.openapi import describe
from quorate.rest.http import RequestError

from .shop import Booking, Category, Counter, Everything, Product, Tag
from .support import serving


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = App(models=[Category, Product, Everything, Booking, Tag, Counter])
    return describe(app.schemas, title="Shop", version="1.2.3")


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_it_is_plain_json_without_dangling_references(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document)) == document
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Shop", "version": "1.2.3"}
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_every_operation_has_an_id_of_its_own_and_problems_as_errors(document: dict[str, Any]) -> None:
    operations = [
        operation for path in document["paths"].values() for operation in path.values() if isinstance(operation, dict)
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) == 11 * 6 + 3  # and transactions, events and their stream
    for operation in operations:
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"]


def test_schemas_say_what_may_be_sent_and_what_comes_back(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Product"]["required"] == ["id", "name", "price", "stock", "category_id"]
    assert schemas["ProductCreate"]["required"] == ["name", "price"]
    assert schemas["ProductCreate"]["properties"]["id"] == {"format": "uuid", "title": "Id", "type": "string"}
    assert "required" not in schemas["ProductPatch"]
    assert schemas["ProductCreate"]["additionalProperties"] is False
    assert schemas["ProductCreate"]["properties"]["stock"]["minimum"] == 0
    assert schemas["CounterCreate"]["properties"]["number"]["maximum"] == (1 << 63) - 1
    assert schemas["TagCreate"]["required"] == ["word"]


async def test_every_described_path_and_method_is_served(document: dict[str, Any], tmp_path: Path) -> None:
    with serving(tmp_path / "db", Category, Product) as (_, products):
        for path, operations in document["paths"].items():
            if not path.startswith("/api/products"):
                continue
            tail = path.removeprefix("/api/products").removeprefix("/").replace("{id}", "x")
            for method in operations.keys() - {"parameters"}:
                with contextlib.suppress(RequestError):
                    response = await products.send(method.upper(), tail, {})
                    assert str(response.status) in operations[method]["responses"]


def test_an_app_without_models_has_an_empty_description() -> None:
    assert describe([], title="x", version="1")["paths"] == {}
