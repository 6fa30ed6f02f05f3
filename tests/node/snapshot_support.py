"""What the tests of snapshots and of cutting the log share."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quorate import ApplyContext, DiskStateMachine, Node, NotApplied, OutcomeUnknown, StateMachine
from quorate.machine.sqlite import SqliteState
from quorate.node.events import SnapshotInstalled
from quorate.node.snapshots.messages import SnapshotChunk, SnapshotOffer
from quorate.storage.filesystem import File
from quorate.storage.real import RealFileSystem
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, certainly, core_of

Machine = Callable[[], StateMachine | DiskStateMachine]
BLOB = 64 * 1024


class Blobs(StateMachine):
    """Counts commands, and carries some weight."""

    def __init__(self) -> None:
        self.value = 0
        self.weight = b""

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.value += 1
        if len(command) > 1:
            self.weight += command
        return self.value

    def snapshot(self) -> bytes:
        return self.value.to_bytes(8) + self.weight

    def restore(self, data: bytes) -> None:
        self.value, self.weight = int.from_bytes(data[:8]), data[8:]


class DiskBlobs(DiskStateMachine):
    """The same in the SQLite file."""

    def open(self, state: SqliteState) -> None:
        self.state = state
        state.connection.execute("CREATE TABLE IF NOT EXISTS blobs (number INTEGER PRIMARY KEY, weight BLOB)")

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.state.connection.execute("INSERT INTO blobs (weight) VALUES (?)", (command,))
        return self.value

    @property
    def value(self) -> int:
        return int(self.state.connection.execute("SELECT count(*) FROM blobs").get)


both = pytest.mark.parametrize("machine", [Counter, DiskCounter])
both_heavy = pytest.mark.parametrize("machine", [Blobs, DiskBlobs])
EARLY: Mapping[str, Any] = {"snapshot_threshold": 30, "snapshot_trailing_entries": 10}


def floor_of(node: Node) -> int:
    return int(core_of(node).log.floor.index)


async def write(node: Node, count: int, command: bytes = b"1") -> None:
    for _ in range(count):
        await certainly(node, command)


async def write_until_cut(cluster: TestCluster, count: int = 100, command: bytes = b"1") -> Node:
    """Write, until what was there before is in no running node's log any more; returns the leader."""
    leader = await cluster.wait_for_leader()
    last = leader.status.last_index
    await write(leader, count, command)
    await cluster.wait_until(lambda: all(floor_of(node) > last for node in cluster.nodes), what="the cut")
    return leader


@asynccontextmanager
async def writers(cluster: TestCluster, command: bytes = b"1") -> AsyncIterator[list[int]]:
    """Somebody writes all the time; what was acknowledged is counted in the first place of the list."""
    acknowledged = [0]

    async def go_on() -> None:
        while True:
            leader = cluster.leader
            try:
                if leader is not None:
                    await leader.propose(command, timeout=1.0)
                    acknowledged[0] += 1
            except (NotApplied, OutcomeUnknown):
                pass
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(go_on()) for _ in range(4)]
    try:
        yield acknowledged
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def catch_up_while_writes_go_on(cluster: TestCluster) -> tuple[int, int]:
    """Have a follower lag behind the log, and get a snapshot meanwhile; returns its id, and how much is there at least.

    Each write counts as one.
    """
    leader = await cluster.wait_for_leader()
    await write(leader, 5)
    follower = next(node.node_id for node in cluster.nodes if node is not leader)
    await cluster.kill(follower)
    await write_until_cut(cluster)
    async with writers(cluster) as acknowledged:
        node = await cluster.start(follower)
        await asyncio.wait_for(installed(node), 10)
        await cluster.wait_until(lambda: acknowledged[0] > 200)
    await cluster.wait_for_convergence()
    return follower, 105 + acknowledged[0]


async def installed(node: Node) -> int:
    async for event in node.events():
        if isinstance(event, SnapshotInstalled):
            return event.index
    raise AssertionError("the node stopped")


class Watched:
    """Lets a test see, and lose, what a node receives."""

    def __init__(self, node: Node) -> None:
        self.chunks: list[SnapshotChunk] = []
        self.offers: list[SnapshotOffer] = []
        self.open = True
        self.bytes_max: int | None = None
        peers = node._peers
        original = peers.received

        def received(peer: int, group: int, message: Any) -> None:
            if isinstance(message, SnapshotOffer):
                self.offers.append(message)
            if isinstance(message, SnapshotChunk):
                if not self.open or (self.bytes_max is not None and self.bytes >= self.bytes_max):
                    return
                self.chunks.append(message)
            original(peer, group, message)

        peers.received = received  # type: ignore[method-assign]

    @property
    def bytes(self) -> int:
        return sum(len(chunk.data) for chunk in self.chunks)


class CrashingDisk(RealFileSystem):
    """A real disk on which everything fails from some change on, as it would for a process that is gone."""

    def __init__(self) -> None:
        self.changes_left: int | None = None
        self.changes = 0

    def about_to_change(self) -> None:
        self.changes += 1
        if self.changes_left is not None:
            if not self.changes_left:
                raise OSError(errno.EIO, "the power is lost")
            self.changes_left -= 1

    def open(self, path: Path, *, create: bool = False) -> File:
        return CrashingFile(self, super().open(path, create=create))

    def rename(self, source: Path, target: Path) -> None:
        self.about_to_change()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self.about_to_change()
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self.about_to_change()
        super().sync_directory(path)


class CrashingFile:
    """A file on a :class:`CrashingDisk`."""

    def __init__(self, disk: CrashingDisk, file: File) -> None:
        self._disk, self._file = disk, file

    @property
    def size(self) -> int:
        return self._file.size

    def read_at(self, offset: int, size: int) -> bytes:
        return self._file.read_at(offset, size)

    def write_at(self, offset: int, data: bytes) -> None:
        self._disk.about_to_change()
        self._file.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self._disk.about_to_change()
        self._file.truncate(size)

    def allocate(self, size: int) -> None:
        self._disk.about_to_change()
        self._file.allocate(size)

    def sync(self) -> None:
        self._disk.about_to_change()
        self._file.sync()

    def close(self) -> None:
        self._file.close()
