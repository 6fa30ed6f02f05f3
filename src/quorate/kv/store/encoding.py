"""Arguments as bytes: keys and values, options, and times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeVar

Key = str | bytes
"""A name; text stands for its UTF-8."""
Argument = str | bytes | int | float
"""A value. Numbers are written in decimal, as :func:`float` and :func:`int` read them."""
Seconds = int | float | timedelta
"""How long; kept in milliseconds."""
Moment = int | float | datetime
"""When, in seconds since 1970 (UTC); kept in milliseconds. A ``datetime`` without a zone is in local time."""
Options = tuple[Argument, ...]
K = TypeVar("K", bound=Key)
"""The keys of a mapping, which are all of a kind as a rule."""


def encoded(argument: Argument) -> bytes:
    """Raises :class:`TypeError` for what is none, :class:`ValueError` for text with half a surrogate pair."""
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        raise TypeError(f"a key or a value is str, bytes, int or float, not {type(argument).__name__}")
    return b"%d" % argument if isinstance(argument, int) else repr(argument).encode()


def milliseconds(duration: Seconds) -> int:
    """Raises :class:`ValueError` for what is not finite."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return _rounded(seconds)


def moment_ms(moment: Moment) -> int:
    """The same for a point in time, since 1970."""
    return _rounded(moment.timestamp() if isinstance(moment, datetime) else moment)


def _rounded(seconds: float) -> int:
    try:
        return round(seconds * 1000)
    except OverflowError:
        raise ValueError(f"{seconds} is no time") from None


def flag(name: bytes, given: bool) -> Options:
    """An option that is there or not."""
    return (name,) if given else ()


def option(name: bytes, value: Argument | None) -> Options:
    """An option with a value, unless that is ``None``."""
    return () if value is None else (name, value)


def optional(value: Argument | None) -> Options:
    """A last argument that may be left out."""
    return () if value is None else (value,)


def lifetime(
    *, ex: Seconds | None = None, px: int | None = None, exat: Moment | None = None, pxat: int | None = None
) -> Options:
    """For how long, or until when: what the commands call EX, PX, EXAT and PXAT. Raises if it is said twice."""
    if sum(given is not None for given in (ex, px, exat, pxat)) > 1:
        raise ValueError("give one of ex, px, exat and pxat")
    return (
        *option(b"PX", None if ex is None else milliseconds(ex)),
        *option(b"PX", px),
        *option(b"PXAT", None if exat is None else moment_ms(exat)),
        *option(b"PXAT", pxat),
    )


def limit(offset: int | None, num: int | None) -> Options:
    """From where on, and how many."""
    return () if offset is None and num is None else (b"LIMIT", offset or 0, -1 if num is None else num)


def pairs(items: Iterable[tuple[Argument, Argument]]) -> Options:
    """Key, value, key, value."""
    return tuple(part for item in items for part in item)
