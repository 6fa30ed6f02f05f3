"""The keys that have a deadline, in the order in which those pass."""

from __future__ import annotations

from collections.abc import Iterable

from sortedcontainers import SortedList

TIME_BYTES = 10
DEADLINE_BYTES = 60
"""About what one takes beside its key."""


class Deadlines:
    """Pairs of a time in µs and a key, kept as bytes that sort like them: the garbage collector has nothing to look at,
    where a million tuples would hold it up for 20 ms.
    """

    def __init__(self, pairs: Iterable[tuple[int, bytes]] = ()) -> None:
        self.entries: SortedList[bytes] = SortedList(_entry(*pair) for pair in pairs)
        """For who lets go of them bit by bit."""

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, expires_us: int, key: bytes) -> None:
        """A key that has no deadline gets one."""
        self.entries.add(_entry(expires_us, key))

    def remove(self, expires_us: int, key: bytes) -> None:
        """It has none any more. Raises :class:`ValueError` if that was not its deadline."""
        self.entries.remove(_entry(expires_us, key))

    @property
    def first(self) -> tuple[int, bytes]:
        """The one that passes first. Raises :class:`IndexError` if there is none."""
        entry = self.entries[0]
        return int.from_bytes(entry[:TIME_BYTES], "big"), entry[TIME_BYTES:]


def _entry(expires_us: int, key: bytes) -> bytes:
    return expires_us.to_bytes(TIME_BYTES, "big") + key
