"""Bounds on what is begun, and on how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.worker.job import Job, Reject
from quorate.tasks.worker.middleware.base import Middleware


class TimeLimit(Middleware):
    """Tasks that say nothing of their own may take this long."""

    def __init__(self, limit: Duration) -> None:
        self._seconds = microseconds(limit) / 1_000_000

    def before_run(self, job: Job) -> None:
        if job.timeout is None:
            job.timeout = self._seconds


def _now() -> datetime:
    return datetime.now(UTC)


class AgeLimit(Middleware):
    """Tasks that were submitted longer ago are rejected. This trusts the clock of the worker's machine.

    A task's own ``ttl`` needs no worker for that, and trusts the cluster's clock.
    """

    def __init__(self, limit: Duration, *, now: Callable[[], datetime] = _now) -> None:
        self._seconds = microseconds(limit) / 1_000_000
        self._now = now

    def before_run(self, job: Job) -> None:
        age = (self._now() - job.submitted_at).total_seconds()
        if age > self._seconds:
            raise Reject(f"it is {age:.0f} s old, and not done here after {self._seconds:g} s")
