"""Decimals as text that sorts like them, exactly: SQLite compares numbers in binary and text byte by byte.

``19.99`` is kept as ``25011999``: that it is positive (``2``), its exponent (``501`` for 10¹) and its digits without
zeros at either end. A negative one (``0``) has the complement of both, and an end that is greater than all digits.
"""

from __future__ import annotations

import re

DIGITS_MAX = 200  # bounds what the plain form of 1E+999999 would take

_NEGATIVE, _ZERO, _POSITIVE = "0", "1", "2"
_EXPONENT_OF_ONE = 500
_COMPLEMENT = str.maketrans("0123456789", "9876543210")
_END = ":"
"""Behind the digits of a negative number: of two that begin alike, the longer one is less."""
_SORTABLE = re.compile(r"0[0-9]{4,}:|1|2[0-9]{4,}", re.ASCII)


def sortable(plain: str) -> str:
    """The stored form of a number in plain digits, as ``-12.5``."""
    negative = plain[0] == "-"
    whole, _, fraction = plain.removeprefix("-").partition(".")
    significant = whole.lstrip("0")
    if significant:
        exponent = len(significant) - 1
        digits = (significant + fraction).rstrip("0")
    else:
        digits = fraction.strip("0")
        if not digits:
            return _ZERO
        exponent = -1 - (len(fraction) - len(fraction.lstrip("0")))
    text = f"{exponent + _EXPONENT_OF_ONE:03d}{digits}"
    return f"{_NEGATIVE}{text.translate(_COMPLEMENT)}{_END}" if negative else _POSITIVE + text


def is_sortable(text: str) -> bool:
    """Whether it is the stored form of a number."""
    return _SORTABLE.fullmatch(text) is not None


def scaled(stored: str) -> tuple[int, int]:
    """The number as (digits, exponent): digits · 10^exponent."""
    first = stored[0]
    if first == _POSITIVE:
        return int(stored[4:]), int(stored[1:4]) - _EXPONENT_OF_ONE - len(stored) + 5
    if first == _ZERO:
        return 0, 0
    digits = stored[1:-1].translate(_COMPLEMENT)
    return -int(digits[3:]), int(digits[:3]) - _EXPONENT_OF_ONE - len(digits) + 4


def plain(stored: str) -> str:
    """The number in plain digits, without a zero that says nothing."""
    sign = ""
    if stored[0] == _NEGATIVE:
        sign, stored = "-", stored[:-1].translate(_COMPLEMENT)
    elif stored == _ZERO:
        return "0"
    exponent, digits = int(stored[1:4]) - _EXPONENT_OF_ONE, stored[4:]
    if exponent < 0:
        return f"{sign}0.{'0' * (-1 - exponent)}{digits}"
    if len(digits) <= exponent + 1:
        return f"{sign}{digits.ljust(exponent + 1, '0')}"
    return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
