"""What goes wrong inside a node, foreseen or not, stops it loudly; the others go on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from quorate import Node, OutcomeUnknown, ReadUnavailable
from quorate.errors import NodeStopped, ProtocolViolation, StorageFailed
from quorate.node.forwarding import ForwardAccepted
from quorate.node.group import GROUP
from quorate.raft.messages import Heartbeat
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .support import Belongings, Counter, core_of, total, until, value_of


async def check_failed(cluster: TestCluster, node: Node, kind: type[BaseException]) -> None:
    """It says so everywhere, holds nothing, and leaves the cluster to the others."""
    with pytest.raises(kind):
        await node.wait_stopped()
    assert node.status.role == "failed"
    assert node.status.failure
    assert not node.is_leader
    assert node.leader is None
    with pytest.raises(NodeStopped):
        await node.propose(b"1")
    with pytest.raises(ReadUnavailable):
        await node.read(total)
    await cluster.stop(node.node_id)
    if cluster.size > 1:
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"0")).index > 0
    again = await cluster.start(node.node_id)  # lock and address were given back
    await cluster.wait_for_convergence()
    assert again.failure is None


class Breaking(Counter):
    """Fails where a trap was set."""

    trap: BaseException | None = None

    def apply(self, command: bytes, context: object) -> object:
        if self.trap is not None:
            raise self.trap
        return super().apply(command, context)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OSError(28, "full"), MemoryError(), ProtocolViolation("impossible")], ids=repr)
async def test_a_machine_that_cannot_go_on_stops_its_node(error: BaseException) -> None:
    async with TestCluster(3, machine=Breaking) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        leader.machine.trap = error
        with pytest.raises(OutcomeUnknown):
            await leader.propose(b"1")
        await check_failed(cluster, leader, (StorageFailed, ProtocolViolation))  # type: ignore[arg-type]
        assert {value_of(node) for node in cluster.nodes} == {1}


async def test_even_what_is_no_exception_stops_the_node() -> None:
    """asyncio only logs a CancelledError that leaves a callback: the node would go on without ever applying again."""
    async with TestCluster(1, machine=Breaking) as cluster:
        node = await cluster.wait_for_leader()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        node.machine.trap = asyncio.CancelledError()
        with pytest.raises(OutcomeUnknown):
            await node.propose(b"1")
        await check_failed(cluster, node, asyncio.CancelledError)


@pytest.mark.parametrize("operation", ["fail_next_sync", "fail_next_write"])
async def test_a_disk_that_fails_stops_its_node(operation: str) -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        disk = cluster.file_system(leader.node_id)
        assert isinstance(disk, MemoryFileSystem)
        getattr(disk, operation)()
        outcome = await asyncio.gather(leader.propose(b"10"), return_exceptions=True)
        assert not isinstance(outcome[0], BaseException) or isinstance(outcome[0], OutcomeUnknown)
        await check_failed(cluster, leader, StorageFailed)
        assert len({value_of(node) for node in cluster.nodes}) == 1


async def test_a_follower_with_a_failed_disk_stops_and_the_write_succeeds() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_for_convergence()
        disk = cluster.file_system(follower.node_id)
        assert isinstance(disk, MemoryFileSystem)
        disk.fail_next_sync()
        assert (await leader.propose(b"1")).result == 1
        await check_failed(cluster, follower, StorageFailed)


def broken(*args: object, **kwargs: object) -> None:
    raise AttributeError("a programming error")


BREAKAGES: dict[str, Callable[[Node], None]] = {
    "core.step": lambda node: setattr(core_of(node), "step", broken),
    "core.tick": lambda node: setattr(core_of(node), "tick", broken),
    "core.ready": lambda node: setattr(core_of(node), "ready", broken),
    "core.propose": lambda node: setattr(core_of(node), "propose", broken),
    "core.persisted": lambda node: setattr(core_of(node), "persisted", broken),
    "router.begin": lambda node: setattr(node._router, "begin", broken),
    "waiting.expire": lambda node: setattr(node._group._placement._waiting, "expire", broken),  # type: ignore[union-attr]
    "reads.expire": lambda node: setattr(node._group._reads, "expire", broken),  # type: ignore[union-attr]
    "reads.ask": lambda node: setattr(node._group._reads, "ask", broken),  # type: ignore[union-attr]
    "store.persist": lambda node: setattr(node._durable.store, "persist", broken),  # type: ignore[union-attr]
    "clock": lambda node: setattr(node._group._placement, "_wall_clock_us", broken),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("where", BREAKAGES)
async def test_a_programming_error_leaves_no_zombie(where: str) -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        BREAKAGES[where](leader)
        ends = await asyncio.gather(leader.propose(b"1"), leader.read(total), return_exceptions=True)
        assert not isinstance(ends[0], BaseException) or isinstance(ends[0], NodeStopped | OutcomeUnknown)
        await check_failed(cluster, leader, AttributeError)


async def test_two_leaders_in_one_term_stop_the_node_that_sees_it() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        other = next(node for node in cluster.nodes if node is not leader)
        false = Heartbeat(term=leader.status.term, session=1, sequence=1, commit=0)
        leader._peers.received(other.node_id, GROUP, false)
        await check_failed(cluster, leader, ProtocolViolation)


async def test_what_strangers_and_late_answers_say_changes_nothing() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        other = next(node for node in cluster.nodes if node is not leader)
        term = leader.status.term
        leader._peers.received(99, GROUP, Heartbeat(term=term + 5, session=1, sequence=1, commit=0))
        leader._peers.received(other.node_id, GROUP + 1, Heartbeat(term=term + 5, session=1, sequence=1, commit=0))
        for number in range(5):
            late = ForwardAccepted(number=number, index=leader.status.last_index + 1, term=term, position=0)
            other._peers.received(leader.node_id, GROUP, late)
        assert (await other.propose(b"7")).result == 7
        assert leader.status.term == term


async def test_a_failed_node_holds_nothing() -> None:
    async with TestCluster(3, machine=Breaking) as cluster:
        belongings = Belongings()
        await cluster.restart(1)
        await cluster.wait_for_leader()
        node = cluster.node(1)
        node._failed(AttributeError("a programming error"))
        await until(lambda: node._closing is not None and node._closing.done())
        await cluster.stop(1)
        await cluster.start(1)
        belongings.assert_unchanged()
