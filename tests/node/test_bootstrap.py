"""Forming a cluster: ids given or learned, nodes late, twice there, or wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from quorate import Node, RaftConfig
from quorate.node.identity import identity_of
from quorate.node.wire import WIRE_CODEC
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster
from quorate.transport.contract import LinkState, Refusal
from quorate.transport.memory import MemoryTransport
from quorate.transport.memory_network import MemoryNetwork

from .support import Counter, until, value_of


class Bare:
    """Nodes on one memory network, each with a configuration of its own."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.transports: list[MemoryTransport] = []

    def node(self, node_id: int, *members: str, cluster_id: str = "quorate") -> Node:
        config = RaftConfig(node_id=node_id, cluster_nodes=members, data_dir=Path("/data"), cluster_id=cluster_id)
        transport = MemoryTransport(self.network, identity_of(config, Random()), WIRE_CODEC)
        self.transports.append(transport)
        return Node(config, machine=Counter(), transport=transport, file_system=MemoryFileSystem())

    def errors(self) -> list[str]:
        links = [link for transport in self.transports for link in transport.links().values()]
        return [link.last_error or "" for link in links if link.state is LinkState.REFUSED]


@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
async def test_ids_are_learned_where_only_addresses_are_given(tcp: bool) -> None:
    async with TestCluster(3, machine=Counter, learn_ids=True, tcp=tcp) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await cluster.wait_for_convergence()
        for node in cluster.nodes:
            assert [peer.node_id for peer in node.status.peers] == [each for each in (1, 2, 3) if each != node.node_id]
            assert node.leader_address == leader.config.address


async def test_until_the_last_member_is_there_nobody_knows_all_ids_and_nothing_is_decided() -> None:
    async with TestCluster(3, machine=Counter, learn_ids=True, started=[1, 2]) as cluster:
        await cluster.wait_until(lambda: all(len(node.status.peers) == 1 for node in cluster.nodes))
        assert {node.status.role for node in cluster.nodes} == {"joining"}
        proposing = asyncio.ensure_future(cluster.node(1).propose(b"1"))
        await cluster.start(3)
        assert (await proposing).result == 1
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {1}


async def test_once_learned_ids_are_known_at_the_next_start() -> None:
    async with TestCluster(3, machine=Counter, learn_ids=True) as cluster:
        await (await cluster.wait_for_leader()).propose(b"1")
        await cluster.wait_for_convergence()
        for node_id in (1, 2, 3):
            await cluster.stop(node_id)
        await asyncio.gather(cluster.start(1), cluster.start(2))  # a majority is enough this time
        await (await cluster.wait_for_leader()).propose(b"1")


async def test_with_ids_given_a_majority_is_enough_and_the_last_one_catches_up() -> None:
    async with TestCluster(3, machine=Counter, started=[1, 3]) as cluster:
        assert (await (await cluster.wait_for_leader()).propose(b"1")).result == 1
        await cluster.start(2)
        await cluster.wait_for_convergence()
        assert value_of(cluster.node(2)) == 1


async def test_a_node_that_is_not_who_it_should_be_is_refused() -> None:
    bare = Bare()
    async with bare.node(1, "1@a:1", "2@b:1"), bare.node(3, "3@b:1", "1@a:1"):
        await until(bare.errors)
        assert any("b:1 should be node 2, but it says it is node 3" in error for error in bare.errors())


async def test_two_nodes_with_one_id_are_refused() -> None:
    bare = Bare()
    async with bare.node(1, "1@a:1", "b:1", "c:1") as first, bare.node(2, "2@b:1", "a:1", "c:1"):
        await until(lambda: len(first.status.peers) == 1)
        async with bare.node(2, "2@c:1", "a:1", "b:1") as twin:
            await until(lambda: any("the same id" in error or "is already reached" in error for error in bare.errors()))
            assert first.status.role == twin.status.role == "joining"


async def test_a_stranger_with_a_members_id_does_not_get_a_word_in() -> None:
    bare = Bare()
    members = ("1@a:1", "2@b:1", "3@c:1")
    async with bare.node(1, *members) as one, bare.node(2, *members) as two, bare.node(3, *members) as three:
        await until(lambda: one.leader and two.leader and three.leader)
        await until(lambda: all(peer.connected for node in (one, two, three) for peer in node.status.peers))
        term = one.status.term
        async with bare.node(3, "3@x:1", "1@a:1", "2@b:1") as stranger:
            await until(lambda: len([error for error in bare.errors() if "the same id" in error]) >= 2)
            assert stranger.leader is None
            assert (await one.propose(b"5")).result == 5
        assert one.status.term == term


async def test_nodes_of_another_cluster_stay_apart() -> None:
    bare = Bare()
    async with bare.node(1, "1@a:1", "2@b:1") as node:
        config = RaftConfig(node_id=2, cluster_nodes=("2@b:1", "1@a:1"), data_dir=Path("/data"), cluster_id="other")
        transport = MemoryTransport(bare.network, identity_of(config, Random()), WIRE_CODEC)
        async with Node(config, transport=transport, file_system=MemoryFileSystem()) as other:
            await until(bare.errors)
            assert node.leader is None
            assert other.leader is None


async def test_another_cluster_at_a_peers_address_is_told_once_and_shown_until_it_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So it is for a member that comes back when the others have been made a new cluster by force."""
    bare = Bare()
    old = bare.node(1, "1@a:1", "2@b:1")
    refusals: list[str] = []
    told = old._peers.refused

    def counted(address: str, refusal: Refusal) -> None:
        refusals.append(address)
        told(address, refusal)

    old._peers.refused = counted  # type: ignore[method-assign]
    async with old:
        async with bare.node(2, "2@b:1", cluster_id="quorate-r123456"):
            await until(lambda: len(refusals) >= 3)
            assert old.status.other_cluster_at == ("b:1",)
        lines = [record.getMessage() for record in caplog.records if "belongs to another cluster" in record.message]
        assert len(lines) == 1
        assert "the node at b:1" in lines[0]
        assert "this is cluster 'quorate-r123456', not 'quorate'" in lines[0]
        async with bare.node(2, "1@a:1", "2@b:1"):
            await until(lambda: old.leader is not None)
            assert old.status.other_cluster_at == ()
