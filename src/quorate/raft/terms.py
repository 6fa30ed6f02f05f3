"""The terms of a log, as runs: a log of millions of entries has as many terms as it had elections."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class TermRuns:
    """The first index and the term of each run of consecutive entries of one term, ascending in both."""

    __slots__ = ("_starts", "_terms")

    def __init__(self, starts: Iterable[tuple[int, int]] = ()) -> None:
        """``starts`` are (first index, term) of each run."""
        self._starts: list[int] = []
        self._terms: list[int] = []
        for index, term in starts:
            self.extend(index, term)

    @property
    def starts(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) of each run."""
        return tuple(zip(self._starts, self._terms, strict=True))

    @property
    def last(self) -> int:
        """The term of the last entry; 0 without any."""
        return self._terms[-1] if self._terms else 0

    def at(self, index: int) -> int:
        """The term of the entry at ``index``, which is not behind the last one; 0 if it is before the first."""
        run = bisect_right(self._starts, index)
        return self._terms[run - 1] if run else 0

    def last_within(self, index: int, term: int) -> tuple[int, int]:
        """The last position at or below ``index`` whose term is at most ``term``, with its term; (0, 0) without any."""
        run = bisect_right(self._starts, index) - 1
        if run >= 0 and self._terms[run] > term:
            run = bisect_right(self._terms, term) - 1
            index = self._starts[run + 1] - 1
        return (index, self._terms[run]) if run >= 0 else (0, 0)

    def extend(self, index: int, term: int) -> None:
        """The next entry, at ``index``, is of ``term``, which is not below :attr:`last`."""
        if term != self.last:
            self._starts.append(index)
            self._terms.append(term)

    def cut(self, index: int) -> None:
        """Forget the entries from ``index`` on."""
        while self._starts and self._starts[-1] >= index:
            self._starts.pop()
            self._terms.pop()

    def cut_before(self, index: int) -> None:
        """Forget the entries before ``index``; the run that contains it now begins there."""
        run = max(bisect_right(self._starts, index) - 1, 0)
        del self._starts[:run], self._terms[:run]
        if self._starts and self._starts[0] < index:
            self._starts[0] = index
