"""A register whose value has a deadline, in a time of its own that every operation says it was carried out at."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import Operation


@dataclass(frozen=True, slots=True)
class PutUntil:
    """Make ``value`` the value until ``deadline``, 0 for ever. The answer is not looked at."""

    value: Hashable
    deadline: int

    def __str__(self) -> str:
        return f"put {self.value!r} until {self.deadline}"


@dataclass(frozen=True, slots=True)
class Prolong:
    """At ``at``, give the value another deadline. Answered with whether there is one."""

    at: int
    deadline: int

    def __str__(self) -> str:
        return f"have it live until {self.deadline}, at {self.at}"


@dataclass(frozen=True, slots=True)
class Take:
    """At ``at``, remove the value. Answered with it, or with None."""

    at: int

    def __str__(self) -> str:
        return f"take, at {self.at}"


@dataclass(frozen=True, slots=True)
class ReadAt:
    """At ``at``, look. Answered with the value, or with None where there is none or its time is over."""

    at: int

    def __str__(self) -> str:
        return f"read, at {self.at}"


Held: TypeAlias = tuple[Hashable, int]
"""The value, None where there is none, and its deadline, 0 for none."""


class ExpiringRegister(Model[Held]):
    """Empty at first. A value is there before its deadline, and is gone from then on."""

    def initial(self) -> Held:
        """Nothing."""
        return (None, 0)

    def step(self, state: Held, input: Any, output: Any) -> Held | None:
        """As :meth:`Model.step`."""
        if type(input) is PutUntil:
            return (input.value, input.deadline)
        value, deadline = state
        live = value if not deadline or deadline > input.at else None
        if type(input) is Prolong:
            if (live is not None) is not output:
                return None
            return (value, input.deadline) if output else state
        if output != live:
            return None
        return (None, 0) if type(input) is Take and live is not None else state

    def step_unknown(self, state: Held, input: Any) -> Held | None:
        """As :meth:`Model.step_unknown`."""
        if type(input) is PutUntil:
            return (input.value, input.deadline)
        value, deadline = state
        if type(input) is ReadAt or value is None or 0 < deadline <= input.at:
            return None
        return (value, input.deadline) if type(input) is Prolong else (None, 0)

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads."""
        return type(operation.input) is ReadAt
