"""What a worker has done, in numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from quorate.tasks.worker.job import Job
from quorate.tasks.worker.middleware.base import Middleware
from quorate.tasks.worker.outcomes import Failure

BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
OUTCOMES = ("succeeded", "failed", "rejected", "lost", "released", "stale")


class Histogram:
    """How long jobs took. ``counts[n]`` of them at most ``BOUNDS_SECONDS[n]``; the last count is of all longer ones."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0

    @property
    def count(self) -> int:
        """Jobs."""
        return sum(self.counts)

    def add(self, seconds: float) -> None:
        """One more job."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds


class Metrics(Middleware):
    """Counts by type and outcome; the types are those that the program declares, so they are bounded."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """By (type, one of :data:`OUTCOMES`)."""
        self.seconds: dict[str, Histogram] = {}
        """By type."""

    def total(self, outcome: str) -> int:
        """Of all types."""
        return sum(count for (_, each), count in self.counts.items() if each == outcome)

    def line(self) -> str:
        """All of it, for the log."""
        return ", ".join(f"{self.total(outcome)} {outcome}" for outcome in OUTCOMES)

    def after_run(self, job: Job, seconds: float) -> None:
        self._add(job.type, "succeeded", seconds)

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        self._add(job.type, "failed" if failure.may_retry else "rejected", seconds)

    def after_loss(self, job: Job, seconds: float) -> None:
        self._add(job.type, "lost", seconds)

    def after_release(self, task_id: str, type: str) -> None:
        self.counts[type, "released"] += 1

    def after_report(self, job: Job, state: str) -> None:
        if state == "stale":
            self.counts[job.type, "stale"] += 1

    def _add(self, type: str, outcome: str, seconds: float) -> None:
        self.counts[type, outcome] += 1
        histogram = self.seconds.get(type)
        if histogram is None:
            histogram = self.seconds[type] = Histogram()
        histogram.add(seconds)
