"""How many requests of HTTP this node answered, how, and how long that took.

A request is of a *face*: ``models``, ``tasks``, ``reports`` (status, health, metrics) or ``pages`` (everything else);
of :data:`NO_FACE` is what was turned away before it was known for whom it was, if it was a request at all. Time ends
where the answer begins: what is streamed may go on for hours.
"""

from __future__ import annotations

from collections import Counter

from quorate.measures import Histogram

READS = frozenset({"GET", "HEAD", "OPTIONS"})
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NO_FACE = "none"
OTHER = "other"
"""Every method that is none of those."""


class Kind:
    """Requests of one kind: of a face, with a method, answered with a status."""

    __slots__ = ("count", "seconds")

    def __init__(self, seconds: Histogram) -> None:
        self.count = 0
        self.seconds = seconds
        """Shared with others: see :attr:`Requests.seconds`."""


class Requests:
    """Counted since the start. Labels come from here alone, never from what clients send."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], Histogram] = {}
        """By face and what it is: ``read``, ``write``, or ``wait`` for those that wait for something to happen."""
        self._kinds: dict[tuple[str, str, int, bool], Kind] = {}
        self._turned_away: Counter[int] = Counter()

    def answered(self, face: str, method: str, status: int, seconds: float, waited: bool = False) -> None:
        """One was answered."""
        kind = self._kinds.get((face, method, status, waited)) or self._kind(face, method, status, waited)
        kind.count += 1
        kind.seconds.observe(seconds)

    def turned_away(self, status: int) -> None:
        """A connection got an answer to what was no request, or came too late, or was too much."""
        self._turned_away[status] += 1

    def _kind(self, face: str, method: str, status: int, waited: bool) -> Kind:
        known = method if method in READS | WRITES else OTHER
        what = "wait" if waited else "read" if known in READS else "write"
        measured = self.seconds.setdefault((face, what), Histogram())
        return self._kinds.setdefault((face, known, status, waited), Kind(measured))

    @property
    def counts(self) -> dict[tuple[str, str, int], int]:
        """How many there were, by face, method and status of the answer."""
        found: dict[tuple[str, str, int], int] = {}
        for (face, method, status, _), kind in self._kinds.items():
            found[face, method, status] = found.get((face, method, status), 0) + kind.count
        for status, count in self._turned_away.items():
            found[NO_FACE, OTHER, status] = count
        return found
