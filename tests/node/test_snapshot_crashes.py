"""The receiver of a snapshot dies at every point of taking it in, and what is on its way is damaged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quorate import Node
from quorate.errors import StorageError
from quorate.node.snapshots.messages import SnapshotChunk, SnapshotProgress, TransferState
from quorate.storage.incoming import Incoming
from quorate.storage.manifest import Manifest
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .snapshot_support import BLOB, EARLY, CrashingDisk, Machine, both, both_heavy, write_until_cut
from .support import Counter, DiskCounter, crash_points, value_of

pytestmark = pytest.mark.usefixtures("quick")


def tamper(node: Node, change: Callable[[SnapshotChunk], SnapshotChunk]) -> list[int]:
    """Change the chunks that come in; the list says how many there were."""
    seen: list[int] = []
    original = node._peers.received

    def received(peer: int, group: int, message: Any) -> None:
        if isinstance(message, SnapshotChunk):
            seen.append(len(message.data))
            message = change(message)
        original(peer, group, message)

    node._peers.received = received  # type: ignore[method-assign]
    return seen


def states_said_to(nodes: Iterable[Node]) -> list[int]:
    """The states that receivers report to these nodes, whichever leads, from now on."""
    states: list[int] = []

    def listen(node: Node) -> None:
        original = node._peers.received

        def received(peer: int, group: int, message: Any) -> None:
            if isinstance(message, SnapshotProgress):
                states.append(message.state)
            original(peer, group, message)

        node._peers.received = received  # type: ignore[method-assign]

    for node in nodes:
        listen(node)
    return states


def decay_once(nodes: Iterable[Node]) -> None:
    """The first part that any of these nodes reads of its first copy has decayed on its disk."""
    decayed: list[int] = []

    def spoil(outgoing: Any) -> None:
        original = outgoing._copied

        def copied(*args: Any) -> Any:
            made = original(*args)
            if not decayed:
                decayed.append(made.number)
                read = made.read

                def decaying(part: int, offset: int, size: int) -> bytes:
                    return bytes(read(part, offset, size)[:-1]) + b"?"

                made.read = decaying
            return made

        outgoing._copied = copied

    for node in nodes:
        assert node._running is not None
        spoil(node._running.snapshots.sender._outgoing)


@both_heavy
async def test_a_damaged_chunk_is_found_and_the_snapshot_fetched_anew(machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2]) as cluster:
        await write_until_cut(cluster, 100, bytes(BLOB))
        said = states_said_to(cluster.nodes)
        node = await cluster.start(3)
        damaged = [True]

        def damage(chunk: SnapshotChunk) -> SnapshotChunk:
            if damaged and chunk.offset > 2 * BLOB:
                damaged.clear()
                return replace(chunk, data=bytes([chunk.data[0] ^ 1]) + chunk.data[1:])
            return chunk

        tamper(node, damage)
        await cluster.wait_for_convergence()
        assert TransferState.BROKEN in said
        assert not damaged
        assert value_of(node) == 100


@both_heavy
async def test_a_part_that_decays_on_the_leaders_disk_is_replaced_by_another_copy(
    machine: Machine, tmp_path: Path
) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2], directory=tmp_path) as cluster:
        await write_until_cut(cluster, 100, bytes(BLOB))
        said = states_said_to(cluster.nodes)
        decay_once(cluster.nodes)
        node = await cluster.start(3)
        await cluster.wait_for_convergence()
        assert TransferState.BROKEN in said
        assert value_of(node) == 100


@pytest.mark.parametrize("step", [0, 1])
async def test_power_loss_of_the_receiver_at_many_points_of_memory_machines(step: int) -> None:
    async with TestCluster(3, machine=Counter, settings=EARLY) as cluster:
        total = 0
        crashes = 0
        for changes in crash_points(step, 60, 5):
            leader = await cluster.wait_for_leader()
            victim = next(node.node_id for node in cluster.nodes if node is not leader)
            await cluster.kill(victim)
            await write_until_cut(cluster, 45)
            total += 45
            await cluster.start(victim)
            disk = cluster.file_system(victim)
            assert isinstance(disk, MemoryFileSystem)
            disk.lose_power_after(changes)
            await asyncio.sleep(0.15)
            crashes += cluster.node(victim).failure is not None
            await cluster.crash(victim)
            await cluster.start(victim)
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}
        assert crashes


@pytest.mark.parametrize(("machine", "step"), [(Counter, 0), (DiskCounter, 1)])
async def test_death_of_the_receiver_at_many_points_on_real_disks(machine: Machine, step: int, tmp_path: Path) -> None:
    async with TestCluster(3, machine=machine, settings=EARLY, directory=tmp_path, file_system=CrashingDisk) as cluster:
        total = 0
        for changes in crash_points(step, 40, 4):
            leader = await cluster.wait_for_leader()
            victim = next(node.node_id for node in cluster.nodes if node is not leader)
            await cluster.kill(victim)
            await write_until_cut(cluster, 45)
            total += 45
            await cluster.start(victim)
            disk = cluster.file_system(victim)
            assert isinstance(disk, CrashingDisk)
            disk.changes_left = changes
            await asyncio.sleep(0.15)
            await cluster.kill(victim)
            disk.changes_left = None
            await cluster.start(victim)
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}


@both
async def test_a_snapshot_that_cannot_be_stored_leaves_the_node_working(machine: Machine) -> None:
    """A full disk is no reason to stop, as long as nothing but the snapshot meets it."""
    async with TestCluster(3, machine=machine, settings=EARLY, started=[1, 2]) as cluster:
        await write_until_cut(cluster)
        said = states_said_to(cluster.nodes)
        node = await cluster.start(3)
        assert node._running is not None
        directory = node._running.snapshots.receiver._access.directory
        original = directory.begin
        attempts = 0

        def begin(manifest: Manifest) -> Incoming:
            nonlocal attempts
            attempts += 1
            if attempts < 3:
                raise StorageError("No space left on device")
            return original(manifest)

        directory.begin = begin  # type: ignore[method-assign]
        await cluster.wait_for_convergence()
        assert said.count(TransferState.REFUSED) == 2
        assert node.failure is None
        assert value_of(node) == 100
