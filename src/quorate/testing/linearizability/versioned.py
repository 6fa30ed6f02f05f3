"""A register with revisions: it is replaced, or emptied, only by who knows its latest revision."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class ReplaceRevision:
    """Make ``value`` the value if the register is at ``revision``, 0 where it is empty.

    Answered with the new revision, which is higher, or with None if it is at another.
    """

    revision: int
    value: Hashable

    def __str__(self) -> str:
        return f"replace revision {self.revision} by {self.value!r}"


@dataclass(frozen=True, slots=True)
class RemoveRevision:
    """Empty the register if it is at ``revision``. Answered with whether it was."""

    revision: int

    def __str__(self) -> str:
        return f"remove revision {self.revision}"


Versioned: TypeAlias = tuple[Hashable, int, int]
"""The value, its revision (0 where there is none), and the highest revision that there ever was."""


class VersionedRegister(Model[Versioned]):
    """Empty at first. :class:`Read` is answered with ``(value, revision)``, or with None where it is empty.

    An operation whose answer nobody got is judged only if its revision can be told afterwards: give it as OK then.
    """

    def initial(self) -> Versioned:
        """Nothing."""
        return (None, 0, 0)

    def step(self, state: Versioned, input: Any, output: Any) -> Versioned | None:
        """As :meth:`Model.step`."""
        value, revision, highest = state
        if type(input) is Read:
            return state if output == ((value, revision) if revision else None) else None
        fits = input.revision == revision
        if type(input) is RemoveRevision:
            if (fits and revision > 0) is not output:
                return None
            return (None, 0, highest) if output else state
        if output is None:
            return None if fits else state
        return (input.value, output, output) if fits and output > highest else None

    def step_unknown(self, state: Versioned, input: Any) -> Versioned | None:
        """As :meth:`Model.step_unknown`. What a replacement's revision would be is not known: the lowest possible."""
        _, revision, highest = state
        if type(input) is Read or input.revision != revision:
            return None
        if type(input) is RemoveRevision:
            return (None, 0, highest) if revision else None
        return (input.value, highest + 1, highest + 1)

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads and refusals."""
        if type(operation.input) is Read:
            return True
        return operation.outcome is Outcome.OK and not operation.output
