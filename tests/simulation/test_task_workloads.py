"""The judgement of the workloads of tasks: the reference agrees with the machine, and lies are found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec
import pytest

from quorate.errors import CommandFailed
from quorate.kv.machine import MACHINE as KEYS
from quorate.machine.commands import JOINT, Batch, Command, encode_batch
from quorate.machine.joint import Part, encode_parts
from quorate.machine.router import Router
from quorate.models.commands import Change, Check, Create
from quorate.models.commands import encode_command as encode_change
from quorate.models.machine import MACHINE as MODELS
from quorate.raft.entry import Entry, EntryKind
from quorate.tasks.commands import (
    Cancel,
    Claim,
    Claims,
    Completed,
    Configure,
    Enlist,
    Failed,
    Heartbeat,
    New,
    Purge,
    Released,
    Report,
    Retry,
    RetryAll,
    Schedule,
    Slot,
    Spec,
    Submit,
    Tick,
    Waive,
)
from quorate.tasks.errors import DoneBefore, StaleToken
from quorate.tasks.machine import MACHINE
from quorate.testing.simulation.clients import Ended, Operation
from quorate.testing.simulation.disk import DiskPlan, SimulatedDisk
from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.keys import KeysPlan, SimulatedKv
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.models import ModelsPlan, SimulatedModels
from quorate.testing.simulation.sqlite_state import SimulatedSqliteState
from quorate.testing.simulation.tasks import EVENTS, INSTALLED, TOGETHER, UNDONE, SimulatedTasks
from quorate.testing.simulation.workloads import TaskEffects, TaskLives
from quorate.testing.simulation.workloads.task_effects import NOBODY, NONSENSE, TOTAL, has_counter, has_receipt
from quorate.testing.simulation.workloads.task_facts import Carried, named
from quorate.testing.simulation.workloads.task_leases import check_leases
from quorate.testing.simulation.workloads.tasks import Glimpse, TasksWorkload, plain

STATE = Path("/simulated/state.sqlite")
SECOND_US = 1_000_000
MAIL = Spec("mail", "send", retention_ms=10_000_000)


class Log:
    """A log, a node that has applied it, and a workload whose operations it holds until a test says otherwise."""

    def __init__(self, kind: type[TasksWorkload] = TaskLives) -> None:
        disk = SimulatedDisk(Scheduler(), Random(1), DiskPlan(), Counter())
        disk.make_directories(STATE.parent)
        self.tasks = SimulatedTasks(lambda: None)
        self.keys = SimulatedKv(KeysPlan(), lambda: None)
        self.models = SimulatedModels(TaskEffects.apps[0], ModelsPlan(), lambda: None)
        self.entries: list[Entry] = []
        self.workload = kind(Random(0))
        self.numbers = 0
        machines = {MACHINE: self.tasks, KEYS: self.keys, MODELS: self.models}
        self.router = Router(machines, open_state=lambda path: SimulatedSqliteState(path, disk))
        self.router.open(STATE)
        self.add(Command(MODELS, encode_change(self.models.declarations.wanted), None, 1), 0)

    def add(self, command: Command, at: float) -> Any:
        """One more entry, at so many seconds of the log's time; returns its outcome."""
        batch = Batch(int(at * SECOND_US), 7, [command])
        entry = Entry(len(self.entries) + 1, 1, EntryKind.COMMANDS, encode_batch(batch))
        self.entries.append(entry)
        (outcome,) = self.router.apply(entry)
        return outcome

    def operation(self, kind: str, key: str = "", argument: Any = None, result: Any = None) -> Operation:
        """One that ended well: the n-th lasts from n to n + 0.5."""
        self.numbers += 1
        began = float(self.numbers)
        operation = Operation(self.numbers, 1, kind, key, argument, began, began + 0.5, Ended.OK, result)
        self.workload.history.append(operation)
        return operation

    def write(self, command: Any, *, at: float | None = None) -> Operation:
        """A command that is answered as it was carried out: the n-th at second n, unless told otherwise."""
        operation = self.operation("write", argument=command)
        outcome = self.add(Command(MACHINE, named(command, operation.name), None, 1), at or self.numbers)
        operation.result = outcome if isinstance(outcome, CommandFailed) else plain(outcome)
        self.workload.writes.append(operation)
        return operation

    def end(self, task_id: str, token: int, *, in_vain: str = "") -> Operation:
        """A joint command, as :class:`TaskEffects` has them."""
        requests = [[b"INCR", f"effect:{task_id}".encode()], [b"INCR", TOTAL]]
        if in_vain == "keys":
            requests.append([b"INCRBY", TOTAL, NONSENSE])
        operation = self.operation("end in vain" if in_vain else "end", task_id, token)
        report = named(Report([Completed(task_id, token)], strict=True), operation.name)
        parts = [Part(MACHINE, report)]
        if in_vain or has_receipt(token):
            parts.append(Part(MODELS, self.change(receipt(task_id), *([NOT_THERE] if in_vain == "models" else []))))
        if in_vain or has_counter(token):
            parts.append(Part(KEYS, msgspec.msgpack.encode(requests)))
        outcome = self.add(Command(JOINT, encode_parts(parts), None, 1), self.numbers)
        operation.result = outcome if isinstance(outcome, CommandFailed) else None
        return operation

    def change(self, *operations: Create | Check) -> bytes:
        """A change of models."""
        return encode_change(Change(list(operations), None, self.models.declarations.version))

    def judge(self) -> None:
        host = SimpleNamespace(node_id=1, invariants=SimpleNamespace(known=SimpleNamespace(committed=self.entries)))
        self.workload.check(SimpleNamespace(tasks=self.tasks, keys=self.keys, models=self.models, host=host))  # type: ignore[arg-type]


