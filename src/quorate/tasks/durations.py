"""Lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

Duration = float | int | str | timedelta
"""Seconds, a text such as ``"30s"``, ``"500ms"``, ``"1.5h"`` or ``"7d"``, or a :class:`~datetime.timedelta`."""

SECONDS_MAX = 1e12
"""More is no length of time, and as a float no whole number of microseconds."""
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_TEXT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(us|ms|s|m|h|d)?")


def microseconds(duration: Duration) -> int:
    """Raises :class:`ValueError`, which says what is wrong with it."""
    if isinstance(duration, timedelta):
        found = duration // timedelta(microseconds=1)
    elif isinstance(duration, str):
        match = _TEXT.fullmatch(duration.strip())
        if match is None:
            raise ValueError("should be seconds, or a number with ms, s, m, h or d behind it")
        found = round(float(match[1]) * _UNITS[match[2] or "s"])
    elif isinstance(duration, bool) or not abs(duration) < SECONDS_MAX:
        raise ValueError("should be a number of seconds")
    else:
        found = round(duration * 1_000_000)
    if found < 0:
        raise ValueError("should not be negative")
    return found
