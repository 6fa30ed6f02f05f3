"""What changes of tasks, as it is applied on this node: for who waits for a task, for work, or watches all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from quorate.tasks.lifecycle import State

CHANGES_KEPT = 10_000
"""So many of the newest changes are kept, for watchers that come back."""


class Change(NamedTuple):
    """A task is in another state. ``number`` is the same on every node; ``time_us`` is the log's time."""

    number: int
    time_us: int
    id: str
    queue: str
    type: str
    state: State
    attempt: int
    worker: str | None
    reason: str = ""


class Gone(Exception):
    """Changes behind a number are not kept any more."""


class Feed:
    """The newest changes, and who waits for some. Used from the event loop's thread."""

    def __init__(self, kept: int = CHANGES_KEPT) -> None:
        self._changes: deque[Change] = deque(maxlen=kept)
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._watching: set[asyncio.Future[None]] = set()
        self.on_ready: Callable[[], None] | None = None
        """Told when tasks have become ready."""
        self.last = 0
        """The number of the newest change."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """From now on there may be somebody who waits, in the event loop that runs here."""
        self._loop = asyncio.get_running_loop()

    def publish(self, changes: Sequence[Change]) -> None:
        """Applied as a whole."""
        self._changes.extend(changes)
        self.last = changes[-1].number
        if self._waiting:
            for change in changes:
                if change.state.is_ended:
                    for future in self._waiting.pop(change.id, ()):
                        _wake(future)
        if self._watching:
            watching, self._watching = self._watching, set()
            for future in watching:
                _wake(future)
        if any(change.state is State.READY for change in changes):
            self.look_again()

    def look_again(self) -> None:
        """Workers may be given what they could not be given before."""
        if self.on_ready is not None:
            self.on_ready()

    def take_back(self, last: int) -> None:
        """What was published behind this number has not happened after all; whoever was woken by it finds nothing."""
        while self._changes and self._changes[-1].number > last:
            self._changes.pop()
        self.last = last

    def restart(self, last: int) -> None:
        """The state is another one, whose last change has this number: whoever waits looks again. For any thread."""
        if self._loop is None:
            self._restart(last)
        else:
            self._loop.call_soon_threadsafe(self._restart, last)  # in a thread snapshots are installed

    def _restart(self, last: int) -> None:
        self._changes.clear()
        self.last = last
        for futures in (*self._waiting.values(), self._watching):
            for future in futures:
                _wake(future)
        self._waiting, self._watching = {}, set()
        self.look_again()

    # -- waiting -----------------------------------------------------------------------------------------

    async def until_ended(self, task_id: str, seconds: float) -> None:
        """Return when that task has ended, as far as is seen here, or time is over. Look before, then at once wait."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(task_id, set()).add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            waiting = self._waiting.get(task_id)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[task_id]

    def after(self, number: int, limit: int) -> list[Change]:
        """The changes behind a number, oldest first. Raises :class:`Gone` if they are not all kept."""
        if number >= self.last:
            return []
        if not self._changes or self._changes[0].number > number + 1:
            raise Gone
        skipped = max(0, number + 1 - self._changes[0].number)
        return list(islice(self._changes, skipped, skipped + limit))

    async def until_changed(self, number: int, seconds: float) -> None:
        """Return when there is something behind that number, or time is over."""
        if self.last > number:
            return
        future = asyncio.get_running_loop().create_future()
        self._watching.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            self._watching.discard(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
