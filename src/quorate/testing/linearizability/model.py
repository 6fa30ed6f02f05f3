"""What a correct object does when its operations come one after another: the contract of the models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from quorate.testing.linearizability.operations import Operation, Outcome

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for everything that the object holds."""

    def __str__(self) -> str:
        return "read"


class Model(ABC, Generic[State]):
    """A sequential object: a first state, and what each operation makes of a state.

    States are hashable, compare by value and are never ``None``. Models hold no state of their own, and what they
    answer depends on their arguments alone.

    Three methods say what the object is. The others have answers that are always right, and may be refined to make
    checking faster; a wrong refinement makes the checker wrong.
    """

    @abstractmethod
    def initial(self) -> State:
        """The state before the first operation."""

    @abstractmethod
    def step(self, state: State, input: Any, output: Any) -> State | None:
        """The state after ``input`` was answered with ``output`` in ``state``; None if that is no possible answer."""

    @abstractmethod
    def step_unknown(self, state: State, input: Any) -> State | None:
        """The state after ``input`` took effect in ``state``, its answer being unknown; None if it changes nothing."""

    def changes_nothing(self, operation: Operation) -> bool:
        """Whether ``operation``, with its answer if it has one, leaves every state as it is: reads and refusals."""
        return False

    def unobservable(self, operation: Operation) -> bool:
        """Whether an UNKNOWN ``operation`` may be left out: no order needs it to explain an answer."""
        return self.changes_nothing(operation)

    def prepared(self, operations: Sequence[Operation]) -> Model[Any]:
        """A model that judges these ``operations``, all of one key, as this one does, using what they tell."""
        return self

    def only_state(self, operation: Operation) -> State | None:
        """The one state in which an OK ``operation`` can have been answered so, if that state never comes back.

        It must be left for good by whatever is not told apart by :meth:`changes_nothing`.
        """
        return None

    def read_version(self, operation: Operation) -> int | None:
        """A number that never decreases from one state to the next, if ``operation`` is an OK read that shows one."""
        return None

    def describe(self, operation: Operation) -> str:
        """``operation`` and its answer in a few words."""
        if operation.outcome is Outcome.UNKNOWN:
            return f"{operation.input} -> ?"
        return f"{operation.input}" if operation.output is None else f"{operation.input} -> {operation.output!r}"
