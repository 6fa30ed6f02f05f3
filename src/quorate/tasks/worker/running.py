"""Jobs under way: begun where they belong, and stopped when they have to be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any

from quorate.errors import ConfigError
from quorate.tasks.declaration import TaskType
from quorate.tasks.worker.calling import call_async, call_sync
from quorate.tasks.worker.job import Job
from quorate.tasks.worker.leases import Lease
from quorate.tasks.worker.middleware import Hooks
from quorate.tasks.worker.outcomes import Done, Failure, Outcome, failure_of
from quorate.tasks.worker.processes import ProcessEnded, Processes, call_in_process, place_of
from quorate.tasks.worker.threads import Threads

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""So long a function that is cancelled may take to clean up."""


class Cause(Enum):
    """Why a job is stopped."""

    TIME = "its time is over"
    LOST = "its lease is lost"
    WORKER = "the worker stops"


@dataclass(slots=True, eq=False)
class Running:
    """A job under way."""

    lease: Lease
    job: Job
    task_type: TaskType[..., Any, Any]
    began: float
    task: asyncio.Task[Outcome] | None = None
    timer: asyncio.TimerHandle | None = None
    cause: Cause | None = None
    """Why it was told to stop."""
    is_stuck: bool = False
    """It did not stop, and nobody waits for it any more."""
    in_thread: bool = False

    def stop(self, cause: Cause) -> None:
        """Have it end; a function in a thread can only be waited for."""
        assert self.task is not None
        if self.task.done():
            return
        if self.cause is None:
            self.cause = cause
        if not self.in_thread:
            self.task.cancel()


Ended = Callable[[Running, Outcome | None], None]
"""Told of each job that ends; ``None`` if there is nothing to report."""


class Runner:
    """Runs jobs of declared types. ``on_stuck`` is told of those that do not stop though they have to."""

    def __init__(
        self,
        types: Mapping[str, TaskType[..., Any, Any]],
        hooks: Hooks,
        *,
        on_end: Ended,
        on_stuck: Callable[[Running], None],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._types = types
        self._hooks = hooks
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._grace_seconds = grace_seconds
        self._threads = Threads("quorate-task")
        self._processes = Processes()
        self.running: dict[Lease, Running] = {}

    @property
    def stuck(self) -> int:
        """Jobs that do not stop: each takes the place of one that could be done."""
        return sum(running.is_stuck for running in self.running.values())

    def start(self, lease: Lease) -> None:
        """Begin with it."""
        loop = asyncio.get_running_loop()
        task = lease.task
        running = Running(lease, Job.of(task), self._types[task.type], loop.time())
        self.running[lease] = running
        running.task = loop.create_task(self._run(running))
        running.task.add_done_callback(partial(self._ended, running))

    def stop(self, lease: Lease, cause: Cause) -> None:
        """Have its job end, which is told as any end is; nothing if there is none."""
        running = self.running.get(lease)
        if running is not None:
            running.stop(cause)
            self._give_time(running)

    async def end(self) -> None:
        """Whatever is still under way is told to stop, and not waited for; processes are killed."""
        for running in list(self.running.values()):
            running.stop(Cause.WORKER)
            if running.timer is not None:
                running.timer.cancel()
        self._threads.end()
        await self._processes.end()

    # -- one job -----------------------------------------------------------------------------------------

    async def _run(self, running: Running) -> Outcome:
        job, task_type, payload = running.job, running.task_type, bytes(running.lease.task.payload)
        try:
            self._hooks.before_run(job)
        except Exception as error:
            return failure_of(error)
        if task_type.is_async:
            self._begin_time(running)
            return await call_async(task_type, job, payload)
        if job.timeout is None:
            running.in_thread = True
            return await self._threads.call(partial(call_sync, task_type, job, payload))
        try:
            process = await self._processes.take(place_of(task_type))
        except ConfigError as error:
            return Failure(str(error), may_retry=False)
        except (OSError, TimeoutError, ProcessEnded) as error:
            return Failure(f"no process could be started for the job: {error}")
        self._begin_time(running)
        return await call_in_process(self._processes, process, task_type, job, payload)

    def _begin_time(self, running: Running) -> None:
        timeout = running.job.timeout
        if timeout is not None:
            running.job.begins_at(datetime.now(UTC))
            running.timer = asyncio.get_running_loop().call_later(timeout, self._time_out, running)

    def _time_out(self, running: Running) -> None:
        running.stop(Cause.TIME)
        self._give_time(running)

    def _give_time(self, running: Running) -> None:
        if running.timer is not None:
            running.timer.cancel()
        if running.cause is not None:
            loop = asyncio.get_running_loop()
            running.timer = loop.call_later(self._grace_seconds, self._find_stuck, running)

    def _find_stuck(self, running: Running) -> None:
        assert running.cause is not None
        log.error("task %s (%s) does not stop, though %s", running.job.task_id, running.job.type, running.cause.value)
        running.is_stuck = True
        self._on_stuck(running)

    def _ended(self, running: Running, task: asyncio.Task[Outcome]) -> None:
        del self.running[running.lease]
        if running.timer is not None:
            running.timer.cancel()
        if task.cancelled():
            outcome: Outcome = Failure("it was cancelled", ["asyncio.exceptions.CancelledError"])
        elif (error := task.exception()) is not None:
            log.error("task %s could not be run", running.job.task_id, exc_info=error)
            outcome = Failure(f"the worker could not run it: {type(error).__name__}: {error}")
        else:
            outcome = task.result()
        self._tell(running, _said(running, outcome))

    def _tell(self, running: Running, outcome: Outcome | None) -> None:
        seconds = asyncio.get_running_loop().time() - running.began
        if outcome is None:
            self._hooks.after("after_loss", running.job, seconds)
        elif isinstance(outcome, Done):
            self._hooks.after("after_run", running.job, seconds)
        else:
            self._hooks.after("after_failure", running.job, outcome, seconds)
        self._on_end(running, outcome)


def _said(running: Running, outcome: Outcome) -> Outcome | None:
    """What to report. A job that was told to stop has not succeeded, whatever it made of that."""
    if running.is_stuck or running.cause is Cause.LOST:
        return None
    if running.cause is Cause.TIME:
        return Failure(f"it took longer than {running.job.timeout:g} s and was stopped", ["builtins.TimeoutError"])
    if running.cause is Cause.WORKER:
        return Failure("the worker was stopped before it was done", delay_ms=0)
    return outcome
