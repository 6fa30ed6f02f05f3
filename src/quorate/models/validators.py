"""Named validators: ``field(validate="non_empty")``, ``field(validate=["length(2,40)", "regex(^[a-z ]+$)"])``.

==================  =========================================  ========================================================
validator           for                                        holds if
==================  =========================================  ========================================================
``non_empty``       str, bytes, list, tuple, dict              there is something in it
``length(2,40)``    str, bytes, list, tuple, dict              it has 2 to 40 of them; one of the limits may be missing
``min_value(0.01)`` int, float, Decimal                        it is at least that
``max_value(100)``  int, float, Decimal                        it is at most that
``range(1,10)``     int, float, Decimal                        both; one of the limits may be missing
``regex(^[a-z]+$)`` str                                        the pattern is found in it
``email``           str                                        it is an address, by its form: nobody is asked
``url``             str                                        it is an absolute URL with a host
==================  =========================================  ========================================================

A named validator becomes a constraint that pydantic checks itself, and that shows in the JSON schema. A validator
checks and changes nothing: what is stored is what was sent. A new one is one function here, entered in
:data:`VALIDATORS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, Url, core_schema

_CALL = re.compile(r"([a-z_]+)(?:\((.*)\))?", re.DOTALL)
_SIZED = (str, bytes, list, tuple, dict)
_NUMBERS = (int, float, Decimal)
_LENGTH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Form:
    """The form that a text has. ``rule`` names it in errors, ``format`` in the JSON schema; ``None`` is left alone."""

    rule: str
    format: str
    message: str
    holds: Callable[[str], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        for part in (shown, *shown.get("anyOf", ())):
            if part.get("type") == "string":
                part["format"] = self.format
        return shown

    def _check(self, value: str | None) -> str | None:
        if value is not None and not self.holds(value):
            raise PydanticCustomError(self.rule, self.message)
        return value


def _is_email(text: str) -> bool:
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _is_url(text: str) -> bool:
    try:
        return bool(Url(text).host) and not re.search(r"\s", text)
    except ValueError:
        return False


_EMAIL = Form("email", "email", "Input should be an email address", _is_email)
_URL = Form("url", "uri", "Input should be an absolute URL with a host", _is_url)


def _non_empty(argument: str | None, value_type: Any) -> list[object]:
    _check_no_argument(argument)
    _check_sized(value_type)
    return [MinLen(1)]


def _length(argument: str | None, value_type: Any) -> list[object]:
    _check_sized(value_type)
    shortest, longest = _limits(argument, _length_of)
    return [
        *([] if shortest is None else [MinLen(shortest)]),
        *([] if longest is None else [MaxLen(longest)]),
    ]


def _length_of(text: str) -> int:
    if not _LENGTH.fullmatch(text):
        raise ValueError("needs whole numbers as its limits")
    return int(text)


def _min_value(argument: str | None, value_type: Any) -> list[object]:
    _check_number(value_type)
    return [Ge(_number(argument, value_type))]


def _max_value(argument: str | None, value_type: Any) -> list[object]:
    _check_number(value_type)
    return [Le(_number(argument, value_type))]


def _range(argument: str | None, value_type: Any) -> list[object]:
    _check_number(value_type)
    low, high = _limits(argument, lambda text: _number(text, value_type))
    return [*([] if low is None else [Ge(low)]), *([] if high is None else [Le(high)])]


def _regex(argument: str | None, value_type: Any) -> list[object]:
    _check_text(value_type)
    if not argument:
        raise ValueError("needs a pattern as its argument")
    return [StringConstraints(pattern=argument)]


def _email(argument: str | None, value_type: Any) -> list[object]:
    _check_no_argument(argument)
    _check_text(value_type)
    return [_EMAIL]


def _url(argument: str | None, value_type: Any) -> list[object]:
    _check_no_argument(argument)
    _check_text(value_type)
    return [_URL]


VALIDATORS: dict[str, Callable[[str | None, Any], list[object]]] = {
    "email": _email,
    "length": _length,
    "max_value": _max_value,
    "min_value": _min_value,
    "non_empty": _non_empty,
    "range": _range,
    "regex": _regex,
    "url": _url,
}


def constraints(rule: object, value_type: Any) -> list[object]:
    """The constraints that ``rule``, such as ``range(0.01,100)``, puts on values of ``value_type``.

    Raises :class:`ValueError` if there is no such validator or if it does not fit the type.
    """
    call = _CALL.fullmatch(rule) if isinstance(rule, str) else None
    if call is None or call[1] not in VALIDATORS:
        raise ValueError(f"validate={rule!r}: known validators are {', '.join(VALIDATORS)}")
    try:
        return VALIDATORS[call[1]](call[2], value_type)
    except ValueError as error:
        raise ValueError(f"validate={rule!r}: {error}") from None


def _check_no_argument(argument: str | None) -> None:
    if argument is not None:
        raise ValueError("takes no argument")


def _check_sized(value_type: Any) -> None:
    kind = get_origin(value_type) or value_type
    if not isinstance(kind, type) or not issubclass(kind, _SIZED):
        raise ValueError("needs a value with a length: str, bytes, list, tuple or dict")


def _check_number(value_type: Any) -> None:
    if value_type not in _NUMBERS:
        raise ValueError("needs a number: int, float or Decimal")


def _check_text(value_type: Any) -> None:
    if value_type is not str:
        raise ValueError("needs a str")


def _number(text: str | None, value_type: Any) -> Any:
    try:
        limit = value_type(text)
    except (ValueError, TypeError, InvalidOperation):
        raise ValueError(f"needs one {value_type.__name__} as its argument") from None
    if limit - limit != 0:  # NaN or an infinity
        raise ValueError("needs a finite limit")
    return limit


def _limits(argument: str | None, read: Callable[[str], Any]) -> tuple[Any, Any]:
    """The two limits in ``low,high``, ``low``, ``low,`` or ``,high``."""
    low_text, _, high_text = (argument or "").partition(",")
    low, high = [read(text.strip()) if text.strip() else None for text in (low_text, high_text)]
    if low is None and high is None:
        raise ValueError("needs a limit, or two of them with a comma between")
    if low is not None and high is not None and high < low:
        raise ValueError("can never hold: its limits are the wrong way round")
    return low, high
