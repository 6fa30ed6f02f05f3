"""What a worker makes of tasks: how they end, and what it says of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from quorate.errors import ConfigError, NotApplied, OutcomeUnknown
from quorate.tasks.commands import Completed, Failed, Released
from quorate.tasks.declaration import Registry
from quorate.tasks.errors import InvalidTask, TooMany
from quorate.tasks.worker import Reject, RetryLater, Worker, current
from quorate.tasks.worker import worker as worker_module
from quorate.tasks.worker.job import Effects

from .fake import FakeSource
from .support import working


class Tasks:
    """A program's tasks."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go_on = asyncio.Event()
        task = self.registry.task

        @task()
        async def add(a: int, b: int = 1) -> int:
            return a + b

        @task()
        def add_slowly(a: int, b: int = 1) -> int:
            return a + b

        @task()
        async def wait() -> str:
            job = current()
            self.begun.append(job.task_id)
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled.append(job.task_id)
                raise
            return "done"

        @task()
        async def stubborn() -> str:
            self.begun.append(current().task_id)
            while not self.go_on.is_set():
                try:
                    await self.go_on.wait()
                except asyncio.CancelledError:
                    self.cancelled.append("stubborn")
            return "late"

        @task()
        async def raises(what: str) -> None:
            errors: dict[str, BaseException] = {
                "ValueError": ValueError("no good"),
                "Reject": Reject("never"),
                "RetryLater": RetryLater("1.5s", "not now"),
                "SystemExit": SystemExit(1),
                "KeyboardInterrupt": KeyboardInterrupt(),
                "CancelledError": asyncio.CancelledError(),
                "Surrogate": ValueError("\ud800"),
                "Unprintable": _Unprintable(),
            }
            raise errors[what]

        @task()
        def raises_in_a_thread() -> None:
            raise SystemExit(1)

        @task()
        async def returns(what: str) -> int:
            returned: dict[str, Any] = {"text": "x", "object": object(), "nothing": None}
            return returned[what]  # type: ignore[no-any-return]

        @task()
        async def returns_anything() -> Any:
            return float("nan")

        @task(exactly_once=True)
        async def counts(fail: bool = False) -> None:
            current().effects.key("INCRBY", "n", 1)
            if fail:
                raise ValueError

        @task()
        async def counts_wrongly() -> None:
            current().effects.key("INCRBY", "n", 1)


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


async def test_tasks_are_done_on_the_loop_and_in_threads(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source) as worker:
        ids = await source.add("add", 50, a=1) + await source.add("add_slowly", 50, a=2, b=3)
        await source.until_ended(*ids)
        assert {source.results[task_id] for task_id in ids[:50]} == {2}
        assert {source.results[task_id] for task_id in ids[50:]} == {5}
        assert source.leased == {}
        assert worker.metrics.counts["add", "succeeded"] == worker.metrics.counts["add_slowly", "succeeded"] == 50
        assert worker.metrics.seconds["add"].count == 50


async def test_no_more_than_its_concurrency_are_done_at_a_time_and_slow_ones_are_not_fetched_ahead(
    tasks: Tasks, source: FakeSource
) -> None:
    async with working(tasks.registry, source, concurrency=3) as worker:
        await source.add("wait", 10)
        await source.until(lambda: len(tasks.begun) == 3)
        assert (worker.running, len(source.leased), len(source.ready)) == (3, 3, 7)
        tasks.go_on.set()
        await source.until(lambda: len(source.ended) == 10)


async def test_of_fast_tasks_many_are_fetched_and_reported_at_a_time(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, concurrency=2):
        source.latency = 0.005
        await source.add("add", 2000, a=1)
        await source.until(lambda: len(source.ended) == 2000)
    assert max(claim.limit for claim in source.claims) > 50
    assert len(source.reports) < 200


