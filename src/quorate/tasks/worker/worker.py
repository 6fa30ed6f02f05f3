"""``Worker``: does the tasks of a program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

from quorate.tasks.declaration import Registry
from quorate.tasks.durations import Duration
from quorate.tasks.limits import LEASE_MS
from quorate.tasks.store.reporting import STALE
from quorate.tasks.worker.claiming import Claiming
from quorate.tasks.worker.enlisting import checked, come, go, new_name
from quorate.tasks.worker.health import HealthChecks
from quorate.tasks.worker.heartbeats import Heartbeats
from quorate.tasks.worker.leases import Lease, Leases
from quorate.tasks.worker.middleware import Hooks, Metrics, Middleware
from quorate.tasks.worker.outcomes import Outcome
from quorate.tasks.worker.reporting import Ending, Reporting
from quorate.tasks.worker.running import GRACE_SECONDS, Cause, Runner, Running
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

CONCURRENCY = 4
DRAIN_SECONDS = 60.0
LAST_WORDS_SECONDS = 5.0
"""When the jobs have ended, the cluster may take what is left of the time to drain to take their outcomes, but so long
in any case; and to be told that the worker goes."""
AT_ONCE_SECONDS = 0.5
"""Each of these, and what jobs may take to stop, if everything has to stop at once."""
LOOK_SECONDS = 0.25


class Worker:
    """Claims tasks of the types that a program declares, and does up to ``concurrency`` of them at a time.

    ``source`` hands them out: a client of a cluster, or a node's broker. Only tasks in ``queues`` are claimed, if that
    is given; and such that want no other ``capabilities``. Async functions run on this loop, which they must not
    block; others in threads, or if their time is limited, in processes that can be killed.

    A task is leased for ``lease`` and that is prolonged as long as its job runs. When it cannot be, the job is stopped
    before another worker may begin with the task, as far as it can be stopped. Raises
    :class:`~quorate.errors.ConfigError` for what makes no sense.
    """

    def __init__(
        self,
        registry: Registry,
        source: Source,
        *,
        queues: Collection[str] | None = None,
        concurrency: int = CONCURRENCY,
        capabilities: Collection[str] = (),
        middleware: Iterable[Middleware] = (),
        name: str | None = None,
        lease: Duration = LEASE_MS / 1000,
        drain_seconds: float = DRAIN_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._types = dict(registry.types)
        self._source = source
        self._enlist = checked(self._types, queues, concurrency, capabilities, name or new_name(), lease)
        self._drain_seconds = drain_seconds
        self._grace_seconds = grace_seconds
        self.metrics = Metrics()
        """What it has done."""
        self._hooks = Hooks([*middleware, self.metrics])
        self._leases = Leases(self._lost)
        self._health = HealthChecks(self._types, self._health_changed)
        self._heartbeats = Heartbeats(source, self._enlist, self._leases, self._say_health)
        self._reporting = Reporting(source, self._taken)
        self._runner = Runner(
            self._types, self._hooks, on_end=self._ended, on_stuck=self._stuck, grace_seconds=grace_seconds
        )
        self._claiming = Claiming(
            source,
            self._enlist,
            self._types,
            hooks=self._hooks,
            health=self._health,
            leases=self._leases,
            runner=self._runner,
            give_back=self._give_back,
        )
        self._job_ended = asyncio.Event()
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()

    @property
    def name(self) -> str:
        """The id by which the cluster knows it."""
        return self._enlist.worker

    @property
    def running(self) -> int:
        """Jobs under way."""
        return len(self._runner.running)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to."""
        return self._stopping.is_set()

    @property
    def health(self) -> str:
        """What is wrong; empty if nothing is."""
        return self._say_health()

    # -- life --------------------------------------------------------------------------------------------

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, and end when what was begun is done, or ``drain_seconds`` later; or ``at_once``."""
        self._stopping.set()
        if at_once:
            self._at_once.set()

    async def run(self) -> bool:
        """Until :meth:`stop`. Whether every job that was begun has ended by itself, and the cluster knows.

        Raises :class:`~quorate.tasks.errors.TaskRefusal` if the cluster does not want this worker.
        """
        loops: list[asyncio.Task[Any]] = []
        try:
            await self._until_stopped(come(self._source, self._enlist), [])
            if self.is_stopping:
                return True
            await self._health.check()
            log.info("worker %s takes tasks of the types %s", self.name, ", ".join(self._types))
            parts = (self._heartbeats.run(), self._reporting.run(), self._look_after(), self._health.run())
            loops = [asyncio.create_task(part) for part in parts]
            await self._until_stopped(self._claiming.run(), loops)
            return await self._drain()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._runner.end()

    async def _until_stopped(self, work: Coroutine[Any, Any, None], loops: Iterable[asyncio.Task[Any]]) -> None:
        """Run ``work`` until it ends or it is time to stop. Raises what it, or one of ``loops``, raises."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([working, stopping, *loops], return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            stopping.cancel()
            await asyncio.wait([working, stopping])
        for each in done:
            each.result()

    async def _drain(self) -> bool:
        clock = asyncio.get_running_loop().time
        ends = clock() + self._drain_seconds
        self._claiming.give_back_all()
        ended = await self._within(self._drain_seconds, self._jobs_ended())
        if not ended:
            log.warning("worker %s: %d jobs are stopped before they are done", self.name, self.running)
            for lease in list(self._runner.running):
                self._runner.stop(lease, Cause.WORKER)
            await self._within(self._grace_seconds, self._jobs_ended())
        told = await self._within(max(ends - clock(), LAST_WORDS_SECONDS), self._reporting.all_sent())
        await self._within(LAST_WORDS_SECONDS, go(self._source, self._enlist))
        return ended and told

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        """Whether it ended in that time, which is short once everything has to stop at once."""
        waiting = [asyncio.create_task(work)]
        if self._at_once.is_set():
            seconds = min(seconds, AT_ONCE_SECONDS)
        else:
            waiting.append(asyncio.create_task(self._wait_at_once()))
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        in_time = waiting[0].done()
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        return in_time

    async def _wait_at_once(self) -> None:
        await self._at_once.wait()

    async def _jobs_ended(self) -> None:
        while self.running:
            self._job_ended.clear()
            await self._job_ended.wait()

    async def _look_after(self) -> None:
        """Of what time changes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._leases.lose_overdue(asyncio.get_running_loop().time())
            self._claiming.give_back_overdue()

    # -- what happens ------------------------------------------------------------------------------------

    def _give_back(self, lease: Lease) -> None:
        self._hooks.after("after_release", lease.task.task_id, lease.task.type)
        self._reporting.release(lease)

    def _ended(self, running: Running, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._reporting.add(running.lease, running.job, outcome)
        else:
            self._leases.drop(running.lease)
        self._claiming.job_ended()
        if not self._stopping.is_set():
            self._claiming.start_some()
        self._job_ended.set()

    def _taken(self, ending: Ending, state: str) -> None:
        self._leases.drop(ending.lease)
        if ending.job is not None:
            if state == STALE:
                log.warning("task %s: its outcome came too late, the lease was over", ending.job.task_id)
            self._hooks.after("after_report", ending.job, state)
        self._claiming.look_again()

    def _lost(self, lease: Lease) -> None:
        log.warning("task %s (%s): the lease is lost", lease.task.task_id, lease.task.type)
        if lease in self._runner.running:
            self._runner.stop(lease, Cause.LOST)
        else:
            self._claiming.forget(lease)
        self._claiming.look_again()

    def _stuck(self, running: Running) -> None:
        """Its lease is given up: it ends by itself, and another worker tries."""
        self._leases.drop(running.lease)
        self._heartbeats.now()

    def _health_changed(self) -> None:
        self._heartbeats.now()
        self._claiming.look_again()

    def _say_health(self) -> str:
        stuck = self._runner.stuck
        said = [self._health.report(), f"{stuck} {'job does' if stuck == 1 else 'jobs do'} not stop" if stuck else ""]
        return "; ".join(filter(None, said))
