"""Locks and leases in Python: held by one, renewed while the block runs, and interrupted when they are lost."""

# ruff: noqa: PT012 (what raises is the end of a block)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from quorate import KvError, LockLost
from quorate.kv.store.kv import Kv
from quorate.node.reads import Consistency
from quorate.testing import TestCluster


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, kv=True, settings={"proposal_timeout_ms": 1_000}) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
async def kv(cluster: TestCluster) -> Kv:
    return (await cluster.wait_for_leader()).kv


async def test_a_lock_is_held_by_one_at_a_time(cluster: TestCluster) -> None:
    inside = most = 0
    tokens = []

    async def work(kv: Kv) -> None:
        nonlocal inside, most
        async with kv.lock("job", ttl=5) as lock:
            inside += 1
            most = max(most, inside)
            tokens.append(lock.token)
            assert lock.is_held
            await kv.incr("n")
            inside -= 1
        assert not lock.is_held

    await asyncio.gather(*(work(node.kv) for node in cluster.nodes for _ in range(3)))
    assert most == 1
    assert tokens == sorted(set(tokens))
    assert await cluster.nodes[0].kv.lock_holder("job") is None


async def test_a_lock_renews_itself(cluster: TestCluster, kv: Kv) -> None:
    async with kv.lock("job", ttl=1.5) as lock:
        ends = lock._held_until
        await cluster.wait_until(lambda: asyncio.get_running_loop().time() > ends + 0.3)
        assert lock.is_held
        holder = await kv.lock_holder("job")
        assert holder is not None
        assert holder.token == lock.token
        with pytest.raises(RuntimeError, match="held once"):
            async with lock:
                pass


async def test_who_waits_too_long_is_told(cluster: TestCluster, kv: Kv) -> None:
    async with kv.lock("job", ttl=5):
        for timeout in (0, 0.1):
            with pytest.raises(TimeoutError, match="job is held by another"):
                async with cluster.nodes[0].kv.lock("job", ttl=5, timeout=timeout):
                    pytest.fail("held twice")
    async with cluster.nodes[0].kv.lock("job", ttl=5, timeout=0):
        pass


async def test_who_waits_gets_the_lock_of_a_holder_that_died(cluster: TestCluster, kv: Kv) -> None:
    assert await kv.lock_take("job", "somebody who dies", 0.5) is not None
    async with kv.lock("job", ttl=5, timeout=5) as lock:
        assert lock.is_held


async def test_a_block_whose_lock_is_lost_is_interrupted(kv: Kv) -> None:
    with pytest.raises(LockLost, match="job is no longer held"):
        async with kv.lock("job", ttl=0.3) as lock:
            await kv.lock_release("job", lock.token)
            await asyncio.sleep(30)
    assert not lock.is_held
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_went_on_regardless_is_told_at_its_end(kv: Kv) -> None:
    with pytest.raises(LockLost):
        async with kv.lock("job", ttl=0.3) as lock:
            await kv.lock_release("job", lock.token)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(30)
    with pytest.raises(LockLost):
        async with kv.lock("job", ttl=30) as lock:
            await kv.lock_release("job", lock.token)


async def test_what_else_ends_a_block_is_not_hidden(kv: Kv) -> None:
    with pytest.raises(LookupError):
        async with kv.lock("job", ttl=5):
            raise LookupError
    assert await kv.lock_holder("job") is None

    async def hold() -> None:
        async with kv.lock("job", ttl=5):
            entered.set()
            await asyncio.sleep(30)

    entered = asyncio.Event()
    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await kv.lock_holder("job") is None


async def test_a_holder_that_is_cut_off_stops_when_its_time_is_over(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    with pytest.raises(LockLost):
        async with leader.kv.lock("job", ttl=0.6) as lock:
            cluster.partition_network([leader.node_id])
            await asyncio.sleep(30)
    other = cluster.majority_partition.nodes[0].kv
    async with other.lock("job", ttl=5, timeout=10) as successor:
        assert successor.token > lock.token
        with pytest.raises(KvError) as refused:
            await other.fenced("job", lock.token).set("k", "late")
        assert refused.value.code == "FENCED"
        assert await successor.fenced.set("k", "in time")
        assert await successor.fenced.get("k") == b"in time"


async def test_a_lock_is_kept_when_the_leader_is_killed(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    kv = next(node for node in cluster.nodes if node is not leader).kv
    async with kv.lock("job", ttl=3) as lock:
        await cluster.stop_leader()
        await cluster.wait_for_leader()
        renewed = lock._held_until
        await cluster.wait_until(lambda: lock._held_until > renewed)
        assert lock.is_held
        assert await lock.fenced.incr("n") == 1


async def test_fenced_commands_are_checked_before_the_log(kv: Kv) -> None:
    with pytest.raises(KvError, match="wrong number of arguments for 'del' command"):
        kv.fenced("job", 1).delete()
    with pytest.raises(KvError, match="a token is an integer"):
        kv.fenced("job", 0).set("k", "v")


async def test_keys_end_with_their_lease(cluster: TestCluster, kv: Kv) -> None:
    async with kv.lease(ttl=1.5) as lease:
        await lease.set("service/1", "here")
        await kv.set("service/2", "there")
        assert await lease.attach("service/2", "none") == 1
        ends = lease._held_until
        await cluster.wait_until(lambda: asyncio.get_running_loop().time() > ends + 0.3)
        assert await kv.exists("service/1", "service/2") == 2
    assert await kv.exists("service/1", "service/2") == 0


async def test_keys_go_when_the_node_of_their_lease_is_killed(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    other = next(node for node in cluster.nodes if node is not leader).kv
    with pytest.raises(LockLost):
        async with leader.kv.lease(ttl=1, name="worker") as lease:
            await lease.set("worker/1", "at work")
            await cluster.kill(leader.node_id)
            await asyncio.sleep(30)

    async def gone() -> bool:
        return not await other.exists("worker/1", "worker")

    await cluster.wait_until(gone)


async def test_a_lease_that_is_there_is_not_taken_twice(kv: Kv) -> None:
    async with kv.lease(ttl=5, name="worker"):
        with pytest.raises(KvError) as refused:
            async with kv.lease(ttl=5, name="worker"):
                pytest.fail("taken twice")
        assert refused.value.code == "LEASEEXISTS"


@pytest.mark.parametrize("consistency", ["strong", "eventually"])
async def test_time_left_goes_on_while_nothing_is_written(consistency: Consistency) -> None:
    async with TestCluster(1, kv=True) as cluster:
        leader = await cluster.wait_for_leader()
        kv = leader.kv.with_options(consistency=consistency)
        await kv.set("key", "value", px=60_000)
        first = await kv.pttl("key")
        while (left := await kv.pttl("key")) >= first - 20:
            assert left <= first
        assert left > 0
