"""The membership of a running cluster: nodes are added, promoted, removed, moved and repaired while it works."""

from __future__ import annotations

import asyncio

import pytest

from quorate import Node
from quorate.errors import ConfigError, MembershipConflict, ReadUnavailable, RemovedFromCluster
from quorate.raft.membership import MemberRole
from quorate.raft.messages import AppendEntries
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, until, value_of


def roles(node: Node) -> dict[int, str]:
    return {member.node_id: str(member.role) for member in node.members}


def has_its_say(node_id: int, node: Node) -> bool:
    return any(member.node_id == node_id and member.decides for member in node.members)


async def caught_up(node: Node, leader: Node) -> None:
    await until(lambda: node.status.applied_index == leader.status.last_index)


@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize("machine", [Counter, DiskCounter])
async def test_a_node_is_added_catches_up_and_votes(tcp: bool, machine: type[Counter]) -> None:
    async with TestCluster(3, machine=machine, tcp=tcp) as cluster:
        leader = await cluster.wait_for_leader()
        for _ in range(10):
            await leader.propose(b"1")
        fourth = await cluster.join()
        await leader.members.add(4, fourth.config.address)
        await until(lambda: roles(leader) == {1: "voter", 2: "voter", 3: "voter", 4: "voter"})
        await caught_up(fourth, leader)
        assert value_of(fourth) == 10
        assert (await fourth.propose(b"1")).result == 11
        # Four voters need three: with one of the old ones gone, the new one's vote counts.
        await cluster.kill(next(node_id for node_id in (1, 2, 3) if node_id != leader.node_id))
        assert (await leader.propose(b"1")).result == 12


async def test_a_change_can_be_asked_of_any_node() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        await follower.wait_for_leader()
        fourth = await cluster.join()
        index = await follower.members.add(4, fourth.config.address, role="learner")
        await until(lambda: all(roles(node).get(4) == "learner" for node in cluster.nodes))
        assert leader.members.index == index
        with pytest.raises(ConfigError, match="member already"):
            await follower.members.add(4, fourth.config.address)
        with pytest.raises(ConfigError, match="not a member"):
            await follower.members.remove(9)


async def test_a_change_made_for_an_older_configuration_is_refused() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        seen = leader.members.index
        await leader.members.update(1, priority=2, expected_index=seen)
        with pytest.raises(MembershipConflict, match="look at it and try again"):
            await leader.members.update(1, priority=3, expected_index=seen)
        follower = next(node for node in cluster.nodes if not node.is_leader)
        with pytest.raises(MembershipConflict, match="look at it and try again"):
            await follower.members.update(1, priority=3, expected_index=seen)


