"""Whether a history is linearizable: what the clients saw could have come from one object, one step at a time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from quorate.testing.linearizability.explanation import explain
from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import History, Operation, Prefixes, by_key
from quorate.testing.linearizability.search import search

STEP_LIMIT = 1_000_000
"""How many steps are tried for one key before the search is given up: a few seconds."""


class Verdict(Enum):
    """What is known of a history."""

    LINEARIZABLE = "linearizable"
    """The operations can be ordered, within their times, so that every answer is right."""
    VIOLATION = "violation"
    """They cannot."""
    UNDECIDED = "undecided"
    """The search was given up. It is no excuse: choose shorter histories, more keys or fewer clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found."""

    verdict: Verdict
    steps: int
    """How much work it was: operations tried in some configuration, over all keys."""
    explanation: str
    """For people: one line, and for a violation the operations concerned, drawn over time."""
    key: Hashable = None
    """The first key whose operations cannot be ordered, or whose search was given up."""
    culprit: Operation | None = None
    """For a violation: the operation with whose answer the history first became impossible."""
    prefix: tuple[Operation, ...] = ()
    """For a violation: the shortest beginning of the key's history that is impossible.

    What had been invoked by then and was answered only later counts as UNKNOWN in it.
    """

    @property
    def linearizable(self) -> bool:
        """Whether an order was found for every key."""
        return self.verdict is Verdict.LINEARIZABLE

    def __str__(self) -> str:
        return self.explanation


def check(history: History, model: Model[Any], *, step_limit: int = STEP_LIMIT) -> CheckResult:
    """Judge ``history`` by ``model``, every key by itself.

    A history is linearizable if and only if its operations on each key are (Herlihy and Wing 1990, section 3.1).
    NOT_APPLIED operations are left out: an answer that needs one is a violation. ``step_limit`` holds for each key.
    A violation of one key outweighs that another could not be decided.
    """
    parts = by_key(history)
    steps = 0
    given_up: list[Hashable] = []
    for key, operations in parts.items():
        found = search(operations, model, step_limit)
        steps += found.steps
        if found.possible is None:
            given_up.append(key)
        elif found.stuck is not None:
            return _violation(key, operations, found.stuck, model, steps, step_limit)
    if given_up:
        where = f"{len(given_up)} of {len(parts)} keys, the first being {given_up[0]!r}"
        text = f"undecided: gave up after {step_limit} steps each on {where}"
        return CheckResult(verdict=Verdict.UNDECIDED, steps=steps, explanation=text, key=given_up[0])
    count = sum(map(len, parts.values()))
    text = f"linearizable: {count} operations on {len(parts)} keys, ordered in {steps} steps"
    return CheckResult(verdict=Verdict.LINEARIZABLE, steps=steps, explanation=text)


def _violation(
    key: Hashable, operations: list[Operation], stuck: Operation, model: Model[Any], steps: int, step_limit: int
) -> CheckResult:
    prefixes = Prefixes(operations)
    count = _shortest_impossible(prefixes, prefixes.index(stuck), model, step_limit)
    culprit = prefixes.answered(count)
    order = search(prefixes.prefix(count - 1), model, step_limit).order
    prefix = tuple(sorted(prefixes.prefix(count), key=lambda operation: operation.invoked))
    return CheckResult(
        verdict=Verdict.VIOLATION,
        steps=steps,
        explanation=explain(key, prefix, culprit, order, model),
        key=key,
        culprit=culprit,
        prefix=prefix,
    )


def _shortest_impossible(prefixes: Prefixes, low: int, model: Model[Any], step_limit: int) -> int:
    """How many answers make the history impossible.

    Not fewer than ``low``, where the search got stuck: it got there with every earlier answer explained. Most often
    just as many, but what is answered later, and counts as unknown in a prefix, may have made the search fail early.
    """
    high = len(prefixes)
    middle = low
    while low < high:
        # A prefix that is too hard to judge is taken for possible: then the prefix is longer than need be.
        if search(prefixes.prefix(middle), model, step_limit).possible is False:
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    return high
