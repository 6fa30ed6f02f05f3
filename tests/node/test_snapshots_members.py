"""Snapshots for those who join: learners get the state, witnesses only where it begins."""

from __future__ import annotations

import pytest

from quorate.raft.membership import MemberRole
from quorate.testing import TestCluster

from .snapshot_support import EARLY, Machine, both, floor_of, write, write_until_cut
from .support import value_of

pytestmark = pytest.mark.usefixtures("quick")


@both
async def test_a_node_that_joins_gets_the_state_and_the_membership_by_snapshot(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await write_until_cut(cluster)
        node = await cluster.join()
        await leader.members.add(node.node_id, node.config.address)
        await cluster.wait_for_convergence()
        assert value_of(node) == 100
        assert floor_of(node) > 0
        await write_until_cut(cluster)
        await cluster.restart(node.node_id)
        await cluster.wait_for_convergence()
        restarted = cluster.node(node.node_id)
        assert value_of(restarted) == 200
        assert node.node_id in {member.node_id for member in restarted.members}


@both
async def test_a_witness_is_told_only_where_the_log_begins_and_cuts_its_own(machine: Machine) -> None:
    async with TestCluster(2, machine=machine, settings=EARLY) as cluster:
        leader = await write_until_cut(cluster)
        node = await cluster.join()
        await leader.members.add(node.node_id, node.config.address, role=MemberRole.WITNESS)
        await cluster.wait_for_convergence()
        began = floor_of(node)
        assert began > 0
        await write(leader, 100)
        await cluster.wait_until(lambda: floor_of(node) > began + 50)
        await cluster.restart(node.node_id)
        await cluster.wait_for_convergence()
        await write(await cluster.wait_for_leader(), 5)
        await cluster.wait_for_convergence()
        assert {value_of(each) for each in cluster.nodes if not each.is_witness} == {205}
