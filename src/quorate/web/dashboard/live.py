"""``GET /dashboard/live``: what this node says of itself once a second, and when something happens, as server-sent
events.

A report is made once for all who watch, and none while nobody does. Who is slow gets the latest, not all of them: what
happened in between is in the next one, for ``events`` go by their numbers.

``?of=2,3`` adds what other members say of themselves, as events of the type ``other``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any

import msgspec

from quorate.node.node import Node
from quorate.rest.events import RETRY_MS, STREAM_HEADERS, Watcher
from quorate.rest.http import RequestError, Stream
from quorate.web.dashboard.others import Other, Others

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
        self._others = Others(node, self._tell)

    def watch(self, event: int, others: Collection[int] = ()) -> Stream:
        """One more stream, with the events behind number ``event`` in its first report; and ``others``, by their ids.

        Raises :class:`RequestError` while there are too many.
        """
        if self._closed or self._watchers >= WATCHERS_MAX:
            reason = "the node is about to stop" if self._closed else f"{WATCHERS_MAX} pages watch this node already"
            raise RequestError(503, reason)
        self._watchers += 1
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make())
        wanted = self._others.want(others)
        watcher = Watcher(self._texts(event, list(wanted.values())), lambda: self._left(wanted))
        return Stream(200, [*STREAM_HEADERS, (b"x-accel-buffering", b"no")], watcher)

    def close(self) -> None:
        """The node stops: all streams end. Idempotent."""
        self._closed = True
        self._made.set()

    def _tell(self) -> None:
        made, self._made = self._made, asyncio.Event()
        made.set()

    def _left(self, others: Collection[int]) -> None:
        self._watchers -= 1
        self._others.leave(others)
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
                self._tell()
                await asyncio.wait([happening], timeout=due - loop.time())
                if happening.done() and happening.result() is not None:
                    happening = asyncio.ensure_future(anext(events, None))
                    await asyncio.sleep(SETTLE_SECONDS)
        finally:
            happening.cancel()

    async def _texts(self, event: int, others: list[Other]) -> AsyncGenerator[bytes, None]:
        yield b"retry: %d\n\n" % RETRY_MS
        seen = 0
        of_others = [(0, 0)] * len(others)  # (report, event) that was seen last
        if event > self._node.timeline.last:  # it was that of an event before this node was started again
            event = 0
        while not self._closed:
            made = self._made
            if seen < self._number and self._report:
                seen = self._number
                events = [each.document() for each in self._node.timeline.since(event)]
                event = self._node.timeline.last
                yield b"id: %d\ndata: %b\n\n" % (seen, msgspec.json.encode({**self._report, "events": events}))
            for at, other in enumerate(others):
                number, last = of_others[at]
                if other.report is not None and number < other.number:
                    happened, last = other.since(last)
                    of_others[at] = other.number, last
                    report = msgspec.json.encode({**other.report, "events": happened})
                    yield b"event: other\ndata: %b\n\n" % report
            await made.wait()