# -- the reference ---------------------------------------------------------------------------------------


def any_command(rng: Random, known: list[str]) -> Any:
    some = [rng.choice(known or ["nobody"]) for _ in range(2)]
    token = rng.randrange(1, 12)
    spec = Spec(
        rng.choice(("mail", "films")), rng.choice(("send", "cut")), rng.choice(((), ("gpu",))),
        priority=rng.choice((0, 9)), timeout_ms=rng.choice((0, 500)), max_retries=rng.choice((0, 2)),
        backoff_ms=rng.choice((50, 2000)), backoff_ms_max=1000, ttl_ms=rng.choice((0, 0, 900)),
        retention_ms=rng.choice((700, 10_000)),
    )  # fmt: skip
    new = f"task {rng.randrange(30)}"
    makers: list[Callable[[], Any]] = [
        lambda: Submit([spec], [New(0, new, b"1", delay_us=rng.choice((0, 300_000)))]),
        lambda: Submit([spec], [New(0, new, b"1", unique_key="red"), New(0, f"{new}!", b"2" * 2000)]),
        lambda: Submit([spec, MAIL], [New(0, new, b"1", depends_on=tuple(some)), New(1, f"{new}?", b"", depends_on=(new,))]),  # noqa: E501
        lambda: Claims([Claim("w", 2, lease_ms=400), Claim("v", 1, ("mail",), None, ("gpu",), 900)]),
        lambda: Claims([Claim("w", 3, None, None, ("gpu",), 300)]),
        lambda: Heartbeat("w", [(each, token) for each in some], 600),
        lambda: Report([Completed(some[0], token)], [Failed(some[1], token, "no")]),
        lambda: Report([], [Failed(each, token, "no", rng.random() < 0.7) for each in some]),
        lambda: Report(released=[Released(some[0], token)], strict=True),
        lambda: Cancel(some[0], force=rng.random() < 0.5),
        lambda: rng.choice((Retry(some[0]), RetryAll(None, 2))),
        lambda: Purge((rng.choice((0, 1, 2, 4, 5, 6, 7)), 6), rng.choice((None, "mail")), 2),
        lambda: Configure("mail", rng.random() < 0.2, rng.choice((3, 50))),
        lambda: Enlist("w", None, None, (), 1, 500),
        lambda: Schedule("daily", "0 0 * * *", "UTC", spec, b"null", SECOND_US),
        lambda: Tick(rng.choice((1, 3, 250)), [Slot("daily", rng.choice((1, 2)) * SECOND_US, 2 * SECOND_US)]),
        lambda: Waive("gpu", rng.choice((None, "mail")), rng.choice((1, 9))),
        lambda: Tick(),
    ]  # fmt: skip
    return rng.choice(makers)()


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_agrees_with_the_machine(seed: int) -> None:
    rng, log = Random(seed), Log()
    refused = 0
    for number in range(300):
        known = [task_id for (task_id,) in log.tasks.tables.connection.execute("SELECT id FROM task ORDER BY sequence")]
        refused += log.write(any_command(rng, known), at=1 + number / 10).refused
    assert 20 < refused < 280
    log.judge()


