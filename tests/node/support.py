"""What the node tests share: machines, disks that misbehave on command, and a look at what a node leaves behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quorate import ApplyContext, DiskStateMachine, Node, NotLeader, StateMachine
from quorate.errors import CommandFailed, ProposalDropped
from quorate.machine.outcome import Applied
from quorate.machine.sqlite import SqliteState
from quorate.storage.memory import MemoryFileSystem


class Counter(StateMachine):
    """Adds numbers up; remembers each applied command, with its index, and its time."""

    def __init__(self) -> None:
        self.value = 0
        self.applied: list[tuple[int, bytes]] = []
        self.times: list[int] = []

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.times.append(context.time_us)
        match command:
            case b"refuse":
                raise CommandFailed("refused", context.index)
            case b"disk":
                raise OSError(28, "No space left on device")
            case b"cancel":
                raise asyncio.CancelledError
        self.value += int(command)
        self.applied.append((context.index, command))
        return self.value

    def snapshot(self) -> bytes:
        return str(self.value).encode()

    def restore(self, data: bytes) -> None:
        self.value = int(data)


class DiskCounter(DiskStateMachine):
    """The same in the SQLite file; ``applied`` counts what this process applied."""

    def __init__(self) -> None:
        self.applied = 0

    def open(self, state: SqliteState) -> None:
        self.state = state
        state.connection.execute("CREATE TABLE IF NOT EXISTS counted (number INTEGER PRIMARY KEY, amount INTEGER)")

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.applied += 1
        self.state.connection.execute("INSERT INTO counted (amount) VALUES (?)", (int(command),))
        return self.value

    @property
    def value(self) -> int:
        (total,) = self.state.connection.execute("SELECT coalesce(sum(amount), 0) FROM counted").fetchone()
        return int(total)


class GatedDisk(MemoryFileSystem):
    """A disk whose syncs can be held back; a loss of power lets them go, and fail."""

    def __init__(self) -> None:
        super().__init__()
        self._open = threading.Event()
        self._open.set()
        self.holding = threading.Event()
        """Whether a sync is being held back now."""

    def hold_syncs(self) -> None:
        self._open.clear()

    def let_syncs_go(self) -> None:
        self._open.set()

    def about_to(self, operation: str, path: Path) -> None:
        if operation == "sync" and not self._open.is_set():
            self.holding.set()
            self._open.wait()
            self.holding.clear()
        super().about_to(operation, path)

    def lose_power_after(self, changes: int) -> None:
        super().lose_power_after(changes)
        self.let_syncs_go()


async def until(predicate: Callable[[], object], timeout: float = 10.0) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(timeout):
        while not predicate():  # noqa: ASYNC110 - anything may be waited for, not only what sets an event
            await asyncio.sleep(0.002)


async def certainly(node: Node, command: bytes) -> Applied:
    """Propose it until it is applied: on a machine that stalls another may come to lead at any time."""
    while True:
        try:
            return await node.propose(command)
        except (NotLeader, ProposalDropped):
            await asyncio.sleep(0.002)


def total(machine: Counter | DiskCounter) -> int:
    """What to read."""
    return machine.value


def value_of(node: Node) -> int:
    """What the node's own state says now."""
    return total(node.machine)


def core_of(node: Node) -> Any:
    assert node._group is not None
    return node._group.core


class Belongings:
    """What the process holds: tasks, threads of nodes, open files and sockets."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[int, list[str], list[str]]:
        files = []
        for number in os.listdir("/proc/self/fd"):
            try:
                files.append(os.readlink(f"/proc/self/fd/{number}"))
            except FileNotFoundError:
                pass  # the descriptor that listed the directory
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("quorate")]
        return len(asyncio.all_tasks()), sorted(threads), sorted(files)

    def assert_unchanged(self) -> None:
        assert self._now() == self._before


def crash_points(first: int, behind: int, step: int) -> range:
    """Some of the points at which something may be broken off; every one if QUORATE_EVERY_POINT is set."""
    return range(first, behind, 1 if os.environ.get("QUORATE_EVERY_POINT") else step)
