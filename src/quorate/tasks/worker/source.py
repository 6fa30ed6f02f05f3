"""Who hands tasks out."""

from __future__ import annotations

from typing import Protocol

import msgspec

from quorate.rest.http import RequestError
from quorate.tasks.broker import Broker
from quorate.tasks.commands import Claim, Completed, Enlist, Heartbeat, Report
from quorate.tasks.effects import NoEffects, PossibleEffects
from quorate.tasks.errors import InvalidTask
from quorate.tasks.records import LeasedTask
from quorate.tasks.worker.job import Effects


class Source(Protocol):
    """A cluster, as a worker sees it.

    Every method raises a :class:`~quorate.tasks.errors.TaskRefusal`, or a
    :class:`~quorate.errors.ProposalError`; all of them may be asked again then.
    """

    async def enlist(self, worker: Enlist) -> None:
        """A worker comes, or says something else of itself."""
        ...

    async def dismiss(self, worker_id: str) -> None:
        """A worker goes."""
        ...

    async def claim(self, claim: Claim, seconds: float) -> list[LeasedTask]:
        """Leases on tasks, as soon as there are some; none when time is over."""
        ...

    async def heartbeat(self, heartbeat: Heartbeat) -> list[str]:
        """Prolong leases; the ids of the tasks that are not the worker's any more."""
        ...

    async def report(self, report: Report) -> list[str]:
        """How leases ended; for each the task's state by now, or ``stale``."""
        ...

    async def complete_with(self, completed: Completed, effects: Effects) -> None:
        """End one lease together with effects. Raises :class:`~quorate.tasks.errors.StaleToken`."""
        ...


class BrokerSource:
    """The broker of a node in this process. ``possible`` are the effects that can be carried out there."""

    def __init__(self, broker: Broker, possible: PossibleEffects | None = None) -> None:
        self._broker = broker
        self._possible = possible or NoEffects()
        self.enlist = broker.enlist
        self.dismiss = broker.dismiss
        self.claim = broker.claim
        self.heartbeat = broker.heartbeat
        self.report = broker.report

    async def complete_with(self, completed: Completed, effects: Effects) -> None:
        """As :meth:`Source.complete_with`."""
        given = {name: each for name, each in (("models", effects.models), ("keys", effects.keys)) if each}
        try:
            parts = self._possible.parts(msgspec.json.encode(given))
        except RequestError as error:
            raise InvalidTask("effects", "refused", error.detail) from None
        await self._broker.complete_with(completed, parts)
