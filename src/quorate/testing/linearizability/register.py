"""A register: one value that is read, written, or replaced if it is what one thinks it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Write:
    """Make ``value`` the value, whatever it was. The answer is not looked at."""

    value: Hashable

    def __str__(self) -> str:
        return f"write {self.value!r}"


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Make ``new`` the value if it is ``expected``. Answered with whether it was."""

    expected: Hashable
    new: Hashable

    def __str__(self) -> str:
        return f"compare {self.expected!r} and set {self.new!r}"


Held: TypeAlias = tuple[Hashable]
"""The value, wrapped: a register may hold None, but no state is None."""


class Register(Model[Held]):
    """One value, which is hashable. :class:`Read` is answered with it, :class:`CompareAndSet` with a bool."""

    def __init__(self, value: Hashable = None) -> None:
        self.value = value

    def initial(self) -> Held:
        """The value that the register is created with."""
        return (self.value,)

    def step(self, state: Held, input: Any, output: Any) -> Held | None:
        """As :meth:`Model.step`."""
        kind = type(input)
        if kind is Read:
            return state if state[0] == output else None
        if kind is Write:
            return (input.value,)
        if (state[0] == input.expected) is not output:
            return None
        return (input.new,) if output else state

    def step_unknown(self, state: Held, input: Any) -> Held | None:
        """As :meth:`Model.step_unknown`."""
        kind = type(input)
        if kind is Write:
            return (input.value,)
        if kind is CompareAndSet and state[0] == input.expected:
            return (input.new,)
        return None

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads, and comparisons that failed."""
        kind = type(operation.input)
        refused = kind is CompareAndSet and operation.outcome is Outcome.OK and not operation.output
        return kind is Read or refused

    def prepared(self, operations: Sequence[Operation]) -> Model[Any]:
        """Knows until when each value is looked for."""
        return _WatchedRegister(self.value, operations)


class _WatchedRegister(Register):
    """Knows until when each value is looked for, and which values are held only once.

    So an unknown write may be forgotten if nobody looks for its value afterwards, and all reads of a value that has
    one writer must come before the next write.
    """

    def __init__(self, value: Hashable, operations: Sequence[Operation]) -> None:
        super().__init__(value)
        self._sought_until: dict[Hashable, float] = {}
        self._any_value_matters_until = float("-inf")
        self._makers = Counter([value])
        for operation in operations:
            self._note(operation)

    def _note(self, operation: Operation) -> None:
        asked = operation.input
        answered = operation.outcome is Outcome.OK and operation.returned is not None
        until = operation.returned if answered and operation.returned is not None else float("inf")
        if type(asked) is Read:
            if answered:
                self._seek(operation.output, until)
        elif type(asked) is Write:
            self._makers[asked.value] += 1
        elif type(asked) is CompareAndSet:
            if answered and not operation.output:
                # Any value but the expected one explains the failure.
                self._any_value_matters_until = max(self._any_value_matters_until, until)
            else:
                self._seek(asked.expected, until)
                self._makers[asked.new] += 1

    def _seek(self, value: Hashable, until: float) -> None:
        self._sought_until[value] = max(self._sought_until.get(value, until), until)

    def unobservable(self, operation: Operation) -> bool:
        """Reads; and what leaves a value that nothing looks for afterwards: whatever comes next overwrites it.

        Up to its being overwritten, the steps without it are those with it: nothing between the two can be a read or
        a comparison that succeeds, which look for the value, nor one that fails, which any value may explain.
        """
        asked = operation.input
        if type(asked) is Read:
            return True
        value = asked.value if type(asked) is Write else asked.new
        until = max(self._any_value_matters_until, self._sought_until.get(value, float("-inf")))
        return operation.invoked > until

    def only_state(self, operation: Operation) -> Held | None:
        """The value that was read, or found as expected, if the register comes to hold it once only."""
        asked = operation.input
        if type(asked) is Read:
            value = operation.output
        elif type(asked) is CompareAndSet and operation.output:
            value = asked.expected
        else:
            return None
        return (value,) if self._makers[value] == 1 else None
