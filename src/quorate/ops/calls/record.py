"""What the clients asked for, when, and what they were told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

OK, NOT_APPLIED, UNKNOWN = "ok", "not applied", "unknown"

Key = tuple[str, str]
"""What was addressed: its kind (a value of :class:`Thing`) and its name."""


class Thing(StrEnum):
    """The kinds of objects."""

    REGISTER = "register"
    CLAIM = "claim"
    LIST = "list"


class Verb(StrEnum):
    """What is asked of them."""

    WRITE = "write"
    READ = "read"
    INSERT = "insert"
    DELETE = "delete"
    CONTAINS = "contains"
    APPEND = "append"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation of one client, with all its tries. Times are seconds of this process's monotonic clock."""

    client: int
    key: Key
    verb: Verb
    value: Any = None
    answer: Any = None
    invoked: float
    returned: float | None
    outcome: str
    round: int = 0
    tries: int = 1


@dataclass(slots=True)
class Record:
    """Every call, in the order in which they ended."""

    calls: list[Call] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    """Answers that no right cluster gives."""
    retried: int = 0
    """Tries beyond the first of a call, each with the same ``Idempotency-Key``."""
    active: list[tuple[float, float]] = field(default_factory=list)
    """When clients were at work."""

    def add(self, call: Call) -> None:
        """A call has ended."""
        self.calls.append(call)
        self.retried += call.tries - 1

    def outcomes(self) -> Counter[str]:
        """How many calls ended how."""
        return Counter(call.outcome for call in self.calls)

    def of_round(self, number: int) -> list[Call]:
        """The calls on what belongs to one round."""
        return [call for call in self.calls if call.round == number]

    def longest_silence(self, since: int = 0) -> float:
        """The longest time in seconds, while clients were at work, in which none got an answer.

        ``since`` leaves out the first so many stretches of work.
        """
        return self.longest_gap(since)[0]

    def longest_gap(self, since: int = 0) -> tuple[float, float]:
        """:meth:`longest_silence`, and when it began."""
        times = sorted(call.returned for call in self.calls if call.outcome == OK and call.returned is not None)
        longest = 0.0, 0.0
        for start, end in self.active[since:]:
            marks = [start, *(at for at in times if start < at < end), end]
            longest = max(longest, *((later - earlier, earlier) for earlier, later in pairwise(marks)))
        return longest

    def save(self, path: Path) -> None:
        """One JSON document a line."""
        with path.open("w") as file:
            file.writelines(f"{json.dumps(asdict(call))}\n" for call in self.calls)


def load_calls(path: Path) -> list[Call]:
    """The calls that :meth:`Record.save` wrote."""
    return [_call(json.loads(line)) for line in path.read_text().splitlines()]


def _call(document: dict[str, Any]) -> Call:
    kind, name = document.pop("key")
    answer = document.pop("answer")
    verb = Verb(document.pop("verb"))
    return Call(key=(kind, name), verb=verb, answer=tuple(answer) if isinstance(answer, list) else answer, **document)
