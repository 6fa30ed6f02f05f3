"""Many tasks: every statement has its index, and neither memory nor a step grows with their number."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from quorate.tasks.commands import Claim, Claims, Command, New, Purge, RetryAll, Spec
from quorate.tasks.lifecycle import State

from .lives import RULES, Lives
from .support import Replica

PENDING = 100_000
MIB = 1 << 20
OF_ANY_LENGTH = ("task", "task_payload", "task_dependency", "task_news", "holder")
"""The tables that grow with the tasks."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What SQLite means to do for each statement of the machine in a long life."""
    lives, random = Lives(tmp_path_factory.mktemp("lives")), Random(1)
    statements: dict[str, int] = {}
    connection = lives.one.state.connection
    do = lives.one.do

    def note(_: object, sql: str, bindings: Any) -> bool:
        statements[sql] = len(bindings or ())
        return True

    def traced(command: Command) -> Any:
        connection.exec_trace = note
        try:
            return do(command)
        finally:
            connection.exec_trace = None

    lives.one.do = traced  # type: ignore[method-assign]
    for chosen in random.choices(list(RULES), list(RULES.values()), k=500):
        chosen(lives, random)
    found = {
        sql: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * bindings)]  # type: ignore[misc]
        for sql, bindings in statements.items()
        if "task" in sql
    }
    lives.close()
    return found


def test_no_statement_walks_through_all_tasks(plans: dict[str, list[str]]) -> None:
    assert len(plans) > 40
    for sql, steps in plans.items():
        takes_the_first = sql.endswith("FROM task_news ORDER BY sequence LIMIT 1")
        for step in steps:
            walks = step.startswith("SCAN ") and step.split()[1] in OF_ANY_LENGTH
            assert takes_the_first or not walks, (sql, step)
            assert "TEMP B-TREE" not in step, (sql, step)


@pytest.mark.parametrize(
    ("part", "index"),
    [
        ("ORDER BY priority DESC, sequence LIMIT", "task_ready (lane=?)"),
        ("next_us <= ? ORDER BY next_us, sequence", "task_due (next_us>? AND next_us<?)"),
        ("FROM task WHERE id = ?", "sqlite_autoindex_task_1 (id=?)"),
        ("WHERE unique_key = ?", "task_unique (unique_key=?)"),
        ("state NOT IN (2, 3) AND NOT EXISTS", "task_resting (lane=? AND state=?)"),
        ("state NOT IN (2, 3) AND next_us IS NOT 0 ORDER BY", "task_resting (lane=? AND state=?)"),
        ("DELETE FROM task_dependency WHERE dependent = ?", "task_dependent (dependent=?)"),
    ],
)
def test_what_is_asked_all_the_time_has_its_index(plans: dict[str, list[str]], part: str, index: str) -> None:
    asked = [steps for sql, steps in plans.items() if part in sql]
    assert asked
    for steps in asked:
        assert any(step.endswith(f"INDEX {index}") for step in steps), steps


def test_the_next_moment_is_found_without_a_walk(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db")
    replica.submit(*(New(0, f"t{number}", b"", delay_us=number + 9) for number in range(1_000)))
    assert steps_of(replica, lambda: replica.machine.upkeep.next_us) < 200


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the kernel does not say how much memory is used")
def test_a_hundred_thousand_pending_tasks_take_little_memory_and_no_longer_steps(tmp_path: Path) -> None:
    """(C: < 500 MB at 100k pending)"""
    replica, before = Replica(tmp_path / "db"), resident_bytes()
    short = Spec("mail", "expiring", ttl_ms=60_000)
    for first in range(0, PENDING, 1000):
        tasks = [New(0, f"task-{number:06d}", b'{"to": "somebody"}') for number in range(first, first + 1000)]
        replica.submit(*tasks, spec=short if first < PENDING // 2 else Spec("mail", "send", priority=first % 7))
    replica.state.commit()
    assert replica.machine.tables.queues["mail"].pending == PENDING
    assert resident_bytes() - before < 200 * MIB
    began = time.thread_time()
    replica.reopen()
    assert time.thread_time() - began < 0.5
    replica.later(61)
    assert steps_of(replica, lambda: replica.claim(10)) < 10_000_000, "also behind what has expired"
    for few in (
        lambda: replica.claim(10, types=("send",)),
        lambda: replica.submit(New(0, "one more", b"")),
        lambda: replica.tick(10),
        lambda: replica.do(Purge((int(State.CANCELLED), int(State.DEAD)), "mail", 10)),
        lambda: replica.do(Purge((int(State.READY),), None, 10)),
        lambda: replica.do(RetryAll()),
    ):
        assert steps_of(replica, few) < 20_000


def steps_of(replica: Replica, action: Any) -> int:
    """How many steps of its virtual machine SQLite takes, in hundreds."""
    counted = [0]

    def count() -> bool:
        counted[0] += 100
        return False

    replica.state.connection.set_progress_handler(count, 100)
    action()
    replica.state.connection.set_progress_handler(None)
    return counted[0]


def test_a_claim_looks_into_few_of_many_lanes(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db")
    for number in range(500):
        replica.add(f"{number}.1", f"{number}.2", spec=Spec(f"q{number % 10}", f"t{number}", priority=number % 7))
    replica.reopen()
    replica.claim()
    assert steps_of(replica, lambda: replica.claim(3)) < 2_000
    assert [lease.id for lease in replica.claim(3)] == ["20.1", "20.2", "27.1"]


def test_what_workers_offer_is_compared_once_with_the_lanes(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db")
    for number in range(2_000):
        replica.add(str(number), spec=Spec("q", f"t{number}"))
    names = tuple(f"n{number}" for number in range(999))
    claims = [Claim("w", 1, (*names, "q"), (*names, "t1999"))] * 64
    began = time.thread_time()
    leases = replica.do(Claims(claims))
    assert time.thread_time() - began < 0.3
    assert [lease.id for each in leases for lease in each] == ["1999"]