async def test_what_was_fetched_ahead_and_cannot_be_begun_soon_is_given_back(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, concurrency=1) as worker:
        await source.add("add", 500, a=1)
        await source.until(lambda: len(source.ended) == 500)
        await source.add("wait", 100)
        await source.until(lambda: len(tasks.begun) == 1)
        await source.until(lambda: len(source.leased) > 1)
        await source.until(lambda: len(source.leased) == 1)
        assert worker.metrics.total("released") > 0
        assert len(source.ready) == 99
        assert all(task.attempt == 0 for task in source.ready)


@pytest.mark.parametrize(
    ("what", "error", "may_retry", "delay_ms"),
    [
        ("ValueError", "ValueError: no good", True, -1),
        ("Reject", "never", False, -1),
        ("RetryLater", "not now", True, 1500),
        ("SystemExit", "SystemExit: 1", True, -1),
        ("KeyboardInterrupt", "KeyboardInterrupt: ", True, -1),
        ("CancelledError", "CancelledError: ", True, -1),
        ("Surrogate", "ValueError: ?", True, -1),
        ("Unprintable", "_Unprintable: (its text cannot be had)", True, -1),
    ],
)
async def test_a_handler_that_raises(
    tasks: Tasks, source: FakeSource, what: str, error: str, may_retry: bool, delay_ms: int
) -> None:
    async with working(tasks.registry, source):
        (task_id,) = await source.add("raises", what=what)
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error.splitlines()[0] == error
        assert (ended.may_retry, ended.delay_ms) == (may_retry, delay_ms)
        if what == "ValueError":
            assert ended.error.splitlines()[1].endswith("in raises")
        (after,) = await source.add("add", a=1)
        await source.until_ended(after)


async def test_a_thread_survives_what_its_handler_raises(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, concurrency=1):
        for _ in range(2):
            (task_id,) = await source.add("raises_in_a_thread")
            await source.until_ended(task_id)
            ended = source.ended[task_id]
            assert isinstance(ended, Failed)
            assert ended.error.startswith("SystemExit: 1")


@pytest.mark.parametrize(
    ("type", "payload", "error"),
    [
        ("returns", {"what": "text"}, "returns returned what its annotation does not say"),
        ("returns", {"what": "object"}, "returns returned what its annotation does not say"),
        ("returns", {"what": "nothing"}, "returns returned what its annotation does not say"),
        ("returns_anything", {}, "returns_anything returned what cannot be stored as JSON"),
        ("add", {"a": "x"}, "payload: add: a: "),
        ("add", {"c": 1}, "payload: add: a: "),
    ],
)
async def test_what_can_never_succeed_is_not_tried_again(
    tasks: Tasks, source: FakeSource, type: str, payload: dict[str, Any], error: str
) -> None:
    async with working(tasks.registry, source):
        (task_id,) = await source.add(type, **payload)
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error.startswith(error)
        assert not ended.may_retry


# -- time ------------------------------------------------------------------------------------------------


async def test_an_async_job_is_cancelled_when_its_time_is_over(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source):
        (task_id,) = await source.add("wait", timeout_ms=50)
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error == "it took longer than 0.05 s and was stopped"
        assert ended.may_retry
        assert tasks.cancelled == [task_id]


async def test_a_job_that_does_not_stop_keeps_its_place_and_its_lease_is_given_up(
    tasks: Tasks, source: FakeSource
) -> None:
    async with working(tasks.registry, source, concurrency=1, lease="1s") as worker:
        (task_id,) = await source.add("stubborn", timeout_ms=20)
        await source.until(lambda: bool(source.heartbeats) and source.heartbeats[-1].health == "1 job does not stop")
        assert source.heartbeats[-1].leases == []
        assert worker.running == 1
        tasks.go_on.set()
        (after,) = await source.add("add", a=1)
        await source.until_ended(after)
        assert task_id not in source.ended, "what it returned in the end counts for nothing"
        assert worker.health == ""


# -- leases ----------------------------------------------------------------------------------------------


