"""Who was heard from lately: a connection that stands does not say that anything comes through."""

from __future__ import annotations

from collections.abc import Iterable

SILENT_MS, SILENT_TIMEOUTS = 3000, 4
"""Who ought to answer and has not for so long, and for so many of the longest election timeouts, is silent: well behind
the time in which a leader gives up its office."""


class Hearing:
    """Of one node. Time is counted in its own ticks: who was stopped for a minute has heard no minute of silence."""

    def __init__(self, silent_ticks: int) -> None:
        self._silent_ticks = silent_ticks
        self.silent: frozenset[int] = frozenset()
        """Those of whom nothing came for long, as of the last look."""
        self._heard: dict[int, int] = {}
        """The tick in which something came last of each peer."""
        self._begun = 0

    def heard(self, peer: int, ticks: int) -> None:
        """Something came."""
        self._heard[peer] = ticks

    def begin(self, ticks: int) -> None:
        """Who ought to answer is another from now on, and has not been asked before."""
        self._begun = ticks

    def look(self, expected: Iterable[int], ticks: int) -> bool:
        """See who of those that ought to answer does not; returns whether that is news."""
        before, since = self.silent, ticks - self._silent_ticks
        self._heard = {peer: self._heard.get(peer, ticks) for peer in expected}
        self.silent = frozenset(peer for peer, at in self._heard.items() if max(at, self._begun) < since)
        return self.silent != before
