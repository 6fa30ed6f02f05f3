"""``field(...)``: the attributes of a model's field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

OnDelete = Literal["restrict", "cascade", "set_null"]
FieldGroups = Sequence[Sequence[str]]
"""Names of fields that belong together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a field means to the store, beside the constraints that pydantic keeps."""

    primary_key: bool = False
    unique: bool = False
    indexed: bool = False
    immutable: bool = False
    foreign_key: Any = None
    on_delete: str = "restrict"
    validate: tuple[object, ...] = ()
    audited: bool = False
    track_history: bool = False
    retention: timedelta | None = None
    consistent_read: bool = False
    expose: bool = True
    replicate: bool = True
    memory_only: bool = False
    auto_persist: bool | None = None
    is_translated: bool = False
    """Whether the field's constraints say already what ``validate`` does: then a class was derived from another."""

    @property
    def is_local(self) -> bool:
        """Whether each node has values of its own."""
        return self.memory_only or not self.replicate

    @staticmethod
    def of(info: FieldInfo) -> Attributes:
        """The attributes declared with :func:`field`; none for a field declared in another way."""
        for item in info.metadata:
            if isinstance(item, Attributes):
                return item
        return Attributes()


def field(
    *,
    default: Any = PydanticUndefined,
    primary_key: bool = False,
    unique: bool = False,
    indexed: bool = False,
    immutable: bool = False,
    foreign_key: type | Literal["self"] | None = None,
    on_delete: OnDelete = "restrict",
    audited: bool = False,
    track_history: bool = False,
    retention: timedelta | None = None,
    consistent_read: bool = False,
    expose: bool = True,
    replicate: bool = True,
    memory_only: bool = False,
    auto_persist: bool | None = None,
    validate: str | Sequence[str] = (),
    gt: int | float | Decimal | str | None = None,
    ge: int | float | Decimal | str | None = None,
    lt: int | float | Decimal | str | None = None,
    le: int | float | Decimal | str | None = None,
    multiple_of: int | float | Decimal | str | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    max_digits: int | None = None,
    decimal_places: int | None = None,
    strict: bool | None = None,
    title: str | None = None,
    description: str | None = None,
    examples: list[Any] | None = None,
) -> Any:
    """Declare one field of a :class:`~quorate.models.Model`. Without ``default`` it must be given.

    - ``primary_key``: the object's id; exactly one per model, of type UUID, str or int. A UUID may be left
      out when an object is created: the leader then stamps a UUIDv7.
    - ``unique``: no two objects have the same value (409). ``None`` equals nothing, not even ``None``.
    - ``indexed``: kept in an index. Unique fields and foreign keys are indexed anyway.
    - ``immutable``: may not change after creation (422); sending the same value again is fine.
    - ``foreign_key``: the model whose primary key this value is (409 if there is no such object), ``"self"`` for the
      one that is being declared.
      ``on_delete``: an object that is referred to cannot be deleted (``restrict``, 409), or takes those along that
      refer to it (``cascade``), or leaves them without (``set_null``).
    - ``track_history``: the values that it had are kept. ``audited``: who changed it, when, from what to what.
      ``retention``: for how long, for ever if it is not given.
    - ``expose=False``: never leaves the server. ``consistent_read``: a read that returns it is strong unless the
      caller asks otherwise.
    - ``replicate=False``: each node keeps the values that were written at it, in a file of its own.
      ``memory_only=True``: the same, until the node stops. ``auto_persist`` says the rest by its name: whatever is not
      ``memory_only`` is on disk before its write is acknowledged.
    - ``validate``: named validators, such as ``"non_empty"`` or ``["length(2,40)", "regex(^[a-z]+$)"]``: see
      :mod:`quorate.models.validators`.
    - all others: pydantic's constraints. A limit on a Decimal is best given as a string: ``ge="0.01"``.
    """
    constraints = {
        "gt": gt,
        "ge": ge,
        "lt": lt,
        "le": le,
        "multiple_of": multiple_of,
        "min_length": min_length,
        "max_length": max_length,
        "pattern": pattern,
        "max_digits": max_digits,
        "decimal_places": decimal_places,
        "strict": strict,
        "title": title,
        "description": description,
        "examples": examples,
    }
    info: FieldInfo = Field(default, **{name: value for name, value in constraints.items() if value is not None})  # type: ignore[call-overload]
    info.metadata.append(
        Attributes(
            primary_key=primary_key,
            unique=unique,
            indexed=indexed,
            immutable=immutable,
            foreign_key=foreign_key,
            on_delete=on_delete,
            audited=audited,
            track_history=track_history,
            retention=retention,
            consistent_read=consistent_read,
            expose=expose,
            replicate=replicate,
            memory_only=memory_only,
            auto_persist=auto_persist,
            validate=tuple(validate) if isinstance(validate, list | tuple) else (validate,),
        )
    )
    return info
