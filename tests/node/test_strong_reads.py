"""Strong reads see everything acknowledged before them, on any node; where that cannot be, they end in time."""

from __future__ import annotations

import asyncio

import pytest

from quorate import ConfigError, Node, ReadUnavailable
from quorate.node import applier
from quorate.testing import TestCluster

from .support import Counter, total, until, value_of


@pytest.mark.parametrize("lease_reads", [False, True], ids=["read_index", "lease"])
async def test_a_read_on_any_node_sees_every_write_before_it(lease_reads: bool) -> None:
    async with TestCluster(3, machine=Counter, settings={"lease_reads": lease_reads}) as cluster:
        await cluster.wait_for_leader()
        for written in range(1, 31):
            await cluster.nodes[written % 3].propose(b"1")
            reads = [node.read(total) for node in cluster.nodes]
            assert min(await asyncio.gather(*reads)) >= written


async def test_a_read_waits_for_its_own_node_to_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applier, "APPLY_SLICE_SECONDS", 0.0)  # one entry a slice: reads come in between
    async with TestCluster(3, machine=Counter, settings={"max_payload_entries": 1}) as cluster:
        leader = await cluster.wait_for_leader()
        for _ in range(20):
            await asyncio.gather(*(leader.propose(b"1") for _ in range(10)))
            assert {await node.read(total) for node in cluster.nodes} == {value_of(leader)}


async def test_a_leader_cut_off_from_its_quorum_gives_no_stale_read() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        old = await cluster.wait_for_leader()
        await old.propose(b"1")
        for other in cluster.nodes:
            if other is not old:
                cluster.network.cut(old.node_id, other.node_id)
                cluster.network.cut(other.node_id, old.node_id)
        reading = asyncio.ensure_future(old.read(total))
        await cluster.wait_until(lambda: any(node.is_leader for node in cluster.nodes if node is not old))
        new = next(node for node in cluster.nodes if node is not old and node.is_leader)
        await new.propose(b"1")
        with pytest.raises(ReadUnavailable):
            await old.read(total, timeout=0.05)
        assert value_of(old) == 1
        assert not reading.done()
        cluster.heal()
        assert await reading == 2
        assert await old.read(total, consistency="eventually") == 2


async def test_without_a_quorum_reads_end_in_time() -> None:
    async with TestCluster(3, machine=Counter, started=[1]) as cluster:
        node = cluster.node(1)
        with pytest.raises(ReadUnavailable, match="in time"):
            await node.read(total, timeout=0.05)
        assert await node.read(total, consistency="eventually") == 0


async def test_a_read_outlives_a_change_of_leaders() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"5")
        follower = next(node for node in cluster.nodes if node is not leader)
        await follower.wait_for_leader()
        cluster.network.cut(follower.node_id, leader.node_id)
        reading = asyncio.ensure_future(follower.read(total))
        await asyncio.sleep(0)
        await cluster.kill(leader.node_id)
        assert await reading == 5


async def test_reads_come_through_where_every_message_takes_longer_than_the_retry() -> None:
    settings = {"heartbeat_interval_ms": 500, "election_timeout_min_ms": 1500, "election_timeout_ms": 2000}
    async with TestCluster(3, machine=Counter, settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        follower: Node = next(node for node in cluster.nodes if node is not leader)
        await follower.propose(b"1")
        cluster.network.delay_seconds = 0.12
        assert await follower.read(total) == 1


async def test_stopping_ends_reads() -> None:
    async with TestCluster(3, machine=Counter, started=[1]) as cluster:
        node = cluster.node(1)
        reading = asyncio.ensure_future(node.read(total, timeout=60))
        await until(lambda: node._group is not None and len(node._group._reads) == 1)
        await cluster.stop(1)
        with pytest.raises(ReadUnavailable):
            await reading


async def test_a_read_of_a_machine_that_is_not_there_is_refused() -> None:
    async with TestCluster(1, machines=lambda: {"one": Counter(), "two": Counter()}) as cluster:
        node = await cluster.wait_for_leader()
        await node.propose(b"3", machine="two")
        assert await node.read(lambda machine: machine.value, machine="two") == 3
        assert await node.read(lambda machine: machine.value, machine="one") == 0
        with pytest.raises(ConfigError, match="no machine"):
            await node.read(total)
