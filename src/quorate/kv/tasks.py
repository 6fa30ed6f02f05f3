"""What goes on beside the requests: asyncio tasks, kept until they end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Those of one owner."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """Break off whatever is under way."""
        for task in list(self._running):
            task.cancel()

    async def ended(self) -> None:
        """Return when all have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
