"""Which types a field may have, and the codec of each."""

from __future__ import annotations

import types
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel, NaiveDatetime
from pydantic.fields import FieldInfo

from quorate.models.store import columns
from quorate.models.store.columns import Codec

_KEY_CODECS = (columns.IDENTIFIER, columns.TEXT, columns.INTEGER)
_CONTAINERS = (list, tuple, dict)
_NUMBERS = (int, float, Decimal)
_ORDERED = (*_NUMBERS, datetime, date, AwareDatetime, NaiveDatetime)
_SIZED = (str, bytes, *_CONTAINERS)
_FITTING_TYPES: dict[str, tuple[Any, ...]] = {
    "gt": _ORDERED,
    "ge": _ORDERED,
    "lt": _ORDERED,
    "le": _ORDERED,
    "multiple_of": _NUMBERS,
    "min_length": _SIZED,
    "max_length": _SIZED,
    "pattern": (str,),
    "max_digits": (Decimal,),
    "decimal_places": (Decimal,),
}
SUPPORTED = (
    "str, int, bool, float, Decimal, UUID, bytes, datetime, date, Enum and Literal of str or int, and "
    "list, tuple, dict, union, TypedDict or pydantic model of those, kept as JSON"
)


def annotated(info: FieldInfo) -> Any:
    """The annotation of a field with its constraints."""
    annotation: Any = info.annotation
    for item in info.metadata:
        annotation = Annotated[annotation, item]
    return annotation


def value_type(annotation: Any) -> tuple[Any, bool]:
    """The bare type of an annotation and whether ``None`` is allowed: ``int | None`` → (int, True)."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        nullable = len(members) < len(get_args(annotation))
        if len(members) == 1:
            inner, inner_nullable = value_type(members[0])
            return inner, nullable or inner_nullable
        return annotation, nullable
    return annotation, annotation is Any


def codec_of(annotation: Any, metadata: Sequence[object]) -> Codec | None:
    """The codec for a bare type (see :func:`value_type`) with these constraints; ``None`` if unsupported."""
    codec = columns.BY_TYPE.get(annotation) if _hashable(annotation) else None
    if codec is columns.DECIMAL:
        places = [getattr(item, "decimal_places", None) for item in metadata]
        fixed = next((count for count in places if count is not None), None)
        return codec if fixed is None else columns.fixed_decimal(fixed)
    if codec is not None:
        return codec
    if get_origin(annotation) is Literal:
        return columns.enumerated(list(get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return columns.enumerated([member.value for member in annotation])
    if get_origin(annotation) is None and not isinstance(annotation, type):
        return None
    return columns.JSON if _fits_json(annotation, set()) else None


def misplaced_constraint(annotation: Any, metadata: Sequence[object]) -> str | None:
    """The name of a constraint that means nothing for this bare type, if there is one."""
    kind = get_origin(annotation) or annotation
    for item in metadata:
        for name, fitting in _FITTING_TYPES.items():
            if getattr(item, name, None) is not None and kind not in fitting:
                return name
    return None


def can_be_key(codec: Codec) -> bool:
    """Whether objects can be identified by values of this codec."""
    return codec in _KEY_CODECS


def is_typed_dict(annotation: Any) -> bool:
    """Whether it is a TypedDict: the one of typing, or that of typing_extensions, which is another class."""
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, "__total__")


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _fits_json(annotation: Any, seen: set[Any]) -> bool:
    """Whether values can be written as JSON and read back equal.

    Sets are left out: their order differs between nodes, so equal states would differ in their bytes.
    """
    from quorate.models.model import Model

    bare, _ = value_type(annotation)
    if bare is Any or bare is None or bare is type(None) or (_hashable(bare) and bare in columns.BY_TYPE):
        return True
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is Literal or bare in _CONTAINERS:
        return True
    if origin is dict:
        return arguments[0] is str and _fits_json(arguments[1], seen)
    if origin in (*_CONTAINERS, Union, types.UnionType):
        return all(member is Ellipsis or _fits_json(member, seen) for member in arguments)
    if not isinstance(bare, type) or issubclass(bare, Model):
        return False
    if bare in seen or issubclass(bare, Enum):
        return True
    seen.add(bare)
    if issubclass(bare, BaseModel):
        return all(_fits_json(info.annotation, seen) for info in bare.model_fields.values())
    return is_typed_dict(bare) and all(_fits_json(hint, seen) for hint in get_type_hints(bare).values())
