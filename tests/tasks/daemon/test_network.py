"""Partitions, failovers and hiccups: what is told of them on which side."""

from __future__ import annotations

import asyncio

import pytest

from quorate.tasks.daemon import (
    HealthChanged,
    LeaderElected,
    LeaderLost,
    NodeHealth,
    NodeJoined,
    NodeLeft,
    OperationState,
    PartitionDetected,
    PartitionRecovered,
    PartitionState,
    ReadOnlyCluster,
)
from tests.tasks.daemon.support import Cluster, Member, operation


def told(member: Member) -> set[tuple[int, bool]]:
    """What a member was told to be lost: the nodes, and whether that is itself."""
    return {(event.node_id, event.is_cut_off) for event in member.events(PartitionDetected)}


def recovered(member: Member) -> set[tuple[int, bool]]:
    return {(event.node_id, event.was_cut_off) for event in member.events(PartitionRecovered)}


async def test_d30_d31_the_leader_is_lost_and_another_is_elected() -> None:
    async with Cluster() as cluster:
        old = (await cluster.leader()).node
        await cluster.until(lambda: all(member.events(LeaderElected) for member in cluster.members.values()))
        await cluster.kill(old.node_id)
        new = (await cluster.leader()).node
        for member in cluster.members.values():
            await cluster.until(lambda member=member: member.events(LeaderElected)[-1].leader_id == new.node_id)  # type: ignore[misc]
            lost = member.events(LeaderLost)[-1]
            assert lost.leader_id == old.node_id
            assert member.events(LeaderElected)[-1].term > lost.term


@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
async def test_d32_d38_both_sides_of_a_partition_know_which_they_are(tcp: bool) -> None:
    """Over TCP what is sent vanishes, and connections stay: then only the leader can say who is lost."""
    async with Cluster(5, tcp=tcp) as cluster:
        leader = await cluster.leader()
        await cluster.all_enlisted()
        cut_off = leader.node.node_id
        other = next(node_id for node_id in cluster.members if node_id != cut_off)
        minority, majority = cluster.net.partition_network([cut_off, other])
        few = [cluster.members[node_id] for node_id in minority.node_ids]
        many = [cluster.members[node_id] for node_id in majority.node_ids]

        await cluster.until(lambda: all(each.consensus.partition_state is PartitionState.MINORITY for each in few))
        assert all(each.consensus.get_consensus_state().is_read_only for each in few)
        await cluster.until(lambda: all(told(each) == {(each.node.node_id, True)} for each in few))

        lost = {(cut_off, False), (other, False)}
        await cluster.until(lambda: any(told(each) == lost for each in many))
        new = next(each for each in many if told(each) == lost)
        assert new.consensus.partition_state is PartitionState.PARTITIONED
        state = new.consensus.get_consensus_state()
        assert (state.lost_nodes, state.healthy_nodes, state.total_nodes) == (tuple(sorted((cut_off, other))), 3, 5)
        assert state.quorum_available
        assert {event.node_id for event in new.events(NodeLeft)} == {cut_off, other}
        assert all(told(each) <= lost for each in many)
        if not tcp:
            await cluster.until(lambda: all(told(each) == lost for each in many))
        done = await new.consensus.replicate_operation(operation(id="meanwhile"))
        assert done.committed

        cluster.net.heal()
        everyone = list(cluster.members.values())
        await cluster.until(
            lambda: all(each.consensus.partition_state is PartitionState.HEALTHY for each in everyone),
            what="recovery",
        )
        await cluster.until(lambda: all(recovered(each) == {(each.node.node_id, True)} for each in few))
        await cluster.until(lambda: recovered(new) == lost)
        assert {event.node_id for event in new.events(NodeJoined) if event.is_back} == {cut_off, other}
        leaders = {event.new_leader for each in few for event in each.events(PartitionRecovered) if event.was_cut_off}
        assert leaders <= set(cluster.members)
        for each in few:  # D40: it has caught up
            await cluster.result("meanwhile", each)
        assert cluster.done["meanwhile"] == 1


