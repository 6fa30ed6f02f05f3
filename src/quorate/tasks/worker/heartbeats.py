"""Tells the cluster that a worker is alive, and learns what was taken from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from quorate.errors import QuorateError
from quorate.tasks.commands import Enlist, Heartbeat
from quorate.tasks.errors import NoSuchWorker
from quorate.tasks.worker.leases import Lease, Leases
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

LEASES_MAX = 500
"""Prolonged by one request."""
BEATS = 3
"""In the time of a lease."""


class Heartbeats:
    """Prolongs all leases of a worker."""

    def __init__(self, source: Source, enlist: Enlist, leases: Leases, health: Callable[[], str]) -> None:
        self._source = source
        self._enlist = enlist
        self._leases = leases
        self._health = health
        self._lease_seconds = enlist.lease_ms / 1000
        self._early = asyncio.Event()

    def now(self) -> None:
        """There is news: do not wait for the next turn."""
        self._early.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with asyncio.timeout(self._lease_seconds):
                    await self.beat()
            except (QuorateError, TimeoutError) as error:
                log.warning("worker %s: a heartbeat failed: %s", self._enlist.worker, error or "no answer in time")
            pause = self._lease_seconds / BEATS - (clock() - began)
            try:
                async with asyncio.timeout(max(pause, self._lease_seconds / BEATS / 10)):
                    await self._early.wait()
            except TimeoutError:
                pass
            self._early.clear()

    async def beat(self) -> None:
        """Once, for all."""
        everything = iter(list(self._leases))
        first = True
        while (some := list(islice(everything, LEASES_MAX))) or first:
            await self._prolong(some)
            first = False

    async def _prolong(self, some: list[Lease]) -> None:
        until = asyncio.get_running_loop().time() + self._lease_seconds
        pairs = [(lease.task.task_id, lease.task.token) for lease in some]
        beat = Heartbeat(self._enlist.worker, pairs, self._enlist.lease_ms, self._health())
        try:
            lost = set(await self._source.heartbeat(beat))
        except NoSuchWorker:
            log.warning("worker %s was taken for gone: it comes again", self._enlist.worker)
            await self._source.enlist(self._enlist)
            lost = set(await self._source.heartbeat(beat))
        for lease in some:
            if lease.task.task_id in lost:
                self._leases.lose(lease)
            else:
                lease.until = until
