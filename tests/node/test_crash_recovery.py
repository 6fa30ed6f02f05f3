"""Power losses and kills on disks that lose what was not synced: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from quorate import DiskStateMachine, Node, NotApplied, OutcomeUnknown, StateMachine
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, GatedDisk, certainly, core_of, until, value_of

both = pytest.mark.parametrize("machine", [Counter, DiskCounter])
Machine = Callable[[], StateMachine | DiskStateMachine]
QUICK = {"heartbeat_interval_ms": 10, "election_timeout_min_ms": 20, "election_timeout_ms": 40}
"""Timings for a single node, which has nobody to wait for."""


def gated(cluster: TestCluster, node: Node) -> GatedDisk:
    disk = cluster.file_system(node.node_id)
    assert isinstance(disk, GatedDisk)
    return disk


@both
async def test_power_loss_of_all_nodes_keeps_acknowledged_writes(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        for total in range(10, 40, 10):
            leader = await cluster.wait_for_leader()
            await asyncio.gather(*(leader.propose(b"1") for _ in range(5)))
            for _ in range(5):
                await leader.propose(b"1")
            await cluster.crash()
            assert cluster.nodes == ()
            await asyncio.gather(*map(cluster.start, (1, 2, 3)))
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}


@both
async def test_kill_of_all_nodes_keeps_acknowledged_writes(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        await asyncio.gather(*(leader.propose(b"1") for _ in range(20)))
        await asyncio.gather(*map(cluster.kill, (1, 2, 3)))
        await asyncio.gather(*map(cluster.start, (1, 2, 3)))
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {20}


async def test_a_follower_that_crashes_in_the_middle_of_an_append_has_promised_nothing() -> None:
    async with TestCluster(3, machine=Counter, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_for_convergence()
        before = follower.status.last_index
        gated(cluster, follower).hold_syncs()
        await asyncio.gather(*(leader.propose(b"1") for _ in range(5)))
        await until(gated(cluster, follower).holding.is_set)
        await leader.propose(b"1")
        assert follower.status.last_index > before
        assert follower.status.applied_index == before
        assert core_of(leader).replication.peers[follower.node_id].match == before
        await cluster.crash(follower.node_id)
        await cluster.start(follower.node_id)
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {6}


async def test_a_leader_that_crashes_before_its_own_sync_did_not_answer() -> None:
    async with TestCluster(3, machine=Counter, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        gated(cluster, leader).hold_syncs()
        proposing = asyncio.ensure_future(leader.propose(b"1"))
        # The two others are a quorum, so it is committed; but a state must not run ahead of its own log.
        await cluster.wait_until(lambda: leader.status.commit_index == leader.status.last_index)
        await until(gated(cluster, leader).holding.is_set)
        assert value_of(leader) == 1
        assert not proposing.done()
        await cluster.crash(leader.node_id)
        with pytest.raises(OutcomeUnknown):
            await proposing
        await cluster.start(leader.node_id)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {2}


async def test_an_entry_that_no_quorum_had_synced_is_gone_or_kept_by_all() -> None:
    async with TestCluster(3, machine=Counter, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        for node in cluster.nodes:
            gated(cluster, node).hold_syncs()
        proposing = asyncio.ensure_future(leader.propose(b"1"))
        for node in cluster.nodes:
            await until(gated(cluster, node).holding.is_set)
        assert leader.status.commit_index < leader.status.last_index
        await cluster.crash()
        with pytest.raises(OutcomeUnknown):
            await proposing
        await asyncio.gather(*map(cluster.start, (1, 2, 3)))
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        values = {value_of(node) for node in cluster.nodes}
        assert values in ({1}, {2})


@both
async def test_power_loss_at_every_point_of_the_first_writes(machine: Machine) -> None:
    """Of a single node: nobody else could bring back what it lost."""
    async with TestCluster(1, machine=machine, settings=QUICK) as cluster:
        total = 0
        for changes in range(25):
            node = await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert value_of(node) == total
            disk = cluster.file_system(1)
            assert isinstance(disk, MemoryFileSystem)
            disk.lose_power_after(changes)
            acknowledged = attempted = total
            while node.failure is None:
                try:
                    attempted += 1
                    acknowledged = int(str((await node.propose(b"1")).result))
                except (NotApplied, OutcomeUnknown):
                    break
            await cluster.crash(1)
            node = await cluster.start(1)
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            total = value_of(node)
            assert acknowledged <= total <= attempted


async def test_a_restart_of_a_disk_machine_applies_only_what_its_file_lacks() -> None:
    """A2.22, A2.26."""
    async with TestCluster(3, machine=DiskCounter) as cluster:
        leader = await cluster.wait_for_leader()
        for _ in range(20):
            await certainly(leader, b"1")
        await cluster.wait_for_convergence()
        node_id = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.stop(node_id)
        for _ in range(5):
            await certainly(leader, b"1")
        node = await cluster.start(node_id)
        await cluster.wait_for_convergence()
        assert node.machine.applied == 5
        assert value_of(node) == 25


async def test_a_disk_machine_that_is_killed_applies_again_what_was_not_committed() -> None:
    async with TestCluster(1, machine=DiskCounter) as cluster:
        node = await cluster.wait_for_leader()
        for _ in range(5):
            await node.propose(b"1")
        await until(lambda: node._router.unflushed == 0)
        await node.propose(b"1")
        applied, unflushed = node.machine.applied, node._router.unflushed
        await cluster.kill(1)
        node = await cluster.start(1)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert node.machine.applied == unflushed <= applied
        assert value_of(node) == 6


async def test_a_machine_in_memory_is_rebuilt_with_the_same_times() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        node = await cluster.wait_for_leader()
        for _ in range(10):
            await node.propose(b"1")
        applied, times = node.machine.applied, node.machine.times
        await cluster.crash()
        node = await cluster.start(1)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert (node.machine.applied, node.machine.times) == (applied, times)


async def test_votes_survive_so_terms_never_come_back() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        terms = []
        for _ in range(4):
            leader = await cluster.wait_for_leader()
            terms.append(leader.status.term)
            await cluster.crash()
            await asyncio.gather(*map(cluster.start, (1, 2, 3)))
        assert terms == sorted(set(terms))
