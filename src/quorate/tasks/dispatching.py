"""Hands ready tasks to the workers that ask this node for some.

Whoever finds nothing waits here, at no cost for the cluster: only where this node's state shows something that a worker
could do, the claims of all who could do it go into the log, together. What several nodes offer at the same time, the
log gives to one of them; the others go on waiting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import apsw

from quorate.errors import NotApplied, OutcomeUnknown, QuorateError
from quorate.node.ports import Engine
from quorate.tasks.commands import Claim, Claims, Released, Report, encode_command
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import MACHINE, TasksMachine
from quorate.tasks.reading import Reading
from quorate.tasks.records import LeasedTask
from quorate.tasks.store.claiming import Fitting, Lease

CLAIMS_MAX = 64
"""Claims in one command."""
LEASES_MAX = 1000
"""Leases that one command gives, about; that of the last claim may be more."""
LOOK_SECONDS_MIN = 0.05
"""Who does not want to wait waits so long all the same, or it would hardly ever get anything."""
AGAIN_SECONDS = 0.1
"""Who got nothing although there seemed to be something asks again after this time at the earliest."""


@dataclass(slots=True, eq=False)
class _Waiting:
    claim: Claim
    is_late: bool = False
    """Whether nobody waits any longer than until what is on its way has come."""
    future: asyncio.Future[list[LeasedTask]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Dispatching:
    """All claims that wait at one node."""

    def __init__(self, engine: Engine, machine: TasksMachine) -> None:
        self._engine = engine
        self._machine = machine
        self._reading = Reading(machine)
        self._waiting: dict[_Waiting, None] = {}
        self._sending: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()
        machine.feed.on_ready = self._look

    async def claim(self, claim: Claim, seconds: float) -> list[LeasedTask]:
        """Leases on up to ``limit`` tasks; none if there was nothing to do for so long.

        Raises what proposing raises. Where the outcome is unknown, leases may have been given: they end by themselves.
        """
        waiting = _Waiting(claim)
        self._waiting[waiting] = None
        self._look()
        try:
            await asyncio.wait([waiting.future], timeout=max(seconds, LOOK_SECONDS_MIN))
            if not self._is_on_its_way(waiting):
                return waiting.future.result() if waiting.future.done() else []
            waiting.is_late = True
            return await asyncio.shield(waiting.future)  # what it brings must not be lost
        except asyncio.CancelledError:
            if waiting not in self._waiting:
                waiting.is_late = True
                waiting.future.add_done_callback(self._give_back)
            raise
        finally:
            self._waiting.pop(waiting, None)

    def _is_on_its_way(self, waiting: _Waiting) -> bool:
        return waiting not in self._waiting and not waiting.future.done()

    def _give_back(self, future: asyncio.Future[list[LeasedTask]]) -> None:
        """Nobody is there any more who could do what was claimed."""
        leases = [] if future.cancelled() or future.exception() is not None else future.result()
        if leases:
            report = Report(released=[Released(lease.task_id, lease.token) for lease in leases])
            self._returning.add(task := asyncio.get_running_loop().create_task(self._return(report)))
            task.add_done_callback(self._returning.discard)

    async def _return(self, report: Report) -> None:
        with suppress(QuorateError):  # then the leases end by themselves
            await self._engine.propose(encode_command(report), machine=MACHINE)

    def end(self) -> None:
        """The node stops: nobody gets anything any more."""
        self._machine.feed.on_ready = None
        if self._again is not None:
            self._again.cancel()
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_result([])
        self._waiting.clear()

    # -- sending -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Something may have become ready, or somebody may have come."""
        if self._waiting and self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                if not await self._send(batch):
                    break
        finally:
            self._sending = None

    def _next_batch(self) -> list[_Waiting]:
        """Who could be given something, as far as this node knows. In the order of their coming."""
        if not self._machine.is_open:
            return []
        ready = [lane for lane in self._machine.tables.lanes.values() if lane.counts[State.READY]]
        left = {lane.number: lane.counts[State.READY] for lane in ready}
        fitting = Fitting(ready)
        batch: list[_Waiting] = []
        room = LEASES_MAX
        for waiting in self._waiting:
            wanted = min(waiting.claim.limit, room)
            for lane in fitting.of(waiting.claim):
                taken = min(wanted, left[lane.number])
                left[lane.number] -= taken
                wanted -= taken
                if not wanted:
                    break
            given = min(waiting.claim.limit, room) - wanted
            if given:
                batch.append(waiting)
                room -= given
            if len(batch) >= CLAIMS_MAX or not room:
                break
        return batch

    async def _send(self, batch: list[_Waiting]) -> bool:
        """Propose their claims. Returns whether to look for more at once."""
        for waiting in batch:
            del self._waiting[waiting]
        command = encode_command(Claims([waiting.claim for waiting in batch]))
        try:
            applied = await self._engine.propose(command, machine=MACHINE)
        except QuorateError as error:
            for waiting in batch:
                _fail(waiting, error)
            self._look_again()  # for the others, who came meanwhile
            return not isinstance(error, NotApplied | OutcomeUnknown)
        got_some = False
        results = cast("list[list[Lease]]", applied.result)
        for waiting, leases in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if leases:
                got_some = True
                self._hand_over(waiting, leases)
            elif waiting.is_late:
                waiting.future.set_result([])
            else:
                self._waiting[waiting] = None
        if not got_some:
            self._look_again()
        return got_some

    def _hand_over(self, waiting: _Waiting, leases: list[Lease]) -> None:
        try:
            waiting.future.set_result(self._reading.leased(leases))
        except apsw.Error as error:  # the state is being replaced: the leases are given, and will end by themselves
            _fail(waiting, OutcomeUnknown(f"the node cannot read what was leased: {error}"))

    def _look_again(self) -> None:
        """What seemed to be there was not, or was another's: lest that be asked for in a circle, a bit later."""
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._look)


def _fail(waiting: _Waiting, error: QuorateError) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
