"""The decimals of INCRBYFLOAT and HINCRBYFLOAT: numbers as an x86 machine's ``long double`` holds them.

They have 64 bits of mantissa and 15 of exponent. Worked out in whole numbers, so that every machine comes to the same.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from quorate.kv.arguments import float_syntax
from quorate.kv.replies import CommandError

NOT_FINITE = "ERR increment would produce NaN or Infinity"
TEXT_BYTES_MAX = 5119
"""A longer text is no number."""

_MANTISSA_BITS = 64
_EXPONENT_MAX = 16384
"""A number is less than two to this."""
_EXPONENT_MIN = -16445
"""The smallest number is two to this."""
_SCALE_MAX = {10: 10_500, 2: 37_000}
"""Beyond such an exponent of ten or of two, either way, there is no number, whatever the digits before it are."""
_PLACES = 17


class Extended(NamedTuple):
    """A finite number: ``mantissa`` times two to the ``exponent``."""

    mantissa: int
    exponent: int


Number = Extended | None
"""``None`` is either infinity: no number to go on with."""


def parse(text: bytes, error: str) -> Number:
    """Read a number. Raises ``error`` for what is none, or too large, or too small to be told from 0."""
    matched = float_syntax(text) if len(text) <= TEXT_BYTES_MAX else None
    if matched is None:
        raise CommandError(error)
    if matched["digits"] is not None:
        whole, _, behind = matched["digits"].partition(b".")
        mantissa = int(Decimal((whole + behind).decode()))  # int() of a text ends at 4300 digits
        base, scale = 10, int(matched["exponent"] or b"0") - len(behind)
    elif matched["hex_digits"] is not None:
        whole, _, behind = matched["hex_digits"].partition(b".")
        mantissa = int(whole + behind, 16)
        base, scale = 2, int(matched["hex_exponent"] or b"0") - 4 * len(behind)
    else:
        return None
    if not mantissa:
        return Extended(0, 0)
    if abs(scale) > _SCALE_MAX[base]:
        raise CommandError(error)
    signed = -mantissa if text[:1] == b"-" else mantissa
    value = _nearest(signed * base**scale, 1, 0) if scale >= 0 else _nearest(signed, base**-scale, 0)
    if value is None or not value.mantissa:
        raise CommandError(error)
    return value


def add(first: Number, second: Number) -> Extended:
    """The sum. Raises if it is not finite."""
    total = None
    if first is not None and second is not None:
        exponent = min(first.exponent, second.exponent)
        aligned = [value.mantissa << (value.exponent - exponent) for value in (first, second)]
        total = _nearest(sum(aligned), 1, exponent)
    if total is None:
        raise CommandError(NOT_FINITE)
    return total


def written(value: Extended) -> bytes:
    """A number with at most 17 places behind the point, and no exponent."""
    scaled = abs(value.mantissa) * 10**_PLACES
    whole = scaled << value.exponent if value.exponent >= 0 else _divided(scaled, 1 << -value.exponent)
    digits = str(Decimal(whole)).zfill(_PLACES + 1)
    text = f"{digits[:-_PLACES]}.{digits[-_PLACES:]}".rstrip("0").rstrip(".")
    return f"-{text}".encode() if value.mantissa < 0 and text != "0" else text.encode()


def _nearest(numerator: int, denominator: int, exponent: int) -> Number:
    """The number that is nearest to a fraction times two to the ``exponent``, of two the even one."""
    if not numerator:
        return Extended(0, 0)
    magnitude = abs(numerator)
    bits = magnitude.bit_length() - denominator.bit_length()  # of what is before the point: so many, or one more
    least = magnitude << max(-bits, 0) >= denominator << max(bits, 0)
    shift = min(_MANTISSA_BITS - bits - least, exponent - _EXPONENT_MIN)
    mantissa = _divided(magnitude << max(shift, 0), denominator << max(-shift, 0))
    if mantissa.bit_length() + exponent - shift > _EXPONENT_MAX:
        return None
    return Extended(mantissa if numerator > 0 else -mantissa, exponent - shift)


def _divided(numerator: int, denominator: int) -> int:
    """The nearest whole number to a fraction that is not negative, of two the even one."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))
