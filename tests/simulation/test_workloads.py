"""Each workload's judgement, shown histories that no correct cluster can have."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext
from quorate.models.machine import MACHINE
from quorate.rest.http import RequestError
from quorate.testing.simulation.clients import Ended, Operation
from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.notebook import NOTEBOOK, MemoryNotebook, Mismatch, add, append, compare_and_set, put
from quorate.testing.simulation.workloads import Appends, Bank, Increments, Registers, Seats, Workload


def operation(
    number: int, kind: str, key: str = "a", argument: Any = None, *, result: Any = None, ended: Ended = Ended.OK,
    invoked: float | None = None, completed: float | None = None, client: int = 1,
) -> Operation:  # fmt: skip
    """By default operation n lasts from n to n + 0.5."""
    began = float(number) if invoked is None else invoked
    return Operation(
        number, client, kind, key, argument, began, began + 0.5 if completed is None else completed, ended, result
    )


def notebook(*commands: bytes) -> Any:
    machine = MemoryNotebook(lambda: None)
    for index, command in enumerate(commands, start=1):
        try:
            machine.apply(command, ApplyContext(index, 1, index))
        except CommandFailed:
            pass
    return SimpleNamespace(machines={NOTEBOOK: machine})


def tables(**rows: list[tuple[Any, ...]]) -> Any:
    pages = {name: SimpleNamespace(page=lambda limit, offset, found=found: found) for name, found in rows.items()}
    return SimpleNamespace(machines={MACHINE: SimpleNamespace(tables=pages)})


def judge(workload: type[Workload], process: Any, *history: Operation) -> None:
    judged = workload(Random(0))
    judged.history = list(history)
    judged.check(process)


def test_good_histories_pass() -> None:
    judge(
        Increments,
        notebook(add("1.1", "hits", 5)),
        operation(1, "add", "hits", 5, result=5),
        operation(2, "total", "hits", result=5),
    )
    judge(
        Appends,
        notebook(append("1.1", "a", 7)),
        operation(1, "append", "a", 7, result=1),
        operation(2, "items", "a", result=[7]),
    )
    judge(
        Registers,
        notebook(put("1.1", "x", 7), compare_and_set("1.2", "x", 8, 9)),
        operation(1, "put", "x", 7),
        operation(2, "cas", "x", (8, 9), result=Mismatch("x")),
        operation(3, "read", "x", result=7),
    )  # fmt: skip
    taken = RequestError(409, "taken")
    judge(
        Seats,
        tables(Seat=[(b"1", 3, "1.1")]),
        operation(1, "take", "3", result={"id": "s1"}),
        operation(2, "take", "3", result=taken),
    )
    judge(
        Bank,
        tables(Account=[(1,), (2,)], Posting=[(b"1", "1.1", "a", 1, -5), (b"2", "1.1", "b", 2, 5)]),
        operation(1, "transfer", result=[]),
    )


@pytest.mark.parametrize(
    ("process", "history", "words"),
    [
        (notebook(), [operation(1, "add", "hits", 5, result=5)], "acknowledged, and applied 0 times"),
        (notebook(add("1.1", "hits", 5), add("1.1", "hits", 5)), [operation(1, "add", "hits", 5, result=5)], "2 times"),
        (
            notebook(add("1.1", "hits", 5)),
            [operation(1, "add", "hits", 5, ended=Ended.NOT_APPLIED)],
            "was applied all the same",
        ),
        (
            notebook(add("1.1", "hits", 5)),
            [operation(1, "add", "hits", 5, result=5), operation(2, "total", "hits", result=0)],
            "not linearizable",
        ),
    ],
    ids=["lost", "twice", "not applied", "stale read"],
)
def test_increments(process: Any, history: list[Operation], words: str) -> None:
    with pytest.raises(Violation, match=words):
        judge(Increments, process, *history)


@pytest.mark.parametrize(
    ("process", "history", "words"),
    [
        (notebook(append("1.1", "a", 7)), [operation(1, "append", "a", 7, result=2)], "another place"),
        (notebook(append("1.1", "a", 7), append("1.2", "a", 7)), [], "something twice"),
        (
            notebook(append("1.1", "a", 7), append("1.2", "a", 8)),
            [
                operation(1, "append", "a", 7, result=1),
                operation(2, "append", "a", 8, result=2),
                operation(3, "items", "a", result=[8, 7]),
            ],
            "not linearizable",
        ),
    ],
    ids=["place", "twice", "order"],
)
def test_appends(process: Any, history: list[Operation], words: str) -> None:
    with pytest.raises(Violation, match=words):
        judge(Appends, process, *history)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([operation(1, "put", "x", 7), operation(2, "read", "x", result=None)], "not linearizable"),
        ([operation(1, "put", "x", 7), operation(2, "cas", "x", (7, 8), result=Mismatch("x"))], "not linearizable"),
        ([operation(1, "put", "x", 7), operation(2, "read", "x", result=9)], "not linearizable"),
    ],
    ids=["stale read", "wrong refusal", "from nowhere"],
)
def test_registers(history: list[Operation], words: str) -> None:
    with pytest.raises(Violation, match=words):
        judge(Registers, notebook(put("1.1", "x", 7)), *history)


@pytest.mark.parametrize(
    ("rows", "history", "words"),
    [
        ([(b"1", 3, "1.1"), (b"2", 3, "2.1")], [], "taken twice"),
        ([], [operation(1, "take", "3", result={"id": "s1"})], "acknowledged, and is gone"),
        ([(b"1", 3, "1.1")], [operation(1, "take", "3", ended=Ended.NOT_APPLIED)], "applied all the same"),
        ([], [operation(1, "take", "3", result=RequestError(422, "no"))], "another reason"),
        ([(b"1", 3, "1.1")], [operation(1, "take", "3", result=RequestError(409, "taken"))], "refused, and is there"),
        ([], [operation(1, "take", "3", result=RequestError(409, "taken"))], "not linearizable"),
    ],
    ids=["twice", "lost", "not applied", "reason", "refused", "refused for nothing"],
)
def test_seats(rows: list[tuple[Any, ...]], history: list[Operation], words: str) -> None:
    with pytest.raises(Violation, match=words):
        judge(Seats, tables(Seat=rows), *history)


@pytest.mark.parametrize(
    ("postings", "history", "words"),
    [
        ([(b"1", "1.1", "a", 1, -5)], [], "do not add up"),
        ([(b"1", "1.1", "a", 1, -5), (b"2", "1.2", "b", 2, 5)], [], "has not two sides"),
        ([(b"1", "1.1", "a", 1, -5), (b"2", "1.1", "b", 9, 5)], [], "an account that does not exist"),
        ([], [operation(1, "transfer", result=[])], "in the end it is not there"),
        ([], [operation(1, "transfer", result=RequestError(422, "no"))], "another reason"),
    ],
    ids=["sum", "sides", "foreign key", "lost", "reason"],
)
def test_bank(postings: list[tuple[Any, ...]], history: list[Operation], words: str) -> None:
    with pytest.raises(Violation, match=words):
        judge(Bank, tables(Account=[(1,), (2,)], Posting=postings), *history)
