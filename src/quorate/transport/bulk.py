"""The bulk lane of a link: a second connection, there while it is used."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from quorate.errors import TransportError
from quorate.transport.contract import PeerStats
from quorate.transport.dialled import Dialled
from quorate.transport.handshake import Welcome
from quorate.transport.options import TcpOptions
from quorate.transport.outlet import Outlet
from quorate.transport.sockets import describe

log = logging.getLogger(__name__)


class BulkLane(Outlet):
    """Opened by what is sent while it is closed, which is lost; closed when idle, or with its link.

    ``connect`` dials the link's address for this lane and asks whether the answer is to be talked to.
    """

    def __init__(
        self,
        address: str,
        options: TcpOptions,
        rng: random.Random,
        connect: Callable[[], AbstractAsyncContextManager[tuple[Dialled, Welcome]]],
    ) -> None:
        super().__init__(options.queue_bytes_max)
        self._address = address
        self._options = options
        self._rng = rng
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failures = 0
        self._not_before = 0.0
        self._used = 0.0
        self._last_error: str | None = None

    def dial(self) -> None:
        """Begin to open the lane, unless that is under way, or has failed a moment ago."""
        loop = asyncio.get_running_loop()
        if self._task is None and loop.time() >= self._not_before:
            self._stopping = False
            self._task = loop.create_task(self._serve(), name=f"dial {self._address} for bulk")
            self._task.add_done_callback(self._ended)

    def stop(self) -> asyncio.Task[None] | None:
        """Begin to close, leaving what was sent last a moment to leave; the task that ends when it is closed."""
        self.close()
        if self._task is not None and not self._stopping:  # twice would take the moment away
            self._stopping = True
            self._task.cancel()
        return self._task

    def write(self, pieces: Sequence[bytes], frames: int, stats: PeerStats) -> None:
        """Send all ``pieces`` of so many frames at once, or drop them; ``stats`` counts which."""
        self._used = asyncio.get_running_loop().time()
        super().write(pieces, frames, stats)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None

    async def _serve(self) -> None:
        """One connection from its dialling to its end."""
        loop = asyncio.get_running_loop()
        began = None
        try:
            async with self._connect() as (connection, _):
                began = self._used = loop.time()
                self._last_error = None
                self.open(connection)
                try:
                    await self._until_idle(connection)
                finally:
                    self.close()
                self._failures = 0
                return
        except (OSError, TransportError) as error:
            self._note(error, opened=began is not None)
        except Exception:
            log.exception("the bulk lane to %s failed", self._address)
        # One that comes and goes must earn longer and longer pauses, as the link itself must.
        if began is not None and loop.time() - began >= self._options.backoff_seconds_max:
            self._failures = 0
        self._failures += 1
        self._not_before = loop.time() + self._options.pause_seconds(self._failures, self._rng)

    async def _until_idle(self, connection: Dialled) -> None:
        """Return when the lane was not used for long enough; raise why the connection was lost, if it is before."""
        loop, idle_seconds = asyncio.get_running_loop(), self._options.bulk_idle_seconds
        while (left := self._used + idle_seconds - loop.time()) > 0:
            if (lost := await connection.lost_within(left)) is not None:
                raise lost
            if self.backlog_bytes:
                self._used = loop.time()

    def _note(self, error: Exception, *, opened: bool) -> None:
        """Log the first failure of each kind, not every attempt."""
        reason = describe(error)
        if reason != self._last_error:
            self._last_error = reason
            log.log(logging.INFO if opened else logging.WARNING, "no bulk lane to %s: %s", self._address, reason)
