"""The leader has done what is due."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import apsw
import pytest

from quorate.node.ports import Engine
from quorate.tasks.clockwork import Clockwork
from quorate.tasks.commands import New, Schedule, Tick, decode_command
from quorate.tasks.declaration import Registry
from quorate.tasks.declared_schedules import differences
from quorate.tasks.lifecycle import State
from quorate.tasks.reading import Reading

from .support import FIRST_US, SPEC, Replica


class Alone:
    """An engine of one, which applies at once."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def propose(self, command: bytes, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(result=self._replica.do(decode_command(command)))

    async def read_barrier(self, **_: Any) -> None:
        pass


async def test_a_declared_schedule_that_is_refused_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quorate.tasks.store.schedules.SCHEDULES_MAX", 1)
    replica = Replica(tmp_path / "db")
    replica.do(Schedule("somebody's", "0 * * * *", "UTC", SPEC, b"{}", FIRST_US * 2))
    replica.submit(New(0, "later", b"{}", delay_us=1))
    registry = Registry()

    @registry.task(cron="0 7 * * *")
    async def report() -> None: ...

    clockwork = Clockwork(
        cast("Engine", Alone(replica)), replica.machine, lambda: True, lambda: replica.time_us, registry.types
    )
    running = asyncio.create_task(clockwork.run())
    async with asyncio.timeout(10):
        while replica.all()["later"].state is not State.READY:
            replica.later(1)
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert "report" in caplog.text
    replica.close()


def test_a_schedule_says_whether_the_program_declares_it(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db")
    replica.do(Schedule("somebody's", "0 * * * *", "UTC", SPEC, b"{}", FIRST_US * 2))
    registry = Registry()

    @registry.task(cron="0 7 * * *")
    async def report() -> None: ...

    for command in differences(registry.types, replica.machine.schedules, FIRST_US):
        replica.do(command)
    page = Reading(replica.machine).schedules("", 9)
    assert {schedule.name: schedule.declared for schedule in page.schedules} == {"report": True, "somebody's": False}
    replica.close()


async def test_the_clock_outlives_what_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quorate.tasks.clockwork.AGAIN_SECONDS", 0.01)
    replica = Replica(tmp_path / "db")
    replica.submit(New(0, "later", b"{}", delay_us=1))
    clockwork = Clockwork(cast("Engine", Alone(replica)), replica.machine, lambda: True, lambda: replica.time_us)
    due, failures = (
        clockwork.due,
        iter([apsw.ConnectionClosedError("a snapshot takes the file's place"), KeyError("x")]),
    )

    def due_at_last() -> Tick | None:
        for failure in failures:
            raise failure
        return due()

    monkeypatch.setattr(clockwork, "due", due_at_last)
    running = asyncio.create_task(clockwork.run())
    async with asyncio.timeout(10):
        while replica.all()["later"].state is not State.READY:
            replica.later(1)
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert caplog.text.count("what is due cannot be done now") == 2
    replica.close()
