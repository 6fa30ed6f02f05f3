"""Server-sent events (WHATWG HTML §9.2): what all streams of them have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress

from quorate.rest.http import Headers, RequestError
from quorate.rest.params import whole_number

HEARTBEAT_SECONDS = 15.0
RETRY_MS = 1000
"""So long an ``EventSource`` waits before it comes back."""
STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"))


class Watcher:
    """One client's stream: ``texts``, as the chunks of a :class:`~quorate.rest.http.Stream`.

    ``on_close`` is called once, also if none of it was wanted.
    """

    def __init__(self, texts: AsyncGenerator[bytes, None], on_close: Callable[[], None]) -> None:
        self._texts = texts
        self._on_close = on_close
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._texts

    async def aclose(self) -> None:
        """Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._on_close()
            with suppress(RuntimeError):  # it is closing already
                await self._texts.aclose()


def last_event_id(headers: Headers) -> int | None:
    """Where a client that comes back goes on: the number that it says in ``Last-Event-ID``.

    Raises :class:`~quorate.rest.http.RequestError` if that is no number.
    """
    found = None
    for name, value in headers:
        if name == b"last-event-id" and value:
            found = whole_number(value.decode("latin-1"))
            if found is None:
                raise RequestError(400, "Last-Event-ID should be the id of an event of this stream, a number")
    return found
