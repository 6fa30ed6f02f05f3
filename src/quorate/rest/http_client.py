"""A small HTTP client that knows what became of a request: answered, never sent, or unknown.

It keeps connections alive, follows redirects, and costs little enough not to be what a load test measures.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import SplitResult, urljoin, urlsplit

import httptools

from quorate.errors import QuorateError

REDIRECTS_MAX = 3
TIMEOUT_SECONDS = 5.0
HTTP_PORT = 80
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""A longer answer, its head included, is given up: whoever is at that address has no end."""


class RequestFailed(QuorateError):
    """There is no answer."""


class NotSent(RequestFailed):
    """No connection could be made: the request has no effect."""


class Unanswered(RequestFailed):
    """The connection ended, or time ran out, after the request was sent: it may have had its effect."""


@dataclass(slots=True)
class Response:
    """An answer. Header names are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises :class:`ValueError`."""
        return json.loads(self.body)


class _Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, dict[str, str], bytes]] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._answer_bytes = 0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_settled(self) -> bool:
        """Whether the last request was answered, so that another may be sent."""
        return self._answer is not None and self._answer.done() and not self._answer.cancelled()

    async def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send ``request`` and wait for the answer. Raises :class:`ConnectionError` if the connection ends first."""
        if self._transport is None:
            raise ConnectionError
        self._answer = asyncio.get_running_loop().create_future()
        self._answer_bytes = 0
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- asyncio's and the parser's calls ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop does not derive its own from it

    def data_received(self, data: bytes) -> None:
        self._answer_bytes += len(data)
        if self._answer_bytes > ANSWER_BYTES_MAX:
            self._fail(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail("the connection ended")

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._headers, b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self.close()


class HttpClient:
    """Plain HTTP/1.1, as many connections as requests are under way: ``async with HttpClient() as client``.

    ``timeout`` is how many seconds a connection, and an answer, may take.
    """

    def __init__(self, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._idle: defaultdict[str, list[_Connection]] = defaultdict(list)

    async def get(self, url: str) -> Response:
        """Fetch ``url``. Raises :class:`RequestFailed`."""
        return await self.request("GET", url)

    async def post(self, url: str, document: Any, headers: dict[str, str] | None = None) -> Response:
        """Send ``document`` as JSON. Raises :class:`RequestFailed`."""
        return await self.request("POST", url, json.dumps(document).encode(), headers)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Response:
        """Send a request, also to where it is redirected (307, 308). Raises :class:`RequestFailed`.

        ``timeout`` is how many seconds the answer may take, if that is not what it is for all.
        """
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._request_once(method, url, body, headers or {}, timeout or self._timeout)
            if response.status not in (307, 308):
                return response
            url = urljoin(url, response.headers.get("location", url))
        raise NotSent(f"{url}: redirected more than {REDIRECTS_MAX} times")

    async def _request_once(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> Response:
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        request = "\r\n".join((*lines, "", "")).encode("latin-1") + (body or b"")
        connection = await self._connect(parts)
        try:
            async with asyncio.timeout(timeout):
                status, got, content = await connection.exchange(request)
        except (TimeoutError, ConnectionError) as error:
            raise Unanswered(f"{url}: {str(error) or 'no answer in time'}") from None
        finally:
            if connection.is_open and connection.is_settled:
                self._idle[parts.netloc].append(connection)
            else:
                connection.close()
        return Response(url, status, got, content)

    async def _connect(self, parts: SplitResult) -> _Connection:
        netloc = parts.netloc
        idle = self._idle[netloc]
        while idle:
            if (connection := idle.pop()).is_open:
                return connection
        try:
            async with asyncio.timeout(self._timeout):
                loop = asyncio.get_running_loop()
                _, made = await loop.create_connection(_Connection, parts.hostname or "", parts.port or HTTP_PORT)
        except TimeoutError:
            raise NotSent(f"{netloc} does not answer") from None
        except UnicodeError:
            raise NotSent(f"{netloc}: there is no such name") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise NotSent(f"{netloc}: {reason}") from None
        return made

    async def aclose(self) -> None:
        """Close every connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop calls connection_lost in its next turn

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
