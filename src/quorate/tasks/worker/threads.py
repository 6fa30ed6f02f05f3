"""Threads for functions that block, and which nobody has to wait for when the program ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_Work = Callable[[], None]


class Threads:
    """As many as calls are under way: kept, and used again. Callers bound how many there are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call it in a thread. It must not raise. Cancelling the future does not stop it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T) -> None:
            self._idle += 1
            if not future.done():
                future.set_result(result)

        def work() -> None:
            result = function()
            try:
                loop.call_soon_threadsafe(done, result)
            except RuntimeError:
                pass  # the loop has ended, and with it everybody who could want to know

        if self._idle == 0:
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
        else:
            self._idle -= 1
        self._work.put(work)
        return future

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def end(self) -> None:
        """Each ends as soon as it has nothing to do."""
        for _ in range(self._threads):
            self._work.put(None)
