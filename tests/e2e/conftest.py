"""Clusters of real node processes on free loopback ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.ports import free_ports
from quorate.ops.shop import SHOP_APP, shop_directory
from quorate.rest.http_client import HttpClient

from .support import StartCluster, show_logs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory starts processes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    """A client that follows redirects."""
    async with HttpClient() as client:
        yield client


@pytest.fixture
async def start_cluster(tmp_path: Path) -> AsyncIterator[StartCluster]:
    """Start a cluster of three, and wait until it is formed. Its logs are shown if the test fails."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, **settings: Any) -> LocalCluster:
            cluster = LocalCluster(
                tmp_path, free_ports(3), app=SHOP_APP, cwd=shop_directory(), arguments=arguments, **settings
            )
            stack.callback(show_logs, cluster)
            await stack.enter_async_context(cluster)
            await cluster.wait_formed()
            return cluster

        yield start


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The processes of :func:`shared_cluster`."""
    directory = tmp_path_factory.mktemp("shared")
    cluster = LocalCluster(directory, free_ports(3), app=SHOP_APP, cwd=shop_directory())
    try:
        cluster.start()
        yield cluster
    finally:
        for node in cluster.nodes.values():
            node.kill_and_reap()


@pytest.fixture
async def shared_cluster(running: LocalCluster) -> AsyncIterator[LocalCluster]:
    """A cluster of three that serves the shop to all tests of a file: each leaves it whole, and its products in it."""
    async with HttpClient() as running.client:
        try:
            await running.wait_formed()
            yield running
        finally:
            show_logs(running)


@pytest.fixture
async def cluster(start_cluster: StartCluster) -> LocalCluster:
    """A cluster of three that serves the shop."""
    return await start_cluster()
