"""From stored values back to those that a model's fields have in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from quorate.models.annotations import annotated
from quorate.models.store import decimals
from quorate.models.store.columns import INTEGER, KEY_TEXT, TEXT, Codec

Loader = Callable[[Any], Any] | None
"""Never sees ``None``; is ``None`` where the stored value is the one to have."""

_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "uuid": lambda value: UUID(bytes=value),
    "datetime": datetime.fromisoformat,
    "datetime_naive": datetime.fromisoformat,
    "date": date.fromisoformat,
    "json": json.loads,
}


def plain_loader(name: str) -> Loader:
    """What makes a Python value of a stored one of the logical type ``name``, as far as that alone tells."""
    if name.startswith("decimal"):
        return lambda value: Decimal(decimals.plain(value))
    return _BY_NAME.get(name)


def loader_of(info: FieldInfo, codec: Codec) -> Loader:
    """What makes a field's Python value of its stored one.

    Limits may have changed since it was stored: what does not meet them now is loaded as plain data.
    """
    if codec.is_json:
        return _or_plain(TypeAdapter(annotated(info)).validate_json, json.loads)
    if codec.name in ("str", "int") and codec not in (TEXT, KEY_TEXT, INTEGER):  # an enumeration, or a literal
        return _or_plain(TypeAdapter(annotated(info)).validate_python, lambda value: value)
    return plain_loader(codec.name)


def _or_plain(load: Callable[[Any], Any], plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def loaded(value: Any) -> Any:
        try:
            return load(value)
        except ValidationError:
            return plain(value)

    return loaded