def one_of_each() -> Log:
    log = Log()
    log.write(Submit([MAIL], [New(0, name, b'"x"') for name in ("a", "b", "c")]))
    log.write(Submit([MAIL], [New(0, "d", b"1", depends_on=("a", "b"), unique_key="red")]))
    log.write(Claims([Claim("w", 2, lease_ms=4000)]))
    log.write(Report([Completed("a", 1, b"7")]))
    log.write(Enlist("w", None, None, (), 1, 9000))
    log.write(Schedule("daily", "0 0 * * *", "UTC", MAIL, b"null", 900 * SECOND_US))
    return log


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE task SET result = x'38' WHERE id = 'a'", "tasks: there is"),
        ("UPDATE task SET token = 9 WHERE id = 'b'", "tasks: there is"),
        ("UPDATE task SET next_us = next_us + 1 WHERE id = 'b'", "tasks: there is"),
        ("UPDATE task SET unique_key = NULL", "tasks: there is"),
        ("DELETE FROM task WHERE id = 'c'", "tasks: there is None"),
        ("DELETE FROM task_dependency WHERE target = 2", "dependencies: there is None"),
        ("UPDATE task_count SET tasks = 5 WHERE state = 4", "counts: there is 5"),
        ("UPDATE task_worker SET leaves_us = 1", "workers: there is 1"),
        ("UPDATE task_schedule SET last_us = 1", "schedules: there is"),
    ],
)
def test_a_state_that_the_log_does_not_lead_to(sql: str, words: str) -> None:
    log = one_of_each()
    log.judge()
    log.tasks.tables.connection.execute(sql)
    with pytest.raises(Violation, match=words):
        log.judge()


def test_counts_in_memory_that_the_log_does_not_lead_to() -> None:
    log = one_of_each()
    log.tasks.tables.numbers.token += 1
    with pytest.raises(Violation, match="numbers: there is 3"):
        log.judge()
    log = one_of_each()
    log.tasks.tables.queues["mail"].pending += 1
    with pytest.raises(Violation, match="queues: there is"):
        log.judge()


# -- what clients were told ------------------------------------------------------------------------------


def test_another_answer_than_the_logs() -> None:
    log = one_of_each()
    log.workload.writes[3].result = ["stale"]
    with pytest.raises(Violation, match="by the log it is"):
        log.judge()


def test_a_refusal_that_was_none() -> None:
    log = one_of_each()
    log.workload.writes[3].result = StaleToken("a", 1)
    with pytest.raises(Violation, match="was refused, and applied 1 times"):
        log.judge()


def test_another_refusal_than_the_logs() -> None:
    log = one_of_each()
    late = log.write(Report([Completed("a", 1)], strict=True))
    assert isinstance(late.result, DoneBefore)
    log.judge()
    late.result = StaleToken("a", 1)
    with pytest.raises(Violation, match="by the log it is"):
        log.judge()


def test_a_submit_that_is_not_in_the_log() -> None:
    log = one_of_each()
    log.workload.writes.append(log.operation("submit", result=[[2, False]]))
    with pytest.raises(Violation, match="acknowledged, and applied 0 times"):
        log.judge()


def test_what_was_said_not_to_be_and_is_there() -> None:
    log = one_of_each()
    log.workload.writes[0].ended = Ended.NOT_APPLIED
    with pytest.raises(Violation, match="was applied all the same"):
        log.judge()


def test_what_a_client_never_learned_may_be_either() -> None:
    log = one_of_each()
    log.workload.writes[0].ended = Ended.UNKNOWN
    lost = log.operation("submit")
    lost.ended = Ended.UNKNOWN
    log.workload.writes.append(lost)
    log.judge()
    assert lost.ended is Ended.NOT_APPLIED
    assert log.workload.writes[0].ended is Ended.OK


def test_a_log_in_another_order_than_that_of_the_clients() -> None:
    log = one_of_each()
    log.workload.writes[0].invoked, log.workload.writes[0].completed = 20.0, 21.0
    with pytest.raises(Violation, match="stands before it in the log"):
        log.judge()


