"""Waits that may be long, and end when the node stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """All who wait on one node."""

    def __init__(self) -> None:
        self._waits: set[asyncio.Timeout] = set()
        self.is_over = False
        """Whether nobody should begin to wait."""

    async def wait(self, awaited: Awaitable[T]) -> T | None:
        """What it brings; ``None`` if that is given up because the node stops: it is cancelled then."""
        scope = asyncio.timeout(0 if self.is_over else None)
        self._waits.add(scope)
        try:
            async with scope:
                return await awaited
        except TimeoutError:
            if not scope.expired():
                raise
            return None
        finally:
            self._waits.discard(scope)

    def end(self) -> None:
        """Idempotent."""
        self.is_over = True
        now = asyncio.get_running_loop().time()
        for scope in self._waits:
            if not scope.expired():
                scope.reschedule(now)
