"""How long requests took, and what that makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

FEW = 100
"""Of fewer requests the 99th percentile is the longest: it says how one of them went."""


def told_of_few(counted: Iterable[tuple[str, int]]) -> list[str]:
    """A sentence, if some of the cases, each with its number of requests, are too few for their percentiles."""
    few = list(dict.fromkeys(f"{name} ({operations})" for name, operations in counted if operations < FEW))
    return [f"Of fewer than {FEW} requests, p99 is the longest: {', '.join(few)}."] if few else []


@dataclass(slots=True)
class Timings:
    """The latencies of one run, or of a kind of requests in it, in seconds."""

    seconds: float = 0.0
    """How long the run took."""
    latencies: list[float] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """Requests that were answered as expected."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Those, by second."""
        return self.operations / self.seconds if self.seconds else 0.0

    def percentiles_ms(self, *percents: int) -> tuple[float, ...]:
        """For each of ``percents``, the latency in milliseconds that so many of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return tuple(round(percentile(ordered, percent) * 1000, 3) for percent in percents)


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest of the values that ``percent`` of them do not exceed (the nearest rank); 0 if there are none."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0
