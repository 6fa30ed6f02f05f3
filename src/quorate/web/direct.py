"""Requests for models, tasks and reports on their way from the parser to their answer, without ASGI in between.

ASGI has a dictionary, a channel and two messages for each request, which cost more than most answers. So a request is
answered by one call once it is there as a whole, and its answer is written as it is. Whatever needs more than that, a
body in chunks or an answer that is streamed, goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

from quorate.rest.http import Headers, Response, Stream
from quorate.web.asgi import Receive, Scope, Send

ReadBody = Callable[[], Awaitable[bytes]]

_METHODS = {method.encode(): method for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}
_MORE_THAN_THAT = frozenset({b"expect", b"transfer-encoding"})


class Resources(Protocol):
    """What answers such requests, whether or not they come by way of ASGI."""

    max_body_bytes: int
    """A longer body is refused."""

    def serves(self, url: bytes) -> bool:
        """Whether requests for this target can be answered by :meth:`answer` now."""
        ...

    def may_be_left(self, method: str, path: str) -> bool:
        """Whether a request is given up when its client has gone."""
        ...

    async def answer(self, method: str, path: str, query: bytes, headers: Headers, read: ReadBody) -> Response | Stream:
        """The answer, of whatever kind; raises nothing. ``read`` gets the body, if one is wanted."""
        ...

    async def stream(self, stream: Stream, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an answer that is streamed."""
        ...


class Exchange:
    """One request and what has become of it. uvicorn finds here what it asks of its own cycles."""

    __slots__ = (
        "_pieces",
        "answering",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "response_complete",
        "response_started",
    )

    message_event: ClassVar[asyncio.Event] = asyncio.Event()
    """Set when there is news for ASGI's ``receive``, for which nobody waits here."""

    def __init__(self, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.answering: asyncio.Task[None] | None = None  # kept here, for the event loop does not keep its tasks
        self.keep_alive = True
        self.disconnected = False
        self.response_started = self.response_complete = False
        self._pieces: list[bytes] = []

    @classmethod
    def of(cls, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], max_body_bytes: int) -> Exchange | None:
        """One for this request, of a client that keeps its connection; ``None`` if it needs more than that."""
        name = _METHODS.get(method)
        if name is None or b"#" in url or not url.isascii():
            return None
        for field, value in headers:
            if field in _MORE_THAN_THAT:
                return None
            if field == b"content-length" and (name == "GET" or not value.isdigit() or int(value) > max_body_bytes):
                return None
        path, _, query = url.partition(b"?")
        return cls(name, path.decode("ascii"), query, headers)

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        if self.answering is not None:
            self.answering.cancel()

    def add(self, piece: bytes) -> None:
        """More of the body, which is as long as its head said."""
        self._pieces.append(piece)

    async def read(self) -> bytes:
        """The body."""
        return b"".join(self._pieces)
