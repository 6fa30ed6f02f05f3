"""Three real nodes in one process, and the resources of two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from quorate.tasks.rest.resource import TasksResource
from quorate.testing import TestCluster

from .support import Api


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, tasks=True) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
async def follower(cluster: TestCluster) -> Api:
    """A node that does not lead."""
    leader = await cluster.wait_for_leader()
    node = next(node for node in cluster.nodes if node is not leader)
    return Api(TasksResource(node.tasks, node))


@pytest.fixture
async def api(cluster: TestCluster) -> Api:
    """The leader."""
    node = await cluster.wait_for_leader()
    return Api(TasksResource(node.tasks, node))
