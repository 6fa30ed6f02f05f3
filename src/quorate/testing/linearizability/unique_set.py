"""A set under a unique constraint: whoever inserts a value first has it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Insert:
    """Add ``value``. Answered with True, or with False if it was there already (a conflict)."""

    value: Hashable

    def __str__(self) -> str:
        return f"insert {self.value!r}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove ``value``. Answered with whether it was there, or with None where the answer does not tell."""

    value: Hashable

    def __str__(self) -> str:
        return f"delete {self.value!r}"


@dataclass(frozen=True, slots=True)
class Contains:
    """Ask whether ``value`` is there. Answered with a bool."""

    value: Hashable

    def __str__(self) -> str:
        return f"contains {self.value!r}"


Members: TypeAlias = frozenset[Hashable]


class UniqueSet(Model[Members]):
    """A set of values, empty at first. Values are independent: with ``key=value`` large histories check faster."""

    def initial(self) -> Members:
        """No values."""
        return frozenset()

    def step(self, state: Members, input: Any, output: Any) -> Members | None:
        """As :meth:`Model.step`."""
        present = input.value in state
        kind = type(input)
        if kind is Contains:
            return state if output is present else None
        if kind is Insert:
            if output is present:
                return None
            return state if present else state | {input.value}
        if output is not None and output is not present:
            return None
        return state - {input.value} if present else state

    def step_unknown(self, state: Members, input: Any) -> Members | None:
        """As :meth:`Model.step_unknown`."""
        kind = type(input)
        if kind is Insert:
            return state | {input.value}
        return state - {input.value} if kind is Delete else None

    def changes_nothing(self, operation: Operation) -> bool:
        """Questions, conflicts, and deletions of what was not there."""
        return type(operation.input) is Contains or (operation.outcome is Outcome.OK and operation.output is False)

    def prepared(self, operations: Sequence[Operation]) -> Model[Any]:
        """Knows until when each value is asked about."""
        return _WatchedSet(operations)


class _WatchedSet(UniqueSet):
    """A set in which an unknown change of a value may be forgotten if no answer tells of the value afterwards."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._told_until: dict[Hashable, float] = {}
        for operation in operations:
            if operation.outcome is Outcome.OK and operation.returned is not None and operation.output is not None:
                value = operation.input.value
                self._told_until[value] = max(self._told_until.get(value, operation.returned), operation.returned)

    def unobservable(self, operation: Operation) -> bool:
        """Questions; and changes that no answer comes after, for values do not touch one another."""
        until = self._told_until.get(operation.input.value, float("-inf"))
        return type(operation.input) is Contains or operation.invoked > until
