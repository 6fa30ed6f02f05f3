"""Jobs as spans."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from quorate.tasks.worker.job import Job
from quorate.tasks.worker.middleware.base import Middleware
from quorate.tasks.worker.outcomes import Failure

log = logging.getLogger(__name__)


class Span(NamedTuple):
    """A job that has ended."""

    job: Job
    outcome: str
    """succeeded, failed, rejected or lost."""
    seconds: float
    error: str | None


def _to_log(span: Span) -> None:
    job = span.job
    first_line = "" if span.error is None else ": " + span.error.partition("\n")[0]
    log.info(
        "task=%s type=%s queue=%s attempt=%d token=%d outcome=%s seconds=%.6f%s",
        *(job.task_id, job.type, job.queue, job.attempt, job.token),
        *(span.outcome, span.seconds, first_line),
    )


class Tracing(Middleware):
    """Gives a span for each job to ``emit``, by default to the log."""

    def __init__(self, emit: Callable[[Span], None] = _to_log) -> None:
        self._emit = emit

    def after_run(self, job: Job, seconds: float) -> None:
        self._emit(Span(job, "succeeded", seconds, None))

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        self._emit(Span(job, "failed" if failure.may_retry else "rejected", seconds, failure.error))

    def after_loss(self, job: Job, seconds: float) -> None:
        self._emit(Span(job, "lost", seconds, None))
