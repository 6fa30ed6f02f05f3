"""The tasks of a simulated node: the real machine, and what a server does for it while the node leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from quorate.machine.contract import ApplyContext
from quorate.machine.sqlite import SqliteState
from quorate.tasks.broker import Broker
from quorate.tasks.commands import Dismiss, encode_command
from quorate.tasks.machine import TasksMachine

if TYPE_CHECKING:
    from quorate.testing.simulation.host import Process

INSTALLED = "snapshots with tasks installed"
LOST = "leases of tasks lost"
LATE = "late reports of tasks refused"
FULL = "tasks refused by a full queue"
TOLD = "tasks told of the end of another"
TURNS = "turns of schedules"
STALE_TURNS = "turns of schedules that came twice"
TOGETHER = "tasks ended together with an effect"
UNDONE = "tasks not ended since the effect was refused"
EVENTS = (INSTALLED, LOST, LATE, FULL, TOLD, TURNS, STALE_TURNS, TOGETHER, UNDONE)
"""What must have happened in many runs: whatever goes wrong with it could not show otherwise."""

HARMLESS = encode_command(Dismiss("nobody"))
"""A command that changes nothing."""

_DUE = (
    "SELECT EXISTS (SELECT 1 FROM task_news) OR EXISTS (SELECT 1 FROM task WHERE next_us <= :now) "
    "OR EXISTS (SELECT 1 FROM task_worker WHERE leaves_us <= :now) "
    "OR EXISTS (SELECT 1 FROM task_schedule WHERE next_us <= :now)"
)


class SimulatedTasks(TasksMachine):
    """A :class:`TasksMachine` that counts what happens to it."""

    def __init__(self, spend: Callable[[], None]) -> None:
        """``spend`` is called for each command: applying takes time, sometimes a lot."""
        super().__init__()
        self._spend = spend
        self._opened_before = False
        self.fired: Counter[str] = Counter()
        """How often what of :data:`EVENTS` has happened."""

    def open(self, state: SqliteState) -> None:
        super().open(state)
        if self._opened_before and self.tables.numbers.sequence:
            self.fired[INSTALLED] += 1
        self._opened_before = True

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self._spend()
        return super().apply(command, context)

    def is_anything_due(self, now_us: int) -> bool:
        """Whether there is something that time should have done by now."""
        return bool(self.tables.connection.execute(_DUE, {"now": now_us}).get)


def serve(process: Process, machine: SimulatedTasks) -> Broker:
    """What a server does for the tasks, on a node that has started."""
    node = process.node
    broker = Broker(node, machine, leads=lambda: node.is_leader, now_us=process.host.wall_clock_us)
    broker.begin()
    return broker
