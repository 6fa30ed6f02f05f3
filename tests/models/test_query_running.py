"""Queries that take long hold nobody up, see what was applied, and end in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Event

import apsw
import pytest

from quorate.errors import ReadUnavailable
from quorate.machine.queries import QUERIES_MAX, Queries, Query, TooExpensive
from quorate.models.commands import Create
from quorate.models.model import schema_of
from quorate.models.query.fields import QueryFields
from quorate.models.query.ordering import parse_order
from quorate.models.query.selection import Selection
from quorate.models.query.streaming import ListStream

from .query_support import Item
from .support import Client, Replica, serving

ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
ROWS = 500


@pytest.fixture
def items(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "db", Item) as (items,):
        yield items


def create_many(replica: Replica, first: int = 0) -> None:
    columns = schema_of(Item).names
    rows = [tuple(number if name == "id" else "s" if name == "secret" else None for name in columns)
            for number in range(first, first + ROWS)]  # fmt: skip
    replica.apply(Create("Item", columns, rows))


def impatient(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the clock has waited too long: no query is answered at once that takes a look."""
    seconds = count(1.0)
    monkeypatch.setattr(client.engine.replica.state, "clock", lambda: next(seconds))


async def test_an_interrupted_query_leaves_the_open_transaction_alone(
    items: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = items.engine.replica
    replica.state.begin()
    create_many(replica)
    impatient(items, monkeypatch)
    slow = "SELECT count(*) FROM model_item a, model_item b"
    assert replica.machine.queries.try_at_once(lambda connection: connection.execute(slow).get) is None
    assert replica.state.connection.in_transaction
    create_many(replica, ROWS)
    replica.state.commit()
    assert replica.machine.queries.try_at_once(lambda connection: connection.execute("SELECT 1").get) == 1
    assert replica.state.connection.execute("SELECT count(*) FROM model_item").get == 2 * ROWS


async def test_what_takes_long_is_answered_from_a_thread_and_sees_all_that_was_applied(
    items: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = items.engine.replica
    impatient(items, monkeypatch)
    replica.state.begin()
    create_many(replica)
    assert await items.json("GET", "count", query="real__isnull=true") == {"count": ROWS}
    assert not replica.state.connection.in_transaction  # it was flushed for that
    assert replica.machine.queries._executor is not None
    page = await items.send("GET", query="flag__isnull=true&limit=1000&order_by=-real")
    assert b"x-total-count" not in dict(page.headers)  # counting takes long, too
    assert len(await items.json("GET", query="flag__isnull=true&limit=1000")) == ROWS


async def test_others_have_their_turn_meanwhile(items: Client) -> None:
    queries, may_end = items.engine.replica.machine.queries, Event()
    asked = asyncio.ensure_future(queries.in_thread(lambda connection: may_end.wait(30)))
    await asyncio.sleep(0)  # with a query that holds up the loop this would be its end
    assert not asked.done()
    may_end.set()
    assert await asked is True


def endless(begun: Event) -> Query[int]:
    def query(connection: apsw.Connection) -> int:
        begun.set()
        found: int = connection.execute(ENDLESS).get
        return found

    return query


async def until(begun: Event) -> None:
    assert await asyncio.to_thread(begun.wait, 30)


async def test_a_query_ends_with_its_time(items: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.machine.queries.QUERY_SECONDS_MAX", 0.05)
    queries = items.engine.replica.machine.queries
    with pytest.raises(TooExpensive, match=r"the query took longer than 0\.0\d* s"):
        await queries.in_thread(endless(Event()))


async def test_too_expensive_is_answered_in_words(items: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(items, monkeypatch)
    create_many(items.engine.replica)
    monkeypatch.setattr("quorate.machine.queries.QUERY_SECONDS_MAX", 0.0)
    error = await items.refused("GET", "count", query="real__isnull=true")
    assert error.status in (422, 503)
    assert "long" in error.detail


async def test_closing_ends_what_is_under_way_and_lets_go_of_the_file(tmp_path: Path) -> None:
    replica, begun = Replica(tmp_path / "db", [Item]), Event()
    create_many(replica)
    asked = asyncio.ensure_future(replica.machine.queries.in_thread(endless(begun)))
    await until(begun)
    replica.close()
    replica.state.check_released()  # no connection is left
    with pytest.raises(ReadUnavailable, match="the query was ended"):
        await asked
    with pytest.raises(ReadUnavailable, match="not open"):
        await replica.machine.queries.in_thread(endless(Event()))


async def test_a_snapshot_may_take_the_files_place_in_a_thread_while_queries_and_lists_are_under_way(
    tmp_path: Path,
) -> None:
    """As the installation of a snapshot does: close in a thread, replace the file, open again there."""
    replica, begun = Replica(tmp_path / "db", [Item]), Event()
    create_many(replica)
    queries, schema = replica.machine.queries, schema_of(Item)
    selection = Selection(schema, (), parse_order(QueryFields(schema), None))
    stream = ListStream(queries, selection, schema.documents(("id",)), None, ExitStack())
    asked = asyncio.ensure_future(queries.in_thread(endless(begun)))
    await until(begun)

    def replace() -> Replica:
        replica.close()
        replica.state.check_released()
        (tmp_path / "db").rename(tmp_path / "old")
        return Replica(tmp_path / "db", [Item])

    other = await asyncio.to_thread(replace)
    with pytest.raises(ReadUnavailable):
        await asked
    with pytest.raises(ReadUnavailable):
        await anext(stream)
    await stream.aclose()
    assert not queries._readers
    other.close()


async def test_a_machine_that_is_opened_again_is_asked_again(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Item])
    create_many(replica)
    replica.machine.close()
    replica.machine.open(replica.state)
    count_of = "SELECT count(*) FROM model_item"
    assert await replica.machine.queries.in_thread(lambda connection: connection.execute(count_of).get) == ROWS
    replica.close()


async def test_who_gives_up_makes_room(items: Client) -> None:
    queries = items.engine.replica.machine.queries
    for _ in range(QUERIES_MAX + 1):
        begun = Event()
        asked = asyncio.ensure_future(queries.in_thread(endless(begun)))
        await until(begun)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert not queries._readers
    assert await queries.in_thread(lambda connection: 5) == 5


async def test_those_who_wait_are_bounded(items: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.machine.queries.WAITING_MAX", 2)
    queries, may_end = Queries(), Event()
    queries.open(items.engine.replica.state)
    asked = [asyncio.ensure_future(queries.in_thread(lambda _: may_end.wait(30))) for _ in range(QUERIES_MAX + 2)]
    await asyncio.sleep(0)
    with pytest.raises(ReadUnavailable, match="2 long queries are waiting already"):
        await queries.in_thread(lambda _: True)
    may_end.set()
    assert await asyncio.gather(*asked) == [True] * (QUERIES_MAX + 2)
    queries.close()


async def test_nothing_can_be_written_from_there(items: Client) -> None:
    queries = items.engine.replica.machine.queries
    with pytest.raises(apsw.ReadOnlyError):
        await queries.in_thread(lambda connection: connection.execute("DELETE FROM model_item").fetchall())
