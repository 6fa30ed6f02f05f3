"""D101: a handler that says it cannot work gets no tasks, and the cluster is told why."""

from __future__ import annotations

import asyncio
import threading

import pytest

from quorate.tasks.declaration import Registry
from quorate.tasks.worker import Worker, health
from quorate.tasks.worker.health import HealthChecks

from .fake import FakeSource
from .support import working


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HealthChecks.__init__, "__kwdefaults__", {"every_seconds": 0.02, "check_seconds_max": 0.2})


class Printer:
    """A task, and what its check says."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self.registry = Registry()

        @self.registry.task(health=self.check)
        async def print_out() -> str:
            return "printed"

        @self.registry.task()
        async def other() -> None: ...

    async def check(self) -> str | None:
        return self.wrong


async def test_while_something_is_wrong_no_tasks_of_that_type_are_claimed() -> None:
    printer, source = Printer(), FakeSource()
    printer.wrong = "out of paper"
    (waiting,) = await source.add("print_out")
    async with working(printer.registry, source) as worker:
        await source.until_ended(*await source.add("other"))
        assert {claim.types for claim in source.claims} == {("other",)}
        await source.until(lambda: source.heartbeats[-1].health == "print_out: out of paper")
        assert worker.health == "print_out: out of paper"
        printer.wrong = None
        await source.until(lambda: worker.health == "")
        await source.until_ended(*await source.add("other"))  # the claim under way was made for that type alone
        await source.until_ended(waiting)
        await source.until(lambda: source.heartbeats[-1].health == "")


async def test_what_comes_although_its_type_has_become_unhealthy_is_given_back() -> None:
    printer, source = Printer(), FakeSource()
    async with working(printer.registry, source) as worker:
        printer.wrong = "out of paper"
        await source.until(lambda: worker.health != "")
        (task_id,) = await source.add("print_out")  # to the claim that waits
        await source.until(lambda: worker.metrics.total("released") == 1)
        assert task_id not in source.results
        assert [task.attempt for task in source.ready] == [0]


@pytest.mark.parametrize("kind", ["raises", "sync", "never ends", "blocks", "says something else"])
async def test_checks_of_all_kinds(kind: str) -> None:
    go_on, calls = threading.Event(), []

    def sync() -> str | None:
        return "wrong"

    async def raises() -> str | None:
        raise OSError("no printer")

    async def never() -> str | None:
        await asyncio.Event().wait()
        return None

    def blocks() -> str | None:
        calls.append(1)
        go_on.wait()
        return None

    async def odd() -> object:
        return 17

    checks = {"raises": raises, "sync": sync, "never ends": never, "blocks": blocks, "says something else": odd}
    said = {
        "raises": "its check failed: OSError: no printer",
        "sync": "wrong",
        "never ends": "its check takes longer than 0.2 s",
        "blocks": "its check takes longer than 0.2 s",
        "says something else": "17",
    }
    registry, source = Registry(), FakeSource()

    @registry.task(health=checks[kind])  # type: ignore[arg-type]
    async def print_out() -> None: ...

    @registry.task()
    async def other() -> None: ...

    async with working(registry, source) as worker:
        assert worker.health == f"print_out: {said[kind]}"
        await asyncio.sleep(0.5)
        assert len(calls) == (kind == "blocks"), "one that does not answer is not asked again"
        go_on.set()


def test_what_is_said_is_bounded() -> None:
    registry = Registry()
    for number in range(50):
        registry.task(name=f"task{number}", health=lambda: "x" * 10_000)(lambda: None)
    checks = HealthChecks(registry.types, lambda: None)
    checks.wrong = dict.fromkeys(registry.types, "x" * health.TEXT_CHARACTERS_MAX)
    assert len(checks.report()) == health.REPORT_CHARACTERS_MAX
    assert Worker(registry, FakeSource()).health == ""
