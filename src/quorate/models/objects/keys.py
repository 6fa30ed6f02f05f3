"""Primary keys as a program gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.models.store.columns import SqlValue

if TYPE_CHECKING:
    from quorate.models.model import Model


def as_key(model: type[Model], value: object) -> SqlValue:
    """The stored form of a primary key.

    Raises pydantic's ``ValidationError`` for a value of another type, and :class:`~quorate.models.errors.Invalid` for
    one that no object can have.
    """
    schema = model.__model_schema__
    name = schema.key.name
    given = schema.patch_model.__pydantic_validator__.validate_python({name: value})
    return schema.encode_fields(given.__dict__, (name,))[0]
