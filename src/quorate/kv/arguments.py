"""Reading a command's arguments as Redis does, to the last error text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from math import inf, isinf

from quorate.kv.registry import Arguments
from quorate.kv.replies import NOT_A_FLOAT, NOT_AN_INTEGER, SYNTAX, CommandError

INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 63) - 1
INTEGER_32_MIN, INTEGER_32_MAX = -(1 << 31), (1 << 31) - 1
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_CURSOR = re.compile(rb"(?:([+-]?)([0-9]{1,40}))?")
_CURSORS = 1 << 64
_CURSOR_BYTES_MAX = 41
_FLOAT = re.compile(
    rb"[+-]?(?:inf(?:inity)?"
    rb"|(?P<digits>[0-9]+\.?[0-9]*|\.[0-9]+)(?:e(?P<exponent>[+-]?[0-9]+))?"
    rb"|0x(?P<hex_digits>[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p(?P<hex_exponent>[+-]?[0-9]+))?)",
    re.IGNORECASE,
)
_FLOAT_LENGTH_MAX = 400
_BLANKS = b" \t\n\v\f\r"
PATTERN_BYTES_MAX = 1024
ERROR_TEXT_BYTES_MAX = 128
"""So much of what a client sent is repeated in an error at most."""


def integer(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """A 64-bit integer in its one way of writing: no plus, no zeros in front, no blanks. Raises ``error``."""
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        raise CommandError(error)
    number = int(text)
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise CommandError(error)
    return number


def out_of_range(least: int, most: int) -> CommandError:
    """What is an integer, but too small or too large."""
    return CommandError(f"ERR value is out of range, value must between {least} and {most}")


def integer_or_none(text: bytes) -> int | None:
    """The same, where anything else is no error."""
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def float_syntax(text: bytes) -> re.Match[bytes] | None:
    """A number as C's ``strtod`` reads it, hexadecimal ones and infinities included, with nothing around it."""
    return _FLOAT.fullmatch(text)


def number(text: bytes, error: str = NOT_A_FLOAT) -> float:
    """A double, infinities included; what is too large or too small for one is none. Raises ``error``."""
    matched = float_syntax(text) if len(text) <= _FLOAT_LENGTH_MAX else None
    if matched is None:
        raise CommandError(error)
    value = _double(text, matched)
    if _is_beyond(value, matched):
        raise CommandError(error)
    return value


def scan_cursor(text: bytes) -> int:
    """From where on to go through something, as C's ``strtoul`` reads it: nothing is 0. Raises for what is none."""
    matched = _CURSOR.fullmatch(text.partition(b"\0")[0][: _CURSOR_BYTES_MAX + 1])
    cursor = int(matched[2] or b"0") if matched is not None else _CURSORS
    if matched is None or cursor >= _CURSORS:
        raise CommandError("ERR invalid cursor")
    return cursor if matched[1] != b"-" else -cursor % _CURSORS


def lenient_number(text: bytes, *, within_range: bool = False) -> float | None:
    """The same as C programs read it that do not look closely: ``None`` for what is no number at all.

    Blanks may come before it, what is behind a zero byte is not seen, and nothing is 0. What is too large is infinite,
    unless it has to be ``within_range``: then it is none either, nor is what is too small to have all its digits.
    """
    seen = text.partition(b"\0")[0][: _FLOAT_LENGTH_MAX + 1]
    if not seen:
        return 0.0
    seen = seen.lstrip(_BLANKS)
    matched = float_syntax(seen) if len(seen) <= _FLOAT_LENGTH_MAX else None
    if matched is None:
        return None
    value = _double(seen, matched)
    is_in_range = not _is_beyond(value, matched) and (not value or abs(value) >= sys.float_info.min)
    return value if is_in_range or not within_range else None


