"""The few ASGI pieces that the hot paths need: reading a bounded body, sending a whole response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]


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
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})
