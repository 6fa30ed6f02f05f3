"""What a client did and what it was told: the records that histories are made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias


class Outcome(Enum):
    """What its caller knows of an operation."""

    OK = "ok"
    """It was answered; ``output`` is the answer, be it a refusal. Its effect lies between invocation and return."""
    NOT_APPLIED = "not applied"
    """It certainly has no effect, now or later."""
    UNKNOWN = "unknown"
    """It may take effect once, at any time after its invocation, or never. When its caller gave up says nothing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client. A history is any iterable of them, in any order.

    Times may be seconds or numbers of events: only their order counts. Operations that share an instant, one
    returning and one invoked, count as concurrent, so a recorder that knows which came first should say so with
    different times (a simulator best counts its events).
    """

    process: int
    """The client, or the session: a process's operations follow one another."""
    input: Any
    """What was asked, in the model's words. Hashable inputs and outputs are checked faster."""
    output: Any
    """What was answered. Only looked at when the outcome is OK."""
    invoked: float
    returned: float | None
    """When the answer came. Only looked at, and needed, when the outcome is OK."""
    outcome: Outcome
    key: Hashable = None
    """The object that was addressed. Operations with different keys must be independent of one another."""

    def __post_init__(self) -> None:
        if self.outcome is Outcome.OK and (self.returned is None or not self.invoked <= self.returned):
            raise ValueError(f"an answered operation returns at or after its invocation: {self!r}")


History: TypeAlias = Iterable[Operation]


def by_key(history: History) -> dict[Hashable, list[Operation]]:
    """The operations that may have an effect or have an answer, per key: those NOT_APPLIED are left out."""
    found: dict[Hashable, list[Operation]] = {}
    for operation in history:
        if operation.outcome is not Outcome.NOT_APPLIED:
            found.setdefault(operation.key, []).append(operation)
    return found


def relaxed(operation: Operation) -> Operation:
    """The same request, had its answer not been received."""
    return replace(operation, outcome=Outcome.UNKNOWN, output=None, returned=None)


class Prefixes:
    """A history as it looked whenever one more answer had been received."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._open: list[Operation] = []
        self._answered: list[tuple[float, Operation]] = []
        for operation in operations:
            if operation.outcome is Outcome.OK and operation.returned is not None:
                self._answered.append((operation.returned, operation))
            elif operation.outcome is Outcome.UNKNOWN:
                self._open.append(operation)
        self._answered.sort(key=lambda pair: pair[0])

    def __len__(self) -> int:
        return len(self._answered)

    def answered(self, count: int) -> Operation:
        """The operation with the ``count``-th answer, from 1."""
        return self._answered[count - 1][1]

    def index(self, operation: Operation) -> int:
        """Which answer is ``operation``'s, or the first of those that came at the same instant."""
        return 1 + next(at for at, (returned, _) in enumerate(self._answered) if returned == operation.returned)

    def prefix(self, count: int) -> list[Operation]:
        """What had been invoked when ``count`` answers were there, what was answered later being UNKNOWN.

        If one prefix cannot be ordered then no longer one can: nothing that follows changes what was answered.
        """
        if not count:
            return []
        now = self._answered[count - 1][0]
        return [
            *(operation for _, operation in self._answered[:count]),
            *(relaxed(operation) for _, operation in self._answered[count:] if operation.invoked <= now),
            *(operation for operation in self._open if operation.invoked <= now),
        ]
