"""What clients were told about their writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]


@dataclass(slots=True)
class History:
    """Every create that clients asked for, and how it ended for them."""

    acknowledged: list[tuple[float, Row]] = field(default_factory=list)
    """(when, by a monotonic clock in seconds; the stored object as it was answered)."""
    unknown_outcomes: int = 0
    """Requests whose outcome the client could not know; each was sent again with the same idempotency key."""
    refused: list[str] = field(default_factory=list)
    """Refusals. None is expected: a retry that is refused was applied twice."""
    unresolved: set[str] = field(default_factory=set)
    """Names of products whose creation never got an answer: they may exist or not."""

    def acknowledge(self, at: float, row: Row) -> None:
        """A create was answered with the stored object."""
        self.acknowledged.append((at, row))

    def longest_silence(self, start: float, end: float) -> float:
        """The longest time, in seconds, without an acknowledgement that overlaps ``start`` to ``end``."""
        times = sorted(at for at, _ in self.acknowledged)
        before = [at for at in times if at <= start]
        inside = [at for at in times if start < at <= end]
        after = [at for at in times if at > end]
        marks = [*(before[-1:] or [start]), *inside, *(after[:1] or [end])]
        return max(later - earlier for earlier, later in pairwise(marks))
