"""The latest changes of a keyspace, so that a watch can go on where another ended: on this node, or on another one.

A change has the same revision on every node. What is kept is bounded by count and by bytes; the oldest go first. It
begins anew with the process, and when a snapshot takes the place of the state: nobody here has seen what led to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quorate.kv.keyspace import FLUSHED, Change

CHANGE_BYTES = 150
"""About what a change takes beside its key and its value."""
RUN_CHANGES = 1024
"""Changes are dropped so many at a time: one by one that would cost too much."""
SLICE_CHANGES = 1000
"""A watch that is behind looks at so many changes at once."""
CHANGES_MAX = 100_000
"""So many of the latest changes are kept for watches that go on where another ended, unless said otherwise,"""
BYTES_MAX = 64 << 20
"""in so much memory."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What a watch is about: keys, and beginnings of keys."""

    keys: frozenset[bytes]
    prefixes: tuple[bytes, ...]

    @classmethod
    def of(cls, keys: Iterable[bytes], prefixes: Iterable[bytes]) -> Targets:
        """Each of them once."""
        return cls(frozenset(keys), tuple(dict.fromkeys(prefixes)))

    def __len__(self) -> int:
        return len(self.keys) + len(self.prefixes)

    def concern(self, change: Change) -> bool:
        """Whether a change is one of theirs; that of all keys is everyone's."""
        return change[1] in self.keys or change[1].startswith(self.prefixes) or change[0] == FLUSHED


@dataclass(frozen=True, slots=True)
class _Run:
    """Changes in a row."""

    changes: list[Change]
    bytes: int

    @property
    def last(self) -> int:
        return self.changes[-1][2]


class History:
    """See the module. ``changes_max`` counts events, of which a change has one or two."""

    def __init__(self, changes_max: int, bytes_max: int) -> None:
        self._changes_max = changes_max
        self._bytes_max = bytes_max
        self._run_changes = max(min(RUN_CHANGES, changes_max // 16), 1)
        self._runs: deque[_Run] = deque()
        self._kept = self._bytes = self._told_bytes = 0
        self.recent: list[Change] = []
        """Where the keyspace adds its changes."""
        self.first = 1
        """From this revision on no change is missing."""

    def begin_behind(self, revision: int, told_bytes: int) -> None:
        """Forget all; the next change is that behind ``revision``. See :meth:`settle` for ``told_bytes``."""
        self._runs.clear()
        self.recent.clear()
        self._kept = self._bytes = 0
        self._told_bytes = told_bytes
        self.first = revision + 1

    @property
    def last(self) -> int:
        """The revision of the latest change; that before :attr:`first` if there is none."""
        if self.recent:
            return self.recent[-1][2]
        return self._runs[-1].last if self._runs else self.first - 1

    def settle(self, told_bytes: int) -> int:
        """A command has been applied: keep within the bounds. Returns how many changes are :attr:`recent` now.

        ``told_bytes`` is the keyspace's count of what its changes took ever: to measure them here would cost as much as
        a third of a SET.
        """
        count = len(self.recent)
        if count < self._run_changes:
            return count
        size = told_bytes - self._told_bytes + CHANGE_BYTES * count
        self._told_bytes = told_bytes
        self._runs.append(_Run(self.recent[:], size))
        self._kept += count
        self._bytes += size
        self.recent.clear()
        while self._runs and (self._kept > self._changes_max or self._bytes > self._bytes_max):
            dropped = self._runs.popleft()
            self._kept -= len(dropped.changes)
            self._bytes -= dropped.bytes
            self.first = dropped.last + 1
        return 0

    def since(self, revision: int) -> Iterator[Change]:
        """The changes from ``revision`` on, as :func:`merged`. Nothing may be added while they are taken."""
        return merged(self._since(revision))

    def _since(self, revision: int) -> Iterator[Change]:
        for changes in [*(run.changes for run in self._runs), self.recent]:
            if changes and changes[-1][2] >= revision:
                yield from changes[bisect_left(changes, revision, key=_revision) :]


def _revision(change: Change) -> int:
    return change[2]


def merged(changes: Iterable[Change]) -> Iterator[Change]:
    """One for each revision: the names of its events with commas between, and the value behind the last of them."""
    last: Change | None = None
    for change in changes:
        if last is not None:
            if last[2] == change[2] and last[1] == change[1]:
                change = (f"{last[0]},{change[0]}", *change[1:])
            else:
                yield last
        last = change
    if last is not None:
        yield last
