"""Judges a run by its record: are the calls linearizable, and do the lists hold at the end what was told of them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import quorate.testing.linearizability as lin
from quorate.ops.calls.record import NOT_APPLIED, OK, Call, Thing, Verb

EXAMPLES_MAX = 3


def judge_calls(calls: Sequence[Call]) -> list[str]:
    """What is not linearizable in ``calls``, object by object; and refused calls that were carried out all the same."""
    on = {thing: [_operation(c) for c in calls if c.key[0] == thing and c.verb is not Verb.COUNT] for thing in Thing}
    histories: list[tuple[list[lin.Operation], lin.Model[Any]]] = [
        (on[Thing.REGISTER], lin.Register(0)),
        (on[Thing.CLAIM], lin.UniqueSet()),
        (on[Thing.LIST], lin.ListAppend()),
        ([_counted(call) for call in calls if call.verb in (Verb.APPEND, Verb.COUNT)], lin.Counter()),
    ]
    findings = []
    for history, model in histories:
        result = lin.check(history, model)
        if not result.linearizable:
            applied = lin.applied_though_refused(history, model)
            told = "".join(f"\nwas refused and applied all the same: {operation}" for operation in applied)
            findings.append(f"{type(model).__name__} {result.key}: {result.verdict.value}\n{result}{told}")
    return findings


def _operation(call: Call) -> lin.Operation:
    name = call.key[1]
    inputs: dict[Verb, Any] = {
        Verb.WRITE: lin.Write(call.value),
        Verb.READ: lin.Read(),
        Verb.INSERT: lin.Insert(name),
        Verb.DELETE: lin.Delete(name),
        Verb.CONTAINS: lin.Contains(name),
        Verb.APPEND: lin.Append(call.value),
    }
    return _asked(call, inputs[call.verb])


def _counted(call: Call) -> lin.Operation:
    return _asked(call, lin.Increment() if call.verb is Verb.APPEND else lin.Read())


def _asked(call: Call, asked: Any) -> lin.Operation:
    outcomes = {OK: lin.Outcome.OK, NOT_APPLIED: lin.Outcome.NOT_APPLIED}
    outcome = outcomes.get(call.outcome, lin.Outcome.UNKNOWN)
    return lin.Operation(call.client, asked, call.answer, call.invoked, call.returned, outcome, call.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListVerdict:
    """The rows of the lists at the end, held against what was told of each append."""

    acknowledged: int
    lost: int
    """Acknowledged values that are not there."""
    duplicated: int
    """Values that are there more than once."""
    refused_but_there: int
    """Values of which it was said that they are not applied."""
    never_sent: int
    """Values that nobody appended."""
    examples: tuple[str, ...] = field(default=(), compare=False)
    """Some of them, for people."""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    @property
    def broken(self) -> int:
        """How many were not."""
        return self.lost + self.duplicated + self.refused_but_there + self.never_sent

    def __str__(self) -> str:
        numbers = {
            "lost": self.lost,
            "there more than once": self.duplicated,
            "there though refused": self.refused_but_there,
            "there though never sent": self.never_sent,
        }
        told = ", ".join(f"{count:,} {what}" for what, count in numbers.items() if count) or "nothing broken"
        examples = f" ({'; '.join(self.examples)})" if self.examples else ""
        return f"{told}{examples}; {self.acknowledged:,} appends were acknowledged"


def judge_lists(calls: Iterable[Call], held: dict[str, list[int]]) -> ListVerdict:
    """Compare the values in each list with the appends to it."""
    appends = [call for call in calls if call.verb is Verb.APPEND]
    told = {outcome: {(c.key[1], c.value) for c in appends if c.outcome == outcome} for outcome in (OK, NOT_APPLIED)}
    there = Counter((name, value) for name, values in held.items() for value in values)
    broken = {
        "lost": told[OK] - there.keys(),
        "twice": {each for each, times in there.items() if times > 1},
        "refused": told[NOT_APPLIED] & there.keys(),
        "never sent": there.keys() - {(call.key[1], call.value) for call in appends},
    }
    return ListVerdict(
        acknowledged=len(told[OK]),
        lost=len(broken["lost"]),
        duplicated=len(broken["twice"]),
        refused_but_there=len(broken["refused"]),
        never_sent=len(broken["never sent"]),
        examples=tuple(
            f"{what}: {value} in {name}"
            for what, values in broken.items()
            for name, value in sorted(values)[:EXAMPLES_MAX]
        ),
    )
