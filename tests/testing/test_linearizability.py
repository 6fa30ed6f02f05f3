"""Histories that people have opinions on, and what the checker says of each."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.testing.linearizability import (
    Append,
    Bank,
    CompareAndSet,
    Contains,
    Counter,
    Delete,
    Increment,
    Insert,
    ListAppend,
    Model,
    Operation,
    Outcome,
    Read,
    Register,
    Transfer,
    UniqueSet,
    Verdict,
    Write,
    check,
)

BANK = Bank({"a": 5, "b": 5})
REGISTER, LIST, COUNTER, SET = Register(0), ListAppend(), Counter(), UniqueSet()
READ = Read()


def ok(process: int, input: Any, output: Any, invoked: float, returned: float) -> Operation:
    return Operation(process, input, output, invoked, returned, Outcome.OK)


def unknown(process: int, input: Any, invoked: float, gave_up: float | None = None) -> Operation:
    return Operation(process, input, None, invoked, gave_up, Outcome.UNKNOWN)


def refused(process: int, input: Any, invoked: float) -> Operation:
    return Operation(process, input, None, invoked, invoked + 1, Outcome.NOT_APPLIED)


GOOD: dict[str, tuple[Model[Any], list[Operation]]] = {
    "nothing happened": (REGISTER, []),
    "a read after a write sees it": (REGISTER, [ok(0, Write(1), None, 1, 2), ok(1, READ, 1, 3, 4)]),
    "a read beside a write sees the old value": (REGISTER, [ok(0, Write(1), None, 1, 4), ok(1, READ, 0, 2, 3)]),
    "a read beside a write sees the new value": (REGISTER, [ok(0, Write(1), None, 1, 4), ok(1, READ, 1, 2, 3)]),
    "what returns as another is invoked may be second": (
        REGISTER,
        [ok(0, Write(1), None, 1, 2), ok(1, READ, 0, 2, 3)],
    ),
    "two writes at once, in the order of their answers or the other": (
        REGISTER,
        [ok(0, Write(1), None, 1, 5), ok(1, Write(2), None, 1, 6), ok(2, READ, 2, 2, 3), ok(2, READ, 1, 7, 8)],
    ),
    "an unknown write that never took effect": (
        REGISTER,
        [ok(0, Write(1), None, 1, 2), unknown(1, Write(2), 3), ok(2, READ, 1, 4, 5), ok(2, READ, 1, 90, 91)],
    ),
    "an unknown write that took effect long after its caller gave up": (
        REGISTER,
        [
            ok(0, Write(1), None, 1, 2),
            unknown(1, Write(2), 3, gave_up=4),
            ok(2, READ, 1, 50, 51),
            ok(2, READ, 2, 52, 53),
        ],
    ),
    "two unknown writes of one value, each of which took effect": (
        REGISTER,
        [
            unknown(1, Write(2), 1),
            unknown(2, Write(2), 1),
            ok(0, READ, 2, 2, 3),
            ok(0, Write(1), None, 4, 5),
            ok(0, READ, 2, 6, 7),
        ],
    ),
    "an unknown write explains why a comparison failed": (
        REGISTER,
        [unknown(0, Write(9), 1), ok(1, CompareAndSet(0, 1), False, 2, 3)],
    ),
    "unknown comparisons that build on one another": (
        REGISTER,
        [
            unknown(0, CompareAndSet(2, 3), 1),
            unknown(1, CompareAndSet(1, 2), 1),
            unknown(2, CompareAndSet(0, 1), 1),
            ok(3, READ, 3, 5, 6),
        ],
    ),
    # Writing 5 before 2 works too at first, but uses up the unknown write that the last read needs.
    "an unknown write that is needed later": (
        REGISTER,
        [
            ok(0, Write(5), None, 1, 6),
            ok(1, Write(2), None, 1, 7),
            unknown(2, Write(5), 1),
            ok(3, READ, 2, 2, 3),
            ok(3, READ, 5, 4, 5),
            ok(0, Write(9), None, 8, 9),
            ok(0, READ, 5, 10, 11),
        ],
    ),
    "a counter that goes down and comes back": (
        COUNTER,
        [
            ok(0, Increment(1), None, 1, 2),
            ok(1, READ, 1, 3, 20),
            ok(0, Increment(-1), None, 4, 5),
            ok(0, READ, 0, 6, 7),
            ok(2, READ, 1, 12, 13),
            ok(0, Increment(1), None, 8, 9),
        ],
    ),
    "a refused write that nobody sees": (REGISTER, [refused(0, Write(1), 1), ok(1, READ, 0, 3, 4)]),
    "appends in any order while nobody looks": (LIST, [ok(n, Append(n), None, 0, 100) for n in range(40)]),
    "conflict beside the insert that won": (SET, [ok(0, Insert("x"), True, 1, 5), ok(1, Insert("x"), False, 2, 3)]),
    "a name that is free again": (
        SET,
        [ok(0, Insert("x"), True, 1, 2), ok(1, Delete("x"), True, 3, 4), ok(2, Insert("x"), True, 5, 6)],
    ),
    "an unknown transfer between two looks": (
        BANK,
        [
            ok(1, READ, {"a": 5, "b": 5}, 2, 3),
            unknown(0, Transfer("a", "b", 2), 1),
            ok(1, READ, {"a": 3, "b": 7}, 4, 5),
        ],
    ),
}

BAD: dict[str, tuple[Model[Any], list[Operation], int]] = {
    "stale read": (
        REGISTER,
        [ok(0, Write(1), None, 1, 2), ok(0, Write(2), None, 3, 4), ok(1, READ, 1, 5, 6)],
        2,
    ),
    "lost write": (REGISTER, [ok(0, Write(1), None, 1, 2), ok(1, READ, 0, 3, 4)], 1),
    "a write taken back after being seen": (
        REGISTER,
        [ok(0, Write(1), None, 1, 2), unknown(1, Write(2), 3), ok(2, READ, 2, 4, 5), ok(3, READ, 1, 6, 7)],
        3,
    ),
    "two reads beside a write see it come and go": (
        REGISTER,
        [ok(0, Write(1), None, 1, 9), ok(1, READ, 1, 2, 3), ok(2, READ, 0, 4, 5)],
        2,
    ),
    "read of a value never written": (REGISTER, [ok(0, Write(1), None, 1, 2), ok(1, READ, 7, 3, 4)], 1),
    "read of a value before it is written": (REGISTER, [ok(1, READ, 1, 1, 2), ok(0, Write(1), None, 3, 4)], 0),
    "split brain: both sides of a partition go their own way": (
        REGISTER,
        [
            ok(0, Write(1), None, 1, 2),
            ok(1, Write(2), None, 1, 2),
            ok(0, READ, 1, 3, 4),
            ok(1, READ, 2, 3, 5),
            ok(0, READ, 1, 6, 7),
        ],
        3,
    ),
    "two comparisons with one value succeed": (
        REGISTER,
        [ok(0, CompareAndSet(0, 1), True, 1, 3), ok(1, CompareAndSet(0, 2), True, 2, 4)],
        1,
    ),
    "an unknown write that takes effect twice": (
        REGISTER,
        [unknown(0, Write(1), 1), ok(1, READ, 1, 2, 3), ok(1, Write(2), None, 4, 5), ok(1, READ, 1, 6, 7)],
        3,
    ),
    "a refused write that appears": (REGISTER, [refused(0, Write(1), 1), ok(1, READ, 1, 3, 4)], 1),
    "an append applied twice": (LIST, [ok(0, Append(1), None, 1, 2), ok(1, READ, [1, 1], 3, 4)], 1),
    "an unknown append applied twice": (
        LIST,
        [unknown(0, Append(1), 1), ok(1, READ, [1], 2, 3), ok(1, READ, [1, 1], 4, 5)],
        2,
    ),
    "a list whose order changes": (
        LIST,
        [
            ok(0, Append(1), None, 1, 9),
            ok(1, Append(2), None, 1, 9),
            ok(2, READ, [1], 2, 3),
            ok(2, READ, [2, 1], 4, 5),
        ],
        3,
    ),
    "a list that loses its end": (
        LIST,
        [
            ok(0, Append(1), None, 1, 2),
            ok(0, Append(2), None, 3, 4),
            ok(1, READ, (1, 2), 5, 6),
            ok(1, READ, (1,), 7, 8),
        ],
        3,
    ),
    "an increment applied twice": (COUNTER, [ok(0, Increment(), 1, 1, 2), ok(0, Increment(), 3, 3, 4)], 1),
    "an increment lost between two": (
        COUNTER,
        [ok(0, Increment(), 1, 1, 5), ok(1, Increment(), 1, 1, 6)],
        1,
    ),
    "a counter that goes back": (
        COUNTER,
        [unknown(0, Increment(), 1), ok(1, READ, 1, 2, 3), ok(2, READ, 0, 4, 5)],
        2,
    ),
    "a unique value given away twice": (SET, [ok(0, Insert("x"), True, 1, 4), ok(1, Insert("x"), True, 2, 5)], 1),
    "a conflict with nobody": (SET, [refused(0, Insert("x"), 1), ok(1, Insert("x"), False, 3, 4)], 1),
    "an insert that nobody finds": (SET, [ok(0, Insert("x"), True, 1, 2), ok(1, Contains("x"), False, 3, 4)], 1),
    "money from nowhere": (
        BANK,
        [ok(0, Transfer("a", "b", 2), True, 1, 5), ok(1, READ, {"a": 5, "b": 7}, 2, 3)],
        1,
    ),
    "an account overdrawn": (
        BANK,
        [ok(0, Transfer("a", "b", 4), True, 1, 5), ok(1, Transfer("a", "b", 4), True, 1, 6)],
        1,
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    model, history = GOOD[name]
    result = check(history, model)
    assert result.verdict is Verdict.LINEARIZABLE, str(result)
    assert str(result).startswith("linearizable: ")


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    model, history, culprit = BAD[name]
    result = check(history, model)
    assert result.verdict is Verdict.VIOLATION
    assert result.culprit is history[culprit]
    # What happens afterwards does not blur who is to blame.
    later = [ok(9, each.input, each.output, 100, 101) for each in history if each.outcome is Outcome.OK]
    assert check([*later, *history], model).culprit is history[culprit]
