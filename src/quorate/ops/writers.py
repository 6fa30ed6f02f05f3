"""Clients that create products in parallel, and what happens to them when the leader is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, islice

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster, NoProgress
from quorate.ops.local_node import LocalNode
from quorate.ops.shop_client import ShopClient
from quorate.rest.http_client import HttpClient

WAIT_SECONDS_MAX = 30.0
POLL_SECONDS = 0.005


class Writers:
    """``clients`` parallel clients, spread over all nodes, that never use a product's name twice."""

    def __init__(self, cluster: LocalCluster, http: HttpClient, history: History, *, clients: int) -> None:
        self.history = history
        self._cluster = cluster
        self._numbers = count(1)
        turns = [at % len(cluster.urls) for at in range(clients)]
        self._clients = [ShopClient(http, [*cluster.urls[turn:], *cluster.urls[:turn]], history) for turn in turns]

    async def create(self, products: int) -> None:
        """Create that many, and return when all are settled."""
        numbers = islice(self._numbers, products)
        await asyncio.gather(*(self._write(client, numbers) for client in self._clients))

    @asynccontextmanager
    async def running(self, products_max: int) -> AsyncIterator[None]:
        """Create products for as long as the block runs; on leaving it, what was begun is brought to its end."""
        numbers = islice(self._numbers, products_max)
        tasks = [asyncio.ensure_future(self._write(client, numbers)) for client in self._clients]
        try:
            yield
            for _ in numbers:  # leave nothing to begin with
                pass
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, client: ShopClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            await client.create(f"Product {number:07d}", f"{1 + number % 100}.99")

    async def wait_for_writes(self, more: int) -> None:
        """Return when so many more creates are acknowledged. Raises :class:`NoProgress`."""
        target = len(self.history.acknowledged) + more
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while len(self.history.acknowledged) < target:
                    self._cluster.check_running()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise NoProgress(f"{more} writes were not acknowledged within {WAIT_SECONDS_MAX:g} s") from None


@dataclass(frozen=True, slots=True)
class Kill:
    """The leader was killed; ``at`` is when (monotonic clock), ``leader_seconds`` how long until another led."""

    node: LocalNode
    at: float
    successor: LocalNode
    leader_seconds: float


async def kill_leader(cluster: LocalCluster, tell: Callable[[str], None] = lambda line: None) -> Kill:
    """``kill -9`` the leader and wait for the next one. Raises :class:`NoProgress`."""
    try:
        leader = await cluster.leader(timeout=WAIT_SECONDS_MAX)
        pid, at = leader.pid, time.monotonic()
        leader.kill()
        tell(f"kill -9 {pid}: node {leader.node_id}, the leader, under write load")
        successor = await cluster.leader(not_one_of=[leader.node_id], timeout=WAIT_SECONDS_MAX)
    except TimeoutError:
        raise NoProgress(f"there was no leader within {WAIT_SECONDS_MAX:g} s") from None
    return Kill(leader, at, successor, time.monotonic() - at)
