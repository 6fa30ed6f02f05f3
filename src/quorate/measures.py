"""Distributions that are counted while things happen and looked at now and then.

What only has to be counted is a plain ``int`` beside the code that counts it. Imports nothing of ours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.00025, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Bounds for durations, from an fsync that a controller's cache took to a proposal that was given up."""

COUNTS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
"""Bounds for sizes of batches."""


class Histogram:
    """How often a value fell between which bounds; a value on a bound counts below it, as Prometheus' ``le`` says.

    One thread observes. Others may read meanwhile, and find counts and a sum that may be one observation apart.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """How many values are between the bound before and this one; the last, how many are beyond all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def quantile(self, q: float, since: Sequence[int] | None = None) -> float | None:
        """Below which value about the part ``q`` of the values is; ``None`` if there are none.

        ``since``: an earlier copy of :attr:`counts`, to look only at what came behind it. Values are taken to be spread
        evenly between two bounds, as Prometheus' ``histogram_quantile`` does; beyond the last, it is that one.
        """
        counts = self.counts if since is None else [now - then for now, then in zip(self.counts, since, strict=True)]
        rank = q * sum(counts)
        if not rank:
            return None
        below, lower = 0, 0.0
        for count, upper in zip(counts, self.bounds, strict=False):
            if below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            below, lower = below + count, upper
        return lower
