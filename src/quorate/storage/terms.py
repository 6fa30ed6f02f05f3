"""The terms of a log, as runs: a log of millions of entries has as many terms as it had elections."""

from __future__ import annotations

from bisect import bisect_right


class TermRuns:
    """The first index and the term of each run of consecutive entries of one term, ascending in both."""

    __slots__ = ("starts",)

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []
        """(first index, term)"""

    @property
    def last(self) -> int:
        """The term of the last entry; 0 without any."""
        return self.starts[-1][1] if self.starts else 0

    def at(self, index: int) -> int:
        """The term of the entry at ``index``, which is not behind the last one; 0 if it is before the first."""
        run = bisect_right(self.starts, index, key=lambda start: start[0])
        return self.starts[run - 1][1] if run else 0

    def extend(self, index: int, term: int) -> None:
        """The next entry, at ``index``, is of ``term``, which is not below :attr:`last`."""
        if term != self.last:
            self.starts.append((index, term))

    def cut(self, index: int) -> None:
        """Forget the entries from ``index`` on."""
        while self.starts and self.starts[-1][0] >= index:
            self.starts.pop()

    def cut_before(self, index: int) -> None:
        """Forget the entries before ``index``; the run that contains it now begins there."""
        while len(self.starts) > 1 and self.starts[1][0] <= index:
            del self.starts[0]
        if self.starts and self.starts[0][0] < index:
            self.starts[0] = (index, self.starts[0][1])
