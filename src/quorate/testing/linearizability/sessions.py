"""What one session may rely on, also where reads may be stale: it never sees time go back.

Linearizable histories have these guarantees anyhow; checking them is meant for reads that promise less. They are
judged by versions: numbers that never decrease in the object's life (its revision, a list's length, an applied index).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from quorate.testing.linearizability.operations import History, Operation, Outcome

VersionOf: TypeAlias = Callable[[Operation], int | None]
"""The version that an operation's answer shows, or None for operations that show none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionViolation:
    """A session saw an older version after a newer one."""

    earlier: Operation
    earlier_version: int
    later: Operation
    later_version: int

    def __str__(self) -> str:
        where = "" if self.later.key is None else f" of {self.later.key!r}"
        return (
            f"process {self.later.process} saw version {self.later_version}{where} at {self.later.invoked} "
            f"(by {self.later.input}) after version {self.earlier_version} at {self.earlier.returned} "
            f"(by {self.earlier.input})"
        )


def monotonic_reads(history: History, read_version: VersionOf) -> list[SessionViolation]:
    """The reads that show less than an earlier read of the same process and key did.

    ``read_version`` may be a model's: ``ListAppend().read_version``.
    """
    return _going_back(history, read_version, read_version)


def read_your_writes(history: History, written_version: VersionOf, read_version: VersionOf) -> list[SessionViolation]:
    """The reads that show less than what an earlier write of the same process and key had been answered with."""
    return _going_back(history, written_version, read_version)


def _going_back(history: History, promised: VersionOf, shown: VersionOf) -> list[SessionViolation]:
    sessions: dict[tuple[int, Hashable], list[Operation]] = {}
    for operation in history:
        if operation.outcome is Outcome.OK:
            sessions.setdefault((operation.process, operation.key), []).append(operation)
    return [found for operations in sessions.values() for found in _in_session(operations, promised, shown)]


def _in_session(operations: list[Operation], promised: VersionOf, shown: VersionOf) -> list[SessionViolation]:
    """Compares with the newest of the versions known when an operation was invoked, not with what runs beside it."""
    promises = [(op.returned, version, op) for op in operations if (version := promised(op)) is not None]
    promises.sort(key=lambda promise: promise[0] or 0.0)
    found: list[SessionViolation] = []
    newest: tuple[int, Operation] | None = None
    at = 0
    for later in sorted(operations, key=lambda operation: operation.invoked):
        while at < len(promises) and (promises[at][0] or 0.0) <= later.invoked and promises[at][2] is not later:
            if newest is None or promises[at][1] > newest[0]:
                newest = promises[at][1:]
            at += 1
        version = shown(later)
        if newest is not None and version is not None and version < newest[0]:
            found.append(
                SessionViolation(earlier=newest[1], earlier_version=newest[0], later=later, later_version=version)
            )
    return found