async def test_leases_are_prolonged_while_jobs_run(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, lease="1s"):
        (task_id,) = await source.add("wait")
        await source.until(lambda: [beat.leases for beat in source.heartbeats].count([(task_id, 2)]) >= 5)
        assert tasks.cancelled == []
        tasks.go_on.set()
        await source.until_ended(task_id)
        count = len(source.heartbeats)
        await source.until(lambda: len(source.heartbeats) > count + 1)
        assert source.heartbeats[-1].leases == []


async def test_a_lost_lease_cancels_the_job_and_its_result_is_not_reported(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, lease="4s") as worker:
        (task_id,) = await source.add("wait")
        await source.until(lambda: tasks.begun == [task_id])
        await source.take_away(task_id)
        beats = len(source.heartbeats)
        await source.until(lambda: tasks.cancelled == [task_id])
        assert len(source.heartbeats) == beats + 1, "it learns that from the next heartbeat, not when the time is over"
        (after,) = await source.add("add", a=1)
        await source.until_ended(after)
        assert source.ended.keys() == {after}
        assert all(each.id != task_id for report in source.reports for each in (*report.completed, *report.failed))
        assert worker.metrics.counts["wait", "lost"] == 1


async def test_a_lease_that_could_not_be_prolonged_in_time_stops_the_job(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, lease="1s"):
        source.failing["heartbeat"] = NotApplied("no leader")
        (task_id,) = await source.add("wait")
        await source.until(lambda: tasks.begun == [task_id])
        await source.until(lambda: tasks.cancelled == [task_id])
        assert task_id not in source.ended


async def test_a_task_that_comes_again_means_that_its_first_lease_was_lost(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, concurrency=2):
        (task_id,) = await source.add("wait")
        await source.until(lambda: tasks.begun == [task_id])
        await source.take_away(task_id, again=True)
        await source.until(lambda: tasks.begun == [task_id, task_id])
        await source.until(lambda: tasks.cancelled == [task_id] or bool(source.ready))
        tasks.go_on.set()
        await source.until_ended(task_id)
        assert isinstance(source.ended[task_id], Completed)


async def test_a_worker_that_was_taken_for_gone_comes_again(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source, lease="1s"):
        await source.until(lambda: "w" in source.workers)
        source.workers.clear()
        await source.until(lambda: "w" in source.workers)


# -- reports ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NotApplied("no leader"), OutcomeUnknown("no answer")])
async def test_an_outcome_is_reported_until_the_cluster_takes_it(
    tasks: Tasks, source: FakeSource, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tasks.registry, source):
        source.failing["report"] = error  # type: ignore[assignment]
        (task_id,) = await source.add("add", a=1)
        await source.until(lambda: caplog.text.count("are on their way") > 1)
        del source.failing["report"]
        await source.until_ended(task_id)
        assert source.results[task_id] == 2


async def test_one_result_that_is_refused_does_not_hold_up_the_others(tasks: Tasks, source: FakeSource) -> None:
    ids = await source.add("add", 4, a=1)
    source.refuse = lambda said: (
        InvalidTask("result", "json", "no") if isinstance(said, Completed) and said.id == ids[1] else None
    )
    async with working(tasks.registry, source):
        await source.until_ended(*ids)
        ended = source.ended[ids[1]]
        assert isinstance(ended, Failed)
        assert "its result was refused" in ended.error
        assert not ended.may_retry
        assert len(source.results) == 3


async def test_effects_go_with_the_completion_and_those_of_a_failure_are_dropped(
    tasks: Tasks, source: FakeSource
) -> None:
    async with working(tasks.registry, source):
        ids = await source.add("counts", 100, exactly_once=True)
        wrong = await source.add("counts", exactly_once=True, fail=True)
        undeclared = await source.add("counts_wrongly")
        await source.until_ended(*ids, *wrong, *undeclared)
        assert source.effects.keys() == set(ids)
        assert {tuple(effects.keys[0]) for effects in source.effects.values()} == {("INCRBY", "n", "1")}
        ended = source.ended[undeclared[0]]
        assert isinstance(ended, Failed)
        assert "exactly_once=True" in ended.error