@pytest.mark.parametrize(
    ("found", "good"),
    [
        (("a", 4, 1, 1, b"7"), True),
        (("a", 4, 1, 1, b"8"), False),
        (("a", 3, 1, 1, None), False),
        (("a", 4, 2, 1, b"7"), False),
        (("e", 2, 0, None, None), False),
    ],
)
def test_what_was_seen_of_a_task(found: tuple[Any, ...], good: bool) -> None:
    log = one_of_each()
    log.operation("look", "a", result=(7, found))
    if good:
        log.judge()
    else:
        with pytest.raises(Violation, match=r"by the log it is|its worker said"):
            log.judge()


def test_what_was_seen_of_a_node() -> None:
    log = one_of_each()
    change = tuple(log.tasks.feed.after(3, 1)[0])
    log.workload.glimpses = [Glimpse(1, 1, 4, [change], None), Glimpse(1, 1, 7, [change], 3.6)]
    log.judge()
    for wrong, words in (
        (Glimpse(1, 1, 6, [], None), "a node went back"),
        (Glimpse(2, 1, 6, [], 4.6), "a strong read had to see change 7"),
        (Glimpse(2, 1, 7, [(*change[:2], "b", *change[3:])], None), "a node told of"),
    ):
        log.workload.glimpses[2:] = [wrong]
        with pytest.raises(Violation, match=words):
            log.judge()


# -- leases ----------------------------------------------------------------------------------------------


def fail(found: str) -> NoReturn:
    raise Violation("leases", found)


def leased(*commands: tuple[float, Any, Any]) -> dict[str, Carried]:
    """Commands with the seconds of the log's time and their answers, behind one that adds a task."""
    submit = (0.0, Submit([MAIL], [New(0, "a", b"1")]), [(2, False)])
    all_of_them = [submit, *commands]
    return {
        str(number): Carried(int(at * SECOND_US), command, "", answer, number)
        for number, (at, command, answer) in enumerate(all_of_them)
    }


def given(at: float, token: int, until: float) -> tuple[float, Any, Any]:
    return at, Claims([Claim("w", 1)]), [[(1, "a", token, int(until * SECOND_US))]]


@pytest.mark.parametrize(
    ("between", "at", "good"),
    [
        ([], 5.0, True),
        ([], 4.9, False),
        ([(2.0, Heartbeat("w", [("a", 1)], 4000), [])], 6.0, True),
        ([(2.0, Heartbeat("w", [("a", 1)], 4000), [])], 5.5, False),
        ([(2.0, Heartbeat("w", [("a", 1)], 4000), ["a"])], 5.5, True),
        ([(2.0, Heartbeat("w", [("a", 1)], 1000), [])], 3.0, True),
        ([(2.0, Heartbeat("w", [("a", 0), ("a", 1)], 1000), ["a"])], 2.1, True),
        ([(2.0, Report(released=[Released("a", 1)]), ["ready"])], 2.1, True),
        ([(2.0, Report(released=[Released("a", 1)]), ["stale"])], 2.1, False),
        ([(2.0, Cancel("a", force=True), None), (2.1, Retry("a"), None)], 2.2, True),
        ([(2.0, Cancel("a"), None)], 2.2, False),
    ],
)
def test_nobody_else_has_the_task_while_a_lease_lasts(between: list[Any], at: float, good: bool) -> None:
    carried = leased(given(1.0, 1, 5.0), *between, given(at, 2, at + 5))
    if good:
        check_leases(carried, fail)
    else:
        with pytest.raises(Violation, match="a was given away"):
            check_leases(carried, fail)


def test_tokens_grow() -> None:
    for token in (1, 2):
        with pytest.raises(Violation, match=f"token {token} comes behind 2"):
            check_leases(leased(given(1.0, 2, 5.0), given(6.0, token, 9.0)), fail)


# -- effects ---------------------------------------------------------------------------------------------

NOT_THERE = Check("Receipt", NOBODY.bytes)


def receipt(task_id: str) -> Create:
    return Create("Receipt", ("id", "task"), [(None, task_id)])


