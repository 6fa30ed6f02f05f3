"""Whatever is sent, the answer is one of the declared refusals, and nothing bad reaches the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.rest.http import RequestError

from .shop import Booking, Category, Everything, Product, Tag
from .support import JSON, MERGE_PATCH, Client, serving

KEY = str(UUID(int=1))
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    path: Path = tmp_path_factory.mktemp("bad") / "db"
    with serving(path, Category, Product, Everything, Booking, Tag) as clients:
        yield clients[1:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"name": "Oak", "price": 1,}',
        b'{"name": "Oak", "price": NaN}',
        b'{"name": "Oak", "price": -Infinity}',
        b'{"name": "Oak", "name": "Elm", "price": 1}',
        b'{"name": "a:b", "name": "Elm", "price": 1}',
        b'{"name": "\xff", "price": 1}',
        b'{"name": "\\ud800", "price": 1}',
        b'\xef\xbb\xbf{"name": "Oak", "price": 1}',
        '{"name": "Oak", "price": 1}'.encode("utf-16"),
        b'{"name": "Oak", "price": 1} {}',
        b'{"stock": ' + b"9" * 5000 + b"}",
        DEEP,
        b'{"name": ' + DEEP,
        b'{"a":' * 100_000,
    ],
)
async def test_400_for_what_is_not_json_with_one_meaning(clients: list[Client], body: bytes) -> None:
    products = clients[0]
    for method, tail, sent in (
        ("POST", "", body),
        ("PUT", KEY, body),
        ("PATCH", KEY, body),
        ("POST", "_bulk", b"[" + body + b"]" if body else body),
    ):
        error = await products.refused(method, tail, sent)
        assert (error.status, error.errors) == (400, [])
        assert len(error.detail) < 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"meta": {"a": NaN}}',
        b'{"meta": {"a": 1e999}}',
        b'{"meta": {"a": 1, "a": 2}}',
        b'{"meta": {"a": {"b": 1, "b": 2}}}',
        b'{"meta": {"a": "\\udead"}}',
        b'{"meta": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
    ],
)
async def test_400_inside_of_values_that_are_kept_as_json(clients: list[Client], body: bytes) -> None:
    everything = clients[1]
    key = (await everything.json("POST", "", {}))["id"]
    for method, tail in (("POST", ""), ("PUT", key), ("PATCH", key)):
        assert (await everything.refused(method, tail, body)).status == 400


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"a"', b'[{"name": "Oak", "price": 1}]'])
async def test_422_for_json_that_is_no_object(clients: list[Client], body: bytes) -> None:
    for client in clients:
        for method, tail in (("POST", ""), ("PUT", KEY), ("PATCH", KEY)):
            error = await client.refused(method, tail, body)
            assert error.status in ((422, 404) if tail and client is clients[-1] else (422,))
    assert (await clients[0].refused("POST", "_bulk", b"{}")).errors[0]["reason"] == "list_type"
    assert (await clients[0].refused("POST", "_bulk", b"[1]")).errors[0] == {
        "row": 0,
        "field": "",
        "reason": "model_type",
        "message": (await clients[0].refused("POST", "_bulk", b"[1]")).errors[0]["message"],
    }


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"whole": 1 << 63}, "whole", "int_size"),
        ({"whole": -(10**30)}, "whole", "int_size"),
        ({"text": "a\0"}, "text", "string_nul"),
        ({"amount": "1E+999999"}, "amount", "decimal_size"),
        ({"amount": "NaN"}, "amount", "finite_number"),
        ({"real": 10**400}, "real", "finite_number"),
        ({"real": "inf"}, "real", "finite_number"),
        ({"money": "1.005"}, "money", "decimal_max_places"),
        ({"moment": "9999-12-31T23:59:59-10:00"}, "moment", "datetime_range"),
        ({"blob": "é"}, "blob", "bytes_invalid_encoding"),
        ({"colour": "green"}, "colour", "enum"),
        ({"part": {"code": 1}}, "part.code", "string_type"),
        ({"part": {"code": "a", "ratio": "inf"}}, "part", "finite_number"),
        ({"tags": ["a", 1]}, "tags.1", "string_type"),
        ({"meta": [1]}, "meta", "dict_type"),
        ({"id": None}, "id", "uuid_type"),
        ({"id": "1"}, "id", "uuid_parsing"),
    ],
)
async def test_422_for_a_value_that_cannot_be_kept(
    clients: list[Client], change: dict[str, object], field: str, reason: str
) -> None:
    everything = clients[1]
    key = (await everything.json("POST", "", {}))["id"]
    for method, tail in (("POST", ""), ("PUT", key), ("PATCH", key)):
        error = await everything.refused(method, tail, change)
        assert error.status == 422
        assert (error.errors[0]["field"], error.errors[0]["reason"]) == (field, reason)


async def test_errors_do_not_repeat_what_was_sent_at_any_length(clients: list[Client]) -> None:
    huge = "x" * 100_000
    for request in (
        ("POST", "", {"name": huge, "price": huge}),
        ("POST", "", {huge: 1}),
        ("GET", huge),
        ("GET", "a/" + huge),
        (huge, ""),
    ):
        error = await clients[0].refused(*request)
        assert len(error.detail) < 500
        assert error.status in (404, 405, 422)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([KEY, "1", "2024-01-01", "1e999", "NaN", "\0", "\ud800", 1 << 64, -(1 << 64), "red", "_-8="])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
FIELDS = st.sampled_from(
    [*Product.model_fields, *Everything.model_fields, *Booking.model_fields, *Tag.model_fields, "x"]
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=6)
BODIES = st.binary(max_size=40) | (OBJECTS | VALUES | st.lists(OBJECTS, max_size=3)).map(
    lambda value: json.dumps(value).encode()
)
TAILS = st.sampled_from(["", "_bulk", "count", "random-id", KEY, "a", "a%2Fb", "%ff"]) | st.text(max_size=10)
QUERIES = st.sampled_from([b"", b"limit=1", b"offset=1", b"consistency=eventually", b"a=%ff"]) | st.binary(max_size=20)
HEADERS = st.sampled_from([[], [JSON], [JSON], [JSON], [MERGE_PATCH], [JSON, (b"idempotency-key", b"\xff")]])
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "", "\ud800"])


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
async def test_only_declared_refusals_leave_the_resource(clients: list[Client], data: st.DataObject) -> None:
    client = data.draw(st.sampled_from(clients))
    draw: Any = data.draw
    method = draw(METHODS)
    tail = draw(TAILS)
    body = draw(BODIES)
    try:
        response = await client.resource.handle(method, tail, draw(QUERIES), draw(HEADERS), body)
    except RequestError as error:
        status, sent = error.status, json.dumps(error.errors).encode()
        expected = range(400, 500)
    else:
        status, sent = response.status, response.body or b"null"
        expected = range(200, 300)
    assert status in expected
    json.loads(sent)
