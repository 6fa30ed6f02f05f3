"""Streams of changes over HTTP: what a client gets to see, and what becomes of streams whose clients leave."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from quorate.models.rest.watching import Watching
from quorate.web import front_door
from quorate.web.server import NodeServer

from .support import until
from .test_front_door import post


def watching_of(server: NodeServer) -> Watching:
    assert server._site is not None
    assert server._site._watching is not None
    return server._site._watching


async def lines_until(lines: AsyncIterator[str], start: str) -> list[str]:
    """The lines up to the first that begins so."""
    found: list[str] = []
    async with asyncio.timeout(5):
        async for line in lines:
            found.append(line)
            if line.startswith(start):
                break
    return found


async def test_a_stream_is_chunked_and_not_to_be_stored(server: NodeServer, client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/api/_watch") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["transfer-encoding"] == "chunked"
        lines = answer.aiter_lines()
        assert await lines_until(lines, "id") == ["retry: 1000", "id: 0"]
        await client.post("/api/books", json={"title": "x"})
        *named, data = await lines_until(lines, "data")
        assert named == ["", "id: 1", "event: BookCreated"]
        assert json.loads(data.removeprefix("data: "))["event_data"]["title"] == "x"
    await until(lambda: watching_of(server).count == 0)


async def test_a_client_that_has_asked_for_more_behind_a_stream_leaves_without_an_error(
    server: NodeServer, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(b"GET /api/_watch HTTP/1.1\r\nhost: x\r\n\r\nGET /status HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"id: 0\n")
    writer.transport.abort()
    async with asyncio.timeout(5):
        for number in itertools.count():  # nothing is read from it, so it is writing that tells
            if not watching_of(server).count:
                break
            await client.post("/api/books", json={"title": str(number)})
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_half_a_request_behind_a_stream_has_the_time_that_the_stream_takes(
    server: NodeServer, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "MESSAGE_SECONDS_MAX", 0.1)
    streams, stream = await asyncio.open_connection("127.0.0.1", server.config.port)
    others, other = await asyncio.open_connection("127.0.0.1", server.config.port)
    half = post("half")[:-5]
    stream.write(b"GET /api/_watch HTTP/1.1\r\nhost: x\r\n\r\n" + half)
    await streams.readuntil(b"id: 0\n")
    other.write(half)
    async with asyncio.timeout(5):
        assert (await others.read()).startswith(b"HTTP/1.1 408 ")  # by then the other was as late
        await client.post("/api/books", json={"title": "x"})
        await streams.readuntil(b"event: BookCreated")
    stream.close()
    other.close()


async def test_clients_that_leave_make_room_whenever_they_do(server: NodeServer, client: httpx.AsyncClient) -> None:
    for path in ("/api/_watch", "/api/books/_watch", "/api/_watch?after=0"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await reader.readuntil(b"id: 0\n")
        assert watching_of(server).count == 1
        writer.transport.abort()
        await until(lambda: watching_of(server).count == 0)
    assert (await client.head("/api/_watch")).headers["content-type"].startswith("text/event-stream")
    assert watching_of(server).count == 0


async def test_one_client_too_many_is_asked_to_come_later(
    server: NodeServer, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_of(server), "_watchers_max", 0)
    answer = await client.get("/api/books/_watch")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stream_ends_in_order_when_the_server_stops(server: NodeServer, client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/api/_watch") as answer:
        lines = answer.aiter_lines()
        await lines_until(lines, "id")
        stopping = asyncio.ensure_future(server.stop())
        async with asyncio.timeout(5):
            assert [line async for line in lines] == [""]  # and no error: the last chunk has come
    await asyncio.wait_for(stopping, 5)
