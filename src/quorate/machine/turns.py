"""Turns at something that only few may do at one time."""

from __future__ import annotations

import asyncio

from quorate.errors import ReadUnavailable


class Turns:
    """So many at one time. The others wait, in the order in which they came, so many and so long at most."""

    def __init__(self, at_once: int, waiting_max: int, what: str) -> None:
        """``what`` they are, in the plural, for who is refused."""
        self._free = asyncio.Semaphore(at_once)
        self._waiting_max = waiting_max
        self._what = what
        self._waiting = 0

    async def take(self, seconds: float) -> None:
        """Return when it is the caller's turn, which is to be given back.

        Raises :class:`ReadUnavailable` if too many wait already, or it has not come within ``seconds``.
        """
        if self._waiting >= self._waiting_max:
            raise ReadUnavailable(f"{self._waiting} {self._what} are waiting already")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise ReadUnavailable(f"too many {self._what} are under way") from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """The turn is over."""
        self._free.release()
