"""Whole clusters whose nodes dial each other by WebSockets, or some of whose do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quorate import ApplyContext, Node, StateMachine
from quorate.testing import TestCluster


class Sum(StateMachine):
    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.value += len(command)
        return self.value

    def snapshot(self) -> bytes:
        return str(self.value).encode()

    def restore(self, data: bytes) -> None:
        self.value = int(data)


def came_by_websocket(node: Node) -> dict[int, bool]:
    """Of each peer that has connected to ``node``, whether it did so by a WebSocket."""
    by_peer = node._transport._acceptor._by_peer  # type: ignore[union-attr]
    return {peer: accepted[-1]._websocket is not None for peer, accepted in by_peer.items()}


@pytest.mark.parametrize(
    "dials",
    [["websocket"] * 3, ["websocket", "tcp", "tcp"], ["websocket", "websocket", "tcp"]],
    ids=["all", "one", "two"],
)
async def test_a_cluster_outlives_its_leader(dials: Sequence[str]) -> None:
    async with TestCluster(3, machine=Sum, tcp=True, started=[]) as cluster:
        for node_id, peer_transport in enumerate(dials, start=1):
            await cluster.start(node_id, peer_transport=peer_transport)
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(bytes(1_000_000))).result == 1_000_000
        await cluster.kill(leader.node_id)
        successor = await cluster.wait_for_leader()
        assert successor.node_id != leader.node_id
        assert (await successor.propose(bytes(7))).result == 1_000_007
        await cluster.start(leader.node_id, peer_transport=dials[leader.node_id - 1])
        await cluster.wait_for_convergence()
        assert {node.machine.value for node in cluster.nodes} == {1_000_007}
        by_websocket = {node_id: each == "websocket" for node_id, each in enumerate(dials, start=1)}
        for node in cluster.nodes:
            others = {node_id: each for node_id, each in by_websocket.items() if node_id != node.node_id}
            assert came_by_websocket(node) == others


async def test_one_node_after_the_other_changes_over_without_an_interruption() -> None:
    async with TestCluster(3, machine=Sum, tcp=True) as cluster:
        for node_id in (1, 2, 3):
            await cluster.stop(node_id)
            assert (await (await cluster.wait_for_leader()).propose(b"x")).result == node_id
            await cluster.start(node_id, peer_transport="websocket")
            await cluster.wait_for_convergence()
        assert {node.machine.value for node in cluster.nodes} == {3}
        assert all(all(came_by_websocket(node).values()) for node in cluster.nodes)
