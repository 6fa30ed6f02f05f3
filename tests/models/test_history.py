"""What objects were before: the entries, and whole objects as of a moment (A1.45, A1.46, A2.15, A2.16, A2.18)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from quorate.models.commands import Create, Delete, Patch, Retain
from quorate.models.rest.history_pages import SLICE_ENTRIES
from quorate.rest.http import JSON_TYPE, RequestError

from .press import Page, Plain, Product
from .support import FIRST_TIME_US, Client, serving

DAY_OF_INDEXES = 24 * 3600 * 1000
"""So many entries later it is a day later: see ``context_of``."""
PAGE = ("path", "title", "text")


def moment_of(index: int, more_us: int = 0) -> str:
    """When the entry with this index was applied, by the log's time."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=FIRST_TIME_US + index * 1000 + more_us)
    return quote(time.isoformat())


async def as_of(client: Client, key: object, moment: object) -> Any:
    """The object as it was; ``None`` if it was not there, 410 if nobody knows."""
    try:
        return await client.json("GET", str(key), query=f"as_of={moment}")
    except RequestError as error:
        return {404: None, 410: 410}[error.status]


@contextmanager
def pages(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Page) as (client,):
        yield client


def patch(client: Client, **values: str) -> int:
    """Change the page /a; returns the index."""
    client.engine.replica.apply(Patch("Page", "a", tuple(values), tuple(values.values())))
    return client.engine.replica.index


def create(client: Client, *values: str) -> int:
    client.engine.replica.apply(Create("Page", PAGE, [("a", *values)]))
    return client.engine.replica.index


def days_pass(client: Client, days: float) -> None:
    client.engine.replica.index += int(days * DAY_OF_INDEXES)


def retain(client: Client) -> None:
    """Delete all that is too old now."""
    for _ in range(20):
        client.engine.replica.command(Retain())


# -- the entries -----------------------------------------------------------------------------------------


async def test_the_history_tells_what_changed_when_and_by_whom(tmp_path: Path) -> None:
    """A1.45, A2.18 track_history; A1.46, A2.15 audited."""
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak", "cost": "7"}))["id"]
        await products.send("PATCH", key, {"price": "2", "name": "Elm"}, headers=[JSON_TYPE, (b"x-actor", b"ann")])
        await products.send("PATCH", key, {"stock": 4})  # is not tracked
        await products.send("PATCH", key, {"cost": "4711"})  # is hidden
        await products.send("POST", f"{key}/stock-changed", {"delta": 3})
        await products.send("DELETE", key)
        answer = await products.send("GET", f"{key}/history")
        entries = json.loads(answer.body)
    assert b"4711" not in answer.body
    assert b'"7"' not in answer.body
    assert entries[0] == {
        "sequence_number": 1,
        "timestamp": "2023-11-14T22:13:20.001000Z",
        "event_type": "ProductCreated",
        "actor": None,
        "node_id": 0,
        "index": 1,
        "changes": {"name": {"new": "Oak"}, "price": {"new": "1.00", "old": None}},
    }
    assert entries[1]["actor"] == "ann"
    assert entries[1]["changes"] == {"name": {"new": "Elm"}, "price": {"new": "2.00", "old": "1.00"}}
    assert (entries[2]["sequence_number"], entries[2]["changes"]) == (4, {})
    assert entries[3]["event_type"] == "ProductDeleted"
    assert entries[3]["changes"] == {"price": {"new": None, "old": "2.00"}}
    assert len(entries) == 4


async def test_the_pages_of_a_history_follow_one_another(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "0"}))["id"]
        for number in range(1, 130):
            await products.send("PATCH", key, {"name": str(number)})
        names: list[str] = []
        query = "limit=50"
        while query:
            answer = await products.send("GET", f"{key}/history", query=query)
            names += [entry["changes"]["name"]["new"] for entry in json.loads(answer.body)]
            link = dict(answer.headers).get(b"link", b"").decode()
            assert not link or link.startswith(f"</api/products/{key}/history?after=")
            query = link.partition("?")[2].partition(">")[0]
        assert names == [str(number) for number in range(130)]
        assert await products.json("GET", f"{key}/history", query="after=9999") == []


async def test_where_there_is_no_history_that_is_said(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product, Plain) as (products, plain):
        await plain.json("POST", "", {"number": 1})
        error = await plain.refused("GET", "1/history")
        assert error.status == 404
        assert "no history is kept of plains" in error.detail
        error = await plain.refused("GET", "1", query="as_of=1")
        assert (error.status, error.errors[0]["field"]) == (422, "as_of")
        ghost = "018bcfe5-6800-7000-8000-000000000000"
        assert (await products.refused("GET", f"{ghost}/history")).status == 404
        assert (await products.refused("POST", f"{ghost}/history", {})).status == 405
        assert (await products.refused("GET", f"{ghost}/future")).status == 404
        assert (await products.refused("GET", f"{ghost}/history", query="limit=0")).status == 422


