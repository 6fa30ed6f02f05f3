"""What tables say, for people: the life of a task in docs/tasks.md, the codes of refusals in docs/http.md.

``python -m quorate.tasks.reference docs/tasks.md docs/http.md`` renews them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from quorate.tasks.codes import FOUND, TABLE
from quorate.tasks.lifecycle import TRANSITIONS, Event, State, Transition

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


def lifecycle() -> str:
    """A diagram of the states in Mermaid, and the table that it is drawn from."""
    return "\n".join(["```mermaid", *_diagram(), "```", "", *_table(), ""])


def _diagram() -> Iterator[str]:
    """One arrow for all events that lead from one state to another."""
    arrows: dict[tuple[str, str], dict[Event, None]] = {}
    for row in TRANSITIONS:
        arrows.setdefault((_end(row.before), _end(row.after)), {})[row.event] = None
    yield "stateDiagram-v2"
    for (before, after), events in arrows.items():
        yield f"    {before} --> {after}: {', '.join(event.value for event in events)}"


def _table() -> Iterator[str]:
    """One line for all states that an event does the same to."""
    yield "| event | in the state | if the task | leads to |"
    yield "|---|---|---|---|"
    lines: dict[tuple[Event, str, State | None], list[Transition]] = {}
    guarded = {(row.before, row.event) for row in TRANSITIONS if row.guard is not None}
    for row in TRANSITIONS:
        condition = row.condition or ("otherwise" if (row.before, row.event) in guarded else "")
        lines.setdefault((row.event, condition, row.after), []).append(row)
    for (event, condition, after), rows in lines.items():
        before = ", ".join("" if row.before is None else row.before.label for row in rows)
        yield f"| {event.value} | {before} | {condition} | {'(removed)' if after is None else after.label} |"


def _end(state: State | None) -> str:
    return "[*]" if state is None else state.label


def codes() -> str:
    """What tells refusals apart."""
    rows = ["| `code` | status | with | when |", "|---|---|---|---|"]
    for coded in TABLE:
        members = ", ".join(f"`{name}`" for name in coded.members if name not in FOUND)
        rows.append(f"| `{coded.code}` | {coded.status} | {members} | {coded.when} |")
    return "\n".join([*rows, ""])


PARTS = {"lifecycle": lifecycle, "codes": codes}


def renewed(text: str) -> str:
    """A page with what is between its markers as it should be."""
    for name, made in PARTS.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin in text:
            head, _, rest = text.partition(begin)
            text = f"{head}{begin}\n\n{made()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        page = Path(argument)
        page.write_text(renewed(page.read_text()))
