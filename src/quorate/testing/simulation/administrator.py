"""Who changes the membership: asks some node, waits, may never learn what became of it, and goes on all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from traceback import format_exception
from typing import Any

from quorate.errors import ConfigError, NotApplied, OutcomeUnknown
from quorate.node.operations import Add, AnyOperation, Demote, Promote, Remove, Transfer, Update
from quorate.raft.entry import EntryKind
from quorate.raft.membership import Configuration, MemberRole
from quorate.testing.simulation.clients import Door, NoAnswer, Unreachable
from quorate.testing.simulation.host import Host
from quorate.testing.simulation.knowledge import Knowledge, Violation
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.trace import WORLD, Trace

REFUSED = 0
"""The answer of an operation that certainly had no effect."""
UNKNOWN = -1
"""... and of one that may have had, or may still have."""
GRACE = 3
"""What ended without an answer may come about for so many times its time-out."""


class Administrator:
    """Asks nodes to change the membership. What it was told must be true."""

    def __init__(
        self,
        door: Door,
        hosts: Mapping[int, Host],
        known: Knowledge,
        rng: Random,
        trace: Trace,
        scheduler: Scheduler,
        *,
        seconds: float,
    ) -> None:
        """``seconds`` is how long a change may take."""
        self.hosts = hosts
        self.known = known
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.busy = 0
        """Changes that may still come about without anybody asking again."""
        self.shrinking = 0
        """Those of them that take a vote away."""
        self.calm = False
        """Whether nothing more is to be begun."""
        self._door = door
        self._trace = trace
        self._scheduler = scheduler
        self._seconds = seconds

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something in the background."""
        self._scheduler.world.create_task(self._to_its_end(work))

    async def _to_its_end(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Violation as violation:
            self._scheduler.abort(violation)
        except Exception as error:
            self._scheduler.abort(Violation("errors are those documented", "".join(format_exception(error))))

    # -- what may be asked -------------------------------------------------------------------------------

    @property
    def may_shrink(self) -> bool:
        """Whether it is wise to take a vote away: not while another voter is in repair, or another change pending."""
        harmed = {each.node_id for each in self.known.evidence.values() if each.harmed}
        return not self.busy and not any(harmed & each.quorum_ids for each in map(_Votes, self.known.possible))

    def strangers(self) -> list[Host]:
        """The machines that no log names."""
        return [host for host in self.hosts.values() if not self.known.may_be_member(host.node_id)]

    async def poll(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; returns whether it came about."""
        for _ in range(20):
            if condition():
                return True
            await asyncio.sleep(seconds / 20)
        return condition()

    # -- asking ------------------------------------------------------------------------------------------

    async def ask(self, operation: AnyOperation, *, expected_index: int | None = None) -> int:
        """Have an operation done: its result, :data:`REFUSED` or :data:`UNKNOWN`."""
        if self.calm:
            return REFUSED
        shrinks = isinstance(operation, Remove | Demote)
        self.busy += 1
        self.shrinking += shrinks
        began = len(self.known.configurations)
        name = type(operation).__name__.lower()
        try:
            result = await self._call(operation, expected_index)
            ended = "ok"
        except (NotApplied, Unreachable, ConfigError) as error:
            result, ended = REFUSED, f"refused: {error}"
        except (OutcomeUnknown, NoAnswer) as error:
            result, ended = UNKNOWN, f"unknown: {error}"
        self._trace.event(WORLD, f"administrator: {operation} {ended}")
        self.counts[f"{name}: {ended.partition(':')[0].replace('refused', 'not applied')}"] += 1
        if result == UNKNOWN:
            self._scheduler.after(GRACE * self._seconds, self._scheduler.world, self._forget, shrinks)
        else:
            self._forget(shrinks)
        if result > 0 and not isinstance(operation, Transfer):
            self._check(operation, result, expected_index, began)
        return result

    def _forget(self, shrinks: bool) -> None:
        self.busy -= 1
        self.shrinking -= shrinks

    async def _call(self, operation: AnyOperation, expected_index: int | None) -> int:
        running = [host.node_id for host in self.hosts.values() if host.is_up and host.in_use]
        if not running:
            raise Unreachable("no node runs")
        seconds = self._seconds
        return await self._door.call(
            self.rng.choice(running),
            lambda process: process.node.members.perform(operation, expected_index, seconds),
            seconds * 1.5,
        )

    # -- the judgement -----------------------------------------------------------------------------------

    def _check(self, operation: AnyOperation, index: int, expected_index: int | None, began: int) -> None:
        known = self.known
        configuration = next((each for at, each in known.configurations[began:] if at == index), None)
        if configuration is None:
            entry = known.committed[index - 1] if index <= len(known.committed) else None
            if entry is None or entry.kind is not EntryKind.MEMBERSHIP:
                raise Violation("what an administrator is told is true", f"{operation} is entry {index}: {entry}")
            raise Violation("what an administrator is told is true", f"{operation} was done before it was asked for")
        if not _has_effect(operation, configuration):
            raise Violation("what an administrator is told is true", f"{operation} is not in {configuration}")
        between = [at for at, _ in known.configurations if expected_index is not None and expected_index < at < index]
        if between:
            found = f"{operation} was made for entry {expected_index}, came as {index}; between them are {between}"
            raise Violation("a change is made for the configuration that was looked at", found)


class _Votes:
    """Who has a vote in a configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self.quorum_ids = configuration.voters | configuration.outgoing


def _has_effect(operation: AnyOperation, configuration: Configuration) -> bool:
    member = configuration.get(operation.node_id)
    match operation:
        case Add(address=address):
            return member is not None and member.address == address
        case Remove():
            return member is None or member.leaving
        case Demote():
            return member is not None and member.role is MemberRole.LEARNER
        case Promote():
            return member is not None and (member.promote or member.role is MemberRole.VOTER)
        case Update(address=address, priority=priority):
            right = member is not None and priority in (None, member.priority)
            return right and member is not None and address in (None, member.address)
        case _:
            return True
