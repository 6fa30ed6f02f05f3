"""Reading a command's arguments as Redis does, to the last error text."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from math import isinf, isnan

from quorate.kv.registry import Arguments
from quorate.kv.replies import NOT_A_FLOAT, NOT_AN_INTEGER, SYNTAX, CommandError

INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_FLOAT = re.compile(rb"[+-]?(inf(inity)?|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?)", re.IGNORECASE)


def integer(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """A 64-bit integer in its one way of writing: no plus, no zeros in front, no blanks. Raises ``error``."""
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        raise CommandError(error)
    number = int(text)
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise CommandError(error)
    return number


def integer_or_none(text: bytes) -> int | None:
    """The same, where anything else is no error."""
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def number(text: bytes, error: str = NOT_A_FLOAT) -> float:
    """A double, infinities included; what is too large or too small for one is none. Raises ``error``."""
    matched = _FLOAT.fullmatch(text) if len(text) <= 400 else None
    if matched is None:
        raise CommandError(error)
    value = float(text)
    digits = matched[3]
    if digits is not None and (isinf(value) or (not value and digits.strip(b"0."))):
        raise CommandError(error)
    return value


def written(value: float) -> bytes:
    """A double as Redis writes it: the shortest text that reads back as the same, an integer without a point."""
    if isinf(value):
        return b"inf" if value > 0 else b"-inf"
    if isnan(value):
        return b"nan"
    if value == int(value) and abs(value) < 1e17:
        return b"%d" % int(value) if value or str(value)[0] != "-" else b"-0"
    return repr(value).encode()


def keyword(text: bytes) -> bytes:
    """An option's name, whatever its case."""
    return text.upper()


def syntax_error() -> CommandError:
    """What cannot be read."""
    return CommandError(SYNTAX)


def pairs(arguments: Arguments) -> list[tuple[bytes, bytes]]:
    """Two by two."""
    return list(zip(arguments[::2], arguments[1::2], strict=True))


@lru_cache(maxsize=256)
def glob(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a name is like ``pattern``: ``*``, ``?``, ``[a-c]``, ``[^x]``, and ``\\`` before what means itself."""
    if pattern == b"*":
        return lambda name: True
    compiled = re.compile(_as_regex(pattern), re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def _as_regex(pattern: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < len(pattern):
        character = pattern[at : at + 1]
        at += 1
        if character == b"*":
            if not parts or parts[-1] != b".*":
                parts.append(b".*")
        elif character == b"?":
            parts.append(b".")
        elif character == b"[":
            part, at = _class(pattern, at)
            parts.append(part)
        elif character == b"\\" and at < len(pattern):
            parts.append(re.escape(pattern[at : at + 1]))
            at += 1
        else:
            parts.append(re.escape(character))
    return b"".join(parts)


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """``[…]`` from behind its bracket, as a regular expression, and where it ends: without a bracket, at the end."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    ranges: list[bytes] = []
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            at += 1
            ranges.append(re.escape(pattern[at : at + 1]))
            at += 1
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at : at + 1], pattern[at + 2 : at + 3]))
            ranges.append(re.escape(low) + b"-" + re.escape(high))
            at += 3
        else:
            ranges.append(re.escape(pattern[at : at + 1]))
            at += 1
    at += 1
    if not ranges:
        return (b"." if negated else b"(?!)"), at
    return b"[" + b"^" * negated + b"".join(ranges) + b"]", at