async def test_effects_that_are_refused_fail_the_task(tasks: Tasks, source: FakeSource) -> None:
    source.refuse = lambda said: TooMany("keys", 1) if isinstance(said, Completed) else None
    async with working(tasks.registry, source):
        (task_id,) = await source.add("counts", exactly_once=True)
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error.startswith("its effects were refused: there are 1 keys already")
        assert ended.may_retry


async def test_effects_that_cannot_be_sent_fail_the_task(source: FakeSource) -> None:
    registry = Registry()

    @registry.task(exactly_once=True)
    async def says(value: str) -> None:
        current().effects.key("SET", "k", chr(0xD800) if value == "half a letter" else value)

    send = source.complete_with

    async def complete_with(completed: Completed, effects: Effects) -> None:
        msgspec.json.encode(effects)
        await send(completed, effects)

    source.complete_with = complete_with  # type: ignore[method-assign]
    async with working(registry, source) as worker:
        (wrong,) = await source.add("says", exactly_once=True, value="half a letter")
        (right,) = await source.add("says", exactly_once=True, value="a letter")
        await source.until_ended(wrong, right)
        ended = source.ended[wrong]
        assert isinstance(ended, Failed)
        assert ended.error.startswith("its effects were refused: ")
        assert not ended.may_retry
        assert worker.running == 0


async def test_effects_are_sent_until_the_cluster_takes_them(tasks: Tasks, source: FakeSource) -> None:
    async with working(tasks.registry, source):
        source.failing["complete_with"] = OutcomeUnknown("no answer")
        (task_id,) = await source.add("counts", exactly_once=True)
        await source.until(lambda: task_id in source.leased)
        await asyncio.sleep(0)
        del source.failing["complete_with"]
        await source.until_ended(task_id)


# -- the end ---------------------------------------------------------------------------------------------


async def test_a_worker_that_stops_does_what_it_has_begun_and_says_goodbye(tasks: Tasks, source: FakeSource) -> None:
    worker = Worker(tasks.registry, source, name="w", concurrency=2)
    running = asyncio.create_task(worker.run())
    ids = await source.add("wait", 5)
    await source.until(lambda: len(tasks.begun) == 2)
    worker.stop()
    claims = len(source.claims)
    tasks.go_on.set()
    async with asyncio.timeout(5):
        assert await running is True
    assert {task_id for task_id in ids if task_id in source.ended} == set(tasks.begun)
    assert len(tasks.begun) == 2
    assert len(source.claims) == claims
    assert (source.workers, source.leased) == ({}, {})


async def test_a_worker_that_stops_gives_back_what_it_has_not_begun(tasks: Tasks, source: FakeSource) -> None:
    worker = Worker(tasks.registry, source, name="w", concurrency=1)
    running = asyncio.create_task(worker.run())
    await source.add("add", 500, a=1)
    await source.until(lambda: len(source.results) == 500)  # a worker that was slow may have given some back before
    await source.add("wait", 50)
    await source.until(lambda: len(source.leased) > 1)
    worker.stop()
    tasks.go_on.set()
    async with asyncio.timeout(5):
        assert await running is True
    assert source.leased == {}
    assert len(source.ready) == 50 - len(tasks.begun)
    assert any(isinstance(said, Released) for said in source.ended.values())


async def test_jobs_that_go_on_too_long_are_stopped_and_will_be_tried_again(tasks: Tasks, source: FakeSource) -> None:
    worker = Worker(tasks.registry, source, name="w", drain_seconds=0.1)
    running = asyncio.create_task(worker.run())
    (task_id,) = await source.add("wait")
    await source.until(lambda: tasks.begun == [task_id])
    worker.stop()
    async with asyncio.timeout(5):
        assert await running is False
    ended = source.ended[task_id]
    assert isinstance(ended, Failed)
    assert (ended.may_retry, ended.delay_ms) == (True, 0)
    assert tasks.cancelled == [task_id]


