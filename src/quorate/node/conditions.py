"""Waiting for what a turn of the group brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.errors import QuorateError


class Conditions:
    """Conditions that somebody waits for; looked at behind every turn, and with every tick at least."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition()`` is true. Raises what :meth:`fail_all` is given."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

    def look(self) -> None:
        """Something may have changed."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for condition, future in waiting:
            if future.done():
                continue
            if condition():
                future.set_result(None)
            else:
                self._waiting.append((condition, future))

    def fail_all(self, error: QuorateError) -> None:
        """End all that wait."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