async def test_a_minority_speaks_of_itself_also_where_the_bound_is_too_short() -> None:
    """Its leader has not noticed yet, when the bound is over already, that it has no quorum."""
    async with Cluster(5, settings={"partition_detection_ms": 250}) as cluster:
        leader = await cluster.leader()
        await cluster.all_enlisted()
        other = next(node_id for node_id in cluster.members if node_id != leader.node.node_id)
        assert any("taken for a partition" in warning for warning in leader.consensus.get_consensus_state().warnings)
        minority, _ = cluster.net.partition_network([leader.node.node_id, other])
        few = [cluster.members[node_id] for node_id in minority.node_ids]
        await cluster.until(lambda: all(told(each) == {(each.node.node_id, True)} for each in few))


async def test_the_leader_knows_who_answers_and_not_only_who_is_connected() -> None:
    async with Cluster(tcp=True) as cluster:
        leader, follower = await cluster.leader(), await cluster.follower()

        def heard(member: Member) -> list[bool | None]:
            membership = member.node.status.membership
            return [] if membership is None else [each.heard for each in membership.members]

        await cluster.until(lambda: sorted(map(str, heard(leader))) == ["None", "True", "True"])
        assert heard(follower) == [None, None, None]
        cluster.net.partition_network([follower.node.node_id])
        await cluster.until(lambda: False in heard(leader))
        assert leader.cluster.nodes[follower.node.node_id].connected, "for some seconds more"


async def test_d41_without_a_quorum_a_node_is_read_only() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        first = operation()
        await leader.consensus.replicate_operation(first)
        await cluster.result(first.id)
        await cluster.net.wait_for_convergence()
        for node_id in [node_id for node_id in cluster.members if node_id != leader.node.node_id]:
            await cluster.kill(node_id)
        await cluster.until(lambda: leader.consensus.get_consensus_state().is_read_only)
        state = leader.consensus.get_consensus_state()
        assert (state.quorum_available, state.leader_id, state.healthy_nodes) == (False, None, 1)
        late = operation()
        with pytest.raises(ReadOnlyCluster, match="cut off"):
            await leader.consensus.replicate_operation(late)
        assert await leader.consensus.operation_state(late.id) is OperationState.FAILED
        assert (await leader.node.tasks.task(first.id, consistency="eventually")).status == "succeeded"
        restarted = next(node_id for node_id in (1, 2, 3) if node_id not in cluster.members)
        await cluster.restart(restarted)
        await cluster.until(lambda: leader.consensus.get_consensus_state().quorum_available)
        assert (await leader.consensus.replicate_operation(late)).committed
        await cluster.result(late.id)
        assert cluster.done == {first.id: 1, late.id: 1}


async def test_a_healthy_cluster_is_quiet_idle_and_busy_and_through_changes_of_the_leader() -> None:
    async with Cluster(settings={"partition_detection_ms": 2_000}) as cluster:
        leader = await cluster.leader()
        await cluster.all_enlisted()
        everyone = list(cluster.members.values())
        await cluster.until(lambda: all(each.consensus.partition_state is PartitionState.HEALTHY for each in everyone))
        await asyncio.sleep(2.2)  # idle: longer than the bound
        for _ in range(3):
            await asyncio.gather(
                *(member.consensus.replicate_operation(operation()) for member in everyone for _ in range(50))
            )
            await leader.node.members.transfer()
            leader = await cluster.leader()
        for _ in range(3):  # a leader that is out of reach for less than the bound, and is succeeded
            cut_off = (await cluster.leader()).node.node_id
            cluster.net.partition_network([cut_off])
            await cluster.net.wait_for_leader()
            cluster.net.heal()
            await cluster.until(
                lambda: all(each.consensus.partition_state is PartitionState.HEALTHY for each in everyone)
            )
        assert [event for each in everyone for event in each.events(PartitionDetected)] == []
        assert [event for each in everyone for event in each.events(NodeLeft)] == []
        assert len(leader.events(LeaderElected)) >= 4, "there were changes"


async def test_d20_health_is_told_when_it_changes() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.until(lambda: len(leader.cluster.healthy_nodes()) == 3)
        gone = (await cluster.follower()).node.node_id
        await asyncio.sleep(0.1)  # the manager has looked at it once
        await cluster.kill(gone)
        await cluster.until(lambda: leader.cluster.nodes[gone].health is NodeHealth.UNHEALTHY)
        assert leader.cluster.nodes[gone].reasons
        await cluster.until(lambda: [event.node_id for event in leader.events(HealthChanged)] == [gone])
        await cluster.restart(gone)
        await cluster.until(lambda: leader.events(HealthChanged)[-1].health is NodeHealth.HEALTHY)
