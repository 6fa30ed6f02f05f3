"""A counter: a number that is added to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Increment:
    """Add ``amount``. Answered with the new number, or with None where the answer does not tell."""

    amount: int = 1

    def __str__(self) -> str:
        return f"increment by {self.amount}"


class Counter(Model[int]):
    """A number. :class:`Read` is answered with it."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def initial(self) -> int:
        """The number that the counter is created with."""
        return self.start

    def step(self, state: int, input: Any, output: Any) -> int | None:
        """As :meth:`Model.step`."""
        if type(input) is Increment:
            number: int = state + input.amount
            return number if output is None or output == number else None
        return state if output == state else None

    def step_unknown(self, state: int, input: Any) -> int | None:
        """As :meth:`Model.step_unknown`."""
        return state + input.amount if type(input) is Increment else None

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads."""
        return type(operation.input) is Read

    def prepared(self, operations: Sequence[Operation]) -> Model[Any]:
        """Knows whether it only grows."""
        amounts = [operation.input.amount for operation in operations if type(operation.input) is Increment]
        return _GrowingCounter(self.start) if min(amounts, default=1) > 0 else self

    def read_version(self, operation: Operation) -> int | None:
        """The number that was read: it never decreases while no amount is negative."""
        answered = operation.outcome is Outcome.OK and type(operation.input) is Read
        return int(operation.output) if answered else None


class _GrowingCounter(Counter):
    """A counter of which every increment leaves the number for good."""

    def only_state(self, operation: Operation) -> int | None:
        output: int | None = operation.output
        return output - operation.input.amount if type(operation.input) is Increment and output is not None else output
