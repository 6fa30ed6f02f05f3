"""What a workload is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from random import Random
from typing import Any, ClassVar, NoReturn

from quorate.app import App
from quorate.testing import linearizability
from quorate.testing.linearizability import Model
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.invariants import Violation


class Workload(ABC):
    """Operations for clients to do, and a judgement on how they ended. It keeps its own history."""

    name: ClassVar[str]
    machine: ClassVar[str]
    """The state machine that it works on."""
    others: ClassVar[tuple[str, ...]] = ()
    """Further ones that it needs."""
    apps: ClassVar[tuple[App, ...]] = ()
    """Of declared models, the versions of their app, the oldest first."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.history: list[Operation] = []

    async def run(self, client: Client) -> None:
        """Have ``client`` do one operation, and write it down."""
        self.history.append(await self.step(client))

    @abstractmethod
    async def step(self, client: Client) -> Operation:
        """Have ``client`` do one operation, and return it, ended."""

    async def finish(self, clients: Sequence[Client]) -> None:
        """What there is still to do on the healed cluster, by clients who do nothing else any more."""

    @property
    def finishing_seconds(self) -> float:
        """How much longer than anything else :meth:`finish` may take, for there may be much to do."""
        return 0.0

    @abstractmethod
    def check(self, process: Process) -> None:
        """Judge the history against the final state, of which any node that is up to date may be asked.

        Raises :class:`Violation`.
        """

    def fail(self, found: str) -> NoReturn:
        """Raise the violation."""
        raise Violation(f"workload {self.name}", found)

    def of(self, kind: str, *, ended: Ended = Ended.OK) -> list[Operation]:
        """The operations of a kind that ended so."""
        return [operation for operation in self.history if operation.kind == kind and operation.ended is ended]

    def check_applied(self, times: Mapping[str, int], kinds: Iterable[str]) -> None:
        """Exactly once: acknowledged writes are there, refused and failed ones are not, and none is there twice."""
        kinds = set(kinds)
        for operation in self.history:
            if operation.kind not in kinds:
                continue
            count = times.get(operation.name, 0)
            if count > 1:
                self.fail(f"{operation} was applied {count} times")
            if operation.ended is Ended.OK and count != (not operation.refused):
                told = "refused" if operation.refused else "acknowledged"
                self.fail(f"{operation} was {told}, and applied {count} times")
            if operation.ended is Ended.NOT_APPLIED and count:
                self.fail(f"{operation} was applied all the same")

    def learn_outcomes(self, times: Mapping[str, int], kinds: Iterable[str]) -> None:
        """What clients never learned, the final state knows: whether an operation took effect, though not when.

        With that, histories full of unknown outcomes can still be judged.
        """
        for operation in self.history:
            if operation.kind in kinds and operation.ended is Ended.UNKNOWN:
                operation.ended = Ended.OK if times.get(operation.name) else Ended.NOT_APPLIED
                operation.completed, operation.result = inf, None

    def check_order(self, names: Iterable[str], writes: Iterable[Operation]) -> None:
        """What ended before something else began stands before it in the log, which has ``names`` in this order."""
        by_name = {operation.name: operation for operation in writes}
        in_order = [by_name[name] for name in names if name in by_name]
        earliest: Operation | None = None
        for operation in reversed(in_order):
            if earliest is not None and earliest.completed < operation.invoked:
                self.fail(f"{operation} began behind the end of {earliest}, and stands before it in the log")
            if earliest is None or operation.completed < earliest.completed:
                earliest = operation

    def check_linearizable(self, operations: Iterable[Judged], model: Model[Any]) -> None:
        """Per key, the answers must be those of one object, one operation at a time (Herlihy and Wing)."""
        history = [
            linearizability.Operation(
                process=each.client,
                input=asked,
                output=answer,
                invoked=each.invoked,
                returned=each.completed,
                outcome=_OUTCOMES[each.ended],
                key=key,
            )
            for each, key, asked, answer in operations
            if each.ended is not None
        ]
        result = linearizability.check(history, model)
        if not result.linearizable:
            self.fail(result.explanation)


Judged = tuple[Operation, str, Any, Any]
"""An operation with the object it addressed, what was asked and what was answered, in a model's words."""

_OUTCOMES = {
    Ended.OK: linearizability.Outcome.OK,
    Ended.NOT_APPLIED: linearizability.Outcome.NOT_APPLIED,
    Ended.UNKNOWN: linearizability.Outcome.UNKNOWN,
}


def text_of(value: Any) -> str:
    """A value for a message."""
    return repr(value)[:400]
