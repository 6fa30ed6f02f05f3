"""Follows the changes of models: each told once, in the order of the log, with none left out, on whatever node.

A follower has a cursor and nothing else: the number of the last change that it was told of, which means the same on
every node. It reads on from the event log, a page at a time, and waits where that ends. So a follower that is slow
holds nothing up; if it is so slow that what comes next is not kept any more, it is told so by :class:`Gone`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw

from quorate.errors import QuorateError, StorageFailed
from quorate.models.store.events import Event
from quorate.node.ports import Engine

if TYPE_CHECKING:
    from quorate.models.machine import ModelsMachine

EVENTS_AT_ONCE = 100
"""A follower is told of so many changes at a time, at most."""
FOLLOWER_SECONDS = 0.0005
"""Between two wakes so much time passes for each follower that waits: what they cost in all is bounded by it."""
WOKEN_AT_ONCE = 16
"""So many followers go on in one turn of the event loop."""
PAGES_SHARED_MAX = 16
PAUSE_SECONDS = 15.0
"""So long a follower waits for changes before it hears that there are none."""


class Gone(QuorateError):
    """What would come next is not kept any more; ``oldest`` is the number of the oldest change that is."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"the changes behind number {after} are not kept any more: the oldest kept is {oldest}")
        self.after, self.oldest = after, oldest


@dataclass(slots=True, eq=False)
class Batch:
    """Some changes, shared by all who are told of them. Up to the number ``end`` there are no others of interest.

    ``text`` is what a face has made of them, so that it need not be made again.
    """

    events: list[Event]
    end: int
    text: bytes | None = None


class Feed:
    """What the followers of one machine on one node have in common: see :meth:`of`."""

    def __init__(self, machine: ModelsMachine) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._woken: deque[asyncio.Future[None]] = deque()
        self._wake_planned = False
        self._last_wake = 0.0
        self._pages: dict[tuple[int, str | None], Batch] = {}
        self._turns = asyncio.Lock()
        machine.after_apply = self._changed
        machine.after_open = machine.after_close = self._replaced

    @classmethod
    def of(cls, machine: ModelsMachine) -> Feed:
        """The feed of a machine; the first call on the event loop makes it."""
        if machine.feed is None:
            machine.feed = cls(machine)
        return machine.feed

    # -- reading -----------------------------------------------------------------------------------------

    async def read(self, engine: Engine, after: int, model: str | None) -> Batch:
        """The changes behind ``after``. Raises :class:`Gone`, and what the barrier raises once the node stops.

        Followers that are at one place share a page. Others take turns, and leave as much time to everything else.
        """
        shared = self._pages.get((after, model))
        if shared is not None:
            return shared
        async with self._turns:
            await engine.read_barrier(consistency="eventually")  # returns when no snapshot takes the state's place
            began = self._loop.time()
            try:
                batch = self._pages.get((after, model)) or self._page(after, model)
            except apsw.Error as error:
                raise StorageFailed(f"cannot read the events: {error}") from error
            await asyncio.sleep(self._loop.time() - began)
        return batch

    def _page(self, after: int, model: str | None) -> Batch:
        events = self._machine.events
        if after + 1 < events.first:
            raise Gone(after, events.first)
        page = events.after(after, EVENTS_AT_ONCE, model)
        batch = Batch(page.events, page.end)
        if len(self._pages) >= PAGES_SHARED_MAX:
            self._pages.clear()
        self._pages[after, model] = batch
        return batch

    # -- waiting -----------------------------------------------------------------------------------------

    async def wait(self, after: int, seconds: float) -> None:
        """Return when there may be changes behind ``after``, or ``seconds`` have passed, or the state is another."""
        if self._machine.events.last > after:
            return
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._waiting[waiting] = None
        timer = self._loop.call_later(seconds, _end, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting.pop(waiting, None)

    def wake(self) -> None:
        """Have all who wait go on, soon."""
        if self._waiting and not self._wake_planned:
            self._wake_planned = True
            pause = FOLLOWER_SECONDS * len(self._waiting)
            self._loop.call_at(max(self._loop.time(), self._last_wake + pause), self._begin_to_wake)

    def _begin_to_wake(self) -> None:
        self._wake_planned = False
        self._last_wake = self._loop.time()
        is_under_way = bool(self._woken)
        self._woken.extend(self._waiting)
        self._waiting.clear()
        if not is_under_way:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(self._woken))):
            _end(self._woken.popleft())
        if self._woken:
            self._loop.call_soon(self._wake_some)

    def _changed(self) -> None:
        self._pages.clear()
        self.wake()

    def _replaced(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed)  # a snapshot is installed in a thread


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


async def batches(
    machine: ModelsMachine,
    engine: Engine,
    after: int,
    model: str | None = None,
    *,
    pause_seconds: float = PAUSE_SECONDS,
) -> AsyncGenerator[Batch, None]:
    """The changes behind number ``after``, those of one model if it is named, and then those to come.

    There is an empty batch now and then, when nothing has come for ``pause_seconds`` at the latest. Raises
    :class:`Gone`, and :class:`~quorate.errors.ReadUnavailable` once the node stops: go on with another one.
    """
    feed = Feed.of(machine)
    while True:
        batch = await feed.read(engine, after, model)
        after = batch.end
        yield batch
        await feed.wait(after, pause_seconds)


async def changes(
    machine: ModelsMachine, engine: Engine, after: int, model: str | None = None
) -> AsyncGenerator[Event, None]:
    """The same, one by one. Whoever remembers the ``sequence`` of the last can go on behind it, on any node."""
    async with aclosing(batches(machine, engine, after, model)) as told:
        async for batch in told:
            for event in batch.events:
                yield event
