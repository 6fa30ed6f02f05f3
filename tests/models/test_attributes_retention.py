"""A2.16: ``retention``: history goes by the log's time, in bounded steps, and only what is over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quorate.errors import NotLeader
from quorate.machine.contract import ApplyContext
from quorate.machine.outcome import Applied
from quorate.models import Model, field, machine
from quorate.models.commands import Change, Command, Create, Patch, Retain, encode_command
from quorate.models.retention import is_over, retain_for_ever
from quorate.node.reads import Consistency

from .support import Replica

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Part(Model):
    id: int = field(primary_key=True)
    name: str = field(audited=True, retention=timedelta(days=1))
    price: int = field(default=0, track_history=True, retention=timedelta(days=10))
    place: str = field(default="", track_history=True)


class Tracked(Model):
    id: int = field(primary_key=True)
    name: str = field(track_history=True, retention=timedelta(seconds=1))


def at(replica: Replica, time_us: int, command: Command) -> Any:
    replica.index += 1
    return replica.machine.apply(encode_command(command), ApplyContext(replica.index, 1, time_us))


def entries(replica: Replica, key: int, model: str = "Part") -> list[dict[str, object]]:
    found = replica.machine.histories[model].of(key, 0, 100)
    return [{name: change.new for name, change in entry.changes.items()} for entry in found]


def test_each_field_is_kept_for_its_own_time(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Part])
    at(replica, DAY, Change([Create("Part", ("id", "name", "price", "place"), [(1, "a", 1, "x")])]))
    at(replica, 2 * DAY, Change([Patch("Part", 1, ("name",), ("b",))]))
    at(replica, 3 * DAY, Change([Patch("Part", 1, ("price",), (2,))]))
    assert not is_over(replica.machine, 2 * DAY)
    assert at(replica, 2 * DAY, Retain()) == 0
    assert is_over(replica.machine, 2 * DAY + 1)
    assert at(replica, 2 * DAY + 1, Retain()) == 1
    assert entries(replica, 1) == [{"price": 1, "place": "x"}, {"name": "b"}, {"price": 2}]
    at(replica, 4 * DAY, Retain())
    assert entries(replica, 1) == [{"price": 1, "place": "x"}, {"price": 2}]
    at(replica, 30 * DAY, Retain())
    assert entries(replica, 1) == [{"place": "x"}]  # what is kept for ever
    assert not is_over(replica.machine, 10**6 * DAY)
    assert at(replica, 10**6 * DAY, Retain()) == 0
    replica.close()


def test_a_step_is_bounded_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RETAIN_AT_ONCE", 4)
    replica = Replica(tmp_path / "db", [Tracked])
    at(replica, 1, Change([Create("Tracked", ("id", "name"), [(number, "a") for number in range(10)])]))
    assert [at(replica, 2 * SECOND, Retain()) for _ in range(4)] == [4, 4, 2, 0]
    assert all(entries(replica, number, "Tracked") == [] for number in range(10))
    replica.close()


def test_whether_something_is_over_is_seen_from_the_first_entry_alone(tmp_path: Path) -> None:
    """A history of any length costs the same: nothing old is behind an entry that is not."""
    replica = Replica(tmp_path / "db", [Tracked])
    connection = replica.state.connection
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "INSERT INTO history_model_tracked SELECT i, i, 1, ?, 0, NULL, 'updated', '', x'80' FROM n",
        (100 * SECOND,),
    )
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    connection.set_progress_handler(count, 100)
    assert not is_over(replica.machine, 100 * SECOND)
    assert at(replica, 100 * SECOND, Retain()) == 0
    connection.set_progress_handler(None)
    assert steps < 100  # of 100 instructions each
    replica.close()


class Leading:
    """An engine whose clock is that of the log; ``refusals`` are raised first."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.now_us = SECOND
        self.leads = False
        self.proposed = 0
        self.looked = asyncio.Event()
        self.refusals: list[Exception] = []

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        self.proposed += 1
        if self.refusals:
            raise self.refusals.pop()
        self.replica.index += 1
        context = ApplyContext(self.replica.index, 1, self.now_us)
        return Applied(self.replica.index, 1, self.replica.machine.apply(command, context))

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        self.looked.set()

    def flush(self) -> None: ...


async def test_the_leader_proposes_as_long_as_there_is_something_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "RETAIN_AT_ONCE", 4)
    replica = Replica(tmp_path / "db", [Tracked])
    engine = Leading(replica)
    at(replica, SECOND, Change([Create("Tracked", ("id", "name"), [(number, "a") for number in range(10)])]))

    def leads() -> bool:
        engine.looked.set()
        return engine.leads

    async def rounds(count: int) -> None:
        for _ in range(count):
            engine.looked.clear()
            await engine.looked.wait()

    task = asyncio.create_task(retain_for_ever(replica.machine, engine, leads, lambda: engine.now_us, 0.001))
    engine.now_us = 3 * SECOND
    await rounds(3)
    assert engine.proposed == 0, "only the leader does"
    engine.leads, engine.now_us = True, 2 * SECOND
    await rounds(3)
    assert engine.proposed == 0, "nothing is over yet"
    engine.refusals, engine.now_us = [NotLeader(None)], 3 * SECOND
    async with asyncio.timeout(10):
        while entries(replica, 9, "Tracked"):  # noqa: ASYNC110 - nothing tells when it does
            await asyncio.sleep(0.001)
    await rounds(5)
    assert engine.proposed == 4, "one that was refused, and three of 4, 4 and 2"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    replica.close()
