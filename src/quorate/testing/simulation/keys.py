"""The key-value machine of a simulated node: the real one, whose checkpoints come often and take long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.replies import Reply
from quorate.kv.sweeping import sweep_for_ever
from quorate.machine.contract import ApplyContext
from quorate.machine.sqlite import SqliteState

if TYPE_CHECKING:
    from quorate.testing.simulation.host import Process

CHECKPOINTS = "key-value checkpoints"
CUT_SHORT = "key-value checkpoints cut short"
LOADED = "starts from a key-value checkpoint"
INSTALLED = "snapshots with keys installed"
SWEPT = "sweeps of keys"
EVENTS = (CHECKPOINTS, CUT_SHORT, LOADED, INSTALLED, SWEPT)
"""What must have happened in many runs: whatever goes wrong with it could not show otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysPlan:
    """How the machines of a run write their checkpoints."""

    dirty_keys: int = 5
    """So many changed keys are worth a checkpoint."""
    steps: int = 3
    """So many steps of one are done at a time, each of a segment at most: a slice by the clock would differ from run to
    run."""
    idle_slices: int = 0
    """So often nothing is done between two such times, for a process that dies should meet an unfinished one."""


class SimulatedKv(KvMachine):
    """A :class:`KvMachine` that counts what happens to it."""

    rows_per_segment = 4

    def __init__(self, plan: KeysPlan, spend: Callable[[], None]) -> None:
        """``spend`` is called for each command: applying takes time, sometimes a lot."""
        super().__init__()
        self._plan = plan
        self._spend = spend
        self._opened_before = False
        self._idle = 0
        self.is_writing = False
        """Whether a checkpoint is under way."""
        self.fired: Counter[str] = Counter()
        """How often what of :data:`EVENTS` has happened."""

    def open(self, state: SqliteState) -> None:
        super().open(state)
        if self.keyspace.revision:
            self.fired[INSTALLED if self._opened_before else LOADED] += 1
        self._opened_before = True
        self.is_writing = False

    def apply(self, command: bytes, context: ApplyContext) -> list[Reply]:
        self._spend()
        return super().apply(command, context)

    @property
    def is_checkpoint_due(self) -> bool:
        return len(self.keyspace.dirty) + len(self.keyspace.discarded) >= self._plan.dirty_keys

    def begin_checkpoint(self) -> None:
        super().begin_checkpoint()
        self.is_writing = True
        self._idle = 0

    def write_checkpoint(self, seconds: float) -> bool:
        if self._idle:
            self._idle -= 1
            return False
        self._idle = self._plan.idle_slices
        for _ in range(self._plan.steps):
            if super().write_checkpoint(-1.0):  # no time at all: one step
                self.is_writing = False
                self.fired[CHECKPOINTS] += 1
                return True
        return False


async def sweep(process: Process, machine: SimulatedKv) -> None:
    """Delete what has expired while the node leads, as the server does."""

    async def propose(request: list[bytes]) -> Any:
        applied = await process.node.propose(msgspec.msgpack.encode([request]), machine=MACHINE, patient=False)
        replies = applied.result
        assert isinstance(replies, list)
        machine.fired[SWEPT] += 1
        return replies[0]

    host = process.host
    await sweep_for_ever(lambda: machine.keyspace, lambda: process.node.is_leader, host.wall_clock_us, propose)
