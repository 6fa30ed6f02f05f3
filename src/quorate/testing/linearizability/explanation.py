"""Says in words and as a drawing why a history is impossible."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import Operation, Outcome

ROWS_MAX = 16
"""How many operations are drawn."""
LAST_STEPS = 4
"""How many of the last operations of an order are worth a look."""
COLUMNS_PER_INSTANT = 2
WORDS_MAX = 100
"""How many characters describe one operation: answers may be long lists."""


def explain(
    key: Hashable, prefix: Sequence[Operation], culprit: Operation, order: Sequence[Operation], model: Model[Any]
) -> str:
    """Why ``prefix``, which ends with ``culprit``'s answer, cannot be ordered.

    ``order`` is an order of what was answered before, by way of comparison; empty if none was found in time.
    """
    where = "not linearizable" if key is None else f"not linearizable: key {key!r}"
    told = f"process {culprit.process} was told: {_words(model, culprit)}"
    lines = [where, f"  {told} (invoked {culprit.invoked}, returned {culprit.returned})"]
    fitting = _fitting(culprit, order, model)
    if order:
        tail = ", ".join(_words(model, operation) for operation in order[-LAST_STEPS:])
        lines.append(
            f"  what was answered before can be ordered, for example: {'...' * (len(order) > LAST_STEPS)}{tail}"
        )
        lines.append(f"  {_last_fit(fitting, order, model)}")
    elif not any(op.outcome is Outcome.OK and op is not culprit for op in prefix):
        lines.append("  nothing was answered before, and it is not what the first state and what was asked can give")
    rows = _rows(prefix, culprit, order, fitting)
    if len(rows) < len(prefix):
        lines.append(f"  {len(rows)} of the {len(prefix)} operations up to then:")
    return "\n".join([*lines, *timeline(rows, culprit, model)])


def _fitting(culprit: Operation, order: Sequence[Operation], model: Model[Any]) -> list[int]:
    """After how many operations of ``order`` the culprit's answer would be right, whatever the times say."""
    state = model.initial()
    places = []
    for place in range(len(order) + 1):
        if model.step(state, culprit.input, culprit.output) is not None:
            places.append(place)
        if place < len(order):
            state = _next(state, order[place], model)
    return places


def _next(state: Any, operation: Operation, model: Model[Any]) -> Any:
    if operation.outcome is Outcome.OK:
        after = model.step(state, operation.input, operation.output)
    else:
        after = model.step_unknown(state, operation.input)
    return state if after is None else after


def _last_fit(fitting: Sequence[int], order: Sequence[Operation], model: Model[Any]) -> str:
    if not fitting:
        return "nowhere in it would that answer be right"
    place = fitting[-1]
    if place == len(order):
        return "that answer would be right at its end, which the times forbid or which spoils an answer before"
    return f"that answer would last be right in it before: {_words(model, order[place])} ({_who(order[place])})"


def _words(model: Model[Any], operation: Operation) -> str:
    words = model.describe(operation)
    return words if len(words) <= WORDS_MAX else f"{words[: WORDS_MAX // 2 - 3]} ... {words[-WORDS_MAX // 2 + 2 :]}"


def _who(operation: Operation) -> str:
    until = f" to {operation.returned}" if operation.outcome is Outcome.OK else " or later"
    return f"process {operation.process}, {operation.invoked}{until}"


def _rows(
    prefix: Sequence[Operation], culprit: Operation, order: Sequence[Operation], fitting: Sequence[int]
) -> list[Operation]:
    """The operations worth drawing, in the order of their invocation."""
    wanted = [culprit]
    if fitting:
        wanted += order[max(0, fitting[-1] - 1) : fitting[-1] + 1]
    wanted += order[-LAST_STEPS:]
    beside = [op for op in prefix if op.outcome is Outcome.OK and (op.returned or 0.0) >= culprit.invoked]
    wanted += reversed(beside)
    wanted += (op for op in reversed(prefix) if op.outcome is Outcome.UNKNOWN)
    wanted += reversed(prefix)
    chosen: list[Operation] = []
    for operation in wanted:
        # An order of the shorter prefix may hold the culprit itself, its answer being unknown there.
        if len(chosen) < ROWS_MAX and operation not in chosen and operation in prefix:
            chosen.append(operation)
    return sorted(chosen, key=lambda operation: operation.invoked)


def timeline(operations: Sequence[Operation], culprit: Operation | None, model: Model[Any]) -> list[str]:
    """One line per operation, drawn from its invocation to its return; ``>`` for what is still open at the end."""
    times = {operation.invoked for operation in operations}
    times.update(op.returned for op in operations if op.outcome is Outcome.OK and op.returned is not None)
    columns = {time: COLUMNS_PER_INSTANT * place for place, time in enumerate(sorted(times))}
    width = COLUMNS_PER_INSTANT * len(times)
    lines = []
    for operation in operations:
        start = columns[operation.invoked]
        if operation.outcome is Outcome.OK and operation.returned is not None:
            length = columns[operation.returned] - start
            bar = f"[{'-' * (length - 1)}]" if length else "|"
        else:
            bar = f"[{'-' * (width - start - 2)}>"
        mark = "  <-- cannot be" if operation is culprit else ""
        drawn = " " * start + bar
        lines.append(f"  {drawn:<{width}} process {operation.process}: {_words(model, operation)}{mark}")
    return lines
