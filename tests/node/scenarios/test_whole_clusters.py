"""Named regression scenarios about a cluster as a whole, on real nodes: what was acknowledged or seen stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from quorate import DiskStateMachine, Node, OutcomeUnknown, StateMachine
from quorate.errors import NotApplied, ReadUnavailable
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster
from tests.node.support import Counter, DiskCounter, GatedDisk, core_of, total, until, value_of

both = pytest.mark.parametrize("machine", [Counter, DiskCounter])
Machine = Callable[[], StateMachine | DiskStateMachine]


def others(cluster: TestCluster, *nodes: Node) -> list[Node]:
    return [node for node in cluster.nodes if node not in nodes]


def flip_a_bit_of_the_log(cluster: TestCluster, node_id: int) -> None:
    """In the first entry, which was synced long ago: no torn write."""
    disk = cluster.file_system(node_id)
    assert isinstance(disk, MemoryFileSystem)
    directory = cluster.config(node_id).data_dir / "groups" / "0" / "log"
    disk.flip_bit(directory / disk.list_files(directory)[0], 60, 3)


async def test_scenario_11_a_bit_flip_on_a_minority_never_elects_a_corrupt_leader() -> None:
    """A node whose log has decayed does not vote with what is left of it, and is made whole by the others.

    From: Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018): LogCabin, Kafka and
    others cut a log at the first entry they could not read, and so elected leaders without acknowledged entries.
    How: two of three have a write; one of those finds a flipped bit and cuts its log; the third, which never had the
    write, is then as up to date as it, and both elect it.
    Brings it back: in ``RaftCore._handle_vote_request``, leave out ``self.repairing``.
    """
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        decayed, behind = (node.node_id for node in others(cluster, leader))
        await cluster.kill(behind)
        await leader.propose(b"41")
        await cluster.stop(decayed)
        await cluster.kill(leader.node_id)
        flip_a_bit_of_the_log(cluster, decayed)
        await cluster.start(decayed)
        await cluster.start(behind)
        standing = core_of(cluster.node(behind))
        asked = standing.term, standing.role
        await until(lambda: (standing.term, standing.role) != asked)  # the one that is behind has tried to be elected
        with pytest.raises(TimeoutError):
            await cluster.wait_for_leader(timeout=1.0)
        node = await cluster.start(leader.node_id)
        assert (await node.propose(b"1")).result == 42
        await cluster.wait_for_convergence()
        assert {value_of(each) for each in cluster.nodes} == {42}


@both
@pytest.mark.parametrize("asked", ["leader", "follower"])
async def test_scenario_21_a_read_waits_until_its_own_node_has_applied(machine: Machine, asked: str) -> None:
    """A node that knows how far it must be, and is not yet, answers when it is, and not from what it has.

    From: thesis section 6.4, step 4, which is easily left out on the leader, where it seldom matters.
    How: the read index is confirmed by a quorum, and the read is then answered from a state that lags behind it.
    Brings it back: in ``ReadGate.confirmed``, ``self.applied(read.index)``.
    """
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        slow = leader if asked == "leader" else others(cluster, leader)[0]
        assert slow._group is not None
        with slow._group.applier.paused():
            proposing = asyncio.ensure_future(leader.propose(b"1"))
            await until(lambda: all(value_of(node) == 1 for node in others(cluster, slow)))
            reading = asyncio.ensure_future(slow.read(total, timeout=20))
            await asyncio.wait([reading], timeout=0.3)
            assert not reading.done()
        assert await reading == 1
        await proposing


@both
async def test_scenario_22_total_failover_keeps_the_state(machine: Machine) -> None:
    """Every node has led, died and come back, all of them at once in the end: nothing that was acknowledged is gone.

    From: Jepsen's analysis of Redis-Raft 1b3fbf6 (2020): total data loss on any failover.
    How: a node that starts takes its log for applied, though the state it built from it died with the process.
    Brings it back: in ``node/assembly._make_group``, ``applied=recovered.last_index``.
    """
    async with TestCluster(3, machine=machine) as cluster:
        written = 0
        for _ in range(3):
            leader = await cluster.wait_for_leader()
            for _ in range(3):
                written += 1
                assert (await leader.propose(b"1")).result == written
            await cluster.kill(leader.node_id)
            successor = await cluster.wait_for_leader()
            assert await successor.read(total) == written
            await cluster.start(leader.node_id)
            await cluster.wait_for_convergence()
        await asyncio.gather(*map(cluster.kill, (1, 2, 3)))
        await asyncio.gather(*map(cluster.start, (1, 2, 3)))
        for node in cluster.nodes:
            assert await node.read(total, timeout=10) == written


async def test_scenario_23_a_forwarded_write_applies_once() -> None:
    """A write that was forwarded to a leader, and committed before that leader died, is not forwarded once more.

    From: Jepsen's analyses of Redis-Raft and of RethinkDB: a proxy that retried what it had passed on doubled writes.
    How: the leader takes the write and commits it, but its word on it is lost with it; the follower tries the next one.
    Brings it back: in ``propose_anywhere``, try again although ``command.request_id is None``.
    """
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        follower, other = others(cluster, leader)
        cluster.network.cut(leader.node_id, follower.node_id)
        plain = asyncio.ensure_future(follower.propose(b"1"))
        named = asyncio.ensure_future(follower.propose(b"10", request_id="ten", timeout=20))
        await until(lambda: value_of(other) == 11)
        await cluster.kill(leader.node_id)
        cluster.network.heal()
        with pytest.raises(OutcomeUnknown):
            await plain
        assert (await named).result in (10, 11)  # the first answer, whichever of the two came first
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {11}


async def test_scenario_25_no_split_brain_under_partition_kill_and_pause() -> None:
    """A leader that was cut off and whose clock stood still comes back believing that it leads: nobody believes it.

    From: Jepsen's analyses of Elasticsearch and RethinkDB: two primaries at once, each with acknowledged writes.
    How: the old leader missed its own deposition; it answers reads from its state, or takes writes, in its old term.
    Brings it back: in ``LeaderReads.add``, put every read into ``_confirmable``.
    """
    async with TestCluster(3, machine=Counter) as cluster:
        old = await cluster.wait_for_leader()
        await old.propose(b"1")
        await cluster.wait_for_convergence()
        core_of(old).tick = lambda now: None  # from here on it is paused, as far as its clock is concerned
        cluster.partition_network([old.node_id])
        lost = asyncio.ensure_future(old.propose(b"1000", forward=False, timeout=20))
        new = await cluster.wait_for_leader()
        assert new is not old
        assert (await new.propose(b"10")).result == 11
        assert old.is_leader
        reading = asyncio.ensure_future(old.read(total, timeout=5))
        await cluster.kill(new.node_id)
        cluster.heal()
        try:
            assert await reading == 11
        except ReadUnavailable:
            pass  # no answer is an honest one, too
        del core_of(old).tick
        await cluster.start(new.node_id)
        with pytest.raises((NotApplied, OutcomeUnknown)):
            await lost
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"100")).result == 111
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {111}


@pytest.mark.parametrize("size", [1, 3])
async def test_scenario_28_a_crash_loses_no_write_that_was_observed(size: int) -> None:
    """Whatever any node has shown of its state is still there after all of them lost their power.

    From: Ganesan et al., "Strong and Efficient Consistency with Consistency-Aware Durability" (FAST 2020); a reader
    who saw a write must never see it gone.
    How: a write is applied, and so can be read, before it is durable on enough disks; the power goes.
    Brings it back: in ``Leadership.prepare_output``, count the own entries at once, by ``own_entries_durable``
    instead of ``send_durable``; and in ``RaftLog.take_committed``, hand out what is committed.
    """
    async with TestCluster(size, machine=Counter, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        disks = [cluster.file_system(node.node_id) for node in cluster.nodes]
        for disk in disks:
            assert isinstance(disk, GatedDisk)
            disk.hold_syncs()
        proposing = asyncio.ensure_future(leader.propose(b"1", timeout=20))
        for disk in disks:
            assert isinstance(disk, GatedDisk)
            await until(disk.holding.is_set)  # every node has the write, and none has it for good
        observed = max(value_of(node) for node in cluster.nodes)
        await cluster.crash()
        assert isinstance((await asyncio.gather(proposing, return_exceptions=True))[0], OutcomeUnknown)
        await asyncio.gather(*map(cluster.start, range(1, size + 1)))
        leader = await cluster.wait_for_leader()
        assert await leader.read(total, timeout=10) >= observed
