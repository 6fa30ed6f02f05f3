"""What is due is done by entries of the log, which the leader proposes: at the same place on every node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from quorate.errors import QuorateError
from quorate.node.ports import Engine
from quorate.tasks.commands import Command, Slot, Tick, encode_command
from quorate.tasks.cron import next_slot_us
from quorate.tasks.declared_schedules import differences
from quorate.tasks.errors import InvalidTask, TaskRefusal
from quorate.tasks.limits import LATER_US_MAX, TICK_TASKS_MAX
from quorate.tasks.machine import MACHINE, TasksMachine
from quorate.tasks.submission import Kind

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""How often is looked whether something is due, and so about how late it may come."""
AGAIN_SECONDS = 1.0
"""Behind what was not foreseen, the next look."""
SLOTS_MAX = 100


class Clockwork:
    """Proposes a :class:`Tick` whenever this node leads and something is due.

    Whenever it has become the leader, it first brings the schedules in line with what is declared.
    """

    def __init__(
        self,
        engine: Engine,
        machine: TasksMachine,
        leads: Callable[[], bool],
        now_us: Callable[[], int],
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        self._engine = engine
        self._machine = machine
        self._leads = leads
        self._now_us = now_us
        self._kinds = kinds or {}

    async def run(self) -> None:
        """For ever."""
        in_line = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._leads():
                in_line = False
                continue
            try:
                if not in_line:
                    await self._bring_in_line()
                    in_line = True
                while self._leads() and (tick := self.due()) is not None:
                    await self._propose(tick)
            except QuorateError as error:
                log.debug("what is due has to wait: %s", error)
            except Exception:  # without a clock no lease would ever end
                log.exception("what is due cannot be done now")
                await asyncio.sleep(AGAIN_SECONDS)

    async def _bring_in_line(self) -> None:
        if self._kinds:
            await self._engine.read_barrier(consistency="strong")
            for command in differences(self._kinds, self._machine.schedules, self._now_us()):
                try:
                    await self._propose(command)
                except TaskRefusal as refusal:  # of that schedule alone: leases end and tasks come due all the same
                    log.error("the schedule %s cannot be had as it is declared: %s", command.name, refusal)

    async def _propose(self, command: Command) -> None:
        await self._engine.propose(encode_command(command), machine=MACHINE)

    def due(self) -> Tick | None:
        """What to propose now, if anything."""
        if not self._machine.is_open:
            return None
        now_us = self._now_us()
        slots = self._slots(now_us)
        next_us = self._machine.upkeep.next_us
        if not slots and (next_us is None or next_us > now_us):
            return None
        return Tick(TICK_TASKS_MAX, slots)

    def _slots(self, now_us: int) -> list[Slot]:
        """The schedules whose turn has come. Of turns that nobody was there for, only the first is made up for."""
        slots = []
        for schedule in self._machine.schedules.due_by(now_us, SLOTS_MAX):
            try:
                next_us = next_slot_us(schedule.cron, schedule.timezone, max(now_us, schedule.next_us))
            except InvalidTask as error:  # it was possible when it was made: it has no turn any more
                log.warning("the schedule %s has no further turns: %s", schedule.name, error)
                next_us = now_us + LATER_US_MAX
            slots.append(Slot(schedule.name, schedule.next_us, next_us))
        return slots
