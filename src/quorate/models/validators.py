"""Named validators: ``field(validate="non_empty")``, ``field(validate=["non_empty", "min_value(0.01)"])``.

A named validator is translated into a constraint that pydantic checks itself, so it costs nothing extra and
shows in the JSON schema. A new one is one function here, entered in :data:`VALIDATORS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from annotated_types import Ge, MinLen

_CALL = re.compile(r"([a-z_]+)(?:\((.*)\))?", re.DOTALL)


def _non_empty(argument: str | None, value_type: Any) -> object:
    if argument is not None:
        raise ValueError("takes no argument")
    if not isinstance(value_type, type) or not issubclass(value_type, str | bytes | list | dict | tuple):
        raise ValueError("needs a value with a length: str, bytes, list, tuple or dict")
    return MinLen(1)


def _min_value(argument: str | None, value_type: Any) -> object:
    if value_type not in (int, float, Decimal):
        raise ValueError("needs a number: int, float or Decimal")
    try:
        limit = value_type(argument)
    except (ValueError, TypeError, InvalidOperation):
        raise ValueError(f"needs one {value_type.__name__} as its argument") from None
    if limit - limit != 0:  # NaN or an infinity
        raise ValueError("needs a finite limit")
    return Ge(limit)


VALIDATORS: dict[str, Callable[[str | None, Any], object]] = {
    "min_value": _min_value,
    "non_empty": _non_empty,
}


def constraint(rule: object, value_type: Any) -> object:
    """The constraint that ``rule``, such as ``min_value(0.01)``, puts on values of ``value_type``.

    Raises :class:`ValueError` if there is no such validator or if it does not fit the type.
    """
    call = _CALL.fullmatch(rule) if isinstance(rule, str) else None
    if call is None or call[1] not in VALIDATORS:
        raise ValueError(f"validate={rule!r}: known validators are {', '.join(VALIDATORS)}")
    try:
        return VALIDATORS[call[1]](call[2], value_type)
    except ValueError as error:
        raise ValueError(f"validate={rule!r}: {error}") from None
