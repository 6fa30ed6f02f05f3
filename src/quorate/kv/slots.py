"""The keys and what is at them, in one table that never has to grow at once.

Each key is in one of a fixed number of slots, by its checksum, and each slot is a small dict: to make one larger takes
microseconds, where a dict of a million keys would hold up everything for 50 ms. What is at no moment in one piece can
also be freed bit by bit.

A cursor is the number of a slot. A slot is handed out whole, so that a key that is there from the first step of a scan
to the last is handed out, exactly once, whatever comes and goes around it. A cursor means the same on every node, and
after a restart.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from itertools import chain, islice
from random import Random
from typing import Any, Final, Generic, Never, TypeVar

SLOTS = 16384
"""Small enough to walk past when nearly all are empty, large enough that ten million keys are some 600 in each."""
SLOT_MASK = SLOTS - 1
"""A key's slot is its CRC-16 (XMODEM) under this mask."""

V = TypeVar("V")


class _Nothing(dict[bytes, Any]):
    __slots__ = ()

    def __setitem__(self, key: bytes, value: Any) -> Never:
        raise TypeError("this would be in every slot")


NOTHING: Final = _Nothing()
"""What is in each slot where no key is: a megabyte less of dicts on a node whose clients keep no keys.

Who puts a key there puts a dict of the slot's own in its place.
"""


class Slots(Generic[V]):
    """A mapping that can be gone through from a cursor. Its order is the same wherever the same keys are in it."""

    __slots__ = ("_mask", "count", "slots")

    def __init__(self, slots: int = SLOTS) -> None:
        """``slots`` is a power of two; fewer serve for fewer keys."""
        self.slots: list[dict[bytes, V]] = [NOTHING] * slots
        """For those who look at millions of keys a second."""
        self.count = 0
        self._mask = slots - 1

    def __len__(self) -> int:
        return self.count

    def __contains__(self, key: bytes) -> bool:
        return key in self.slots[crc_hqx(key, 0) & self._mask]

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(sorted, filter(None, self.slots)))

    def items(self) -> Iterator[tuple[bytes, V]]:
        """All keys, and what is at them."""
        return ((key, slot[key]) for slot in self.slots if slot for key in sorted(slot))

    def __getitem__(self, key: bytes) -> V:
        return self.slots[crc_hqx(key, 0) & self._mask][key]

    def get(self, key: bytes) -> V | None:
        """What is at ``key``, if anything."""
        return self.slots[crc_hqx(key, 0) & self._mask].get(key)

    def __setitem__(self, key: bytes, value: V) -> None:
        number = crc_hqx(key, 0) & self._mask
        slot = self.slots[number]
        if slot is NOTHING:
            slot = self.slots[number] = {}
        before = len(slot)
        slot[key] = value
        self.count += len(slot) - before

    def __delitem__(self, key: bytes) -> None:
        number = crc_hqx(key, 0) & self._mask
        slot = self.slots[number]
        del slot[key]
        self.count -= 1
        if not slot:
            self.slots[number] = NOTHING

    def take_apart(self) -> Iterator[dict[bytes, V]]:
        """Let go of one slot after the other; the table is not used any more."""
        while self.slots:
            slot = self.slots.pop()
            self.count -= len(slot)
            if slot:
                yield slot

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """At least ``count`` keys from a cursor on, if so many follow, and the next cursor: 0 at the end."""
        keys: list[bytes] = []
        for number, slot in enumerate(islice(self.slots, cursor, None), cursor):
            if slot:
                if len(keys) >= count:
                    return number, keys
                keys.extend(sorted(slot))
        return 0, keys

    def some(self, random: Random) -> bytes | None:
        """Some key; those whose slot is emptier, or follows empty ones, come up more often."""
        first = random.randrange(len(self.slots))
        for step in range(len(self.slots)):
            slot = self.slots[(first + step) & self._mask]
            if slot:
                return sorted(slot)[random.randrange(len(slot))]
        return None
