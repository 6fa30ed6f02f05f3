"""The few ASGI pieces that the hot paths need: reading a bounded body, sending a response whole or bit by bit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any, TypeVar

from quorate.rest.http import Chunks
from quorate.web.whole_response import send_whole

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]


STALLED_SECONDS_MAX = 30.0
"""A client that takes nothing of a streamed response for so long has gone, as far as we are concerned."""


class BodyTooLarge(Exception):
    """The body is larger than the limit."""


class BodyIncomplete(Exception):
    """The client went away before the body was complete, or was sent away: see :mod:`quorate.web.front_door`."""


async def read_body(scope: Scope, receive: Receive, bytes_max: int) -> bytes:
    """The request's whole body. Raises :class:`BodyTooLarge` or :class:`BodyIncomplete`."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > bytes_max:
            raise BodyTooLarge
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body += await _read_rest(receive, bytes_max - len(body))
    elif message["type"] == "http.disconnect":
        raise BodyIncomplete
    if len(body) > bytes_max:
        raise BodyTooLarge
    return body


async def _read_rest(receive: Receive, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyIncomplete
        chunk = message.get("body", b"")
        bytes_max -= len(chunk)
        if bytes_max < 0:
            raise BodyTooLarge
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def send_response(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a complete response; adds its length."""
    if await send_whole(send, status, headers, body):
        return
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers] if status == 204 else [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_stream(
    scope: Scope, receive: Receive, send: Send, status: int, headers: RawHeaders, chunks: Chunks
) -> None:
    """Send a response piece by piece, until its end, or until the client has gone or takes no more of it.

    ``chunks`` is closed in any case. What it raises leaves the response incomplete, which the client can tell, for
    uvicorn closes the connection then; so does :class:`TimeoutError`.
    """
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        serving = asyncio.ensure_future(_send_chunks(send, chunks))
        try:
            await asyncio.wait([serving, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()
    finally:
        gone.cancel()
        await chunks.aclose()


async def _send_chunks(send: Send, chunks: Chunks) -> None:
    async for chunk in chunks:
        async with asyncio.timeout(STALLED_SECONDS_MAX):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def unless_left(
    answer: Callable[[Callable[[], Awaitable[bytes]]], Coroutine[Any, Any, T]],
    receive: Receive,
    read: Callable[[], Awaitable[bytes]],
    *,
    has_body: bool,
) -> T | None:
    """The answer to a request, which gets its body by ``read``; ``None`` if the client goes before: it is cancelled."""
    has_read = asyncio.Event()

    async def read_once() -> bytes:
        body = await read()
        has_read.set()
        return body

    async def gone() -> None:
        if has_body:
            await has_read.wait()
        await _until_gone(receive)

    answering, leaving = asyncio.ensure_future(answer(read_once)), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.wait([answering, leaving])


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
