"""``GET /dashboard/live``: what this node says of itself once a second, and when something happens, as server-sent
events.

A report is made once for all who watch, and none while nobody does. Who is slow gets the latest, not all of them: what
happened in between is in the next one, for ``events`` go by their numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from quorate.node.node import Node
from quorate.rest.events import RETRY_MS, STREAM_HEADERS, Watcher
from quorate.rest.http import RequestError, Stream

INTERVAL_SECONDS = 1.0
SETTLE_SECONDS = 0.1
"""Behind an event a report is made at once, but for what else is about to happen."""
WATCHERS_MAX = 64

Report = dict[str, Any]


class Live:
    """The streams of one node. ``measure`` makes a report."""

    def __init__(self, node: Node, measure: Callable[[], Awaitable[Report]]) -> None:
        self._node = node
        self._measure = measure
        self._watchers = 0
        self._closed = False
        self._number = 0
        self._report: Report = {}
        self._made = asyncio.Event()
        self._making: asyncio.Task[None] | None = None

    def watch(self, event: int | None) -> Stream:
        """One more stream, with the events behind number ``event`` in its first report.

        Raises :class:`RequestError` while there are too many.
        """
        if self._closed or self._watchers >= WATCHERS_MAX:
            reason = "the node is about to stop" if self._closed else f"{WATCHERS_MAX} pages watch this node already"
            raise RequestError(503, reason)
        self._watchers += 1
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make())
        watcher = Watcher(self._texts(event or 0), self._left)
        return Stream(200, [*STREAM_HEADERS, (b"x-accel-buffering", b"no")], watcher)

    def close(self) -> None:
        """The node stops: all streams end. Idempotent."""
        self._closed = True
        self._made.set()

    def _left(self) -> None:
        self._watchers -= 1
        if not self._watchers and self._making is not None:
            self._making.cancel()
            self._making = None

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        events = self._node.events()
        happening = asyncio.ensure_future(anext(events, None))
        try:
            await self._measure()  # what was counted while nobody listened is not of the last second
            while True:
                due = loop.time() + INTERVAL_SECONDS
                self._report = await self._measure()
                self._number += 1
                made, self._made = self._made, asyncio.Event()
                made.set()
                await asyncio.wait([happening], timeout=due - loop.time())
                if happening.done() and happening.result() is not None:
                    happening = asyncio.ensure_future(anext(events, None))
                    await asyncio.sleep(SETTLE_SECONDS)
        finally:
            happening.cancel()

    async def _texts(self, event: int) -> AsyncGenerator[bytes, None]:
        yield b"retry: %d\n\n" % RETRY_MS
        seen = 0
        if event > self._node.timeline.last:  # it was that of an event before this node was started again
            event = 0
        while not self._closed:
            if seen < self._number and self._report:
                seen = self._number
                events = [each.document() for each in self._node.timeline.since(event)]
                event = self._node.timeline.last
                report = msgspec.json.encode({**self._report, "events": events})
                yield b"id: %d\ndata: %s\n\n" % (seen, report)
            else:
                await self._made.wait()
