"""``Worker``: does the tasks of a program."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

from quorate.errors import CommandFailed, ConfigError, QuorateError
from quorate.tasks.commands import Claim, Enlist
from quorate.tasks.declaration import Registry
from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import CLAIMED_MAX, LEASE_MS, LEASE_MS_MAX, LEASE_MS_MIN, NAME_CHARACTERS_MAX
from quorate.tasks.store.reporting import STALE
from quorate.tasks.submission import check_capabilities, check_name
from quorate.tasks.worker.health import HealthChecks
from quorate.tasks.worker.heartbeats import BEATS, Heartbeats
from quorate.tasks.worker.leases import Lease, Leases
from quorate.tasks.worker.middleware import Hooks, Metrics, Middleware
from quorate.tasks.worker.outcomes import Outcome
from quorate.tasks.worker.pace import Pace
from quorate.tasks.worker.processes import place_of
from quorate.tasks.worker.reporting import Ending, Reporting
from quorate.tasks.worker.running import GRACE_SECONDS, Cause, Runner, Running
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

CONCURRENCY = 4
CONCURRENCY_MAX = 1000
CLAIM_SECONDS = 20.0
"""So long the cluster is asked to wait for something to do."""
DRAIN_SECONDS = 60.0
HELD_SECONDS_MAX = 1.0
"""A task that was fetched ahead and not begun in this time is given back: others may be sooner."""
LAST_WORDS_SECONDS = 5.0
"""When the jobs have ended: so long the cluster may take to take their outcomes."""
AT_ONCE_SECONDS = 0.5
"""The same, and what jobs may take to stop, if everything has to stop at once."""
LOOK_SECONDS = 0.25
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 5.0
"""When the cluster does not answer; doubled each time."""
UNREPORTED_MAX = 2000


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
        self._enlist = _checked(self._types, queues, concurrency, capabilities, name or _new_name(), lease)
        self._drain_seconds = drain_seconds
        self._grace_seconds = grace_seconds
        self.metrics = Metrics()
        """What it has done."""
        self._hooks = Hooks([*middleware, self.metrics])
        self._leases = Leases(self._lost)
        self._waiting: deque[Lease] = deque()
        self._pace = Pace()
        self._changed = asyncio.Event()
        self._health = HealthChecks(self._types, self._health_changed)
        self._heartbeats = Heartbeats(source, self._enlist, self._leases, self._say_health)
        self._reporting = Reporting(source, self._taken)
        self._runner = Runner(
            self._types, self._hooks, on_end=self._ended, on_stuck=self._stuck, grace_seconds=grace_seconds
        )
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
            if not await self._come():
                return True
            await self._health.check()
            log.info("worker %s takes tasks of the types %s", self.name, ", ".join(self._types))
            parts = (self._heartbeats.run(), self._reporting.run(), self._look_after(), self._health.run())
            loops = [asyncio.create_task(part) for part in parts]
            await self._until_stopped(self._claim_all(), loops)
            return await self._drain()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._runner.end()

    async def _come(self) -> bool:
        """Enlist. Whether that is still wanted when it is done."""
        await self._until_stopped(self._enlist_again_and_again(), [])
        return not self._stopping.is_set()

    async def _enlist_again_and_again(self) -> None:
        pause = PAUSE_SECONDS
        while True:
            try:
                return await self._source.enlist(self._enlist)
            except CommandFailed:
                raise
            except QuorateError as error:
                log.warning("worker %s: the cluster does not answer: %s", self.name, error)
            await asyncio.sleep(pause)
            pause = min(PAUSE_SECONDS_MAX, 2 * pause)

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
        while self._waiting:
            self._give_back(self._waiting.popleft())
        ended = await self._within(self._drain_seconds, self._jobs_ended())
        if not ended:
            log.warning("worker %s: %d jobs are stopped before they are done", self.name, self.running)
            for lease in list(self._runner.running):
                self._runner.stop(lease, Cause.WORKER)
            await self._within(self._grace_seconds, self._jobs_ended())
        told = await self._within(LAST_WORDS_SECONDS, self._reporting.all_sent())
        await self._within(LAST_WORDS_SECONDS, self._go())
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
            self._changed.clear()
            await self._changed.wait()

    async def _go(self) -> None:
        try:
            await self._source.dismiss(self.name)
        except QuorateError as error:
            log.warning("worker %s could not say that it goes: %s", self.name, error)

    # -- claiming ----------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        pause = PAUSE_SECONDS
        while True:
            room = self._room()
            if not room:
                await self._until_changed(None)
                continue
            claim = self._hooks.before_claim(self._claim(room))
            if not claim.types or claim.limit < 1:
                await self._until_changed(LOOK_SECONDS)
                continue
            since, lease_seconds = self._now(), claim.lease_ms / 1000
            try:
                # What this worker takes for the end of the lease counts from the question, so the answer must be soon.
                tasks = await self._source.claim(claim, min(CLAIM_SECONDS, lease_seconds / BEATS))
            except QuorateError as error:
                log.warning("worker %s: no tasks could be claimed: %s", self.name, error)
                await asyncio.sleep(pause)
                pause = min(PAUSE_SECONDS_MAX, 2 * pause)
                continue
            pause = PAUSE_SECONDS
            self._take([Lease(task, self._now(), since + lease_seconds) for task in tasks])

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

    def _take(self, leases: list[Lease]) -> None:
        for lease in leases:
            self._leases.add(lease)
            if lease.task.type not in self._types or lease.task.type in self._health.wrong:
                self._give_back(lease)
            else:
                self._waiting.append(lease)
        self._start_some()

    def _start_some(self) -> None:
        while self._waiting and len(self._runner.running) < self._enlist.concurrency:
            self._runner.start(self._waiting.popleft())

    def _give_back(self, lease: Lease) -> None:
        self._hooks.after("after_release", lease.task.task_id, lease.task.type)
        self._reporting.release(lease)

    async def _look_after(self) -> None:
        """Of what time changes."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._now()
            self._leases.lose_overdue(now)
            overdue = now - HELD_SECONDS_MAX
            if self._waiting and self._waiting[0].since < overdue:
                self._pace.slow_down()
                while self._waiting and self._waiting[0].since < overdue:
                    self._give_back(self._waiting.popleft())

    # -- what happens ------------------------------------------------------------------------------------

    def _ended(self, running: Running, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._reporting.add(running.lease, running.job, outcome)
        else:
            self._leases.drop(running.lease)
        self._pace.job_ended()
        if not self._stopping.is_set():
            self._start_some()
        self._changed.set()

    def _taken(self, ending: Ending, state: str) -> None:
        self._leases.drop(ending.lease)
        if ending.job is not None:
            if state == STALE:
                log.warning("task %s: its outcome came too late, the lease was over", ending.job.task_id)
            self._hooks.after("after_report", ending.job, state)
        self._changed.set()

    def _lost(self, lease: Lease) -> None:
        log.warning("task %s (%s): the lease is lost", lease.task.task_id, lease.task.type)
        if lease in self._runner.running:
            self._runner.stop(lease, Cause.LOST)
        else:
            self._waiting.remove(lease)
        self._changed.set()

    def _stuck(self, running: Running) -> None:
        """Its lease is given up: it ends by itself, and another worker tries."""
        self._leases.drop(running.lease)
        self._heartbeats.now()

    def _health_changed(self) -> None:
        self._heartbeats.now()
        self._changed.set()

    def _say_health(self) -> str:
        stuck = self._runner.stuck
        said = [self._health.report(), f"{stuck} jobs do not stop" if stuck else ""]
        return "; ".join(filter(None, said))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _new_name() -> str:
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
    return f"{host.lstrip('-')[:60] or 'worker'}-{os.getpid()}-{secrets.token_hex(4)}"


def _checked(
    types: dict[str, Any],
    queues: Collection[str] | None,
    concurrency: int,
    capabilities: Collection[str],
    name: str,
    lease: Duration,
) -> Enlist:
    if not types:
        raise ConfigError("a worker has nothing to do: the app declares no tasks")
    if not 1 <= concurrency <= CONCURRENCY_MAX:
        raise ConfigError(f"a worker's concurrency is 1 to {CONCURRENCY_MAX}, not {concurrency}")
    for task_type in types.values():
        if not task_type.is_async and task_type.spec.timeout_ms:
            place_of(task_type)
    try:
        lease_ms = microseconds(lease) // 1000
        names = None if queues is None else tuple(check_name(queue, "queues") for queue in queues)
        enlist = Enlist(
            check_name(name, "name"), names, tuple(types), check_capabilities(capabilities), concurrency, lease_ms
        )
    except (ValueError, InvalidTask) as error:
        raise ConfigError(f"worker: {error}") from None
    if not LEASE_MS_MIN <= lease_ms <= LEASE_MS_MAX:
        raise ConfigError(f"worker: a lease is {LEASE_MS_MIN // 1000} to {LEASE_MS_MAX // 1000} seconds, not {lease}")
    assert len(name) <= NAME_CHARACTERS_MAX
    return enlist
