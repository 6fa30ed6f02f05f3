"""A model with a field of each kind that can be asked for, and what its queries should find, in plain Python."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.query.fields import QueryFields

from .shop import Colour, Level
from .support import Client

NEXT = re.compile(r'<[^?]*\?([^>]*)>; rel="next"')


class Item(Model):
    """Every kind of field, mostly without a value."""

    id: int = field(primary_key=True)
    text: str | None = field(default=None, indexed=True)
    whole: int | None = field(default=None, indexed=True)
    flag: bool | None = None
    real: float | None = None
    amount: Decimal | None = field(default=None, indexed=True)
    money: Decimal | None = field(default=None, decimal_places=2)
    link: UUID | None = None
    blob: bytes | None = None
    moment: datetime | None = field(default=None, indexed=True)
    day: date | None = None
    colour: Colour | None = None
    level: Level | None = None
    tags: list[str] | None = None
    code: str | None = field(default=None, unique=True)
    secret: str = field(default="secret", expose=False)


FIELDS = QueryFields(schema_of(Item))

POOLS: dict[str, list[Any]] = {
    "text": ["", "a", "A", "ab", "b%", "b_", "ä", "a'b", "\U0010ffff", "\U0010ffffz", "\ud7ff", "\ue000", "a,b"],
    "whole": [0, 1, -1, 5, (1 << 63) - 1, -(1 << 63)],
    "flag": [True, False],
    "real": [0.0, -1.5, 2.5, 1e300],
    "amount": [Decimal(0), Decimal("-1.5"), Decimal("10"), Decimal("9.99"), Decimal("1E-7"), Decimal("-20")],
    "money": [Decimal("1.50"), Decimal("-0.25"), Decimal(7)],
    "link": [UUID(int=0), UUID(int=7), UUID(int=1 << 127)],
    "blob": [b"", b"\x00", b"\xff\xfe"],
    "moment": [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
    "day": [date(2024, 2, 29), date(1999, 12, 31)],
    "colour": [Colour.RED, Colour.BLUE],
    "level": [Level.LOW, Level.HIGH],
    "tags": [["x"], []],
}
"""Few values of each field, so that they meet: in ties, and in filters."""

_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, given: value is not None and value == given,
    "ne": lambda value, given: value is None or value != given,
    "gt": lambda value, given: value is not None and value > given,
    "gte": lambda value, given: value is not None and value >= given,
    "lt": lambda value, given: value is not None and value < given,
    "lte": lambda value, given: value is not None and value <= given,
    "in": lambda value, given: value is not None and value in given,
    "contains": lambda value, given: value is not None and given in value,
    "startswith": lambda value, given: value is not None and value.startswith(given),
    "endswith": lambda value, given: value is not None and value.endswith(given),
    "isnull": lambda value, given: (value is None) is given,
}

Condition = tuple[str, str, Any]
"""Field, operator, Python value."""


def as_json(value: Any) -> Any:
    """A field's value as it is sent, and shown in a parameter."""
    if isinstance(value, Colour | Level):
        return value.value
    if isinstance(value, bytes):
        return urlsafe_b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID | date) else value


def as_text(value: Any) -> str:
    """A value as a parameter's text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    return str(as_json(value))


def document(row: dict[str, Any]) -> dict[str, Any]:
    """What is sent to create an object with these Python values."""
    return {name: as_json(value) for name, value in row.items()}


def matching(rows: Sequence[dict[str, Any]], conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The rows that meet all conditions."""
    return [row for row in rows if all(_TESTS[operator](row.get(name), given) for name, operator, given in conditions)]


def in_order(rows: Sequence[dict[str, Any]], terms: Sequence[str]) -> list[int]:
    """The ids of the rows sorted as ``order_by`` says."""
    last_descends = bool(terms) and terms[-1].startswith("-")
    found = sorted(rows, key=lambda row: row["id"], reverse=last_descends)
    for term in reversed(terms):
        name = term.removeprefix("-")
        found.sort(key=lambda row: _sort_key(row.get(name)), reverse=term.startswith("-"))
    return [row["id"] for row in found]


def _sort_key(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    return (1, value.value if isinstance(value, Colour | Level) else value)


def query_of(conditions: Sequence[Condition], terms: Sequence[str] = (), **more: object) -> str:
    """The query string that asks for this."""
    pairs = [(f"{name}__{operator}", as_text(given)) for name, operator, given in conditions]
    if terms:
        pairs.append(("order_by", ",".join(terms)))
    return urlencode([*pairs, *((name, str(value)) for name, value in more.items())])


async def pages(client: Client, query: str) -> list[list[dict[str, Any]]]:
    """All pages from this one on."""
    found = []
    while query:
        response = await client.send("GET", query=query)
        found.append(json.loads(response.body))
        onward = NEXT.search(dict(response.headers).get(b"link", b"").decode())
        query = onward[1] if onward else ""
    return found