# -- as of a moment --------------------------------------------------------------------------------------


async def test_an_object_is_shown_as_it_was_at_each_moment(tmp_path: Path) -> None:
    """A1.45, A2.18 track_history."""
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak", "cost": 3}))["id"]
        await products.send("PATCH", key, {"price": "2"})
        await products.send("PATCH", key, {"stock": 9, "cost": 4})
        await products.send("PATCH", key, {"name": "Elm", "price": "3"})
        await products.send("DELETE", key)
        await products.send("POST", "", {"id": key, "name": "Ash"})
        oak = {"id": key, "name": "Oak", "price": "1.00"}
        expected = [None, oak, oak | {"price": "2.00"}, oak | {"price": "2.00"}]
        expected += [{"id": key, "name": "Elm", "price": "3.00"}, None, {"id": key, "name": "Ash", "price": "1.00"}]
        for index, was in enumerate(expected):
            assert await as_of(products, key, index) == was, index
            assert await as_of(products, key, moment_of(index)) == was, index
            assert await as_of(products, key, moment_of(index, 999)) == was, index
        assert await as_of(products, key, moment_of(2, -1)) == oak


async def test_a_long_history_is_searched_in_both_directions(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak"}))["id"]
        for number in range(2, 4 * SLICE_ENTRIES):
            await products.send("PATCH", key, {"price": str(number)})
        for index in (1, 2, SLICE_ENTRIES, SLICE_ENTRIES + 1, 3 * SLICE_ENTRIES - 1, 4 * SLICE_ENTRIES - 1):
            assert await as_of(products, key, index) == {"id": key, "name": "Oak", "price": f"{index}.00"}


async def test_a_moment_is_a_timestamp_or_an_index_and_not_in_the_future(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product) as (products,):
        key = (await products.json("POST", "", {"name": "Oak"}))["id"]
        for moment in ("2024-01-01T00:00:00Z", "2024-01-01T01:00:00.123456789+01:00", "2024-01-01t00:00:00z", "1"):
            assert (await as_of(products, key, moment))["name"] == "Oak"  # a + may come as a space
        for moment in ("2", "2999-01-01T00:00:00Z", "2024-01-01", "yesterday", "", "-1", "2024-02-30T00:00:00Z", "1.5"):
            error = await products.refused("GET", key, query=f"as_of={moment}")
            assert (error.status, error.errors[0]["field"]) == (422, "as_of"), moment
        assert await as_of(products, key, "1999-01-01T00:00:00Z") is None
        error = await products.refused("GET", key, query="as_of=1&as_of=1")
        assert error.status == 422
        error = await products.refused("GET", key, query="as_of=1&colour=red")
        assert error.status == 422


# -- and retention ---------------------------------------------------------------------------------------


async def test_what_retention_has_deleted_is_told_as_far_as_it_is_certain(tmp_path: Path) -> None:
    """A2.16 retention. The title is kept for a day, the text, which is audited, for three."""
    with pages(tmp_path) as client:
        created = create(client, "one", "first")
        titled = patch(client, title="two")
        written = patch(client, text="second")
        days_pass(client, 2)
        late = patch(client, text="third")
        later = patch(client, title="three")
        retain(client)
        # The title's entries up to two days ago were deleted: what it was then cannot be told any more.
        assert await as_of(client, "a", created) == {"path": "a", "text": "first"}
        assert await as_of(client, "a", titled) == {"path": "a", "text": "first"}
        # Behind these nothing was deleted, but what the title was is told by no entry: it is not audited.
        assert await as_of(client, "a", written) == {"path": "a", "text": "second"}
        assert await as_of(client, "a", late) == {"path": "a", "text": "third"}
        assert await as_of(client, "a", later) == {"path": "a", "title": "three", "text": "third"}


async def test_a_field_that_has_not_changed_since_is_as_it_is_now(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        created = create(client, "one", "first")
        titled = patch(client, title="two")
        days_pass(client, 2)
        late = patch(client, text="second")
        retain(client)
        assert await as_of(client, "a", late) == {"path": "a", "title": "two", "text": "second"}
        assert await as_of(client, "a", titled) == {"path": "a", "title": "two", "text": "first"}
        assert await as_of(client, "a", created) == {"path": "a", "text": "first"}
        client.engine.replica.apply(Delete("Page", "a"))
        assert await as_of(client, "a", titled) == {"path": "a", "text": "first"}
        assert await as_of(client, "a", client.engine.replica.index) is None


async def test_an_audited_field_is_told_by_what_replaced_it(tmp_path: Path) -> None:
    """A1.46, A2.15 audited."""
    with pages(tmp_path) as client:
        created = create(client, "one", "first")
        second = patch(client, text="second")
        third = patch(client, text="third")
        days_pass(client, 4)
        fourth = patch(client, text="fourth")
        retain(client)
        assert [entry["changes"] for entry in await client.json("GET", "a/history")] == [
            {"text": {"new": "fourth", "old": "third"}}
        ]
        assert (await as_of(client, "a", fourth))["text"] == "fourth"
        assert (await as_of(client, "a", fourth - 1))["text"] == "third"
        assert (await as_of(client, "a", third))["text"] == "third"
        assert await as_of(client, "a", second) == 410  # and not the third: that it was there is not known any more
        assert await as_of(client, "a", created) == 410


async def test_where_the_history_does_not_reach_back_so_far_it_is_gone(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        create(client, "one", "first")
        client.engine.replica.apply(Delete("Page", "a"))
        recreated = create(client, "two", "second")
        days_pass(client, 4)
        retain(client)
        assert await client.json("GET", "a/history") == []
        now = client.engine.replica.index
        assert await as_of(client, "a", now) == {"path": "a", "title": "two", "text": "second"}
        assert await as_of(client, "a", recreated) == {"path": "a", "title": "two", "text": "second"}
        assert await as_of(client, "a", recreated - 1) == 410
        assert await as_of(client, "a", moment_of(recreated - 1)) == 410
        client.engine.replica.machine.events._kept = 0
        client.engine.replica.apply(Create("Page", PAGE, [(f"{n}", "", "") for n in range(1100)]))
        client.engine.replica.apply(Create("Page", PAGE, [(f"x{n}", "", "") for n in range(1100)]))
        assert client.engine.replica.machine.events.first > 4
        assert await as_of(client, "a", recreated) == 410  # nothing tells any more that it was there then
        assert (await as_of(client, "a", client.engine.replica.index))["title"] == "two"


async def test_an_earlier_life_whose_entries_were_deleted_is_not_denied(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        alive = create(client, "one", "first")
        client.engine.replica.apply(Delete("Page", "a"))
        days_pass(client, 4)
        again = create(client, "two", "second")
        retain(client)
        assert [entry["event_type"] for entry in await client.json("GET", "a/history")] == ["PageCreated"]
        assert await as_of(client, "a", alive) == 410
        assert await as_of(client, "a", again - 1) is None
        assert (await as_of(client, "a", again))["title"] == "two"


async def test_of_an_object_that_is_older_than_its_history_only_what_is_certain_is_told(tmp_path: Path) -> None:
    """As when its fields were first tracked by a later version of the app."""
    with pages(tmp_path) as client:
        created = create(client, "one", "first")
        client.engine.replica.state.connection.execute("DELETE FROM history_model_page")
        days_pass(client, 0.1)
        later = client.engine.replica.index
        now = patch(client, title="two")
        assert await as_of(client, "a", now) == {"path": "a", "title": "two", "text": "first"}
        assert await as_of(client, "a", later) == 410
        client.engine.replica.state.connection.execute("DELETE FROM history_model_page")
        assert await as_of(client, "a", now) == {"path": "a", "title": "two", "text": "first"}
        assert await as_of(client, "a", created) == 410


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_told_of_any_moment_is_what_was(tmp_path: Path, seed: int) -> None:
    """Random lives of one page, with retention between them: what is told of each moment is what a note says."""
    rng = Random(seed)
    with pages(tmp_path) as client:
        replica = client.engine.replica
        notes: list[tuple[int, dict[str, str] | None]] = []
        now: dict[str, str] | None = None
        for _ in range(60):
            match rng.randrange(8):
                case 0 if now is not None:
                    replica.apply(Delete("Page", "a"))
                    now = None
                case 1:
                    days_pass(client, rng.choice((0.3, 0.9, 2)))
                    continue
                case 2:
                    retain(client)
                    continue
                case _ if now is None:
                    values = [str(rng.randrange(4)), str(rng.randrange(4))]
                    create(client, *values)
                    now = dict(zip(PAGE, ["a", *values], strict=True))
                case _:
                    name, value = rng.choice(("title", "text")), str(rng.randrange(4))
                    patch(client, **{name: value})
                    now = now | {name: value}
            notes.append((replica.index, now))
        known = 0
        for index, was in notes:
            for moment in (index, moment_of(index)):
                told = await as_of(client, "a", moment)
                if told == 410:
                    continue
                known += 1
                assert (told is None) == (was is None), (index, told, was)
                if was is not None:
                    assert told.items() <= was.items(), (index, told, was)
        assert await as_of(client, "a", replica.index) == now
        assert known
