"""Ids for what is to be referred to before it is in the log."""

from __future__ import annotations

import time
from secrets import randbits


def uuid7() -> int:
    """A new UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, and 74 of chance."""
    milliseconds = time.time_ns() // 1_000_000
    chance = randbits(74)
    low = 0b10 << 62 | chance & ((1 << 62) - 1)
    return (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (chance >> 62) << 64 | low
