"""Events as clients see them, and the pages of them (A1.47-A1.54)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from quorate.models.commands import Create, Patch
from quorate.models.model import schema_of
from quorate.models.rest.event_pages import EventPages
from quorate.models.rest.events_json import EventDocuments, event_id
from quorate.models.store.events import PRUNE_EVERY, Event, Kind
from quorate.rest.http import JSON_TYPE, RequestError

from .press import Page, Plain, Product
from .support import FIRST_TIME_US, Client, LocalEngine, Replica, serving

ACTOR = [JSON_TYPE, (b"x-actor", b"ann")]
SCHEMAS = [schema_of(model) for model in (Product, Page, Plain)]


def pages_of(client: Client) -> EventPages:
    return EventPages(client.engine.replica.machine, client.engine, SCHEMAS)


async def events(pages: EventPages, query: str = "") -> list[dict[str, Any]]:
    found = json.loads((await pages.handle("GET", "", query.encode(), [], b"")).body)
    assert isinstance(found, list)
    return found


async def refused(pages: EventPages, query: str, method: str = "GET", tail: str = "") -> RequestError:
    with pytest.raises(RequestError) as refusal:
        await pages.handle(method, tail, query.encode(), [], b"")
    return refusal.value


async def test_each_change_is_an_event_with_everything_known_of_it(tmp_path: Path) -> None:
    """The eight attributes of a RaftEvent, and index, actor and model."""
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak", "cost": "7", "note": "x"}))["id"]
        await products.send("PATCH", key, {"price": "2.5"}, headers=ACTOR)
        await products.send("POST", f"{key}/stock-changed", {"delta": 3})
        await products.send("DELETE", key)
        created, updated, declared, deleted = await events(pages_of(products))
    assert created == {
        "event_id": event_id(FIRST_TIME_US + 1000, 1),  # A1.47
        "aggregate_id": f"products/{key}",  # A1.48
        "event_type": "ProductCreated",  # A1.49
        "event_data": {"id": key, "name": "Oak", "price": "1.00", "stock": 0},  # A1.50
        "sequence_number": 1,  # A1.51
        "term": 1,  # A1.52
        "timestamp": "2023-11-14T22:13:20.001000Z",  # A1.53
        "node_id": 0,  # A1.54
        "index": 1,
        "actor": None,
        "model": "Product",
    }
    assert (updated["event_type"], updated["event_data"]) == ("ProductUpdated", {"price": "2.50"})
    assert (updated["actor"], updated["sequence_number"], updated["index"]) == ("ann", 2, 2)
    assert (declared["event_type"], declared["event_data"]) == ("StockChanged", {"stock": 3})
    assert (deleted["event_type"], deleted["event_data"]) == ("ProductDeleted", {})
    assert {each["aggregate_id"] for each in (updated, declared, deleted)} == {f"products/{key}"}


async def test_what_is_hidden_is_in_no_event(tmp_path: Path) -> None:
    """A1.41 (expose) for events: an update of hidden fields alone is told of, and nothing of what it was."""
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak", "note": "secret-1"}))["id"]
        await products.send("PATCH", key, {"note": "secret-2", "cost": "4711"})
        await products.send("PATCH", key, {"note": "secret-3", "stock": 5})
        answer = await pages_of(products).handle("GET", "", b"", [], b"")
    assert b"secret" not in answer.body
    assert b"4711" not in answer.body
    assert [each["event_data"] for each in json.loads(answer.body)[1:]] == [{}, {"stock": 5}]


def test_the_id_is_a_uuid7_of_time_and_number() -> None:
    """A1.47: in order of time, and of two at one time unique, without any clock of a node."""
    ids = [
        UUID(event_id(FIRST_TIME_US + us, sequence)) for us, sequence in ((0, 1), (0, 2), (1, 3), (999, 4), (1000, 5))
    ]
    assert [each.version for each in ids] == [7] * 5
    assert {each.variant for each in ids} == {RFC_4122}
    assert ids == sorted(ids)
    assert len(set(ids)) == 5
    assert ids[0].int >> 80 == FIRST_TIME_US // 1000
    assert ids[4].int & ((1 << 62) - 1) == 5


def test_a_model_or_a_field_that_is_not_declared_here_breaks_nothing() -> None:
    """Of such a field nothing is shown, for nobody knows whether it is hidden."""
    documents = EventDocuments(SCHEMAS)
    key = UUID(int=7).bytes
    shared = (1, 1, FIRST_TIME_US, 1, None)
    ghost = Event(1, *shared, "OrderItem", Kind.CREATED, "", key, ("id", "x"), (key, 1))
    assert documents.document(ghost)["aggregate_id"] == f"order-items/{UUID(int=7)}"
    assert documents.document(ghost)["event_type"] == "OrderItemCreated"
    assert documents.document(ghost)["event_data"] == {}
    ghost = Event(2, *shared, "Tag", Kind.UPDATED, "was_moved", "a/b", ("x",), (1,))
    assert documents.document(ghost)["aggregate_id"] == "tags/a%2Fb"
    assert documents.document(ghost)["event_type"] == "WasMoved"
    newer = Event(3, *shared, "Plain", Kind.UPDATED, "", 5, ("text", "colour"), ("hi", "red"))
    assert documents.document(newer)["event_data"] == {"text": "hi"}


async def test_the_pages_follow_one_another_without_gap_or_repeat(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product, Plain) as (products, plain):
        pages = pages_of(products)
        await plain.send("POST", "_bulk", [{"number": number} for number in range(250)])
        for number in range(7):
            await products.json("POST", "", {"name": f"{number}"})
        numbers: list[int] = []
        query, requests = "limit=60", 0
        while query:
            answer = await pages.handle("GET", "", query.encode(), [], b"")
            numbers += [each["sequence_number"] for each in json.loads(answer.body)]
            headers, requests = dict(answer.headers), requests + 1
            link = headers.get(b"link", b"").decode()
            assert not link or link.endswith('>; rel="next"')
            query = link.partition("?")[2].partition(">")[0]
        assert numbers == list(range(1, 258))
        assert requests == 5
        assert (headers[b"x-first-sequence"], headers[b"x-last-sequence"]) == (b"1", b"257")
        assert await events(pages, "after=257") == await events(pages, "after=9999") == []
        assert [each["sequence_number"] for each in await events(pages, "after=255")] == [256, 257]


async def test_the_events_of_one_resource_are_found_behind_any_number_of_others(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product, Plain) as (products, _):
        pages = pages_of(products)
        await products.json("POST", "", {"name": "first"})
        for thousands in range(6):
            rows = [(1000 * thousands + number, "") for number in range(1000)]
            products.engine.replica.apply(Create("Plain", ("number", "text"), rows))
        await products.json("POST", "", {"name": "last"})
        found = await events(pages, "resource=products&limit=2&consistency=eventually")
        assert [each["sequence_number"] for each in found] == [1, 6002]
        answer = await pages.handle("GET", "", b"resource=products&limit=1&consistency=eventually", [], b"")
        link = dict(answer.headers)[b"link"]
        assert link == b'</api/_events?after=1&limit=1&resource=products&consistency=eventually>; rel="next"'
        assert [each["sequence_number"] for each in await events(pages, "after=1&resource=products")] == [6002]
        found = await events(pages, "after=6000&resource=plains")
        assert [each["sequence_number"] for each in found] == [6001]


async def test_what_is_not_kept_any_more_is_gone_and_the_oldest_is_named(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Product, Plain])
    try:
        replica.machine.events._kept = 100
        pages = EventPages(replica.machine, LocalEngine(replica), SCHEMAS)
        for number in range(2 * PRUNE_EVERY):
            replica.apply(Create("Plain", ("number", "text"), [(number, "")]))
        first = replica.machine.events.first
        assert first > PRUNE_EVERY - 100
        error = await refused(pages, "after=5")
        assert (error.status, dict(error.headers)[b"x-first-sequence"]) == (410, b"%d" % first)
        assert str(first) in error.detail
        assert (await refused(pages, f"after={first - 2}")).status == 410
        assert (await events(pages, f"after={first - 1}&limit=1"))[0]["sequence_number"] == first
        assert (await events(pages, "limit=1"))[0]["sequence_number"] == first
    finally:
        replica.close()


def test_what_is_kept_does_not_depend_on_refused_transactions_or_restarts(tmp_path: Path) -> None:
    """A refused transaction that had come past the mark at which events are pruned must not be remembered."""
    replica = Replica(tmp_path / "db", [Plain])
    try:
        replica.machine.events._kept = 1
        replica.apply(Create("Plain", ("number", "text"), [(number, "") for number in range(PRUNE_EVERY - 2)]))
        rows = [Create("Plain", ("number", "text"), [(number, "")]) for number in (2000, 2001, 2002)]
        with pytest.raises(Exception, match="operation 3"):
            replica.change(*rows, Patch("Plain", 9999, ("text",), ("x",)))
        assert replica.machine.events.last == PRUNE_EVERY - 2
        for row in rows:
            replica.apply(row)
        assert replica.machine.events.first == PRUNE_EVERY
    finally:
        replica.close()


async def test_wrong_requests_are_refused_in_plain_words(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product) as (products,):
        pages = pages_of(products)
        for query, field in (
            ("after=-1", "after"),
            ("after=x", "after"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("resource=ghosts", "resource"),
            ("colour=red", "colour"),
            ("consistency=maybe", "consistency"),
        ):
            error = await refused(pages, query)
            assert (error.status, error.errors[0]["field"]) == (422, field)
        assert (await refused(pages, "", "POST")).status == 405
        assert (await refused(pages, "", tail="x")).status == 404


def test_the_time_is_that_of_the_log() -> None:
    """A1.53: in UTC, with microseconds."""
    documents = EventDocuments(SCHEMAS)
    event = Event(1, 1, 1, FIRST_TIME_US + 1, 1, None, "Plain", Kind.DELETED, "", 5, (), ())
    text = documents.document(event)["timestamp"]
    assert datetime.fromisoformat(text) == datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)
    assert datetime.fromisoformat(text).utcoffset() == timedelta(0)


async def test_behind_the_last_event_there_is_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product) as (products,):
        await products.send("POST", "", {"name": "Oak", "price": "1"})
        for after in (1, 2, 2**63 - 1):
            assert await events(pages_of(products), f"after={after}") == []