def effects() -> Log:
    """Three tasks have succeeded: with a receipt, with a counter, with both."""
    log = Log(TaskEffects)
    log.write(Submit([MAIL], [New(0, name, b"1") for name in "abcd"]))
    log.write(Claims([Claim("w", 4, lease_ms=60_000)]))
    for token, task_id in enumerate("abc", 1):
        assert log.end(task_id, token).result is None
    assert isinstance(log.end("a", 1).result, DoneBefore)
    assert type(log.end("d", 4, in_vain="keys").result).__name__ == "KeysRefused"
    assert type(log.end("d", 4, in_vain="models").result).__name__ == "InTransaction"
    assert isinstance(log.end("d", 9).result, StaleToken)
    return log


def test_effects() -> None:
    log = effects()
    log.judge()
    assert (log.tasks.fired[TOGETHER], log.tasks.fired[UNDONE]) == (3, 2)
    log.end("d", 4)
    log.judge()


@pytest.mark.parametrize(
    ("key", "words"), [("effect:b", "is there b'2' times"), ("effect:a", "is there b'1' times"), ("paid", "3 effects")]
)
def test_counters_without_the_end_of_their_task(key: str, words: str) -> None:
    log = effects()
    log.add(Command(KEYS, msgspec.msgpack.encode([[b"INCR", key.encode()]]), None, 1), 20)
    with pytest.raises(Violation, match=words):
        log.judge()


@pytest.mark.parametrize(("task_id", "count"), [("a", 2), ("b", 1), ("d", 1), ("x", 1)])
def test_receipts_without_the_end_of_their_task(task_id: str, count: int) -> None:
    log = effects()
    log.add(Command(MODELS, log.change(receipt(task_id)), None, 1), 20)
    with pytest.raises(Violation, match=f"there are {count} receipts of {task_id}"):
        log.judge()


def test_numbers_of_what_was_taken_back() -> None:
    log = effects()
    log.models.events.last += 1
    with pytest.raises(Violation, match="at odds with themselves"):
        log.judge()


@pytest.mark.parametrize(
    ("consistency", "seen", "words"),
    [
        ("strong", ["a", "c"], ""),
        ("eventually", ["a"], ""),
        ("strong", ["a"], "had to see the receipts of {'c'}"),
        ("eventually", ["a", "a"], "2 receipts of a were seen"),
        ("eventually", ["b"], "1 receipts of b were seen"),
        ("eventually", ["d"], "1 receipts of d were seen"),
    ],
)
def test_looks_at_receipts(consistency: str, seen: list[str], words: str) -> None:
    log = effects()
    log.operation("look at receipts", "", consistency, seen)
    if words:
        with pytest.raises(Violation, match=words):
            log.judge()
    else:
        log.judge()


@pytest.mark.parametrize(("place", "result"), [(2, StaleToken("a", 1)), (8, None), (8, DoneBefore("d", 9))])
def test_effects_of_which_something_else_was_told(place: int, result: Any) -> None:
    log = effects()
    log.workload.history[place].result = result
    with pytest.raises(Violation, match="has ended under lease"):
        log.judge()


@pytest.mark.parametrize("place", [6, 7])
def test_effects_that_had_to_be_refused(place: int) -> None:
    log = effects()
    log.workload.history[place].result = None
    with pytest.raises(Violation, match="one of its effects is refused"):
        log.judge()


# -- the machine of a simulated node ---------------------------------------------------------------------


def test_what_is_due() -> None:
    log = one_of_each()
    assert log.tasks.is_anything_due(6 * SECOND_US)  # d is to learn of the end of a
    log.write(Tick(), at=6)
    assert not log.tasks.is_anything_due(6 * SECOND_US)
    assert log.tasks.is_anything_due(8 * SECOND_US)  # the lease of b
    log.write(Tick(), at=8)
    assert not log.tasks.is_anything_due(8 * SECOND_US)
    assert log.tasks.is_anything_due(32 * SECOND_US)  # the worker
    log.write(Tick(), at=32)
    assert log.tasks.is_anything_due(900 * SECOND_US)  # the schedule
    log.write(Cancel("b"), at=33)
    assert log.tasks.is_anything_due(33 * SECOND_US)  # d is to learn of that, too


def test_what_happened_is_counted() -> None:
    log = one_of_each()
    log.judge()
    assert not any(log.tasks.fired[each] for each in EVENTS)
    assert log.router._state is not None
    log.tasks.open(log.router._state)
    assert log.tasks.fired[INSTALLED] == 1
