"""What the key-value benchmark asks of a system; and our nodes and Redis, which speak the same protocol."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from quorate._version import __version__
from quorate.ops.bench import wire
from quorate.ops.bench.cases import Case, Sample
from quorate.ops.bench.convergence import Convergence, check_convergence
from quorate.ops.bench.drivers import redis_benchmark
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.servers import Server, version_of
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST
from quorate.rest.http_client import RequestFailed

START_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05


class System(ABC):
    """``async with`` one to start it; leaving it ends every process."""

    name: str
    programs: tuple[str, ...]
    """What has to be installed."""
    nodes: int

    def can_run(self, case: Case) -> bool:
        """Whether it has what the case is about."""
        return case.at == "leader" or self.nodes > 1

    @abstractmethod
    async def start(self) -> str:
        """Start the processes and wait until they serve. Returns the name and version, and how it is driven."""

    @abstractmethod
    async def fill(self) -> None:
        """Write the keys that are going to be read."""

    @abstractmethod
    async def drive(self, case: Case, operations: int, seconds_max: float) -> Sample:
        """One round. Raises :class:`LoadFailed`."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Its processes."""

    @abstractmethod
    async def fsyncs(self) -> int | None:
        """fsyncs of the logs of all nodes since the start; ``None`` if it does not count them."""

    @abstractmethod
    async def stop(self) -> None:
        """End every process that was started."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class QuorateSystem(System):
    """Three of our nodes."""

    name = "Quorate"
    programs = ("redis-benchmark",)
    nodes = 3

    def __init__(self, directory: Path, ports: Sequence[int], keys: int) -> None:
        self._keys = keys
        self._cluster = LocalCluster(directory / "quorate", ports[: self.nodes])

    async def start(self) -> str:
        """See :meth:`System.start`."""
        self._cluster.start()
        await self._cluster.wait_formed()
        return f"Quorate {__version__} by redis-benchmark"

    async def fill(self) -> None:
        """See :meth:`System.fill`."""
        await wire.fill((await self._cluster.leader()).port, self._keys)
        await self._cluster.wait_caught_up()

    async def drive(self, case: Case, operations: int, seconds_max: float) -> Sample:
        """See :meth:`System.drive`."""
        node = await self._cluster.leader()
        if case.at == "follower":
            node = next(other for other in self._cluster.nodes.values() if other is not node)
        sample = await redis_benchmark(node.port, case, operations, keys=self._keys, seconds_max=seconds_max)
        self._cluster.check_running()
        return sample

    def pids(self) -> list[int]:
        """See :meth:`System.pids`."""
        return [node.pid for node in self._cluster.nodes.values() if node.pid is not None]

    async def fsyncs(self) -> int:
        """See :meth:`System.fsyncs`."""
        reports = await self._cluster.statuses()
        if silent := [report["address"] for report in reports if "fsyncs" not in report]:
            raise LoadFailed(f"a node does not say how it is: {', '.join(silent)}")
        return sum(report["fsyncs"] for report in reports)

    async def check_convergence(self) -> Convergence:
        """Raises :class:`LoadFailed` if the nodes do not hold the same keys with the same values, all of them."""
        return await check_convergence(
            self._cluster, "three nodes", lambda node: wire.keys_of(node.port), least=self._keys, most=self._keys
        )

    async def stop(self) -> None:
        """See :meth:`System.stop`."""
        await self._cluster.__aexit__(None, None, None)


class RedisSystem(System):
    """One Redis that makes every write durable before it answers: what a node could do if it were alone, and in C."""

    name = "Redis, one"
    programs = ("redis-server", "redis-benchmark")
    nodes = 1

    def __init__(self, directory: Path, ports: Sequence[int], keys: int) -> None:
        self._keys = keys
        self._directory = directory / "redis"
        self._port = ports[0]
        self._servers: list[Server] = []

    async def start(self) -> str:
        """See :meth:`System.start`."""
        flags = {
            "port": str(self._port),
            "bind": HOST,
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "auto-aof-rewrite-percentage": "0",
        }
        arguments = [word for name, value in flags.items() for word in (f"--{name}", value)]
        self._servers.append(Server(self._directory, "redis-server", arguments))
        await wait_serving(self._servers, self._is_serving)
        return f"Redis {version_of('redis-server')}, appendfsync always, by redis-benchmark"

    async def _is_serving(self) -> bool:
        _, writer = await asyncio.open_connection(HOST, self._port)
        writer.close()
        await writer.wait_closed()
        return True

    async def fill(self) -> None:
        """See :meth:`System.fill`."""
        await wire.fill(self._port, self._keys)

    async def drive(self, case: Case, operations: int, seconds_max: float) -> Sample:
        """See :meth:`System.drive`."""
        sample = await redis_benchmark(self._port, case, operations, keys=self._keys, seconds_max=seconds_max)
        self._servers[0].check_running()
        return sample

    def pids(self) -> list[int]:
        """See :meth:`System.pids`."""
        return [server.pid for server in self._servers]

    async def fsyncs(self) -> None:
        """See :meth:`System.fsyncs`."""

    async def stop(self) -> None:
        """See :meth:`System.stop`."""
        for server in self._servers:
            server.kill()


async def wait_serving(servers: Sequence[Server], is_serving: Callable[[], Awaitable[bool]]) -> None:
    """Return once ``is_serving``. Raises :class:`LoadFailed` if a server ends before, or time runs out."""
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while True:
                for server in servers:
                    server.check_running()
                try:
                    if await is_serving():
                        return
                except (OSError, RequestFailed):
                    pass
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise LoadFailed(f"a server did not serve within {START_SECONDS_MAX:g} s") from None
