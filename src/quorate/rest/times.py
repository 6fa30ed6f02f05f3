"""Moments as clients write and see them: timestamps of RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(  # in a query a + that is not percent-encoded means a space
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)


def timestamp(time_us: int) -> str:
    """Of the log's time: RFC 3339, in UTC, with microseconds."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> int | None:
    """The log's time, in microseconds, that a query parameter gives as RFC 3339 has it; ``None`` if it is no time."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    try:
        when = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3].upper().replace(' ', '+')}")
    except ValueError:
        return None
    return (when - _EPOCH) // timedelta(microseconds=1)
