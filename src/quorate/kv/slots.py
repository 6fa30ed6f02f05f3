"""Going through all keys bit by bit while they change.

Each key is in one of a fixed number of slots, by its checksum; a cursor is the number of a slot. A slot is handed out
whole, so that a key that is there from the first step to the last is handed out, exactly once, whatever comes and goes
around it. A cursor means the same on every node, and after a restart.
"""

from __future__ import annotations

from binascii import crc_hqx
from random import Random

SLOTS = 16384
"""Small enough to walk past when nearly all are empty, large enough that ten million keys are some 600 in each."""


class Slots:
    """A set of keys that can be gone through from a cursor."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: list[dict[bytes, None] | None] = [None] * SLOTS

    def add(self, key: bytes) -> None:
        """A key that is not there yet."""
        number = crc_hqx(key, 0) % SLOTS
        slot = self._slots[number]
        if slot is None:
            self._slots[number] = {key: None}
        else:
            slot[key] = None

    def remove(self, key: bytes) -> None:
        """A key that is there."""
        number = crc_hqx(key, 0) % SLOTS
        slot = self._slots[number]
        assert slot is not None
        del slot[key]
        if not slot:
            self._slots[number] = None

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """At least ``count`` keys from a cursor on, if so many follow, and the next cursor: 0 at the end."""
        keys: list[bytes] = []
        while cursor < SLOTS:
            slot = self._slots[cursor]
            if slot is not None:
                if len(keys) >= count:
                    return cursor, keys
                keys.extend(slot)
            cursor += 1
        return 0, keys

    def some(self, random: Random) -> bytes | None:
        """Some key; those whose slot is emptier, or follows empty ones, come up more often."""
        first = random.randrange(SLOTS)
        for step in range(SLOTS):
            slot = self._slots[(first + step) % SLOTS]
            if slot is not None:
                keys = list(slot)
                return keys[random.randrange(len(keys))]
        return None
