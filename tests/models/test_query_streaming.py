"""Full lists: one JSON array of one moment, let go of in any case."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from quorate.errors import ReadUnavailable
from quorate.machine.queries import STREAMS_MAX
from quorate.machine.turns import Turns
from quorate.models.query import streaming
from quorate.models.rest import reading
from quorate.rest.http import Stream
from quorate.web import asgi
from quorate.web.asgi import send_stream

from .query_support import Item
from .support import Client, serving

ROWS = 300


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 4096)
    with serving(tmp_path / "db", Item) as (items,):
        rows = [{"id": number, "whole": number % 7, "text": f"number {number}"} for number in range(ROWS)]
        asyncio.run(items.json("POST", "_bulk", rows))
        yield items


async def begin(client: Client, query: str = "limit=all") -> Stream:
    response: Any = await client.send("GET", query=query)
    assert isinstance(response, Stream)
    return response


async def whole(stream: Stream) -> list[bytes]:
    chunks = [chunk async for chunk in stream.chunks]
    await stream.chunks.aclose()
    return chunks


def readers(client: Client) -> int:
    return len(client.engine.replica.machine.queries._readers)


async def test_it_is_the_array_that_the_pages_hold(items: Client) -> None:
    stream = await begin(items)
    assert (stream.status, dict(stream.headers)[b"x-total-count"]) == (200, b"%d" % ROWS)
    chunks = await whole(stream)
    assert len(chunks) > 5
    assert b"".join(chunks) == (await items.send("GET", query="limit=1000")).body
    assert readers(items) == 0


async def test_filters_order_and_fields_are_as_ever(items: Client) -> None:
    query = "whole__in=1,3&order_by=-whole&fields=id,whole"
    found = json.loads(b"".join(await whole(await begin(items, f"{query}&limit=all"))))
    assert found == await items.json("GET", query=f"{query}&limit=1000")
    assert len(found) > 50


async def test_an_empty_list_is_an_empty_array(items: Client) -> None:
    assert b"".join(await whole(await begin(items, "limit=all&whole=99"))) == b"[]"


async def test_it_goes_on_behind_a_cursor(items: Client) -> None:
    page = await items.send("GET", query="order_by=whole&limit=100&fields=id")
    query = dict(page.headers)[b"link"].decode().partition("?")[2].partition(">")[0]
    rest = json.loads(b"".join(await whole(await begin(items, query.replace("limit=100", "limit=all")))))
    everything = await items.json("GET", query="order_by=whole&limit=1000&fields=id")
    assert json.loads(page.body) + rest == everything


async def test_it_is_of_one_moment_whatever_is_changed_meanwhile(items: Client) -> None:
    before = (await items.send("GET", query="limit=1000")).body
    stream = await begin(items)
    await items.json("POST", "", {"id": 1000})
    chunks = []
    async for chunk in stream.chunks:
        chunks.append(chunk)
        await items.json("POST", "", {"id": 1000 + len(chunks)})
        await items.send("DELETE", str(ROWS - len(chunks)), headers=[])
        await items.json("PATCH", str(ROWS // 2), {"text": f"changed {len(chunks)}"})
    await stream.chunks.aclose()
    assert b"".join(chunks) == before


async def test_it_sees_what_was_applied_and_not_flushed_yet(items: Client) -> None:
    items.engine.replica.state.begin()
    await items.json("POST", "", {"id": 1000})
    assert len(json.loads(b"".join(await whole(await begin(items))))) == ROWS + 1


async def test_others_have_their_turn_between_any_two_pieces(items: Client) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(others())
    stream = await begin(items)
    seen = [turns async for _ in stream.chunks]
    running.cancel()
    await stream.chunks.aclose()
    assert len(set(seen)) == len(seen) > 5


async def test_only_so_many_at_one_time_and_the_next_waits_for_its_turn(
    items: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [await begin(items) for _ in range(STREAMS_MAX)]
    waiting = asyncio.create_task(begin(items))
    while not items.engine.replica.machine.queries.list_turns._waiting:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    assert readers(items) == STREAMS_MAX
    await items.json("POST", "", {"id": 1000})
    await streams[0].chunks.aclose()  # without a piece of it
    await streams[0].chunks.aclose()
    streams[0] = await waiting
    assert readers(items) == STREAMS_MAX
    monkeypatch.setattr(reading, "QUERY_SECONDS_MAX", 0.0)
    with pytest.raises(ReadUnavailable, match="too many full lists are under way"):
        await begin(items)
    lists = [json.loads(b"".join(await whole(stream))) for stream in streams]
    assert [len(each) for each in lists] == [ROWS + 1, *[ROWS] * (STREAMS_MAX - 1)]  # of the moment of its turn
    assert readers(items) == 0


async def test_only_so_many_wait_and_a_place_is_given_back_by_who_gives_up() -> None:
    turns = Turns(at_once=1, waiting_max=1, what="full lists")
    await turns.take(1)
    waiting = asyncio.create_task(turns.take(60))
    await asyncio.sleep(0)
    with pytest.raises(ReadUnavailable, match="1 full lists are waiting already"):
        await turns.take(60)
    waiting.cancel()
    await asyncio.wait([waiting])
    turns.give_back()
    await turns.take(0.1)


async def test_it_ends_when_the_state_is_closed_and_in_its_time(items: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = await begin(items)
    await anext(aiter(stream.chunks))
    items.engine.replica.machine.close()
    with pytest.raises(ReadUnavailable):
        await anext(aiter(stream.chunks))
    await stream.chunks.aclose()
    items.engine.replica.machine.open(items.engine.replica.state)
    monkeypatch.setattr(streaming, "STREAM_SECONDS_MAX", 0.0)
    error = await items.refused("GET", query="limit=all")
    assert (error.status, error.errors[0]["reason"]) == (422, "too_expensive")
    assert readers(items) == 0


# -- on the wire -----------------------------------------------------------------------------------------


class Wire:
    """A client that takes ``takes`` messages, and then nothing any more."""

    def __init__(self, takes: int = 1 << 30) -> None:
        self.takes = takes
        self.sent: list[MutableMapping[str, Any]] = []
        self.gone, self.is_full = asyncio.Event(), asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if len(self.sent) >= self.takes:
            self.is_full.set()
            await asyncio.Event().wait()
        self.sent.append(message)

    async def serve(self, stream: Stream, method: str = "GET") -> None:
        scope = {"method": method}
        await send_stream(scope, self.receive, self.send, stream.status, stream.headers, stream.chunks)


async def test_the_last_message_is_sent_only_behind_the_last_piece(items: Client) -> None:
    wire = Wire()
    await wire.serve(await begin(items))
    assert [message.get("more_body", False) for message in wire.sent[1:]] == [True] * (len(wire.sent) - 2) + [False]
    assert len(json.loads(b"".join([message["body"] for message in wire.sent[1:]]))) == ROWS


async def test_a_head_takes_no_piece(items: Client) -> None:
    wire = Wire()
    await wire.serve(await begin(items), "HEAD")
    assert [message.get("body") for message in wire.sent] == [None, b""]
    assert readers(items) == 0


async def test_a_client_that_has_gone_ends_it(items: Client) -> None:
    wire = Wire(takes=3)
    serving = asyncio.ensure_future(wire.serve(await begin(items)))
    await wire.is_full.wait()
    wire.gone.set()
    await serving
    assert len(wire.sent) == 3
    assert readers(items) == 0


async def test_a_client_that_takes_no_more_ends_it_in_a_while(items: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "STALLED_SECONDS_MAX", 0.01)
    wire = Wire(takes=3)
    with pytest.raises(TimeoutError):
        await wire.serve(await begin(items))
    assert len(wire.sent) == 3
    assert readers(items) == 0


async def test_a_failure_leaves_it_incomplete() -> None:
    class Failing:
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"["
            raise ReadUnavailable("enough")

        async def aclose(self) -> None:
            self.closed = True

    wire, chunks = Wire(), Failing()
    with pytest.raises(ReadUnavailable):
        await wire.serve(Stream(200, [], chunks))
    assert [message.get("more_body") for message in wire.sent] == [None, True]
    assert chunks.closed
