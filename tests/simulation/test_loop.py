"""Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from quorate.testing.simulation.loop import Scheduler, SimulatedLoop, SimulationStuck


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


def process(scheduler: Scheduler, **settings: Any) -> SimulatedLoop:
    return SimulatedLoop(scheduler, "a process", Random(1), **settings)  # type: ignore[abstract]


def run(scheduler: Scheduler, main: Coroutine[Any, Any, Any]) -> Any:
    return scheduler.run(scheduler.world, main)


def test_time_jumps_to_the_next_timer(scheduler: Scheduler) -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(scheduler, main()) == pytest.approx(3600)
    assert scheduler.steps < 10


def test_what_is_due_at_once_runs_in_the_order_of_arming(scheduler: Scheduler) -> None:
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(5):
            loop.call_at(1.0, seen.append, number)
        loop.call_soon(seen.append, -1)
        cancelled = loop.call_later(0.5, seen.append, 99)
        cancelled.cancel()
        assert cancelled.cancelled()
        await asyncio.sleep(2)

    run(scheduler, main())
    assert seen == [-1, 0, 1, 2, 3, 4]


def test_the_usual_tools_work(scheduler: Scheduler) -> None:
    async def main() -> list[Any]:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, event.set)
        async with asyncio.timeout(1):
            await event.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await asyncio.gather(asyncio.to_thread(sum, (1, 2)), asyncio.sleep(0.1, "slept"))

    assert run(scheduler, main()) == [3, "slept"]


def test_a_thread_takes_time(scheduler: Scheduler) -> None:
    async def main() -> float:
        await asyncio.to_thread(int)
        return asyncio.get_running_loop().time()

    assert 0 < run(scheduler, main()) < 0.1


def test_nothing_left_to_do_is_an_error(scheduler: Scheduler) -> None:
    with pytest.raises(SimulationStuck, match="nothing is scheduled"):
        run(scheduler, asyncio.Event().wait())


def test_time_that_does_not_go_on_is_an_error(scheduler: Scheduler) -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 - that it never ends is the point
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuck, match="time does not go on"):
        run(scheduler, main())


def test_an_error_in_a_callback_ends_the_run(scheduler: Scheduler) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(scheduler, main())


def test_a_paused_process_does_nothing_and_finds_its_timers_overdue(scheduler: Scheduler) -> None:
    loop = process(scheduler)
    seen: list[tuple[float, str]] = []
    loop.call_later(1.0, lambda: seen.append((round(scheduler.now, 6), "one")))
    loop.call_later(2.0, lambda: seen.append((round(scheduler.now, 6), "two")))

    async def main() -> None:
        await asyncio.sleep(0.5)
        loop.pause(10.0)
        await asyncio.sleep(0.1)
        loop.call_soon(lambda: seen.append((round(scheduler.now, 6), "soon")))
        await asyncio.sleep(20)

    run(scheduler, main())
    assert seen == [(10.5, "soon"), (10.5, "one"), (10.5, "two")]
    assert loop.time() == pytest.approx(scheduler.now)


def test_a_suspended_process_does_not_notice(scheduler: Scheduler) -> None:
    loop = process(scheduler)
    seen: list[float] = []
    loop.call_later(1.0, lambda: seen.append(loop.time()))

    async def main() -> None:
        await asyncio.sleep(0.5)
        loop.pause(10.0, suspended=True)
        await asyncio.sleep(20)

    run(scheduler, main())
    assert seen == [pytest.approx(1.0)]
    assert loop.time() == pytest.approx(scheduler.now - 10.0)


def test_clocks_run_fast_and_slow(scheduler: Scheduler) -> None:
    fast, slow = process(scheduler, rate=2.0), process(scheduler)
    seen: list[tuple[str, float]] = []
    fast.call_later(2.0, lambda: seen.append(("fast", scheduler.now)))
    slow.call_later(2.0, lambda: seen.append(("slow", scheduler.now)))
    slow.set_rate(0.5)
    run(scheduler, asyncio.sleep(10))
    assert seen == [("fast", pytest.approx(1.0)), ("slow", pytest.approx(4.0))]


def test_slack_makes_timers_late_and_never_early(scheduler: Scheduler) -> None:
    loop = process(scheduler, slack_seconds=0.5)
    seen: list[float] = []
    for seconds in (0.1, 0.5, 0.6):
        loop.call_later(seconds, lambda: seen.append(scheduler.now))
    run(scheduler, asyncio.sleep(2))
    assert [round(when, 6) for when in seen] == [0.5, 0.5, 1.0]
    assert seen > [0.5, 0.5, 1.0]


def test_work_takes_time_from_its_process_only(scheduler: Scheduler) -> None:
    busy, other = process(scheduler), process(scheduler)
    seen: list[tuple[str, float]] = []

    def work() -> None:
        busy.use(3.0)
        seen.append(("clock", busy.time()))

    busy.call_soon(work)
    busy.call_soon(lambda: seen.append(("busy", scheduler.now)))
    other.call_soon(lambda: seen.append(("other", scheduler.now)))
    run(scheduler, asyncio.sleep(5))
    assert seen == [("clock", 3.0), ("other", 0.0), ("busy", 3.0)]
    assert busy.time() == pytest.approx(scheduler.now)


def test_a_dead_process_runs_nothing_but_ends_what_it_had(scheduler: Scheduler) -> None:
    loop = process(scheduler)
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            seen.append("worked")
        finally:
            seen.append("ended")

    loop.call_soon(lambda: loop.create_task(work()))

    async def main() -> None:
        await asyncio.sleep(0.5)
        loop.halt()
        loop.call_soon(seen.append, "called")
        loop.drain(asyncio.to_thread(seen.append, "last words"))
        await asyncio.sleep(5)

    run(scheduler, main())
    assert seen == ["called", "last words", "ended"]