async def test_a_learner_stays_one_until_it_is_promoted() -> None:
    async with TestCluster(2, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        third = await cluster.join()
        await leader.members.add(3, third.config.address, role="learner")
        await leader.propose(b"1")
        await caught_up(third, leader)
        third = await cluster.restart(3)
        await caught_up(third, leader)
        assert roles(third)[3] == "learner"
        await leader.members.promote(3)
        await until(lambda: roles(third)[3] == "voter")
        await leader.members.demote(3)
        await until(lambda: roles(third)[3] == "learner")


@pytest.mark.parametrize("size", [2, 3])
async def test_scenario_41_removing_the_leader_elects_a_successor_first(size: int) -> None:
    """The leader is asked to remove itself: when that is done another leads already, and what was written is there.

    From: RedisLabs/redisraft #3, logcabin/logcabin #205: nobody led, or the removed one again.
    How: the leader leaves without a successor: the others wait for it, and nothing is written meanwhile.
    Brings it back: in ``Members._perform_here``, leave out ``_step_aside``.
    """
    async with TestCluster(size, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await leader.members.remove(leader.node_id)
        assert any(node.is_leader for node in cluster.nodes if node is not leader)
        await until(lambda: isinstance(leader.failure, RemovedFromCluster) or not leader.is_leader)
        others = [node for node in cluster.nodes if node is not leader]
        await until(lambda: any(node.is_leader for node in others))
        assert (await others[0].propose(b"1")).result == 2
        assert set(roles(others[0])) == {node.node_id for node in others}
        await cluster.kill(leader.node_id)


async def test_a_removed_node_that_comes_back_is_told_so() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        gone = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.stop(gone)
        await leader.members.remove(gone)
        node = await cluster.start(gone)
        await until(lambda: node.failure is not None)
        assert isinstance(node.failure, RemovedFromCluster)
        assert "no member of this cluster" in str(node.failure)
        await cluster.kill(gone)


async def test_the_last_voter_cannot_be_removed() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        with pytest.raises(ConfigError, match="at least one voter"):
            await leader.members.remove(1)
        with pytest.raises(ConfigError, match="at least one voter"):
            await leader.members.demote(1)


async def test_a_witness_votes_and_holds_no_data() -> None:
    async with TestCluster(2, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"20")
        third = await cluster.join()
        await leader.members.add(3, third.config.address, role="witness")
        await until(lambda: all(has_its_say(3, node) for node in (leader, third)))
        assert third.is_witness
        await leader.propose(b"1")
        await caught_up(third, leader)
        assert value_of(third) == 0
        with pytest.raises(ReadUnavailable, match="witness"):
            await third.read(lambda counter: counter.value, consistency="eventually")
        other = next(node for node in cluster.nodes if node.node_id not in (leader.node_id, 3))
        await cluster.kill(leader.node_id)
        await until(lambda: other.is_leader, timeout=10)
        assert (await other.propose(b"1")).result == 22
        third = await cluster.restart(3)
        assert (await other.propose(b"1")).result == 23
        assert third.is_witness


async def test_a_change_that_leaves_no_majority_is_refused() -> None:
    """Nobody could commit it, and nobody could take it back."""
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        one, other = (node.node_id for node in cluster.nodes if node is not leader)
        await until(lambda: all(peer.match_index for peer in leader.status.peers))
        await cluster.kill(one)
        assert leader._group is not None
        replication = leader._group.core.replication
        assert replication is not None
        await until(lambda: one not in replication.able())
        with pytest.raises(MembershipConflict, match=f"no majority: nodes that cannot be reached: {one}"):
            await leader.members.remove(other)
        await leader.members.remove(one)


async def test_nothing_is_done_that_makes_a_promotion_under_way_impossible() -> None:
    async with TestCluster(2, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        other = next(node.node_id for node in cluster.nodes if node is not leader)
        for node_id in (7, 8):  # they never come
            await leader.members.add(node_id, f"node{node_id}:7000", role="witness")
        with pytest.raises(ConfigError, match="must not be a majority"):
            await leader.members.demote(other)
        await leader.members.remove(7)
        await leader.members.demote(other)


async def test_a_node_that_moves_is_followed() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        mover = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.stop(mover)
        address = cluster.move(mover)
        node = await cluster.start(mover)
        await until(lambda: leader.members.configuration[mover].address == address)
        await leader.propose(b"1")
        await caught_up(node, leader)


async def test_the_leadership_goes_to_the_node_of_highest_priority() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        preferred = next(node for node in cluster.nodes if node is not leader)
        await leader.members.update(preferred.node_id, priority=9)
        await until(lambda: preferred.is_leader)
        assert (await preferred.propose(b"1")).result == 1


@pytest.mark.parametrize("machine", [Counter, DiskCounter])
async def test_a_voter_that_lost_its_disk_is_repaired_before_it_votes(machine: type[Counter]) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        lost = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.kill(lost)
        await leader.propose(b"1")
        cluster.wipe(lost)
        node = await cluster.start(lost)
        await until(lambda: leader.members.configuration[lost].store != 0)
        await caught_up(node, leader)
        await until(lambda: node._group is not None and not node._group.core.repairing)
        assert value_of(node) == 2
        third = next(each for each in cluster.nodes if each.node_id not in (lost, leader.node_id))
        await cluster.kill(third.node_id)
        assert (await leader.propose(b"1")).result == 3


async def test_the_wiped_voter_does_not_vote_while_there_is_no_leader() -> None:
    """Two of three had a write; one of them loses its disk, and the other is down: nobody may be elected."""
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        lost, behind = (node.node_id for node in cluster.nodes if node is not leader)
        await cluster.kill(behind)
        await leader.propose(b"41")
        await cluster.kill(lost)
        cluster.wipe(lost)
        await cluster.kill(leader.node_id)
        await cluster.start(behind)
        await cluster.start(lost)
        await until(lambda: cluster.node(lost)._group is not None and cluster.node(lost)._group.core.repairing)  # type: ignore[union-attr]
        await asyncio.sleep(1)
        assert cluster.leader is None
        node = await cluster.start(leader.node_id)
        assert (await node.propose(b"1")).result == 42


async def test_a_graceful_stop_hands_the_leadership_over_first() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        term = leader.status.term
        proposals = [asyncio.ensure_future(leader.propose(b"1")) for _ in range(20)]
        await asyncio.sleep(0)
        await cluster.stop(leader.node_id)
        assert [proposal.exception() for proposal in proposals] == [None] * 20
        successor = await cluster.wait_for_leader()
        assert successor.status.term == term + 1


def test_roles_have_their_names() -> None:
    assert [str(role) for role in MemberRole] == ["voter", "learner", "witness"]


async def test_a_former_witness_that_is_added_with_data_begins_anew() -> None:
    async with TestCluster(2, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        third = await cluster.join()
        await leader.members.add(3, third.config.address, role="witness")
        await leader.propose(b"5")
        await caught_up(third, leader)
        await cluster.stop(3)
        await leader.members.remove(3)
        await leader.members.add(3, third.config.address, role="learner")
        third = await cluster.start(3)
        await until(lambda: third.failure is not None)
        assert "was a witness" in str(third.failure)
        await cluster.stop(3)
        third = await cluster.start(3)
        await until(lambda: value_of(third) == 5)


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_former_holder_of_data_that_is_added_as_a_witness_goes_by_what_it_is_sent(emptied: bool) -> None:
    """It replays a log in which it is a voter. (Found by the simulator: it failed, and began anew for ever.)"""
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        third = next(node for node in cluster.nodes if node is not leader)
        await leader.propose(b"5")
        await caught_up(third, leader)
        await cluster.stop(third.node_id)
        await leader.members.remove(third.node_id)
        await leader.propose(b"6")
        if emptied:
            cluster.wipe(third.node_id)
        await leader.members.add(third.node_id, third.config.address, role="witness")
        third = await cluster.start(third.node_id)
        await until(lambda: third.is_witness and third.status.member_role is MemberRole.WITNESS)
        await caught_up(third, leader)
        with pytest.raises(ReadUnavailable, match="witness"):
            await third.read(lambda machine: machine.value, consistency="eventually")
        third = await cluster.restart(third.node_id)
        assert third.is_witness
        assert third.failure is None


async def test_a_late_word_from_its_time_as_a_voter_does_not_make_a_witness_begin_anew() -> None:
    """(Found by the simulator: the witness lost its vote, and one voter and the witness had no leader for ever.)"""
    async with TestCluster(2, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        third = await cluster.join()
        await leader.members.add(3, third.config.address, role="witness")
        await leader.propose(b"5")
        await caught_up(third, leader)
        term, last = leader.status.term, leader.status.last_index
        late = AppendEntries(term=term, session=0, previous_index=last, previous_term=term, commit=0)
        assert third._group is not None
        third._group.received(leader.node_id, late)
        await leader.propose(b"6")
        await caught_up(third, leader)
        assert third.failure is None
        assert third.is_witness


async def test_a_node_whose_identity_is_damaged_is_repaired() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        victim = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.stop(victim)
        disk = cluster.file_system(victim)
        assert isinstance(disk, MemoryFileSystem)
        disk.flip_bit(cluster.config(victim).data_dir / "identity.json", 60, 1)
        node = await cluster.start(victim)
        await until(lambda: value_of(node) == 1)
        await until(lambda: node._group is not None and not node._group.core.repairing)


async def test_a_lone_leader_that_moves_writes_its_new_address_down() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        await (await cluster.wait_for_leader()).propose(b"1")
        await cluster.stop(1)
        address = cluster.move(1)
        node = await cluster.start(1)
        await until(lambda: node.members.configuration[1].address == address)


async def test_a_leader_can_hand_over_as_soon_as_it_is_elected() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        for _ in range(3):
            successor = await leader.transfer_leadership()
            leader = cluster.node(successor)
            await until(lambda leader=leader: leader.is_leader)
