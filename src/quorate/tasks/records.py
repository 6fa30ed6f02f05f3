"""Tasks, queues, workers and schedules as callers see them. Times are UTC; payloads and results are JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def known_moment(time_us: int) -> datetime:
    """A time of the log."""
    return _EPOCH + timedelta(microseconds=time_us)


def moment(time_us: int | None) -> datetime | None:
    """A time of the log, if there is one."""
    return None if time_us is None else known_moment(time_us)


class Submitted(msgspec.Struct, frozen=True):
    """What has become of a submission: it is committed. ``duplicate``: by an earlier request of the same id."""

    task_id: str
    status: str
    duplicate: bool = False


class Dependency(msgspec.Struct, frozen=True):
    """A task that another depends on, and its state."""

    task_id: str
    status: str


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task. ``status`` is the label of its :class:`~quorate.tasks.lifecycle.State`."""

    task_id: str
    status: str
    queue: str
    type: str
    priority: int
    payload: msgspec.Raw
    """JSON, as it is stored: see :meth:`decoded_payload`."""
    result: msgspec.Raw | None
    """The same: see :meth:`decoded_result`."""
    attempt: int
    """Attempts that were begun."""
    max_retries: int
    reason: str | None
    """Why it ended, unless it succeeded: failed, rejected, lease lost, expired, dependency, cancelled, purged."""
    error: str | None
    """What the last attempt that failed has said; of one that never began, which task it depended on in vain."""
    waits_for: list[Dependency] = []
    """Those of the tasks that it depends on that have not succeeded."""
    worker: str | None
    submitted_at: datetime
    run_at: datetime | None
    """When it is to run, or to be tried again."""
    expires_at: datetime | None
    started_at: datetime | None
    """The beginning of the last attempt."""
    lease_until: datetime | None
    ended_at: datetime | None
    forgotten_at: datetime | None
    """When a task that has ended will be removed."""
    timeout_ms: int
    schema_version: int
    exactly_once: bool
    capabilities: list[str]
    unique_key: str | None

    def decoded_payload(self) -> Any:
        """The payload as Python has JSON. Of a declared type, :meth:`TaskType.arguments_of` has it typed."""
        return msgspec.json.decode(self.payload)

    def decoded_result(self) -> Any:
        """The result as Python has JSON; ``None`` if there is none. :meth:`TaskType.result_of` has it typed."""
        return None if self.result is None else msgspec.json.decode(self.result)


class LeasedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its worker gets it. With the ``token`` it says how the lease ended."""

    task_id: str
    token: int
    queue: str
    type: str
    payload: msgspec.Raw
    attempt: int
    max_retries: int
    lease_until: datetime
    timeout_ms: int
    submitted_at: datetime
    schema_version: int
    exactly_once: bool


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A queue, with how many of its tasks are in which state."""

    name: str
    paused: bool
    pending: int
    """Those that count against ``pending_max``: all but the running and the ended."""
    pending_max: int
    tasks: dict[str, int]


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that was heard of lately. ``queues`` and ``types`` are ``None`` for one that takes all."""

    worker_id: str
    queues: list[str] | None
    types: list[str] | None
    capabilities: list[str]
    concurrency: int
    running: int
    """Leases that it has."""
    enlisted_at: datetime
    seen_at: datetime
    health: str
    """What it says is wrong; empty if nothing is."""


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, and its last turn: ``last_task`` is ``None`` if that was left out because the queue was full."""

    name: str
    cron: str
    timezone: str
    queue: str
    type: str
    payload: msgspec.Raw
    next_at: datetime
    last_at: datetime | None
    last_task: str | None
    declared: bool = False
    """By the cluster's program, so that it comes back if it is removed while that declares it."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks of the cluster by their states, and those of each queue."""

    tasks: dict[str, int]
    pending: int
    queues: dict[str, dict[str, int]]
    workers: int
    schedules: int
    changes: int
    """Changes of state so far: the number of the last in the stream."""


class WorkerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Workers in the order of their ids. ``next`` asks for those behind the last."""

    workers: list[WorkerRecord]
    next: str | None = None


class SchedulePage(msgspec.Struct, frozen=True, kw_only=True):
    """Schedules in the order of their names. ``next`` asks for those behind the last."""

    schedules: list[ScheduleRecord]
    next: str | None = None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks in the order of their submission, newest first. ``next`` asks for those behind the last."""

    tasks: list[TaskRecord]
    next: str | None
