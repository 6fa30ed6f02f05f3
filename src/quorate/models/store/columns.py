"""How a Python value is kept in SQLite and shown in JSON, one :class:`Codec` per type.

=================  ==========  =======================================================
Python             SQLite      stored form
=================  ==========  =======================================================
str                TEXT        as it is, without NUL
int                INTEGER     64 bits
bool               INTEGER     0 or 1
float              REAL        finite
Decimal            TEXT        text that sorts by value (:mod:`quorate.models.store.decimals`)
UUID               BLOB        16 bytes, so UUIDv7 sorts by time
bytes              BLOB        as it is (base64url in JSON)
datetime           TEXT        ``2024-01-01T00:00:00.000000Z``: UTC, fixed width, so text
                               order is time order; a naive value is taken as UTC
NaiveDatetime      TEXT        the same without the ``Z``
date               TEXT        ``2024-01-01``
Enum, Literal      as value    its str or int values
all else           TEXT        JSON
=================  ==========  =======================================================

Equal values have equal stored forms (JSON excepted): unique, foreign_key and immutable compare those.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, NaiveDatetime
from pydantic_core import to_json

from quorate.models.store import decimals

SqlValue = None | int | float | str | bytes

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

KEY_CHARACTERS_MAX = 512
RESERVED_KEYS = frozenset({"count", "random-id", ".", ".."})


class Unstorable(ValueError):
    """A value that is valid for its type cannot be stored: (reason, message)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """``name`` is the logical type, recorded in the file. The functions never see ``None``.

    ``encode`` makes the stored form of a Python value and may raise :class:`Unstorable`;
    ``show`` makes of a stored form what msgspec writes as the right JSON (``None``: it is that already).
    """

    name: str
    sql_type: Literal["TEXT", "INTEGER", "REAL", "BLOB"]
    encode: Callable[[Any], SqlValue]
    show: Callable[[Any], object] | None = None

    @property
    def is_json(self) -> bool:
        return self.name == "json"


def _encode_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unstorable("string_unicode", "String should hold no lone surrogate") from None
    if "\0" in value:
        raise Unstorable("string_nul", "String should hold no NUL character")
    return value


def key_text_allowed(text: str) -> bool:
    """Whether a str may be a primary key: it must be one unambiguous step of a URL's path."""
    return 0 < len(text) <= KEY_CHARACTERS_MAX and text not in RESERVED_KEYS and text[0] != "_" and "\0" not in text


def _encode_key_text(value: str) -> str:
    if not key_text_allowed(value):
        raise Unstorable(
            "primary_key",
            f"Primary key should have 1 to {KEY_CHARACTERS_MAX} characters, not start with _ "
            f"and be none of {', '.join(sorted(RESERVED_KEYS))}",
        )
    return _encode_text(value)


def _encode_integer(value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise Unstorable("int_size", "Integer should fit in 64 bits")
    return int(value)


def _encode_float(value: float) -> float:
    if not math.isfinite(value):
        raise Unstorable("finite_number", "Input should be a finite number")
    return value + 0.0  # an int becomes a float, and -0.0 becomes 0.0


def _plain_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Unstorable("finite_number", "Input should be a finite number")
    text = ""
    if abs(value.adjusted()) < decimals.DIGITS_MAX:  # formatting digits it may not have is what costs memory
        text = format(value, "f")
    if not 0 < len(text) <= decimals.DIGITS_MAX:
        raise Unstorable("decimal_size", f"Decimal should take at most {decimals.DIGITS_MAX} characters")
    return text


def _encode_decimal(value: Decimal) -> str:
    return decimals.sortable(_plain_decimal(value))


def _show_fixed_decimal(places: int) -> Callable[[str], str]:
    def show(stored: str) -> str:
        whole, _, fraction = decimals.plain(stored).partition(".")
        return f"{whole}.{fraction.ljust(places, '0')}" if places else whole

    return show


def _encode_datetime(value: datetime) -> str:
    if value.tzinfo is not None:
        try:
            value = value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            raise Unstorable("datetime_range", "Datetime should lie in the years 1 to 9999 UTC") from None
    return value.isoformat(timespec="microseconds") + "Z"


def _encode_naive_datetime(value: datetime) -> str:
    return value.isoformat(timespec="microseconds")


def _show_datetime(text: str) -> str:
    return text.replace(".000000", "")


def show_uuid(value: bytes) -> str:
    """A stored UUID in its canonical form, faster than ``str(UUID(bytes=value))``."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _encode_json(value: object) -> str:
    if not _all_finite(value):  # a nested pydantic model may allow an infinity, for which JSON has no number
        raise Unstorable("finite_number", "Numbers should be finite")
    return to_json(value, bytes_mode="base64").decode()


def _all_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, BaseModel):
        return _all_finite(value.__dict__)
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_all_finite, value))


def _show_json(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


TEXT = Codec(name="str", sql_type="TEXT", encode=_encode_text)
INTEGER = Codec(name="int", sql_type="INTEGER", encode=_encode_integer)
BOOLEAN = Codec(name="bool", sql_type="INTEGER", encode=int, show=bool)
FLOAT = Codec(name="float", sql_type="REAL", encode=_encode_float)
DECIMAL = Codec(name="decimal", sql_type="TEXT", encode=_encode_decimal, show=decimals.plain)
IDENTIFIER = Codec(name="uuid", sql_type="BLOB", encode=lambda value: value.bytes, show=show_uuid)
BYTES = Codec(name="bytes", sql_type="BLOB", encode=bytes, show=lambda value: urlsafe_b64encode(value).decode())
DATETIME = Codec(name="datetime", sql_type="TEXT", encode=_encode_datetime, show=_show_datetime)
NAIVE_DATETIME = Codec(name="datetime_naive", sql_type="TEXT", encode=_encode_naive_datetime, show=_show_datetime)
DATE = Codec(name="date", sql_type="TEXT", encode=date.isoformat)
KEY_TEXT = Codec(name="str", sql_type="TEXT", encode=_encode_key_text)
JSON = Codec(name="json", sql_type="TEXT", encode=_encode_json, show=_show_json)

BY_TYPE: dict[Any, Codec] = {
    str: TEXT,
    int: INTEGER,
    bool: BOOLEAN,
    float: FLOAT,
    Decimal: DECIMAL,
    UUID: IDENTIFIER,
    bytes: BYTES,
    datetime: DATETIME,
    AwareDatetime: DATETIME,
    NaiveDatetime: NAIVE_DATETIME,
    date: DATE,
}


def fixed_decimal(places: int) -> Codec:
    """A Decimal that is shown with exactly so many decimals."""
    return Codec(name=f"decimal({places})", sql_type="TEXT", encode=_encode_decimal, show=_show_fixed_decimal(places))


def enumerated(values: list[object]) -> Codec | None:
    """The codec of an enumeration or literal with these values: all str or all int, otherwise none."""
    if values and all(type(value) is str for value in values):
        return Codec(name="str", sql_type="TEXT", encode=lambda value: _encode_text(_plain(value)))
    if values and all(type(value) is int for value in values):
        return Codec(name="int", sql_type="INTEGER", encode=lambda value: _encode_integer(_plain(value)))
    return None


def _plain(member: Any) -> Any:
    return member.value if isinstance(member, Enum) else member
