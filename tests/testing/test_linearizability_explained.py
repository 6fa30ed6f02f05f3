"""What the checker says besides its verdict: who is to blame, what was applied though refused, whose time went back."""

from __future__ import annotations

import pytest

from quorate.testing.linearizability import (
    Append,
    CompareAndSet,
    Contains,
    Counter,
    Delete,
    Increment,
    Insert,
    ListAppend,
    Operation,
    Outcome,
    Read,
    Register,
    Transfer,
    Write,
    applied_though_refused,
    check,
    monotonic_reads,
    read_your_writes,
)
from tests.testing.test_linearizability import COUNTER, LIST, READ, REGISTER, ok, refused, unknown


def test_a_violation_is_explained() -> None:
    history = [
        ok(0, Write(1), None, 1, 2),
        ok(0, Write(2), None, 3, 6),
        ok(1, READ, 2, 4, 5),
        ok(2, READ, 1, 7, 9),
        unknown(3, Write(3), 8.5),
        ok(4, READ, 2, 8, 10),
        ok(4, READ, 2, 11, 12),
    ]
    assert str(check(history, REGISTER)).splitlines() == [
        "not linearizable",
        "  process 2 was told: read -> 1 (invoked 7, returned 9)",
        "  what was answered before can be ordered, for example: write 1, write 2, read -> 2",
        "  that answer would last be right in it before: write 2 (process 0, 3 to 6)",
        "  [-]                  process 0: write 1",
        "      [-----]          process 0: write 2",
        "        [-]            process 1: read -> 2",
        "              [-----]  process 2: read -> 1  <-- cannot be",
        "                [----> process 4: read -> ?",
        "                  [--> process 3: write 3 -> ?",
    ]


def test_only_the_operations_that_matter_are_drawn() -> None:
    history = [ok(0, Write(n), None, 2 * n, 2 * n + 1) for n in range(1, 200)]
    history.append(ok(1, READ, 120, 500, 501))
    lines = str(check(history, REGISTER)).splitlines()
    assert len(lines) < 30
    assert "write 121 (process 0, 242 to 243)" in lines[3]
    assert any(line.endswith("process 0: write 120") for line in lines)


def test_long_answers_are_shortened() -> None:
    history = [ok(0, READ, list(range(1000)), 1, 2)]
    assert max(map(len, str(check(history, LIST)).splitlines())) < 160
    assert "read -> [0, 1, 2" in str(check(history, LIST))
    assert "998, 999]" in str(check(history, LIST))


def test_refused_operations_that_took_effect_are_named() -> None:
    history = [
        refused(0, Write(1), 1),
        refused(1, Write(2), 1),
        ok(2, READ, 2, 3, 4),
        refused(3, Write(2), 9),
    ]
    assert applied_though_refused(history, REGISTER) == (history[1],)
    assert applied_though_refused(history[:2], REGISTER) == ()
    elsewhere = Operation(2, READ, 7, 20, 21, Outcome.OK, key="another")
    assert applied_though_refused([*history, elsewhere], REGISTER) == (history[1],)
    # A violation that they do not explain is none of their doing.
    assert applied_though_refused([*history, ok(2, READ, 7, 20, 21)], REGISTER) == ()


def test_a_session_that_sees_time_go_back() -> None:
    history = [
        ok(0, READ, [1, 2], 1, 2),
        ok(1, READ, [1], 3, 4),
        ok(0, READ, [1], 5, 6),
        ok(0, READ, [1, 2, 3], 7, 8),
        unknown(0, READ, 9),
    ]
    found = monotonic_reads(history, LIST.read_version)
    assert [(each.earlier, each.later) for each in found] == [(history[0], history[2])]
    assert str(found[0]) == "process 0 saw version 1 at 5 (by read) after version 2 at 2 (by read)"
    assert monotonic_reads(history[3:], LIST.read_version) == []


def test_reads_of_a_session_that_overlap_are_not_compared() -> None:
    assert monotonic_reads([ok(0, READ, 5, 1, 4), ok(0, READ, 3, 2, 3)], COUNTER.read_version) == []


def test_a_session_that_does_not_see_its_own_write() -> None:
    def written(operation: Operation) -> int | None:
        return operation.output if isinstance(operation.input, Increment) else None

    history = [ok(0, Increment(), 1, 1, 2), ok(1, READ, 0, 3, 4), ok(0, READ, 0, 5, 6), ok(0, READ, 1, 7, 8)]
    found = read_your_writes(history, written, COUNTER.read_version)
    assert [(each.earlier, each.later) for each in found] == [(history[0], history[2])]


def test_versions_are_read_off_answered_reads_alone() -> None:
    read = Operation(0, Read(), [7, 8], 1, 2, Outcome.OK)
    assert ListAppend().read_version(read) == 2
    assert ListAppend().read_version(Operation(0, Append(1), None, 1, 2, Outcome.OK)) is None
    assert ListAppend().read_version(Operation(0, Read(), None, 1, None, Outcome.UNKNOWN)) is None
    assert Counter().read_version(Operation(0, Read(), 5, 1, 2, Outcome.OK)) == 5
    assert Register().read_version(read) is None


def test_operations_are_described_in_a_few_words() -> None:
    model = Register()
    assert model.describe(Operation(0, Write("a"), None, 1, 2, Outcome.OK)) == "write 'a'"
    assert model.describe(Operation(0, Write("a"), None, 1, None, Outcome.UNKNOWN)) == "write 'a' -> ?"
    assert model.describe(Operation(0, CompareAndSet(1, 2), False, 1, 2, Outcome.OK)) == "compare 1 and set 2 -> False"
    asked = [Read(), Append(1), Increment(), Insert(1), Delete(1), Contains(1), Transfer("a", "b", 1)]
    assert [str(each) for each in asked] == [
        "read",
        "append 1",
        "increment by 1",
        "insert 1",
        "delete 1",
        "contains 1",
        "transfer 1 from 'a' to 'b'",
    ]


@pytest.mark.parametrize("returned", [None, 0.5])
def test_an_answered_operation_returns_after_it_was_invoked(returned: float | None) -> None:
    with pytest.raises(ValueError, match="returns at or after its invocation"):
        Operation(0, Read(), 1, 1, returned, Outcome.OK)
