"""Limits that no value meets, alone or together: such a declaration fails when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

from quorate.models.store.columns import INT64_MAX, INT64_MIN
from quorate.models.validators import Form

_NUMBERS = (int, float, Decimal)
_LEAST = {"min_length": 0, "max_length": 0, "max_digits": 1, "decimal_places": 0}
_EXACT = Context(prec=1000)


class _Limit(NamedTuple):
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}={str(self.value)[:40]}"


def contradiction(kind: Any, metadata: Sequence[object]) -> str | None:
    """What is wrong with the limits on values of the bare type ``kind``, if there is something."""
    return _of_lengths(metadata) or _of_digits(metadata) or _of_values(kind, metadata) or _of_forms(metadata)


def _limits(metadata: Sequence[object], *names: str) -> Iterator[_Limit]:
    for item in metadata:
        for name in names:
            value = getattr(item, name, None)
            if value is not None:
                yield _Limit(name, value)


def _nothing_between(low: _Limit, high: _Limit) -> str:
    return f"{low} and {high}: there is no value within both"


def _of_lengths(metadata: Sequence[object]) -> str | None:
    for limit in _limits(metadata, *_LEAST):
        least = _LEAST[limit.name]
        if isinstance(limit.value, bool) or not isinstance(limit.value, int) or limit.value < least:
            return f"{limit} should be a whole number from {least}"
    for low in _limits(metadata, "min_length"):
        for high in _limits(metadata, "max_length"):
            if low.value > high.value:
                return _nothing_between(low, high)
    return None


def _of_digits(metadata: Sequence[object]) -> str | None:
    for digits in _limits(metadata, "max_digits"):
        for places in _limits(metadata, "decimal_places"):
            if places.value > digits.value:
                return f"{places} are more than {digits} allows in all"
    return None


def _of_forms(metadata: Sequence[object]) -> str | None:
    forms = sorted({item.rule for item in metadata if isinstance(item, Form)})
    return f"nothing is {' and '.join(forms)} at once" if len(forms) > 1 else None


def _of_values(kind: Any, metadata: Sequence[object]) -> str | None:
    if kind not in _NUMBERS:
        return _of_moments(metadata)
    try:
        limits = [_Limit(name, Decimal(str(value))) for name, value in _limits(metadata, "gt", "ge", "lt", "le")]
        steps = [Decimal(str(step.value)) for step in _limits(metadata, "multiple_of")]
    except InvalidOperation:
        return None  # pydantic says what it cannot take
    for limit in limits:
        if not limit.value.is_finite():
            return f"{limit} should be finite"
    lows = [limit for limit in limits if limit.name in ("gt", "ge")]
    highs = [limit for limit in limits if limit.name in ("lt", "le")]
    if kind is int:
        lows.append(_Limit("ge", Decimal(INT64_MIN)))
        highs.append(_Limit("le", Decimal(INT64_MAX)))
        steps = steps or [Decimal(1)]
    if kind is Decimal and not steps:
        steps = [Decimal(10) ** -places.value for places in _limits(metadata, "decimal_places")]
    for digits in _limits(metadata, "max_digits"):
        whole = digits.value - max((limit.value for limit in _limits(metadata, "decimal_places")), default=0)
        lows.append(_Limit("gt", -(Decimal(10) ** whole)))
        highs.append(_Limit("lt", Decimal(10) ** whole))
    step = max(steps, default=None)
    for low in lows:
        for high in highs:
            if not _meet(low, high, step):
                return _nothing_between(low, high)
    return None


def _meet(low: _Limit, high: _Limit, step: Decimal | None) -> bool:
    """Whether there is a number within both, which is a multiple of ``step`` if that is given."""
    least, most = low.value, high.value
    excluded = low.name == "gt", high.name == "lt"
    if step is not None and step > 0:
        least, most = _stepped(least, step, ROUND_CEILING), _stepped(most, step, ROUND_FLOOR)
        least += step if excluded[0] and least == low.value else 0
        most -= step if excluded[1] and most == high.value else 0
        excluded = False, False
    return bool(least < most or (least == most and not any(excluded)))


def _stepped(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    return _EXACT.divide(value, step).to_integral_value(rounding=rounding) * step


def _of_moments(metadata: Sequence[object]) -> str | None:
    beyond: dict[tuple[str, str], Callable[[Any, Any], bool]] = {
        ("ge", "le"): lambda low, high: low > high,
        ("ge", "lt"): lambda low, high: low >= high,
        ("gt", "le"): lambda low, high: low >= high,
        ("gt", "lt"): lambda low, high: low >= high,
    }
    for low in _limits(metadata, "gt", "ge"):
        for high in _limits(metadata, "lt", "le"):
            try:
                if beyond[low.name, high.name](low.value, high.value):
                    return _nothing_between(low, high)
            except TypeError:
                return f"{low} and {high} cannot be compared"
    return None
