"""Real node servers on free loopback ports, inside the test's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from quorate import App
from quorate.config import NodeConfig
from quorate.web.server import NodeServer

from .support import APP, StartCluster, client_of, free_ports, serves_models, until


@pytest.fixture
async def start_cluster(tmp_path: Path) -> AsyncIterator[StartCluster]:
    """Start a cluster of ``count`` servers (all members, or the first ``running``); returns them when formed."""
    async with AsyncExitStack() as stack:

        async def start(
            count: int, running: int | None = None, apps: Sequence[App] = (), **settings: Any
        ) -> list[NodeServer]:
            ports = free_ports(count)
            servers = []
            for number, port in enumerate(ports[:running], start=1):
                peers = tuple(f"{n}@127.0.0.1:{p}" for n, p in enumerate(ports, start=1) if n != number)
                config = NodeConfig(node_id=number, port=port, peers=peers, data_dir=tmp_path / str(number), **settings)
                server = NodeServer(config, apps[number - 1] if apps else APP)
                await server.start()
                stack.push_async_callback(server.stop)
                servers.append(server)
            if len(servers) > count // 2:
                for server in servers[: 2 if apps else None]:
                    await server.node.wait_for_leader()
                    await until(partial(serves_models, server))
            return servers

        yield start


@pytest.fixture
async def server(start_cluster: StartCluster) -> NodeServer:
    """A cluster of one."""
    (server,) = await start_cluster(1, max_body_bytes=64 * 1024)
    return server


@pytest.fixture
async def client(server: NodeServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client for the cluster of one."""
    async with client_of(server) as client:
        yield client
