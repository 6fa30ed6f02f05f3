"""A command that takes long is applied step by step: everything else goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quorate import Node, NotLeader, RaftConfig
from quorate.errors import ReadUnavailable
from quorate.node.applier import Applier
from quorate.testing import TestCluster
from tests.machine.long_commands import Rebuilder
from tests.node.snapshot_support import EARLY, installed
from tests.node.support import core_of, until

from .test_life import free_port

TICKS = 100
"""Some elections would be held within so many ticks of 10 ms, if the leader were not heard."""


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[Node, Rebuilder, Applier]]:
    """A node by itself, that has applied one amount."""
    config = RaftConfig(node_id=1, cluster_nodes=(f"1@127.0.0.1:{free_port()}",), data_dir=path)
    async with Node(config, machine=Rebuilder()) as node:
        await node.wait_for_leader()
        yield node, node.machine, node._running_group().applier


def rebuild(node: Node, steps: int = 5) -> asyncio.Task[object]:
    async def outcome() -> object:
        return (await node.propose(b"rebuild %d" % steps, alone=True, timeout=60)).result

    return asyncio.create_task(outcome())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_turn_of_the_loop_does_one_step(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, machine, _):
        await node.propose(b"3")
        task = rebuild(node, 300)
        await until(lambda: machine.steps)
        before = machine.steps
        await turns(100)
        assert before + 90 <= machine.steps <= before + 100
        assert await task == 6


async def test_what_is_proposed_meanwhile_is_applied_behind_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, machine, _):
        await node.propose(b"3")
        machine.held = True
        ended: list[object] = []
        tasks = [rebuild(node)]
        await until(lambda: machine.steps)
        tasks += [asyncio.create_task(_proposed(node, amount)) for amount in (b"100", b"10")]
        for task in tasks:
            task.add_done_callback(lambda task: ended.append(task.result()))
        await until(lambda: core_of(node).log.committed == node.status.applied_index + 2)
        assert await node.read(lambda machine: machine.total, consistency="eventually") == 3
        strong = asyncio.create_task(node.read(lambda machine: machine.total))
        with pytest.raises(ReadUnavailable):
            await node.read(lambda machine: machine.total, timeout=0.05)
        assert not ended
        machine.held = False
        await asyncio.gather(*tasks)
        assert ended == [6, 106, 116]
        assert await strong in (106, 116)


async def _proposed(node: Node, command: bytes) -> object:
    return (await node.propose(command)).result


async def test_pausing_pauses_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, machine, applier):
        await node.propose(b"3")
        machine.held = True
        task = rebuild(node)
        await until(lambda: machine.steps)
        with applier.paused():
            before = machine.steps
            await turns(50)
            assert machine.steps == before
        machine.held = False
        assert await task == 6


async def test_a_node_may_stop_in_the_middle_of_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, machine, _):
        await node.propose(b"3")
        machine.held = True
        task = rebuild(node)
        await until(lambda: machine.steps)
        await asyncio.sleep(0.1)  # it is flushed, or it is not
        async with asyncio.timeout(5):
            await node.stop()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], Exception)
    async with running(tmp_path) as (node, machine, _):
        assert await node.read(lambda machine: machine.total) == 6
        await node.propose(b"1")
        assert machine.removed >= 1
        assert machine.total == 7


async def test_only_the_node_that_leads_can_give_it_an_entry_of_its_own() -> None:
    async with TestCluster(3, machine=Rebuilder) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        with pytest.raises(NotLeader):
            await follower.propose(b"rebuild 5", alone=True)
        first, second = asyncio.create_task(leader.propose(b"1")), asyncio.create_task(leader.propose(b"2"))
        long, last = asyncio.create_task(leader.propose(b"rebuild 5", alone=True)), leader.propose(b"5")
        done = await asyncio.gather(first, second, long, last)
        assert [applied.result for applied in done] == [1, 3, 6, 11]
        indexes = [applied.index for applied in done]
        assert indexes[0] == indexes[1] < indexes[2] < indexes[3]


async def test_the_leader_leads_on_and_takes_commands_while_all_are_busy_with_it() -> None:
    async with TestCluster(3, machine=Rebuilder) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"3")
        for node in cluster.nodes:
            node.machine.held = True
        task = rebuild(leader)
        await until(lambda: all(node.machine.steps for node in cluster.nodes))
        term, ticks = core_of(leader).term, leader._running_group()._ticks
        later = [asyncio.create_task(leader.propose(b"%d" % (1 << power), timeout=60)) for power in range(4, 8)]
        await until(lambda: leader._running_group()._ticks > ticks + TICKS, 30)
        assert leader.is_leader
        assert {core_of(node).term for node in cluster.nodes} == {term}
        assert core_of(leader).log.committed > leader.status.applied_index + 1
        for node in cluster.nodes:
            node.machine.held = False
        assert await task == 6
        await asyncio.gather(*later)
        await cluster.wait_for_convergence()
        assert {node.machine.total for node in cluster.nodes} == {6 + 16 + 32 + 64 + 128}


@pytest.mark.usefixtures("quick")
async def test_a_snapshot_may_take_the_place_of_the_state_in_the_middle_of_it() -> None:
    async with TestCluster(3, machine=Rebuilder, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"3")
        follower = next(node for node in cluster.nodes if node is not leader)
        follower.machine.held = True
        assert await rebuild(leader) == 6
        await until(lambda: follower.machine.steps)
        cluster.partition_network([follower.node_id])
        for amount in range(100):
            await leader.propose(b"%d" % (1000 + amount))
        await until(lambda: core_of(leader).log.floor.index > core_of(follower).log.committed)
        installing = asyncio.create_task(installed(follower))
        await turns(3)
        cluster.heal()
        await asyncio.wait_for(installing, 20)
        await leader.propose(b"5000")
        await cluster.wait_for_convergence()
        assert follower.machine.total == leader.machine.total
        assert len({node._router.digest() for node in cluster.nodes}) == 1
