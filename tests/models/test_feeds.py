"""Changes as they come: none left out, none twice, whoever is slow and whatever happens to the node (A1.47-A1.54)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quorate.errors import ReadUnavailable
from quorate.machine.sqlite import SqliteState
from quorate.models import feeds
from quorate.models.commands import Create, Patch
from quorate.models.feeds import Feed, Gone, batches, changes
from quorate.models.model import schema_of
from quorate.models.rest.wanted import EventsWanted, read_watch
from quorate.models.rest.watching import Watching
from quorate.models.store.events import PRUNE_EVERY
from quorate.node.reads import Consistency
from quorate.rest.http import RequestError, Stream

from .press import Plain, Product, blocks_of, parse
from .support import LocalEngine, Replica, until

SCHEMAS = [schema_of(Product), schema_of(Plain)]


class Engine(LocalEngine):
    """One whose state can be taken away, and which can stop."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.in_place = asyncio.Event()
        self.in_place.set()
        self.stopped = False

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        await self.in_place.wait()
        if self.stopped:
            raise ReadUnavailable("the node is not running")
        await super().read_barrier(consistency=consistency, timeout=timeout)


class Node:
    """A replica, and those who watch it."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.replica = Replica(path, [Product, Plain])
        self.engine = Engine(self.replica)
        self.machine = self.replica.machine
        self.watching = Watching(self.machine, self.engine, SCHEMAS, **options)
        self._numbers = 0

    def change(self, count: int = 1, *, text: str = "") -> None:
        """So many changes, each a command."""
        for _ in range(count):
            self._numbers += 1
            self.replica.apply(Create("Plain", ("number", "text"), [(self._numbers, text)]))

    async def stream(self, query: str = "", *headers: tuple[bytes, bytes]) -> Stream:
        return await self.watching.handle("GET", "", query.encode(), headers, b"")

    async def refused(self, query: str = "", *headers: tuple[bytes, bytes]) -> RequestError:
        with pytest.raises(RequestError) as refusal:
            await self.stream(query, *headers)
        return refusal.value


@asynccontextmanager
async def node(path: Path, **options: Any) -> AsyncIterator[Node]:
    made = Node(path / "db", **options)
    try:
        yield made
    finally:
        made.replica.close()


async def numbers_of(stream: Stream, count: int) -> list[int]:
    """The ids of the first so many blocks behind the beginning."""
    return [block["id"] for block in (await blocks_of(stream, count + 1))[1 : count + 1]]


# -- the stream ------------------------------------------------------------------------------------------


async def test_a_stream_begins_now_and_tells_what_follows(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change(3)
        stream = await here.stream()
        assert stream.status == 200
        assert dict(stream.headers)[b"content-type"].startswith(b"text/event-stream")
        assert dict(stream.headers)[b"cache-control"] == b"no-store"
        chunks = aiter(stream.chunks)
        assert await anext(chunks) == b"retry: 1000\nid: 3\n\n"
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        here.change()
        (block,) = parse(await waiting)
        assert (block["id"], block["event"]) == (4, "PlainCreated")
        assert block["data"]["event_data"] == {"number": 4, "text": ""}
        assert block["data"]["sequence_number"] == 4
        await stream.chunks.aclose()
        assert here.engine.barriers[0] == "strong"


async def test_a_stream_goes_on_behind_the_id_that_the_client_names(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change(250)
        assert await numbers_of(await here.stream("after=0"), 250) == list(range(1, 251))
        assert await numbers_of(await here.stream("after=248"), 2) == [249, 250]
        # An EventSource repeats the URL with which it began, and the header says where it is by now.
        assert await numbers_of(await here.stream("after=3", (b"last-event-id", b"249")), 1) == [250]
        assert "strong" not in here.engine.barriers  # a cursor needs no quorum
        ahead = await here.stream("after=252")
        waiting = asyncio.ensure_future(numbers_of(ahead, 1))
        here.change(3)
        assert await waiting == [253]


async def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        assert (await here.refused("after=x")).status == 422
        assert (await here.refused("limit=3")).status == 422
        assert (await here.refused("", (b"last-event-id", b"abc"))).status == 400
        assert (await here.refused("", (b"last-event-id", b"9" * 19))).status == 400
        with pytest.raises(RequestError) as refusal:
            await here.watching.handle("POST", "", b"", [], b"")
        assert refusal.value.status == 405
        assert read_watch(b"", [(b"last-event-id", b"")]).after is None


async def test_the_changes_of_one_model_are_told_and_the_cursor_goes_on_past_the_others(tmp_path: Path) -> None:
    """Who waits for one model is not taken for one who is behind: heartbeats carry the id."""
    async with node(tmp_path, heartbeat_seconds=0.02) as here:
        here.replica.apply(Create("Product", ("id", "name"), [(bytes(16), "Oak")]))
        here.change(5)
        stream = await here.watching.stream(EventsWanted(0, 100, None, "strong"), "Product")
        blocks = await blocks_of(stream, 3)
        assert [(block["id"], block.get("event")) for block in blocks[:3]] == [
            (0, None),
            (1, "ProductCreated"),
            (6, None),
        ]
        assert "data" not in blocks[2]


async def test_who_follows_one_model_shares_nothing_with_who_follows_all(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change(3)
        here.replica.apply(Create("Product", ("id", "name"), [(bytes(16), "Oak")]))
        everything = await here.stream("after=0")
        assert await numbers_of(everything, 4) == [1, 2, 3, 4]
        products = await here.watching.stream(EventsWanted(0, 100, None, "strong"), "Product")
        assert await numbers_of(products, 1) == [4]
        plain = await here.watching.stream(EventsWanted(0, 100, None, "strong"), "Plain")
        assert await numbers_of(plain, 3) == [1, 2, 3]


async def test_hidden_values_are_in_no_stream(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.replica.apply(Create("Product", ("id", "name", "note"), [(bytes(16), "Oak", "secret-1")]))
        here.replica.apply(Patch("Product", bytes(16), ("note",), ("secret-2",)))
        blocks = await blocks_of(await here.stream("after=0"), 3)
        assert "secret" not in str(blocks)
        assert blocks[2]["data"]["event_data"] == {}


# -- bounds ----------------------------------------------------------------------------------------------


async def test_a_watcher_that_is_behind_what_is_kept_is_told_so(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.machine.events._kept = 10
        here.change(20)
        stream = await here.stream("after=5")
        chunks = aiter(stream.chunks)
        await anext(chunks)
        assert parse(await anext(chunks))[0]["id"] == 6  # it stops taking, and is left behind
        here.change(2 * PRUNE_EVERY)
        rest = [chunk async for chunk in chunks]
        gone = parse(rest[-1])[0]
        assert gone["event"] == "gone"
        assert "id" not in gone
        assert gone["data"]["oldest"] == here.machine.events.first
        error = await here.refused("after=5")
        assert (error.status, dict(error.headers)[b"x-first-sequence"]) == (410, b"%d" % here.machine.events.first)
        await stream.chunks.aclose()
        assert here.watching.count == 0


async def test_the_number_of_watchers_is_bounded_and_each_that_leaves_makes_room(tmp_path: Path) -> None:
    async with node(tmp_path, watchers_max=2) as here:
        first, second = await here.stream(), await here.stream()
        assert (await here.refused()).status == 503
        await first.chunks.aclose()  # it has not even begun
        await first.chunks.aclose()
        third = await here.stream()
        await anext(aiter(third.chunks))
        assert (await here.refused()).status == 503
        await third.chunks.aclose()
        await second.chunks.aclose()
        assert here.watching.count == 0


async def test_many_watchers_share_what_is_read_and_none_misses_or_repeats_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    page = Feed._page

    def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return page(*arguments)

    monkeypatch.setattr(Feed, "_page", counted)
    async with node(tmp_path) as here:
        here.change(50)
        streams = [await here.stream(f"after={50 if number % 2 else number}") for number in range(40)]
        waiting = [
            asyncio.ensure_future(numbers_of(stream, 450 if n % 2 else 500 - n)) for n, stream in enumerate(streams)
        ]
        for _ in range(45):
            here.change(10)
            await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            found = await asyncio.gather(*waiting)
    for number, numbers in enumerate(found):
        assert numbers == list(range((50 if number % 2 else number) + 1, 501))
    assert reads < 400  # and not one for each of them and each of the changes


async def test_a_watcher_reads_on_only_when_the_client_takes_more(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change(1000)
        stream = await here.stream("after=0")
        chunks = aiter(stream.chunks)
        await anext(chunks)
        assert len(parse(await anext(chunks))) == feeds.EVENTS_AT_ONCE
        here.change(1000, text="x" * 10_000)
        ids = [block["id"] async for chunk in chunks_until(chunks, 2000) for block in parse(chunk)]
        assert ids == list(range(feeds.EVENTS_AT_ONCE + 1, 2001))
        await stream.chunks.aclose()


async def chunks_until(chunks: AsyncIterator[bytes], last: int) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        assert len(chunk) < 1 << 20  # bounded in bytes as well
        yield chunk
        if parse(chunk)[-1]["id"] >= last:
            return


async def test_a_change_between_two_looks_wakes_whoever_waits(tmp_path: Path) -> None:
    """However changes and wakes fall together: no follower sleeps over a change until the next one."""
    async with node(tmp_path) as here:
        seen = [0] * 30

        async def follow(number: int) -> None:
            async with aclosing(changes(here.machine, here.engine, 0)) as told:
                async for event in told:
                    seen[number] = event.sequence

        following = [asyncio.ensure_future(follow(number)) for number in range(30)]
        for total in range(1, 60):
            here.change()
            if total % 3 == 0:
                await until(lambda total=total: min(seen) == total)
            elif total % 3 == 1:
                await asyncio.sleep(0.001 * (total % 7))
        await until(lambda: min(seen) == 59)
        for each in following:
            each.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        assert not Feed.of(here.machine)._waiting


# -- the node --------------------------------------------------------------------------------------------


async def test_a_snapshot_takes_the_states_place_and_followers_go_on_by_their_cursor(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        other = Node(tmp_path / "other")
        here.change(5)
        other.change(12)
        stream = await here.stream("after=0")
        chunks = aiter(stream.chunks)
        await anext(chunks)
        assert [block["id"] for block in parse(await anext(chunks))] == [1, 2, 3, 4, 5]
        waiting = asyncio.ensure_future(anext(chunks))
        await until(lambda: bool(Feed.of(here.machine)._waiting))
        here.engine.in_place.clear()
        here.machine.close()
        here.replica.state.close()
        await asyncio.sleep(0.02)
        assert not waiting.done()
        state = here.replica.state = other.replica.state
        other.machine.close()
        await asyncio.to_thread(reopen, here, state)
        here.engine.in_place.set()
        assert [block["id"] for block in parse(await waiting)] == [6, 7, 8, 9, 10, 11, 12]
        await stream.chunks.aclose()


def reopen(node: Node, state: SqliteState) -> None:
    node.machine.open(state)


async def test_streams_end_when_the_node_is_about_to_stop(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change()
        stream = await here.stream()
        rest = asyncio.ensure_future(blocks_of(stream, 10))
        await until(lambda: bool(Feed.of(here.machine)._waiting))
        here.watching.close()
        assert [block["id"] for block in await asyncio.wait_for(rest, 5)] == [1]
        error = await here.refused()
        assert (error.status, error.detail) == (503, "the node is about to stop")


async def test_followers_in_the_program_learn_that_the_node_stops(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.change()
        told = changes(here.machine, here.engine, 0, "Plain")
        assert (await anext(told)).sequence == 1
        waiting = asyncio.ensure_future(anext(told))
        await until(lambda: bool(Feed.of(here.machine)._waiting))
        here.engine.stopped = True
        here.machine.close()
        with pytest.raises(ReadUnavailable):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(ReadUnavailable):
            await anext(batches(here.machine, here.engine, 0))


async def test_followers_in_the_program_learn_that_they_are_too_late(tmp_path: Path) -> None:
    async with node(tmp_path) as here:
        here.machine.events._kept = 10
        here.change(PRUNE_EVERY)
        with pytest.raises(Gone) as gone:
            await anext(changes(here.machine, here.engine, 3))
        assert gone.value.oldest == here.machine.events.first