def _is_beyond(value: float, matched: re.Match[bytes]) -> bool:
    """Whether a number was too large or too small to be anything but infinity or 0."""
    digits = matched["digits"] or matched["hex_digits"]
    return digits is not None and (isinf(value) or (not value and bool(digits.strip(b"0."))))


def _double(text: bytes, matched: re.Match[bytes]) -> float:
    if matched["hex_digits"] is None:
        return float(text)
    try:
        return float.fromhex(text.decode())
    except OverflowError:
        return -inf if text[:1] == b"-" else inf


def written(value: float) -> bytes:
    """A double as Redis writes it: with 17 digits, or fewer if zeros follow."""
    if isinf(value):
        return b"inf" if value > 0 else b"-inf"
    return b"%.17g" % value


def shown(text: bytes) -> str:
    """What a client sent, as an error repeats it: up to a zero byte, and not too much of it."""
    return text.partition(b"\0")[0][:ERROR_TEXT_BYTES_MAX].decode(errors="replace")


def keyword(text: bytes) -> bytes:
    """An option's name, whatever its case."""
    return text.upper()


def syntax_error() -> CommandError:
    """What cannot be read."""
    return CommandError(SYNTAX)


def pairs(arguments: Arguments) -> list[tuple[bytes, bytes]]:
    """Two by two."""
    return list(zip(arguments[::2], arguments[1::2], strict=True))


def checked_pattern(text: bytes) -> bytes:
    """A client's pattern for :func:`glob`. Raises for one that would take long to read."""
    if len(text) > PATTERN_BYTES_MAX:
        raise CommandError(f"ERR a pattern has at most {PATTERN_BYTES_MAX} bytes")
    return text


@lru_cache(maxsize=256)
def glob(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a name is like ``pattern``: ``*``, ``?``, ``[a-c]``, ``[^x]``, and ``\\`` before what means itself.

    The empty name is like nothing but ``*`` and the empty pattern, as in Redis.
    """
    if pattern == b"*":
        return lambda name: True
    compiled = re.compile(_as_regex(pattern), re.DOTALL)
    return lambda name: bool(name or not pattern) and compiled.fullmatch(name) is not None


def _as_regex(pattern: bytes) -> bytes:
    """A regular expression that takes what is between two ``*`` at the first place where it fits, and stays there.

    No later place could be better, and one that went back and forth would take ages for ``*a*a*a*a*b``.
    """
    first, *others = _parts(pattern)
    if not others:
        return first
    between = b"".join(b"(?>.*?%b)" % part for part in others[:-1] if part)
    return b"%b%b.*%b" % (first, between, others[-1])


def _parts(pattern: bytes) -> list[bytes]:
    """What is before, between and behind the ``*`` of a pattern, as regular expressions."""
    parts = [bytearray()]
    at = 0
    while at < len(pattern):
        character = pattern[at : at + 1]
        at += 1
        if character == b"*":
            parts.append(bytearray())
        elif character == b"?":
            parts[-1] += b"."
        elif character == b"[":
            part, at = _class(pattern, at)
            parts[-1] += part
        elif character == b"\\" and at < len(pattern):
            parts[-1] += re.escape(pattern[at : at + 1])
            at += 1
        else:
            parts[-1] += re.escape(character)
    return [bytes(part) for part in parts]


def _range(first: int, last: int) -> bytes:
    """The bytes between two, whichever comes first; as in Redis, those from 128 on come before 0."""
    low, high = sorted((first, last), key=lambda byte: byte ^ 128)
    ends = [(low, 255), (0, high)] if high < low else [(low, high)]
    return b"".join(b"%b-%b" % (re.escape(bytes([start])), re.escape(bytes([end]))) for start, end in ends)


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
            ranges.append(_range(pattern[at], pattern[at + 2]))
            at += 3
        else:
            ranges.append(re.escape(pattern[at : at + 1]))
            at += 1
    at += 1
    if not ranges:
        return (b"." if negated else b"(?!)"), at
    return b"[" + b"^" * negated + b"".join(ranges) + b"]", at
