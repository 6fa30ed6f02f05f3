"""How far ahead of its free places a worker asks for tasks."""

from __future__ import annotations

from math import exp

AHEAD_SECONDS = 0.5
"""What will be begun so soon is worth having here; for more than that another worker may be sooner."""
AHEAD_MAX = 500
MEMORY_SECONDS = 0.5


class Pace:
    """Learns how many jobs end in a second, and forgets it as fast."""

    def __init__(self) -> None:
        self._per_second = 0.0
        self._since = 0.0
        self._ended = 0

    def job_ended(self) -> None:
        """One more."""
        self._ended += 1

    def ahead(self, now: float) -> int:
        """How many tasks to have beside those that are being done."""
        elapsed = now - self._since
        if elapsed >= 0.01:
            kept = exp(-elapsed / MEMORY_SECONDS)
            self._per_second = self._per_second * kept + self._ended / elapsed * (1 - kept)
            self._since, self._ended = now, 0
        return min(AHEAD_MAX, int(self._per_second * AHEAD_SECONDS))

    def slow_down(self) -> None:
        """What was fetched ahead is not begun in time."""
        self._per_second = 0.0
