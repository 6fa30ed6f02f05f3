"""The log is cut while the node works, and a node that was restarted goes on behind the cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from quorate import DiskStateMachine, Node, StateMachine
from quorate.node.events import LogCompacted
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, certainly, crash_points, value_of

both = pytest.mark.parametrize("machine", [Counter, DiskCounter])
Machine = Callable[[], StateMachine | DiskStateMachine]
EARLY = {"snapshot_threshold": 50, "snapshot_trailing_entries": 10}
"""Cut as soon as there are so many entries."""


def floor_of(node: Node) -> int:
    assert node._durable is not None
    return node._durable.store.floor.index


async def write(node: Node, count: int) -> None:
    """So many entries, one by one."""
    for _ in range(count):
        await certainly(node, b"1")


def size_of(log: Path) -> int:
    """The bytes of all its files; one may be deleted meanwhile."""
    total = 0
    for file in log.iterdir():
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


@both
async def test_the_log_is_cut_and_keeps_its_trailing_entries(machine: Machine) -> None:
    """A1.55: what the state holds takes the place of the entries."""
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        events = leader.events()
        await write(leader, 100)
        await cluster.wait_until(lambda: all(floor_of(node) >= 40 for node in cluster.nodes))
        async for event in events:
            if isinstance(event, LogCompacted):
                assert 40 <= event.index <= 91
                break
        await cluster.wait_for_convergence()
        for node in cluster.nodes:
            assert floor_of(node) <= node.status.applied_index - 10
            assert value_of(node) == 100


@both
async def test_a_restarted_cluster_continues_behind_the_floor(machine: Machine) -> None:
    """A2.22: a restart begins with the state, not with the first entry."""
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        for total in (100, 200, 300):
            leader = await cluster.wait_for_leader()
            await write(leader, 100)
            await cluster.wait_until(lambda total=total: all(floor_of(node) >= total - 70 for node in cluster.nodes))
            await cluster.crash()
            await asyncio.gather(*map(cluster.start, (1, 2, 3)))
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}
            assert all(floor_of(node) >= total - 70 for node in cluster.nodes)


@both
async def test_the_log_shrinks_on_disk(machine: Machine, tmp_path: Path) -> None:
    settings = {**EARLY, "segment_bytes": 4096}
    async with TestCluster(1, machine=machine, directory=tmp_path, settings=settings) as cluster:
        node = await cluster.wait_for_leader()
        log = tmp_path / "node1" / "groups" / "0" / "log"
        largest = 0
        for _ in range(30):
            await asyncio.gather(*(node.propose(b"1") for _ in range(10)))
            await write(node, 20)
            largest = max(largest, size_of(log))
            await asyncio.sleep(0.02)
        await cluster.wait_until(lambda: floor_of(node) >= node.status.applied_index - 60)
        await cluster.wait_until(lambda: size_of(log) < largest)
        await cluster.restart(1)
        node = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert value_of(node) == 900


@both
async def test_the_log_is_cut_by_its_size_without_regard_to_trailing_entries(machine: Machine) -> None:
    settings = {"snapshot_bytes": 4096, "segment_bytes": 4096}
    async with TestCluster(1, machine=machine, settings=settings) as cluster:
        node = await cluster.wait_for_leader()
        await write(node, 200)
        await cluster.wait_until(lambda: floor_of(node) > 100)


@both
async def test_the_log_is_cut_when_the_last_cut_is_long_ago(machine: Machine) -> None:
    settings = {"snapshot_interval_ms": 200, "snapshot_trailing_entries": 5}
    async with TestCluster(1, machine=machine, settings=settings) as cluster:
        node = await cluster.wait_for_leader()
        await write(node, 20)
        await cluster.wait_until(lambda: floor_of(node) == node.status.applied_index - 5)


async def test_a_node_without_machines_cuts_its_log_too() -> None:
    async with TestCluster(1, settings={"snapshot_interval_ms": 100, "snapshot_trailing_entries": 0}) as cluster:
        node = await cluster.wait_for_leader()
        await cluster.wait_until(lambda: floor_of(node) == node.status.applied_index)
        await cluster.restart(1)
        node = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()


async def test_power_loss_at_many_points_of_a_compaction() -> None:
    """Of a single node: nobody else could bring back what it lost."""
    settings = {
        "heartbeat_interval_ms": 10, "election_timeout_min_ms": 20, "election_timeout_ms": 40,
        "snapshot_threshold": 10, "snapshot_trailing_entries": 2, "segment_bytes": 4096,
    }  # fmt: skip
    async with TestCluster(1, machine=Counter, settings=settings) as cluster:
        total = 0
        for changes in crash_points(0, 60, 5):
            node = await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert value_of(node) == total
            await write(node, 30)
            total += 30
            await asyncio.sleep(0.3 if changes % 2 else 0.26)
            disk = cluster.file_system(1)
            assert isinstance(disk, MemoryFileSystem)
            disk.lose_power_after(changes)
            while node.failure is None and changes:
                try:
                    await node.propose(b"1", timeout=0.5)
                    total += 1
                except Exception:
                    break
            await cluster.crash(1)
            node = await cluster.start(1)
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert value_of(node) in (total, total + 1)
            total = value_of(node)
            assert floor_of(node) > 0 or total < 40
