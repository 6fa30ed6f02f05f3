"""Those who lack what was cut off the log are brought a snapshot, while the cluster works."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quorate import OutcomeUnknown
from quorate.node.proposals import Proposal
from quorate.testing import TestCluster

from .snapshot_support import (
    BLOB,
    EARLY,
    Machine,
    Watched,
    both,
    both_heavy,
    catch_up_while_writes_go_on,
    floor_of,
    write,
    write_until_cut,
)
from .support import Counter, DiskCounter, core_of, value_of


def transport_arguments(kind: str, tmp_path: Path) -> dict[str, Any]:
    return {
        "memory": {},
        "real disk": {"directory": tmp_path},
        "tcp": {"tcp": True},
        "tcp and real disk": {"tcp": True, "directory": tmp_path},
    }[kind]


@both
@pytest.mark.parametrize("kind", ["memory", "real disk", "tcp", "tcp and real disk"])
async def test_a_lagging_follower_catches_up_while_writes_go_on(machine: Machine, kind: str, tmp_path: Path) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, **transport_arguments(kind, tmp_path)) as cluster:
        follower, least = await catch_up_while_writes_go_on(cluster)
        values = {value_of(node) for node in cluster.nodes}
        assert len(values) == 1
        assert values.pop() >= least
        await cluster.restart(follower)
        await cluster.wait_for_convergence()
        assert len({value_of(node) for node in cluster.nodes}) == 1


@both
async def test_a_new_empty_node_gets_everything_by_snapshot(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2]) as cluster:
        await write_until_cut(cluster)
        node = await cluster.start(3)
        await cluster.wait_for_convergence()
        assert value_of(node) == 100
        assert floor_of(node) > 0
        await cluster.crash(3)
        node = await cluster.start(3)
        await cluster.wait_for_convergence()
        assert value_of(node) == 100


@both_heavy
async def test_two_empty_nodes_share_one_snapshot(machine: Machine) -> None:
    async with TestCluster(5, machine=machine, settings=EARLY, started=[1, 2, 3]) as cluster:
        leader = await write_until_cut(cluster, 100, bytes(BLOB))
        assert leader._running is not None
        await asyncio.gather(cluster.start(4), cluster.start(5))
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {100}


@both_heavy
@pytest.mark.parametrize("tcp", [False, True])
async def test_lost_pieces_are_sent_again(machine: Machine, tcp: bool) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2], tcp=tcp, seed=1) as cluster:
        leader = await write_until_cut(cluster, 120, bytes(BLOB))
        faults = cluster._members[leader.node_id].faults
        faults.drop(3, 0.1)
        cluster.network.drop_probability = 0.0 if tcp else 0.1
        node = await cluster.start(3)
        await cluster.wait_until(lambda: node.status.applied_index >= 120, 30)
        cluster.network.drop_probability = 0.0
        faults.heal()
        await cluster.wait_for_convergence()
        assert value_of(node) == 120


@both_heavy
async def test_a_cut_connection_is_resumed_where_it_stopped(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2]) as cluster:
        await write_until_cut(cluster, 150, bytes(BLOB))
        node = await cluster.start(3)
        watched = Watched(node)
        watched.bytes_max = 4 * 1024 * 1024
        await cluster.wait_until(lambda: watched.bytes >= 4 * 1024 * 1024)
        cluster.partition_network([3])
        await asyncio.sleep(0.5)
        watched.bytes_max = None
        cluster.heal()
        await cluster.wait_for_convergence()
        assert value_of(node) == 150
        size = 150 * BLOB
        assert watched.bytes < size * 1.2, "much was sent twice"


@both_heavy
async def test_a_receiver_that_is_killed_goes_on_where_it_stopped(machine: Machine, tmp_path: Path) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2], directory=tmp_path) as cluster:
        await write_until_cut(cluster, 150, bytes(BLOB))
        node = await cluster.start(3)
        watched = Watched(node)
        watched.bytes_max = 6 * 1024 * 1024
        await cluster.wait_until(lambda: watched.bytes >= 6 * 1024 * 1024)
        await asyncio.sleep(0.1)
        await cluster.kill(3)
        node = await cluster.start(3)
        again = Watched(node)
        await cluster.wait_for_convergence()
        assert value_of(node) == 150
        assert again.bytes < 150 * BLOB - 4 * 1024 * 1024, "it began anew"


@both_heavy
async def test_another_leader_takes_over_in_the_middle_of_a_transfer(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.kill(follower)
        await write_until_cut(cluster, 150, bytes(BLOB))
        node = await cluster.start(follower)
        watched = Watched(node)
        watched.bytes_max = 4 * 1024 * 1024
        await cluster.wait_until(lambda: watched.bytes >= 4 * 1024 * 1024)
        await leader.transfer_leadership()
        watched.bytes_max = None
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {150}
        assert len({offer.term for offer in watched.offers}) >= 2


@both_heavy
async def test_the_leader_dies_in_the_middle_of_a_transfer(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.kill(follower)
        await write_until_cut(cluster, 150, bytes(BLOB))
        node = await cluster.start(follower)
        watched = Watched(node)
        watched.bytes_max = 4 * 1024 * 1024
        await cluster.wait_until(lambda: watched.bytes >= 4 * 1024 * 1024)
        # Only the other one can lead: the one that gets the snapshot lacks what was committed.
        await cluster.kill(leader.node_id)
        watched.bytes_max = None
        await cluster.wait_until(lambda: node.status.applied_index >= 150)
        assert await node.read(lambda _: value_of(node)) == 150
        await cluster.start(leader.node_id)
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {150}


async def test_requests_are_remembered_across_a_snapshot() -> None:
    for machine in (Counter, DiskCounter):
        async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2]) as cluster:
            leader = await cluster.wait_for_leader()
            first = await leader.propose(b"5", request_id="once")
            await write_until_cut(cluster)
            node = await cluster.start(3)
            await cluster.wait_for_convergence()
            for _ in range(2):
                again = await node.propose(b"5", request_id="once")
                assert again.result == first.result
                await node.transfer_leadership(3)
            assert value_of(node) == 105


@both
async def test_what_waits_for_a_skipped_entry_ends_as_unknown(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_for_convergence()
        group = follower._group
        assert group is not None
        cluster.partition_network([follower.node_id])
        await write(leader, 100)
        await cluster.wait_until(lambda: floor_of(leader) > 60)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        group._placement._waiting.add(
            20, core_of(leader).term, 0, [Proposal(future, asyncio.get_running_loop().time() + 60)]
        )
        cluster.heal()
        with pytest.raises(OutcomeUnknown, match="snapshot"):
            await asyncio.wait_for(future, 10)
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {100}
