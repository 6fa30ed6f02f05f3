"""Hooks, and those that come with the worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from quorate.tasks.commands import Claim, Failed
from quorate.tasks.declaration import Registry
from quorate.tasks.records import LeasedTask
from quorate.tasks.worker import AgeLimit, Job, Metrics, Middleware, Reject, Retries, RetryLater, TimeLimit, Tracing
from quorate.tasks.worker.middleware import Histogram, Span
from quorate.tasks.worker.outcomes import Failure, failure_of

from .fake import FakeSource
from .support import working

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_job(**values: Any) -> Job:
    task = LeasedTask(
        task_id="t",
        token=7,
        queue="mail",
        type="send",
        payload=msgspec.Raw(b"{}"),
        attempt=2,
        max_retries=3,
        lease_until=NOW,
        timeout_ms=0,
        submitted_at=NOW,
        schema_version=0,
        exactly_once=False,
    )
    return Job.of(msgspec.structs.replace(task, **values))


class Recorder(Middleware):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def before_claim(self, claim: Claim) -> Claim:
        return msgspec.structs.replace(claim, limit=min(claim.limit, 2))

    def before_run(self, job: Job) -> None:
        self.told.append(("before_run", job.type))
        if job.type == "unwanted":
            raise Reject("not here")

    def after_run(self, job: Job, seconds: float) -> None:
        self.told.append(("after_run", job.type))
        raise RuntimeError("a hook that fails changes nothing")

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        self.told.append(("after_failure", job.type, failure.error))

    def after_report(self, job: Job, state: str) -> None:
        self.told.append(("after_report", job.type, state))


async def test_hooks_are_told_what_happens_in_the_order_of_their_happening() -> None:
    registry, source, recorder = Registry(), FakeSource(), Recorder()

    @registry.task()
    async def wanted() -> None: ...

    @registry.task()
    async def unwanted() -> None:
        raise AssertionError

    async with working(registry, source, middleware=[recorder], concurrency=4):
        await source.until_ended(*await source.add("wanted"))
        (task_id,) = await source.add("unwanted")
        await source.until_ended(task_id)
        await source.until(lambda: len(recorder.told) == 6)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert (ended.error, ended.may_retry) == ("not here", False)
    assert recorder.told == [
        ("before_run", "wanted"),
        ("after_run", "wanted"),
        ("after_report", "wanted", "succeeded"),
        ("before_run", "unwanted"),
        ("after_failure", "unwanted", "not here"),
        ("after_report", "unwanted", "dead"),
    ]
    assert {claim.limit for claim in source.claims} <= {1, 2}


async def test_a_hook_can_keep_the_worker_from_claiming() -> None:
    class Closed(Middleware):
        is_closed = True

        def before_claim(self, claim: Claim) -> Claim:
            return msgspec.structs.replace(claim, limit=0) if self.is_closed else claim

    registry, source, closed = Registry(), FakeSource(), Closed()

    @registry.task()
    async def task() -> None: ...

    (task_id,) = await source.add("task")
    worker = working(registry, source, middleware=[closed])
    source.claims.append(Claim("nobody", 1))  # so that the fixture does not wait for the first
    async with worker:
        await source.until(lambda: len(source.heartbeats) > 0)
        assert len(source.claims) == 1
        closed.is_closed = False
        await source.until_ended(task_id)


async def test_a_time_limit_for_tasks_that_have_none_of_their_own() -> None:
    import asyncio

    registry, source = Registry(), FakeSource()

    @registry.task()
    async def wait() -> None:
        await asyncio.Event().wait()

    async with working(registry, source, middleware=[TimeLimit("30ms")]):
        (task_id,) = await source.add("wait")
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error == "it took longer than 0.03 s and was stopped"
    job = a_job(timeout_ms=5000)
    TimeLimit(1).before_run(job)
    assert job.timeout == 5


def test_old_tasks_are_rejected() -> None:
    limit = AgeLimit("1h", now=lambda: NOW)
    limit.before_run(a_job(submitted_at=NOW - timedelta(minutes=59)))
    with pytest.raises(Reject, match="it is 3660 s old"):
        limit.before_run(a_job(submitted_at=NOW - timedelta(minutes=61)))


class _Mail(Exception):
    pass


class _Bounce(_Mail):
    pass


@pytest.mark.parametrize(
    ("retries", "error", "may_retry", "delay_ms"),
    [
        (Retries(), ValueError(), True, -1),
        (Retries(never=[ValueError]), ValueError(), False, -1),
        (Retries(never=[_Mail]), _Bounce(), False, -1),
        (Retries(never=[_Bounce]), _Mail(), True, -1),
        (Retries(only=[_Mail]), _Bounce(), True, -1),
        (Retries(only=[_Mail]), ValueError(), False, -1),
        (Retries(only=[_Mail]), RetryLater(1), True, 1000),
        (Retries(delay="2s"), ValueError(), True, 2000),
        (Retries(delay=lambda attempt: 10 * attempt), ValueError(), True, 20_000),
        (Retries(delay="2s"), RetryLater(1), True, 1000),
        (Retries(delay="2s"), Reject(), False, -1),
    ],
)
def test_which_failures_are_tried_again(retries: Retries, error: Exception, may_retry: bool, delay_ms: int) -> None:
    failure = failure_of(error)
    retries.after_failure(a_job(), failure, 0.1)
    assert (failure.may_retry, failure.delay_ms) == (may_retry, delay_ms)


def test_metrics_count_by_type_and_outcome() -> None:
    metrics = Metrics()
    metrics.after_run(a_job(), 0.001)
    metrics.after_run(a_job(type="other"), 4000)
    metrics.after_failure(a_job(), Failure("x"), 0.2)
    metrics.after_failure(a_job(), Failure("x", may_retry=False), 0.2)
    metrics.after_loss(a_job(), 0.2)
    metrics.after_release("t", "send")
    metrics.after_report(a_job(), "stale")
    metrics.after_report(a_job(), "succeeded")
    assert metrics.counts == {
        ("send", "succeeded"): 1,
        ("other", "succeeded"): 1,
        ("send", "failed"): 1,
        ("send", "rejected"): 1,
        ("send", "lost"): 1,
        ("send", "released"): 1,
        ("send", "stale"): 1,
    }
    assert metrics.line() == "2 succeeded, 1 failed, 1 rejected, 1 lost, 1 released, 1 stale"
    assert metrics.seconds["other"].counts[-1] == 1
    assert metrics.seconds["send"].count == 4


def test_a_histogram_puts_each_into_the_first_bucket_that_is_not_too_short() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 1800, 1800.1):
        histogram.add(seconds)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-2], histogram.counts[-1]) == (2, 1, 1, 1)


def test_spans(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    spans: list[Span] = []
    for tracing in (Tracing(spans.append), Tracing()):
        tracing.after_run(a_job(), 1.5)
        tracing.after_failure(a_job(), Failure("ValueError: x\n  there"), 0.5)
        tracing.after_loss(a_job(), 0.5)
    assert [(span.outcome, span.seconds, span.error) for span in spans] == [
        ("succeeded", 1.5, None),
        ("failed", 0.5, "ValueError: x\n  there"),
        ("lost", 0.5, None),
    ]
    assert caplog.messages[1] == (
        "task=t type=send queue=mail attempt=2 token=7 outcome=failed seconds=0.500000: ValueError: x"
    )
