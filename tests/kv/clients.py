"""A cluster whose nodes serve the Redis protocol, each on a port of its own, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from quorate import Node
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.server.service import Service
from quorate.testing import TestCluster


@dataclass
class Doors:
    """The ports of a cluster's nodes."""

    cluster: TestCluster
    service_settings: dict[str, Any] = field(default_factory=dict)
    _open: dict[int, tuple[Service, asyncio.Server, int]] = field(default_factory=dict)

    async def open(self, node: Node) -> int:
        """Serve clients of a node; returns the port."""
        machine = node.machines[MACHINE]
        assert isinstance(machine, KvMachine)
        service = Service(node, machine, **self.service_settings)
        server = await asyncio.get_running_loop().create_server(service.connect, "127.0.0.1", 0)
        service.start()
        port: int = server.sockets[0].getsockname()[1]
        self._open[node.node_id] = (service, server, port)
        return port

    async def close(self, node_id: int) -> None:
        """No more clients of that node."""
        service, server, _ = self._open.pop(node_id)
        server.close()
        await service.close()

    def port(self, node: Node) -> int:
        """Where a node serves."""
        return self._open[node.node_id][2]

    def service(self, node: Node) -> Service:
        """A node's service."""
        return self._open[node.node_id][0]

    @asynccontextmanager
    async def client(self, node: Node, protocol: int = 2, **settings: Any) -> AsyncIterator[redis.asyncio.Redis]:
        """A client of a node, which does not try again by itself."""
        settings = {"socket_timeout": 60, **settings}  # five seconds by default, which a busy machine may take
        made = redis.asyncio.Redis(port=self.port(node), protocol=protocol, retry=None, **settings)
        try:
            yield made
        finally:
            await made.aclose()

    async def close_all(self) -> None:
        """No more clients."""
        for node_id in list(self._open):
            await self.close(node_id)


@asynccontextmanager
async def serving(size: int = 3, **service_settings: Any) -> AsyncIterator[Doors]:
    """A cluster with a leader, and its ports."""
    settings = {"proposal_timeout_ms": 2_000}
    async with TestCluster(size, machines=lambda: {MACHINE: KvMachine()}, settings=settings) as cluster:
        doors = Doors(cluster, service_settings)
        try:
            await cluster.wait_for_leader()
            for node in cluster.nodes:
                await node.wait_for_leader()
                await doors.open(node)
            yield doors
        finally:
            await doors.close_all()
