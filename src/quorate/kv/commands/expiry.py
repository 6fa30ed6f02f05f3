"""How long keys live, as commands say it: in seconds or milliseconds, from now on or since 1970."""

from __future__ import annotations

import msgspec

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, integer
from quorate.kv.replies import CommandError

MILLISECOND_US = 1000
SECOND_US = 1_000_000
AMOUNT_MIN_US = INTEGER_MIN * MILLISECOND_US
"""What Redis can take off the time: all before it is past, and is never kept."""
AMOUNT_MAX_US = INTEGER_MAX - (1 << 53)
"""What can be added to the log's time, until the year 2255, so that 64 bits hold the sum."""


class Expiry(msgspec.Struct, frozen=True):
    """A deadline as it was given: from now on, or, if it is ``absolute``, since 1970."""

    amount_us: int
    absolute: bool

    def at(self, now_us: int) -> int:
        """The deadline in log time."""
        return self.amount_us if self.absolute else now_us + self.amount_us


UNITS = {
    b"EX": (SECOND_US, False),
    b"PX": (MILLISECOND_US, False),
    b"EXAT": (SECOND_US, True),
    b"PXAT": (MILLISECOND_US, True),
}
"""What options are called, the µs of their unit, and whether they count since 1970."""


def expiry(unit: bytes, text: bytes, command: str, *, least: int = 1) -> Expiry:
    """Read one of :data:`UNITS`. Raises what ``command`` answers to no integer, to too little and to too much."""
    unit_us, absolute = UNITS[unit]
    amount = integer(text)
    if amount < least or not AMOUNT_MIN_US <= amount * unit_us <= AMOUNT_MAX_US:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return Expiry(amount * unit_us, absolute)
