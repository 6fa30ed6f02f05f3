"""Large requests wait for each other: few of them are worked at, however many come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quorate.errors import ProposalDropped

LARGE_BYTES = 1024 * 1024
"""Whatever is no longer than this needs no turn."""
UNDER_WAY_BYTES_MAX = 4 * 1024 * 1024
"""So much of longer ones is worked at at a time, or one of them."""
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""So much of them may wait for its turn."""
WAIT_SECONDS_MAX = 10.0


class Turns:
    """The turns of the large requests of one node, in the order of their arrival."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waiting_bytes = 0

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Inside of it a request of ``size`` bytes is worked at.

        Raises :class:`~quorate.errors.ProposalDropped` if too much waits already, or it would wait for too long.
        """
        if self._waiting or not self._has_room_for(size):
            await self._wait(size)
        else:
            self._under_way += size
        try:
            yield
        finally:
            self._under_way -= size
            self._go_on()

    async def _wait(self, size: int) -> None:
        if self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise ProposalDropped(f"{self._waiting_bytes} bytes of large requests wait for their turn already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._waiting_bytes += size
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await turn
        except BaseException as error:
            self._give_up(size, turn)
            if isinstance(error, TimeoutError):
                raise ProposalDropped("other large requests were before this one all the time") from None
            raise

    def _give_up(self, size: int, turn: asyncio.Future[None]) -> None:
        """Nobody waits for it any more; its turn may have come at the same moment."""
        if (size, turn) in self._waiting:
            self._waiting.remove((size, turn))
            self._waiting_bytes -= size
        elif not turn.cancelled():
            self._under_way -= size
        self._go_on()

    def _go_on(self) -> None:
        """Give those their turn for whom there is room now."""
        while self._waiting and self._has_room_for(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            self._waiting_bytes -= size
            if not turn.done():
                self._under_way += size
                turn.set_result(None)

    def _has_room_for(self, size: int) -> bool:
        return not self._under_way or self._under_way + size <= UNDER_WAY_BYTES_MAX