async def test_a_slow_cluster_has_the_rest_of_the_time_to_drain_to_hear_how_jobs_ended(
    tasks: Tasks, source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "LAST_WORDS_SECONDS", 0.01)
    source.failing["report"] = NotApplied("no leader")
    worker = Worker(tasks.registry, source, name="w")
    running = asyncio.create_task(worker.run())
    (task_id,) = await source.add("add", a=1)
    await source.until(lambda: "are on their way" in caplog.text)
    worker.stop()
    await source.until(lambda: caplog.text.count("are on their way") > 2)
    del source.failing["report"]
    async with asyncio.timeout(5):
        assert await running is True
    assert source.results[task_id] == 2


async def test_outcomes_that_no_cluster_takes_are_given_up_in_the_end(
    tasks: Tasks, source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "LAST_WORDS_SECONDS", 0.01)
    source.failing["report"] = NotApplied("no leader")
    worker = Worker(tasks.registry, source, name="w", drain_seconds=0.1)
    running = asyncio.create_task(worker.run())
    await source.add("add", a=1)
    await source.until(lambda: "are on their way" in caplog.text)
    worker.stop()
    async with asyncio.timeout(5):
        assert await running is False


async def test_a_worker_that_is_told_twice_stops_at_once(tasks: Tasks, source: FakeSource) -> None:
    worker = Worker(tasks.registry, source, name="w")
    running = asyncio.create_task(worker.run())
    await source.add("wait")
    await source.until(lambda: len(tasks.begun) == 1)
    worker.stop()
    await asyncio.sleep(0)
    assert not running.done()
    worker.stop(at_once=True)
    async with asyncio.timeout(3):
        assert await running is False
    assert len(tasks.cancelled) == 1


async def test_a_cluster_that_does_not_answer_is_waited_for_and_a_stop_is_heard_meanwhile(
    tasks: Tasks, source: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    source.failing["enlist"] = NotApplied("no node could be reached")
    worker = Worker(tasks.registry, source, name="w")
    running = asyncio.create_task(worker.run())
    await source.until(lambda: "does not answer" in caplog.text)
    worker.stop()
    async with asyncio.timeout(5):
        assert await running is True


async def test_a_cluster_that_does_not_want_a_worker_is_believed(tasks: Tasks, source: FakeSource) -> None:
    source.failing["enlist"] = TooMany("workers", 10)
    with pytest.raises(TooMany):
        await Worker(tasks.registry, source, name="w").run()


async def test_claims_that_fail_are_made_again(
    tasks: Tasks, source: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    source.failing["claim"] = NotApplied("no leader")
    async with working(tasks.registry, source):
        (task_id,) = await source.add("add", a=1)
        del source.failing["claim"]
        await source.until_ended(task_id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is 1 to 1000"),
        ({"queues": ["no spaces"]}, "queues: should be 1 to 100 letters"),
        ({"capabilities": ["?"]}, "capabilities: "),
        ({"lease": "10ms"}, "a lease is 1 to 3600 seconds"),
        ({"lease": "soon"}, "should be seconds"),
        ({"name": "no spaces"}, "name: "),
    ],
)
def test_settings_that_make_no_sense(tasks: Tasks, source: FakeSource, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Worker(tasks.registry, source, **options)


def test_a_worker_without_tasks_makes_no_sense(source: FakeSource) -> None:
    with pytest.raises(ConfigError, match="declares no tasks"):
        Worker(Registry(), source)


def test_a_function_that_another_process_cannot_find_is_refused_at_once(source: FakeSource) -> None:
    registry = Registry()

    @registry.task(timeout="1s")
    def inner() -> None: ...

    with pytest.raises(ConfigError, match="not one inside of another function"):
        Worker(registry, source)


def test_there_is_no_job_outside_of_one() -> None:
    with pytest.raises(ConfigError):
        current()
