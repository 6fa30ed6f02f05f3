"""From stored values back to those that a model's fields have in Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from quorate.models.store import columns, decimals
from quorate.models.store.columns import Codec

Loader = Callable[[Any], Any] | None
"""Never sees ``None``; is ``None`` where the stored value is the one to have."""

_PLAIN = {"str", "int", "float", "bytes"}
_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "uuid": lambda value: UUID(bytes=value),
    "datetime": datetime.fromisoformat,
    "datetime_naive": datetime.fromisoformat,
    "date": date.fromisoformat,
}


def loader_of(info: FieldInfo, codec: Codec) -> Loader:
    """What makes a field's Python value of its stored one."""
    if codec.name.startswith("decimal"):
        return lambda value: Decimal(decimals.plain(value))
    if codec.is_json:
        return _adapter(info).validate_json
    if codec.name in _PLAIN:
        return None if codec in (columns.TEXT, columns.KEY_TEXT, columns.INTEGER, columns.FLOAT, columns.BYTES) else (
            _adapter(info).validate_python
        )  # fmt: skip
    return _BY_NAME[codec.name]


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = info.annotation
    for item in info.metadata:
        annotation = Annotated[annotation, item]
    return TypeAdapter(annotation)
