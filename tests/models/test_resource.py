"""The resource's answers, one status code after the other."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from quorate.models.rest import reading
from quorate.models.rest.bodies import BULK_ROWS_MAX
from quorate.rest.http import RequestError

from .shop import Booking, Category, Counter, Everything, Product, Tag
from .support import JSON, MERGE_PATCH, Client, serving

OAK = {"name": "Oak", "price": "19.99"}
MISSING = str(UUID(int=1))


@pytest.fixture
def products(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Product, Category) as (products, _):
        yield products


@pytest.fixture
def bookings(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Booking) as (bookings,):
        yield bookings


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Everything) as (everything,):
        yield everything


async def test_201_create_answers_the_stored_object_and_its_location(products: Client) -> None:
    response = await products.send("POST", "", OAK)
    stored = json.loads(response.body)
    assert response.status == 201
    assert dict(response.headers)[b"location"] == f"/api/products/{stored['id']}".encode()
    assert dict(response.headers)[b"content-type"] == b"application/json"
    assert stored == {"id": stored["id"], "name": "Oak", "price": "19.99", "stock": 0, "category_id": None}
    assert (await products.send("GET", stored["id"])).body == response.body


async def test_a_page_of_large_objects_ends_early_and_says_where_the_next_begins(
    products: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_BYTES_MAX", 1000)
    names = [f"{number} {'x' * 400}" for number in range(5)]
    for name in names:
        await products.send("POST", "", {"name": name, "price": 1})
    seen = []
    query = "limit=4"
    while query:
        page = await products.send("GET", query=query)
        seen.append([product["name"] for product in json.loads(page.body)])
        onward = re.match(r'<[^?]*\?([^>]*)>; rel="next"', dict(page.headers).get(b"link", b"").decode())
        query = onward[1] if onward else ""
    assert seen == [names[:3], names[3:]]


async def test_200_put_and_patch_answer_the_stored_object(products: Client) -> None:
    key = (await products.json("POST", "", OAK | {"stock": 3}))["id"]
    replaced = await products.send("PUT", key, {"name": "Elm", "price": 2})
    assert replaced.status == 200
    assert json.loads(replaced.body) == {"id": key, "name": "Elm", "price": "2", "stock": 0, "category_id": None}
    patched = await products.send("PATCH", key, {"stock": 7}, headers=[MERGE_PATCH])
    assert (patched.status, json.loads(patched.body)["stock"]) == (200, 7)
    assert json.loads((await products.send("PATCH", key, {})).body)["stock"] == 7
    assert (await products.send("GET", key)).body == patched.body


async def test_204_delete_and_404_afterwards(products: Client) -> None:
    key = (await products.json("POST", "", OAK))["id"]
    assert await products.send("DELETE", key, headers=[]) == (204, [], b"")
    for request in (("GET", key), ("DELETE", key), ("PUT", key, OAK), ("PATCH", key, {"stock": 1})):
        assert (await products.refused(*request)).status == 404


async def test_a_local_no_is_checked_against_fresh_state(products: Client) -> None:
    """A node that is behind may not know the object yet: it asks again behind a strong barrier."""
    await products.refused("DELETE", MISSING)
    assert products.engine.barriers == ["strong"]


async def test_list_is_a_bare_array_with_its_total_and_links(products: Client) -> None:
    created = await products.json("POST", "_bulk", [OAK | {"name": f"tree {number:02}"} for number in range(25)])
    assert await products.json("GET") == created  # in the order of the ids
    page = await products.send("GET", query="limit=10&offset=10")
    headers = dict(page.headers)
    assert json.loads(page.body) == created[10:20]
    assert headers[b"x-total-count"] == b"25"
    assert headers[b"link"] == (
        b'</api/products?limit=10&offset=20>; rel="next", </api/products?limit=10&offset=0>; rel="prev"'
    )
    last = await products.send("GET", query="limit=10&offset=20&consistency=eventually")
    assert dict(last.headers)[b"link"] == b'</api/products?limit=10&consistency=eventually&offset=10>; rel="prev"'
    assert b"link" not in dict((await products.send("GET")).headers)
    assert await products.json("GET", query="offset=9223372036854775807") == []


async def test_bulk_answers_all_stored_objects_in_order(products: Client) -> None:
    response = await products.send("POST", "_bulk", [OAK, {"name": "Elm", "price": 1}])
    stored = json.loads(response.body)
    assert response.status == 201
    assert [item["name"] for item in stored] == ["Oak", "Elm"]
    assert products.engine.proposed == 1
    assert [item["id"] for item in stored] == sorted(item["id"] for item in stored)
    assert await products.json("POST", "_bulk", []) == []
    assert products.engine.proposed == 1


async def test_bulk_is_bounded(products: Client) -> None:
    error = await products.refused("POST", "_bulk", [OAK] * (BULK_ROWS_MAX + 1))
    assert (error.status, error.errors[0]["reason"]) == (422, "too_long")


async def test_count_and_random_id(products: Client) -> None:
    assert (await products.send("GET", "count")).body == b'{"count":0}'
    assert (await products.refused("GET", "random-id")).status == 404
    key = (await products.json("POST", "", OAK))["id"]
    assert await products.json("GET", "random-id") == {"id": key}
    assert (await products.send("GET", "count")).body == b'{"count":1}'


@pytest.mark.parametrize("tail", ["", "count", MISSING])
async def test_reads_are_strong_unless_they_say_otherwise(products: Client, tail: str) -> None:
    for query in ("", "consistency=strong", "consistency=eventually"):
        with contextlib.suppress(RequestError):
            await products.send("GET", tail, query=query)
    assert products.engine.barriers == ["strong", "strong", "eventually"]


@pytest.mark.parametrize(
    ("method", "tail", "allow"),
    [
        ("DELETE", "", b"GET, POST, HEAD"),
        ("GET", "_bulk", b"POST"),
        ("POST", "count", b"GET, HEAD"),
        ("PUT", "random-id", b"GET, HEAD"),
        ("POST", MISSING, b"GET, PUT, PATCH, DELETE, HEAD"),
        ("BREW", MISSING, b"GET, PUT, PATCH, DELETE, HEAD"),
    ],
)
async def test_405_names_what_is_allowed(products: Client, method: str, tail: str, allow: bytes) -> None:
    error = await products.refused(method, tail)
    assert (error.status, error.headers) == (405, [(b"allow", allow)])


async def test_head_is_answered_like_get(products: Client) -> None:
    assert (await products.send("HEAD")).status == 200


@pytest.mark.parametrize(
    "tail", ["1", "not-an-id", MISSING[:-1], f"{{{MISSING}}}", MISSING.replace("-", ""), "%ff", "a/b"]
)
async def test_404_for_an_id_that_no_object_can_have(products: Client, tail: str) -> None:
    assert (await products.refused("GET", tail)).status == 404
    assert (await products.refused("DELETE", tail)).status == 404


@pytest.mark.parametrize(
    ("method", "tail", "headers", "accept"),
    [
        ("POST", "", [], b"application/json"),
        ("POST", "", [(b"content-type", b"text/plain")], b"application/json"),
        ("POST", "_bulk", [MERGE_PATCH], b"application/json"),
        ("PUT", MISSING, [MERGE_PATCH], b"application/json"),
        ("PATCH", MISSING, [(b"content-type", b"text/json")], b"application/json, application/merge-patch+json"),
    ],
)
async def test_415_names_what_is_accepted(
    products: Client, method: str, tail: str, headers: list[tuple[bytes, bytes]], accept: bytes
) -> None:
    error = await products.refused(method, tail, OAK, headers=headers)
    assert (error.status, error.headers) == (415, [(b"accept", accept)])


async def test_a_content_type_may_have_parameters(products: Client) -> None:
    headers = [(b"content-type", b"Application/JSON; charset=utf-8")]
    assert (await products.send("POST", "", OAK, headers=headers)).status == 201


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=-1",
        "limit=1&limit=2",
        "limit=",
        "limit=٣",
        "offset=-1",
        "offset=9223372036854775808",
        "offset=" + "9" * 5000,
        "consistency=maybe",
        "colour=red",
        "%ff=1",
        "&".join("a=1" for _ in range(100)),
    ],
)
async def test_422_for_a_query_parameter_that_is_not_valid(products: Client, query: str) -> None:
    assert (await products.refused("GET", query=query)).status == 422


async def test_422_for_a_parameter_where_there_is_none(products: Client) -> None:
    assert (await products.refused("POST", "", OAK, query="limit=1")).status == 422
    assert (await products.refused("GET", "count", query="limit=1")).status == 422
    assert (await products.refused("DELETE", MISSING, query="force=1")).status == 422


@pytest.mark.parametrize("key", [b"", b" a", b"a ", b"a\x00", b"\xff", b"a" * 256])
async def test_400_for_a_malformed_idempotency_key(products: Client, key: bytes) -> None:
    error = await products.refused("POST", "", OAK, headers=[JSON, (b"idempotency-key", key)])
    assert error.status == 400
    twice = [JSON, (b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
    assert (await products.refused("POST", "", OAK, headers=twice)).status == 400


async def test_a_retry_with_the_same_key_is_applied_once_and_answered_alike(products: Client) -> None:
    def keyed(key: bytes) -> list[tuple[bytes, bytes]]:
        return [JSON, (b"idempotency-key", key)]

    first = await products.send("POST", "", OAK, headers=keyed(b"one"))
    assert await products.send("POST", "", OAK, headers=keyed(b"one")) == first
    key = json.loads(first.body)["id"]
    bulk = [await products.send("POST", "_bulk", [{"name": "Elm", "price": 1}], headers=keyed(b"two")) for _ in "ab"]
    assert bulk[0] == bulk[1]
    patched = [await products.send("PATCH", key, {"stock": 4}, headers=keyed(b"three")) for _ in "ab"]
    assert patched[0] == patched[1]
    deleted = [await products.send("DELETE", key, headers=keyed(b"four")) for _ in "ab"]
    assert [response.status for response in deleted] == [204, 204]
    refused = [await products.refused_by_log("DELETE", key, headers=keyed(b"five")) for _ in "ab"]
    assert [error.status for error in refused] == [404, 404]
    assert (await products.send("GET", "count")).body == b'{"count":1}'


async def test_a_merge_patch_merges_nested_objects(everything: Client) -> None:
    """RFC 7396 §3."""
    created = await everything.json("POST", "", {"meta": {"a": "b", "c": {"d": "e", "f": "g"}}, "tags": ["x"]})
    change = {"meta": {"a": "z", "c": {"f": None}}, "tags": ["y"], "part": {"code": "p"}}
    patched = await everything.json("PATCH", created["id"], change, headers=[MERGE_PATCH])
    assert patched["meta"] == {"a": "z", "c": {"d": "e"}}
    assert patched["tags"] == ["y"]
    assert patched["part"] == {"code": "p", "weight": "1", "ratio": 1.0}
    again = await everything.json("PATCH", created["id"], {"part": {"weight": "2.5"}}, headers=[MERGE_PATCH])
    assert again["part"] == {"code": "p", "weight": "2.5", "ratio": 1.0}
    assert (await everything.json("PATCH", created["id"], {"part": None}))["part"] is None
    error = await everything.refused("PATCH", created["id"], {"part": {"colour": 1}, "whole": "x"})
    assert [entry["field"] for entry in error.errors] == ["whole", "part.code"]


async def test_a_rule_over_several_fields_is_judged_before_and_in_the_log(bookings: Client) -> None:
    assert (await bookings.refused("POST", "", {"first": 2, "last": 1})).status == 422
    key = (await bookings.json("POST", "", {"first": 1, "last": 5}))["id"]
    error = await bookings.refused("PATCH", key, {"first": 6})
    assert (error.status, error.errors[0]["message"]) == (422, "Value error, last lies before first")
    with_key = [JSON, (b"idempotency-key", b"1")]
    in_log = await bookings.refused_by_log("PATCH", key, {"first": 6}, headers=with_key)
    assert (in_log.status, in_log.errors) == (422, error.errors)
    assert (await bookings.json("PATCH", key, {"first": 5}))["first"] == 5
    assert (await bookings.refused("PATCH", key, {"colour": 1})).errors[0]["reason"] == "extra_forbidden"
    assert (await bookings.refused("PATCH", key, {"id": str(uuid4())})).status == 422
    assert (await bookings.refused("PATCH", str(uuid4()), {"first": 5})).status == 404


async def test_keys_of_the_clients_own_choice(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Tag, Counter) as (tags, counters):
        response = await tags.send("POST", "", {"word": "grün/blau"})
        assert dict(response.headers)[b"location"] == b"/api/tags/gr%C3%BCn%2Fblau"
        assert (await tags.json("GET", "gr%C3%BCn%2Fblau"))["word"] == "grün/blau"
        assert (await tags.refused("POST", "", {})).errors[0]["reason"] == "missing"
        assert (await tags.refused("POST", "", {"word": "count"})).errors[0]["field"] == "word"
        assert (await tags.json("PUT", "gr%C3%BCn%2Fblau", {}))["word"] == "grün/blau"
        assert (await tags.refused("PUT", "gr%C3%BCn%2Fblau", {"word": "rot"})).status == 422
        assert await tags.json("GET", "random-id") == {"id": "grün/blau"}
        for number in (5, -3, 0):
            assert (await counters.json("POST", "", {"number": number})) == {"number": number}
        assert [item["number"] for item in await counters.json("GET")] == [-3, 0, 5]
        assert (await counters.json("GET", "-3"))["number"] == -3
        for tail in ("05", "+5", "5.0", "9" * 19, "9" * 5000, "-0"):
            assert (await counters.refused("GET", tail)).status == 404


async def test_every_type_makes_the_round_trip(everything: Client) -> None:
    sent = {
        "text": "grün",
        "whole": 9223372036854775807,
        "flag": True,
        "real": 2.5,
        "amount": "0.0000001",
        "money": "1.5",
        "link": MISSING,
        "blob": "_-8=",
        "moment": "2024-01-01T02:00:00.5+02:00",
        "day": "2024-02-29",
        "colour": "blue",
        "level": 2,
        "tags": ["a", "b"],
        "part": {"code": "p", "weight": "1", "ratio": 1.0},
        "meta": {"big": 10**30, "deep": [[{}]]},
    }
    stored = await everything.json("POST", "", sent)
    expected = sent | {"id": stored["id"], "money": "1.50", "moment": "2024-01-01T00:00:00.500000Z"}
    assert stored == expected
    assert await everything.json("PATCH", stored["id"], {"text": "blau"}) == expected | {"text": "blau"}
    assert await everything.json("PUT", stored["id"], stored) == stored
