"""A queue whose items come out later, in the order they went in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class DelayLine:
    """Runs callbacks after their delays, never one before another that was put earlier.

    Timers of an event loop do not promise this: two that are due at the same time may fire in any order. With
    ``items_per_turn``, no more than that come out in one turn of the loop, so that others get theirs in between.
    """

    def __init__(self, items_max: int = 65536, items_per_turn: int | None = None) -> None:
        self._items_max = items_max
        self._items_per_turn = items_per_turn or items_max
        self._items: deque[tuple[float, Callable[[], None]]] = deque()
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, delay_seconds: float, callback: Callable[[], None]) -> bool:
        """Run ``callback`` in ``delay_seconds``, or as soon as those before it have run; never at once.

        False if the line is full and the callback was not taken.
        """
        if len(self._items) >= self._items_max:
            return False
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        if self._items:
            due = max(due, self._items[-1][0])
        self._items.append((due, callback))
        if self._timer is None:
            self._arm(loop, delay_seconds)
        return True

    def clear(self) -> None:
        """Forget everything that has not run."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, delay_seconds: float) -> None:
        if delay_seconds > 0:
            self._timer = loop.call_later(delay_seconds, self._drain)
        else:
            self._timer = loop.call_soon(self._drain)

    def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        now, fired = loop.time(), self._timer
        try:
            # Only what was there at the beginning: a callback that puts another must not keep the loop for itself.
            for _ in range(min(len(self._items), self._items_per_turn)):
                if not self._items or self._items[0][0] > now:
                    break
                self._items.popleft()[1]()
        finally:
            if self._timer is fired:  # a callback may have cleared the line, and used it again
                self._timer = None
                if self._items:
                    self._arm(loop, self._items[0][0] - loop.time())
