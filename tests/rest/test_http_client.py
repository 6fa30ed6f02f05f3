"""The client says what became of a request: answered, never sent, or unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from quorate.ops.ports import free_ports
from quorate.rest import http_client
from quorate.rest.http_client import HttpClient, NotSent, Unanswered

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on a free port; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def answering(*answers: bytes) -> Handler:
    """Gives these answers to the requests of one connection, then closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return handle


OK = b'HTTP/1.1 200 OK\r\nX-Name: Value\r\ncontent-length: 7\r\n\r\n{"a":1}'


async def test_an_answer_and_a_kept_connection() -> None:
    async with serving(answering(OK, OK)) as url, HttpClient() as client:
        for _ in range(2):
            response = await client.get(f"{url}/path?x=1")
            assert (response.status, response.json(), response.headers["x-name"]) == (200, {"a": 1}, "Value")


async def test_a_closed_idle_connection_is_not_used_again() -> None:
    async with serving(answering(OK)) as url, HttpClient() as client:
        for _ in range(3):
            assert (await client.get(url)).status == 200
            await asyncio.sleep(0.01)


async def test_a_redirect_keeps_method_body_and_headers() -> None:
    got = []

    async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(9))
        writer.write(OK)
        await writer.drain()

    async with serving(target) as there:
        moved = f"HTTP/1.1 307 Elsewhere\r\nlocation: {there}/new\r\ncontent-length: 0\r\n\r\n".encode()
        async with serving(answering(moved)) as here, HttpClient() as client:
            response = await client.post(f"{here}/old", {"x": 12}, {"idempotency-key": "k"})
    assert response.status == 200
    assert response.url == f"{there}/new"
    (request,) = got
    assert request.startswith(b"POST /new HTTP/1.1\r\n")
    assert b"idempotency-key: k\r\n" in request
    assert b"content-type: application/json\r\n" in request
    assert request.endswith(b'\r\n\r\n{"x": 12}')


async def test_redirects_without_end_are_given_up() -> None:
    moved = b"HTTP/1.1 307 Elsewhere\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(*[moved] * 9)) as url, HttpClient() as client:
        with pytest.raises(NotSent, match="redirected"):
            await client.get(url)


async def test_no_connection_means_not_sent() -> None:
    async with HttpClient() as client:
        with pytest.raises(NotSent, match="Connection refused"):
            await client.get(f"http://127.0.0.1:{free_ports(1)[0]}/")


async def test_a_connection_that_ends_leaves_the_outcome_unknown() -> None:
    async with serving(answering(b"")) as url, HttpClient() as client:
        with pytest.raises(Unanswered, match="ended"):
            await client.get(url)


async def test_half_an_answer_leaves_the_outcome_unknown() -> None:
    async with serving(answering(OK[:-3])) as url, HttpClient() as client:
        with pytest.raises(Unanswered, match="ended"):
            await client.get(url)


async def test_an_answer_that_is_no_http_leaves_the_outcome_unknown() -> None:
    async with serving(answering(b"what?\r\n\r\n")) as url, HttpClient() as client:
        with pytest.raises(Unanswered):
            await client.get(url)


async def test_no_answer_in_time_leaves_the_outcome_unknown() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client goes away

    async with serving(silent) as url, HttpClient(timeout=0.05) as client:
        with pytest.raises(Unanswered, match="in time"):
            await client.get(url)
    await asyncio.sleep(0.01)


async def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "ANSWER_BYTES_MAX", 100_000)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(bytes(10_000))
                await writer.drain()

    async with serving(endless) as url, HttpClient() as client:
        with pytest.raises(Unanswered, match="the answer is longer than 100000 bytes"):
            await client.get(url)
