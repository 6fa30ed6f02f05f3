"""Which failures are worth another attempt, and when."""

from __future__ import annotations

from collections.abc import Callable, Collection

from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.worker.job import Job, RetryLater
from quorate.tasks.worker.middleware.base import Middleware
from quorate.tasks.worker.outcomes import Failure


class Retries(Middleware):
    """Decides about tasks that failed; how many attempts there are is the task's own affair.

    Exceptions of the classes in ``never`` are not tried again, nor are others than those in ``only``, if that is
    given. ``delay`` says how long to wait instead of the task's back-off: always the same, or by the attempt that
    failed, counted from 1.
    """

    def __init__(
        self,
        *,
        never: Collection[type[BaseException]] = (),
        only: Collection[type[BaseException]] | None = None,
        delay: Duration | Callable[[int], Duration] | None = None,
    ) -> None:
        self._never = tuple(never)
        self._only = None if only is None else tuple(only)
        self._delay = delay

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        if failure.is_a(RetryLater):
            return
        is_meant = self._only is None or any(map(failure.is_a, self._only))
        if not is_meant or any(map(failure.is_a, self._never)):
            failure.may_retry = False
        if failure.may_retry and self._delay is not None and failure.delay_ms < 0:
            delay = self._delay(job.attempt) if callable(self._delay) else self._delay
            failure.delay_ms = microseconds(delay) // 1000
