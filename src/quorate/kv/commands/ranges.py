"""Ranges of positions, scores and members, and what of a sorted set lies within them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from quorate.kv.arguments import integer, lenient_number
from quorate.kv.replies import CommandError
from quorate.kv.values import SortedSet

NOT_A_SCORE = "ERR min or max is not a float"
NOT_LEXICAL = "ERR min or max not valid string range item"


def between(start: int, stop: int, size: int) -> tuple[int, int]:
    """Indexes, both included and negative from the end, as those of a slice of ``size`` elements: never backwards."""
    first = max(start + size if start < 0 else start, 0)
    last = min(stop + size if stop < 0 else stop, size - 1)
    return (first, last + 1) if first <= last else (0, 0)


class _Last:
    """Comes behind every member, so that ``(score, LAST)`` is where a score ends."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


_LAST = _Last()


class RankRange(msgspec.Struct, frozen=True):
    """From one rank to another, both included."""

    start: int
    stop: int

    def within(self, value: SortedSet, *, backwards: bool = False) -> tuple[int, int]:
        """The slice of the order; ``backwards``, ranks count from the highest."""
        start, stop = between(self.start, self.stop, len(value))
        return (len(value) - stop, len(value) - start) if backwards else (start, stop)


class ScoreRange(msgspec.Struct, frozen=True):
    """From one score to another, each of them included or not."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def within(self, value: SortedSet, *, backwards: bool = False) -> tuple[int, int]:
        """The slice of the order, which is the same in both directions."""
        order: Any = value.order  # a score alone comes before, and with _LAST behind, all pairs that have it
        start = order.bisect_left((self.low, _LAST) if self.above else (self.low,))
        stop = order.bisect_left((self.high,) if self.below else (self.high, _LAST))
        return start, max(start, stop)


class LexRange(msgspec.Struct, frozen=True):
    """From one bound to another, as they were written. Of use where all scores are equal, as the documentation says."""

    low: bytes
    high: bytes

    def within(self, value: SortedSet, *, backwards: bool = False) -> tuple[int, int]:
        """The slice of the order, which is the same in both directions."""
        start = self._place(value, self.low, b"(")
        return start, max(start, self._place(value, self.high, b"["))

    @staticmethod
    def _place(value: SortedSet, bound: bytes, behind: bytes) -> int:
        if bound in (b"-", b"+"):
            return 0 if bound == b"-" else len(value)
        place = (value.order[0][0], bound[1:]) if len(value) else (0.0, b"")
        order = value.order
        return order.bisect_right(place) if bound[:1] == behind else order.bisect_left(place)


Range = RankRange | ScoreRange | LexRange


def rank_range(start: bytes, stop: bytes) -> RankRange:
    """Two indexes. Raises if they are no integers."""
    return RankRange(integer(start), integer(stop))


def score_range(low: bytes, high: bytes) -> ScoreRange:
    """Two scores; ``(`` in front excludes. Raises if they are no numbers."""
    above, below = low[:1] == b"(", high[:1] == b"("
    least, most = lenient_number(low[above:]), lenient_number(high[below:])
    if least is None or most is None:
        raise CommandError(NOT_A_SCORE)
    return ScoreRange(least, most, above, below)


def lex_range(low: bytes, high: bytes) -> LexRange:
    """Two members, each behind ``[`` or ``(``, or ``-`` and ``+`` for either end. Raises if they are not."""
    for bound in (low, high):
        if bound not in (b"-", b"+") and bound[:1] not in (b"[", b"("):
            raise CommandError(NOT_LEXICAL)
    return LexRange(low, high)


class Selection(msgspec.Struct, frozen=True):
    """A range, in which direction, and which part of it: a negative ``count`` is all, a negative ``offset`` nothing."""

    range: Range
    backwards: bool = False
    offset: int = 0
    count: int = -1

    def of(self, value: SortedSet | None) -> Iterator[tuple[float, bytes]]:
        """Scores and members, in the direction."""
        if value is None or self.offset < 0:
            return iter(())
        start, stop = self.range.within(value, backwards=self.backwards)
        size = max(stop - start - self.offset, 0)
        size = min(size, self.count) if self.count >= 0 else size
        if self.backwards:
            stop -= min(self.offset, stop - start)
            start = stop - size
        else:
            start += min(self.offset, stop - start)
            stop = start + size
        return value.order.islice(start, stop, reverse=self.backwards)
