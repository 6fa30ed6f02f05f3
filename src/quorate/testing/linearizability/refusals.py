"""Whether an operation that was said not to be applied was applied after all."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from quorate.testing.linearizability.checker import STEP_LIMIT, Verdict, check
from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import History, Operation, Outcome, relaxed


def applied_though_refused(
    history: History, model: Model[Any], *, step_limit: int = STEP_LIMIT
) -> tuple[Operation, ...]:
    """The NOT_APPLIED operations that must have taken effect for the answers of ``history`` to be right.

    Any trace they leave in answers is a violation for :func:`check` already; this names them. A trace that no answer
    shows is found by nobody, so end a history with reads. None are named for a key that is impossible even with them:
    then something else is wrong. If several alone explain the answers, the last of them in the history is named.
    """
    parts: dict[Hashable, list[Operation]] = {}
    for operation in history:
        parts.setdefault(operation.key, []).append(operation)
    return tuple(found for operations in parts.values() for found in _of_one_key(operations, model, step_limit))


def _of_one_key(operations: list[Operation], model: Model[Any], step_limit: int) -> list[Operation]:
    suspects = [place for place, op in enumerate(operations) if op.outcome is Outcome.NOT_APPLIED]

    def judged(supposedly_applied: list[int]) -> Verdict:
        applied = set(supposedly_applied)
        supposed = [relaxed(op) if place in applied else op for place, op in enumerate(operations)]
        return check(supposed, model, step_limit=step_limit).verdict

    if not suspects or judged([]) is not Verdict.VIOLATION or judged(suspects) is not Verdict.LINEARIZABLE:
        return []
    for place in list(suspects):
        others = [other for other in suspects if other != place]
        if judged(others) is Verdict.LINEARIZABLE:
            suspects = others
    return [operations[place] for place in suspects]
