"""``node.kv`` on three nodes: what is written on one is read on all, and what fails says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from quorate import (
    ConfigError,
    KvError,
    Node,
    NodeStopped,
    NotApplied,
    OutcomeUnknown,
    ProposalTooLarge,
    RaftConfig,
    ReadUnavailable,
    RequestIdReused,
)
from quorate.kv.machine import KvMachine
from quorate.kv.store.kv import Kv
from quorate.testing import TestCluster
from tests.node.support import Counter

SETTINGS = {"proposal_timeout_ms": 3_000}


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, kv=True, settings=SETTINGS) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
async def kv(cluster: TestCluster) -> Kv:
    return (await cluster.wait_for_leader()).kv


async def outcomes(calls: Iterable[asyncio.Future[object] | object]) -> list[object]:
    return await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[arg-type]


# -- the node --------------------------------------------------------------------------------------------


def config(directory: Path) -> RaftConfig:
    return RaftConfig(node_id=1, cluster_nodes=("127.0.0.1:7000",), data_dir=directory)


def test_a_node_has_a_store_only_if_it_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kv=True"):
        _ = Node(config(tmp_path)).kv
    with pytest.raises(ConfigError, match="'kv' belongs to the key-value store"):
        Node(config(tmp_path), machines={"kv": KvMachine()}, kv=True)
    with pytest.raises(ConfigError, match="either machine or machines"):
        Node(config(tmp_path), Counter(), machines={}, kv=True)


async def test_a_node_that_does_not_run_takes_no_calls(tmp_path: Path) -> None:
    kv = Node(config(tmp_path), kv=True).kv
    with pytest.raises(NodeStopped, match="not running"):
        await kv.set("k", "v")
    with pytest.raises(ReadUnavailable):
        await kv.get("k")
    with pytest.raises(ReadUnavailable):
        await kv.local.get("k")


async def test_the_store_stands_beside_other_machines() -> None:
    async with TestCluster(3, machine=Counter, kv=True) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.kv.set("n", 1)
        assert (await leader.propose(b"5")).result == 5
        assert leader.machine.value == 5
        assert await leader.kv.incr("n") == 2
    async with TestCluster(1, machines=lambda: {"counter": Counter()}, kv=True) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.kv.set("n", 1)
        assert (await leader.propose(b"5", machine="counter")).result == 5


async def test_keys_outlive_every_node(cluster: TestCluster, kv: Kv) -> None:
    await kv.hset("user", {"name": "Ann"})
    await cluster.crash()
    for node_id in (1, 2, 3):
        await cluster.start(node_id)
    leader = await cluster.wait_for_leader()
    assert await leader.kv.hgetall("user") == {b"name": b"Ann"}


# -- calls -----------------------------------------------------------------------------------------------


async def test_what_is_written_on_one_node_is_read_on_all(cluster: TestCluster) -> None:
    for number, node in enumerate(cluster.nodes):
        assert await node.kv.incr("n") == number + 1
        for other in cluster.nodes:
            assert await other.kv.get("n") == b"%d" % (number + 1)


async def test_calls_of_one_turn_share_proposals(cluster: TestCluster, kv: Kv) -> None:
    await kv.set("warm", "up")
    leader = await cluster.wait_for_leader()
    before = leader.status.last_index
    assert await asyncio.gather(*(kv.set(f"k{number}", number) for number in range(3_000))) == [True] * 3_000
    assert leader.status.last_index - before <= 10
    values = await asyncio.gather(*(kv.get(f"k{number}") for number in range(3_000)))
    assert values == [b"%d" % number for number in range(3_000)]


async def test_one_that_is_refused_does_not_concern_the_others(kv: Kv) -> None:
    await kv.set("text", "no number")
    first, refused, last = await outcomes([kv.incr("n"), kv.incr("text"), kv.incr("n")])
    assert (first, last) == (1, 2)
    assert isinstance(refused, KvError)
    assert refused.code == "ERR"
    with pytest.raises(KvError) as read:
        await kv.llen("text")
    assert read.value.code == "WRONGTYPE"


async def test_one_that_is_too_large_does_not_concern_the_others(kv: Kv) -> None:
    large = bytes(17 << 20)
    first, refused, last = await outcomes([kv.incr("n"), kv.set("large", large), kv.incr("n")])
    assert (first, last) == (1, 2)
    assert isinstance(refused, ProposalTooLarge)
    assert await kv.exists("large") == 0


async def test_calls_share_no_more_than_one_command_may_hold() -> None:
    async with TestCluster(1, kv=True, settings={"max_command_bytes": 1024}) as cluster:
        kv = (await cluster.wait_for_leader()).kv
        values = {f"k{number}": b"x" * (37 * number % 900) for number in range(200)}
        assert all(await asyncio.gather(*(kv.set(key, value) for key, value in values.items())))
        assert await kv.mget(*values) == [*values.values()]
        with pytest.raises(ProposalTooLarge):
            await kv.set("k", b"x" * 1024)


async def test_a_call_that_is_cancelled_before_it_leaves_is_never_made(kv: Kv) -> None:
    kv._writes._under_way = 1  # as if others were on their way to the disks: it waits for them
    task = asyncio.create_task(kv.set("k", "v"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await kv.set("another", "v")
    assert await kv.exists("k") == 0


async def test_keys_go_when_their_time_is_over_with_nobody_asking(cluster: TestCluster, kv: Kv) -> None:
    await kv.set("k", "v", ex=0.05)
    await cluster.wait_until(lambda: all(not len(node.kv._machine.keyspace) for node in cluster.nodes))


async def test_going_through_all(kv: Kv) -> None:
    await kv.mset({f"k{number}": number for number in range(2_000)})
    found = [key async for key in kv.scan_iter("k1*", count=100)]
    assert len(found) == len(set(found)) == 1111
    await kv.hset("h", {f"f{number}": number for number in range(2_000)})
    assert {key: value async for key, value in kv.hscan_iter("h")} == await kv.hgetall("h")
    assert [key async for key in kv.scan_iter(kind="hash")] == [b"h"]
    await kv.sadd("s", *range(2_000))
    assert {member async for member in kv.sscan_iter("s")} == await kv.smembers("s")
    await kv.zadd("z", {str(number): number for number in range(2_000)})
    assert dict([scored async for scored in kv.zscan_iter("z")]) == {b"%d" % at: float(at) for at in range(2_000)}


# -- once ------------------------------------------------------------------------------------------------


async def test_a_retry_with_the_same_id_is_applied_once(cluster: TestCluster, kv: Kv) -> None:
    assert await kv.once("a").incr("n") == 1
    for node in cluster.nodes:
        assert await node.kv.once("a").incr("n") == 1
    assert await kv.get("n") == b"1"
    with pytest.raises(RequestIdReused):
        await kv.once("a").incr("m")


async def test_a_refusal_is_remembered_as_well(kv: Kv) -> None:
    await kv.set("n", "text")
    for _ in range(2):
        with pytest.raises(KvError, match="not an integer"):
            await kv.once("a").incr("n")
    await kv.delete("n")
    with pytest.raises(KvError, match="not an integer"):
        await kv.once("a").incr("n")


# -- faults ----------------------------------------------------------------------------------------------


async def test_no_call_is_lost_or_doubled_when_the_leader_is_killed(cluster: TestCluster) -> None:
    async def count(number: int) -> None:
        while True:
            node = cluster.nodes[number % len(cluster.nodes)]
            try:
                await node.kv.once(f"visit {number}").incr("visits")
                return
            except (NotApplied, OutcomeUnknown):
                await asyncio.sleep(0.01)

    counting = [asyncio.create_task(count(number)) for number in range(300)]
    await cluster.wait_until(lambda: sum(task.done() for task in counting) > 20)
    await cluster.stop_leader()
    await asyncio.gather(*counting)
    leader = await cluster.wait_for_leader()
    assert await leader.kv.get("visits") == b"300"


async def test_what_was_acknowledged_is_there_when_the_leader_is_killed(cluster: TestCluster, kv: Kv) -> None:
    follower = next(node for node in cluster.nodes if node.kv is not kv)
    calls = {f"k{number}": asyncio.create_task(follower.kv.set(f"k{number}", number)) for number in range(500)}
    await cluster.wait_until(lambda: any(task.done() for task in calls.values()))
    late = {f"l{number}": asyncio.create_task(follower.kv.set(f"l{number}", number)) for number in range(500)}
    await cluster.stop_leader()
    ended = dict(zip([*calls, *late], await outcomes([*calls.values(), *late.values()]), strict=True))
    acknowledged = [key for key, outcome in ended.items() if outcome is True]
    others = [outcome for outcome in ended.values() if outcome is not True]
    assert acknowledged
    assert all(isinstance(outcome, NotApplied | OutcomeUnknown) for outcome in others)
    assert await follower.kv.exists(*acknowledged) == len(acknowledged)


async def test_without_a_majority_nothing_is_written_and_only_local_reads_answer(cluster: TestCluster, kv: Kv) -> None:
    await kv.set("k", "old")
    await cluster.wait_for_convergence()
    leader = await cluster.wait_for_leader()
    cluster.partition_network([leader.node_id])
    hasty = leader.kv.with_options(timeout=0.2)
    with pytest.raises((NotApplied, OutcomeUnknown)):
        await hasty.set("k", "new")
    with pytest.raises(ReadUnavailable):
        await hasty.get("k")
    assert await leader.kv.local.get("k") == b"old"
    other = next(node for node in cluster.majority_partition.nodes)
    assert await other.kv.set("k", "newer")
    assert await leader.kv.local.get("k") == b"old"
    cluster.heal()
    assert await leader.kv.get("k") == b"newer"


async def test_stopping_ends_what_is_under_way(cluster: TestCluster) -> None:
    node = await cluster.wait_for_leader()
    cluster.partition_network([node.node_id])
    calls = [asyncio.create_task(node.kv.set("k", "v")), asyncio.create_task(node.kv.get("k"))]
    await asyncio.sleep(0.01)
    await cluster.kill(node.node_id)
    wrote, read = await outcomes(calls)
    assert isinstance(wrote, NotApplied | OutcomeUnknown)
    assert isinstance(read, ReadUnavailable)
