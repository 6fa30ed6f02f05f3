"""Claims tasks, as many as will be begun soon."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection

from quorate.errors import QuorateError
from quorate.tasks.commands import Claim, Enlist
from quorate.tasks.limits import CLAIMED_MAX
from quorate.tasks.worker.health import HealthChecks
from quorate.tasks.worker.heartbeats import BEATS
from quorate.tasks.worker.leases import Lease, Leases
from quorate.tasks.worker.middleware import Hooks
from quorate.tasks.worker.pace import Pace
from quorate.tasks.worker.running import Runner
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

CLAIM_SECONDS = 20.0
"""So long the cluster is asked to wait for something to do."""
HELD_SECONDS_MAX = 1.0
"""A task that was fetched ahead and not begun in this time is given back: others may be sooner."""
MIDDLEWARE_SECONDS = 0.25
"""So long nothing is asked for if the middleware wants nothing, or no type is well."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 5.0
"""When the cluster does not answer; doubled each time."""
UNREPORTED_MAX = 2000


class Claiming:
    """Begins what is claimed with ``runner`` as soon as a place is free; until then it waits here.

    ``give_back`` is handed what is not begun.
    """

    def __init__(
        self,
        source: Source,
        enlist: Enlist,
        types: Collection[str],
        *,
        hooks: Hooks,
        health: HealthChecks,
        leases: Leases,
        runner: Runner,
        give_back: Callable[[Lease], None],
    ) -> None:
        self._source = source
        self._enlist = enlist
        self._types = types
        self._hooks = hooks
        self._health = health
        self._leases = leases
        self._runner = runner
        self._give_back = give_back
        self._waiting: deque[Lease] = deque()
        self._pace = Pace()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = PAUSE_SECONDS
        while True:
            room = self._room()
            if not room:
                await self._until_changed(None)
                continue
            claim = self._hooks.before_claim(self._claim(room))
            if not claim.types or claim.limit < 1:
                await self._until_changed(MIDDLEWARE_SECONDS)
                continue
            since, lease_seconds = self._now(), claim.lease_ms / 1000
            try:
                # What this worker takes for the end of the lease counts from the question, so the answer must be soon.
                tasks = await self._source.claim(claim, min(CLAIM_SECONDS, lease_seconds / BEATS))
            except QuorateError as error:
                log.warning("worker %s: no tasks could be claimed: %s", self._enlist.worker, error)
                await asyncio.sleep(pause)
                pause = min(PAUSE_SECONDS_MAX, 2 * pause)
                continue
            pause = PAUSE_SECONDS
            self._take([Lease(task, self._now(), since + lease_seconds) for task in tasks])

    def look_again(self) -> None:
        """There may be room now."""
        self._changed.set()

    def job_ended(self) -> None:
        """One more: there may be room now."""
        self._pace.job_ended()
        self._changed.set()

    def start_some(self) -> None:
        """Begin what waits, as far as there are places."""
        while self._waiting and len(self._runner.running) < self._enlist.concurrency:
            self._runner.start(self._waiting.popleft())

    def forget(self, lease: Lease) -> None:
        """Do not begin it: it is lost."""
        self._waiting.remove(lease)

    def give_back_overdue(self) -> None:
        """What waits for longer than it should."""
        overdue = self._now() - HELD_SECONDS_MAX
        if self._waiting and self._waiting[0].since < overdue:
            self._pace.slow_down()
            while self._waiting and self._waiting[0].since < overdue:
                self._give_back(self._waiting.popleft())

    def give_back_all(self) -> None:
        """Whatever waits."""
        while self._waiting:
            self._give_back(self._waiting.popleft())

    # -- what to ask for ---------------------------------------------------------------------------------

    def _room(self) -> int:
        """How many more tasks to have; 0 until it is worth asking."""
        have = len(self._waiting) + len(self._runner.running)
        concurrency = self._enlist.concurrency
        target = concurrency + self._pace.ahead(self._now())
        room = min(target - have, CLAIMED_MAX, UNREPORTED_MAX - len(self._leases))
        return max(0, room) if have < concurrency or room >= target // 2 else 0

    def _claim(self, limit: int) -> Claim:
        who = self._enlist
        types = tuple(name for name in self._types if name not in self._health.wrong)
        return Claim(who.worker, limit, who.queues, types, who.capabilities, who.lease_ms)

    async def _until_changed(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    # -- what is given -----------------------------------------------------------------------------------

    def _take(self, leases: list[Lease]) -> None:
        for lease in leases:
            self._leases.add(lease)
            if lease.task.type not in self._types or lease.task.type in self._health.wrong:
                self._give_back(lease)
            else:
                self._waiting.append(lease)
        self.start_some()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
