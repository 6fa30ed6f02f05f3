"""A list that only grows: the order of what happened can be read off its answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Append:
    """Put ``value`` at the end. The answer is not looked at."""

    value: Hashable

    def __str__(self) -> str:
        return f"append {self.value!r}"


Values: TypeAlias = tuple[Hashable, ...]


class ListAppend(Model[Values]):
    """A list, empty at first. :class:`Read` is answered with all its values, as a list or a tuple."""

    def initial(self) -> Values:
        """No values."""
        return ()

    def step(self, state: Values, input: Any, output: Any) -> Values | None:
        """As :meth:`Model.step`."""
        if type(input) is Append:
            return (*state, input.value)
        return state if len(output) == len(state) and tuple(output) == state else None

    def step_unknown(self, state: Values, input: Any) -> Values | None:
        """As :meth:`Model.step_unknown`."""
        return (*state, input.value) if type(input) is Append else None

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads."""
        return type(operation.input) is Read

    def prepared(self, operations: Sequence[Operation]) -> Model[Any]:
        """Follows the longest list that was read."""
        reads = (op for op in operations if op.outcome is Outcome.OK and type(op.input) is Read)
        answers: list[Values] = [tuple(op.output) for op in reads]
        return _FollowedList(max(answers, key=len, default=()))

    def read_version(self, operation: Operation) -> int | None:
        """The length that was read."""
        answered = operation.outcome is Outcome.OK and type(operation.input) is Read
        return len(operation.output) if answered else None


class _FollowedList(Model[int]):
    """A list that was once read to be ``longest``, and never longer: its state is how many values it has.

    Until that read every state is a beginning of ``longest``, for values are never moved. After ``longest`` was
    exceeded there can be no more reads, so it does not matter by what: all such states are one.
    """

    def __init__(self, longest: Values) -> None:
        self._longest = longest
        self._length = len(longest)
        self._values = frozenset(longest)

    def initial(self) -> int:
        return 0

    def step(self, state: int, input: Any, output: Any) -> int | None:
        if type(input) is Append:
            return self._appended(state, input.value)
        return state if len(output) == state and tuple(output) == self._longest[:state] else None

    def step_unknown(self, state: int, input: Any) -> int | None:
        return self._appended(state, input.value) if type(input) is Append else None

    def _appended(self, state: int, value: Hashable) -> int | None:
        if state >= self._length:
            return self._length + 1
        return state + 1 if value == self._longest[state] else None

    def changes_nothing(self, operation: Operation) -> bool:
        return type(operation.input) is Read

    def unobservable(self, operation: Operation) -> bool:
        """Reads; and appends of what no read shows, for such can take effect only after all reads."""
        return type(operation.input) is Read or operation.input.value not in self._values
