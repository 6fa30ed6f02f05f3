"""Redis clients of real processes: what was acknowledged stays, whoever is killed."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError, ResponseError

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports

from .support import eventually, show_logs

WRITES_MAX = 100_000
WRITERS = 12
BENCHMARK_REQUESTS = 200_000


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three nodes without models: keys are served all the same."""
    cluster = LocalCluster(tmp_path, free_ports(3))
    async with AsyncExitStack() as stack:
        stack.callback(show_logs, cluster)
        await stack.enter_async_context(cluster)
        await cluster.wait_formed()
        yield cluster


class Recorder:
    """Writers of keys, each written once, on all nodes in turn; and what they were told of each."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.tried: set[str] = set()
        self._nodes = itertools.cycle(list(cluster.nodes.values()))
        self._enough = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write inside."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(WRITERS):
                writers.create_task(self._write_on())
            try:
                yield
            finally:
                self._enough = True

    async def wait_for(self, more: int) -> None:
        """Return when so many more are acknowledged."""
        wanted = len(self.acknowledged) + more

        async def is_reached() -> bool:
            return len(self.acknowledged) >= wanted

        await eventually(is_reached, seconds=30)

    async def _write_on(self) -> None:
        while not self._enough:
            async with redis.asyncio.Redis(port=next(self._nodes).port, retry=None) as client:
                with suppress(ConnectionError, ResponseError):
                    await self._write_through(client)
            await asyncio.sleep(0.01)

    async def _write_through(self, client: redis.asyncio.Redis) -> None:
        while not self._enough:
            number = len(self.tried)
            key = f"written:{number}"
            self.tried.add(key)
            try:
                assert await client.set(key, number, nx=True) is True
            except ResponseError as error:
                if not str(error).startswith("UNKNOWN"):
                    self.refused.add(key)
                raise
            self.acknowledged.add(key)
            self._enough = self._enough or number >= WRITES_MAX


@contextmanager
def redis_benchmark(node: LocalNode) -> Iterator[None]:
    """``redis-benchmark`` writing to a node meanwhile, where it is installed."""
    if not (program := shutil.which("redis-benchmark")):
        yield
        return
    options = f"-p {node.port} -t set -d 32 -r 100000 -c 64 -q -n {BENCHMARK_REQUESTS}".split()
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def keys_of(node: LocalNode) -> frozenset[str]:
    """All that was written, as a node tells it."""
    async with redis.asyncio.Redis(port=node.port, decode_responses=True) as client:
        return frozenset([key async for key in client.scan_iter("written:*", count=1000)])


async def assert_all_is_there(cluster: LocalCluster, recorder: Recorder) -> None:
    """Every node has what was acknowledged and nothing that was refused; all of them have the same."""
    assert recorder.acknowledged

    async def are_the_same() -> bool:  # what was under way when its writer was stopped may still come
        return len({await keys_of(node) for node in cluster.nodes.values()}) == 1

    await eventually(are_the_same)
    for node in cluster.nodes.values():
        keys = await keys_of(node)
        assert recorder.acknowledged <= keys, f"node {node.node_id} lost {sorted(recorder.acknowledged - keys)[:5]}"
        assert not recorder.refused & keys, f"node {node.node_id} has what was refused"
        async with redis.asyncio.Redis(port=node.port, decode_responses=True) as client:
            values = await client.mget(sorted(recorder.acknowledged))
        assert [f"written:{value}" for value in values] == sorted(recorder.acknowledged)


async def kill_leader(cluster: LocalCluster) -> LocalNode:
    """``kill -9``, then wait until another leads."""
    leader = await cluster.leader()
    leader.kill()
    await leader.wait_ended(5)
    await cluster.leader(not_one_of=[leader.node_id])
    return leader


def a_follower_of(cluster: LocalCluster, leader: LocalNode) -> LocalNode:
    return next(node for node in cluster.nodes.values() if node is not leader)


@pytest.mark.parametrize("benchmarked", [LocalCluster.leader, None], ids=["at the leader", "at a follower"])
async def test_the_leader_is_killed_under_load_and_no_acknowledged_key_is_lost(
    cluster: LocalCluster, benchmarked: Callable[[LocalCluster], object] | None
) -> None:
    leader = await cluster.leader()
    recorder = Recorder(cluster)
    with redis_benchmark(leader if benchmarked else a_follower_of(cluster, leader)):
        async with recorder.running():
            await recorder.wait_for(200)
            killed = await kill_leader(cluster)
            await recorder.wait_for(200)
            killed.start()
            await cluster.wait_formed()
            await recorder.wait_for(100)
    await cluster.wait_caught_up()
    await assert_all_is_there(cluster, recorder)


async def test_all_nodes_are_killed_at_once_and_no_acknowledged_key_is_lost(cluster: LocalCluster) -> None:
    recorder = Recorder(cluster)
    async with recorder.running():
        await recorder.wait_for(500)
        for node in cluster.nodes.values():
            node.kill()
        for node in cluster.nodes.values():
            await node.wait_ended(5)
            node.start()
        await cluster.wait_formed()
        await recorder.wait_for(200)
    await cluster.wait_caught_up()
    await assert_all_is_there(cluster, recorder)


async def test_keys_and_their_deadlines_survive_a_restart_of_all_nodes(cluster: LocalCluster) -> None:
    leader = await cluster.leader()
    async with redis.asyncio.Redis(port=leader.port) as client:
        await client.set("for good", "kept")
        await client.set("for an hour", "kept", ex=3600)
        await client.hset("hash", mapping={"field": "value"})
        await client.set("short", "gone", px=300)
    assert await cluster.stop() == [0, 0, 0]
    for node in cluster.nodes.values():
        node.start()
    await cluster.wait_formed()
    for node in cluster.nodes.values():
        async with redis.asyncio.Redis(port=node.port) as client:
            assert await client.mget("for good", "for an hour") == [b"kept", b"kept"]
            assert 3500 < await client.ttl("for an hour") <= 3600
            assert await client.hgetall("hash") == {b"field": b"value"}

            async def is_gone(client: redis.asyncio.Redis = client) -> bool:
                return bool(await client.dbsize() == 3)

            await eventually(is_gone)
