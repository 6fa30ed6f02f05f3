"""A rolling upgrade that brings a new machine: nothing is proposed to it before every member runs it."""

from __future__ import annotations

import pytest

from quorate import Node
from quorate.errors import NotRunEverywhere
from quorate.machine.contract import DiskStateMachine
from quorate.testing import TestCluster
from tests.machine.joints import Account

from .snapshot_support import EARLY, floor_of

OLD, NEW = ("account",), ("account", "other")


def total(node: Node, name: str) -> int:
    machine = node.machines[name]
    assert isinstance(machine, Account)
    return machine.total


async def test_a_rolling_upgrade_brings_a_machine_to_a_cluster_whose_log_was_cut() -> None:
    run: tuple[str, ...] = OLD

    def machines() -> dict[str, DiskStateMachine]:
        return {name: Account(name) for name in run}

    async with TestCluster(3, machines=machines, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        for amount in range(1, 101):
            await leader.propose(b"%d" % amount, machine="account")
        await cluster.wait_until(lambda: all(floor_of(node) for node in cluster.nodes))
        run = NEW
        for node_id in (1, 2, 3):
            await cluster.stop(node_id)
            node = await cluster.start(node_id)
            await cluster.wait_for_convergence()
            if node_id < 3:
                with pytest.raises(NotRunEverywhere, match=r"'other' is new in this cluster, and nodes?.*3 cannot be"):
                    await node.propose(b"5", machine="other")
                with pytest.raises(NotRunEverywhere):
                    await node.propose_together([("account", b"1000"), ("other", b"5")])
            await node.propose(b"%d" % (1000 + node_id), machine="account")
        await cluster.wait_until(lambda: not node._peers.without("other"))
        await node.propose_together([("account", b"2000"), ("other", b"5")])
        await cluster.wait_for_convergence()
        assert [(total(node, "account"), total(node, "other")) for node in cluster.nodes] == [(10_056, 5)] * 3
        assert len({node._router.digest() for node in cluster.nodes}) == 1
        await cluster.stop(1)  # from now on it is a machine as the others are
        node = cluster.nodes[0]
        await node.propose(b"6", machine="other")


async def test_while_a_member_is_away_a_new_machine_waits_for_it() -> None:
    run: tuple[str, ...] = OLD

    def machines() -> dict[str, DiskStateMachine]:
        return {name: Account(name) for name in run}

    async with TestCluster(3, machines=machines) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1", machine="account")
        await cluster.wait_for_convergence()
        run = NEW
        for node_id in (1, 2, 3):
            await cluster.stop(node_id)
        for node_id in (1, 2):
            node = await cluster.start(node_id)
        await node.propose(b"2", machine="account")
        with pytest.raises(NotRunEverywhere, match="node 3 cannot be seen to run it yet"):
            await node.propose(b"5", machine="other")
        await node.members.remove(3)
        await node.propose(b"5", machine="other")


@pytest.mark.parametrize("way", ["wiped", "added"])
async def test_a_node_that_comes_without_data_does_not_know_what_all_members_run(way: str) -> None:
    run: tuple[str, ...] = OLD

    def machines() -> dict[str, DiskStateMachine]:
        return {name: Account(name) for name in run}

    async with TestCluster(3, machines=machines) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1", machine="account")
        await cluster.wait_for_convergence()
        run = NEW
        if way == "wiped":
            await cluster.stop(1)
            cluster.wipe(1)
            node = await cluster.start(1)
        else:
            node = await cluster.join()
            await leader.members.add(node.node_id, node.config.address)
        await cluster.wait_for_convergence()
        with pytest.raises(NotRunEverywhere):
            await node.propose(b"5", machine="other")
        await node.propose(b"2", machine="account")  # of which a command was applied here
