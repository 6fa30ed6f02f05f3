"""Telling what is new from what is repeated, so that a log says things once."""

from __future__ import annotations

from collections.abc import Hashable

REPEAT_SECONDS = 60.0
"""What is repeated for longer than this is worth saying again."""

_ENTRIES_MAX = 256


class News:
    """Remembers what was said and when; a bounded number of things."""

    def __init__(self) -> None:
        self._said: dict[Hashable, float] = {}

    def is_news(self, what: Hashable, now: float) -> bool:
        """Whether ``what`` was not said in the last minute; it counts as said at ``now`` if so (in seconds)."""
        if now - self._said.get(what, now - 2 * REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        if len(self._said) >= _ENTRIES_MAX:
            self._said.clear()
        self._said[what] = now
        return True
