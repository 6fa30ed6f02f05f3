"""JSON merge patch (RFC 7396) on a stored object."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from quorate.models.errors import Invalid
from quorate.models.store.schema import ModelSchema, Row

ERRORS_MAX = 100


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396 §2: objects are merged member by member, ``null`` removes a member, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def merged_row(schema: ModelSchema, row: Row, document: dict[str, Any], *, whole: bool = False) -> Row:
    """The row after the merge, judged by the model's own rules. Raises :class:`Invalid`.

    A field of an object is not a member that may be missing: ``null`` sets it to ``None``, if it may be that. With
    ``whole`` members are set, not merged.
    """
    current = json.loads(schema.complete_json(row))
    for name, value in document.items():
        current[name] = value if whole or value is None else merge_patch(current.get(name), value)
    try:
        instance = schema.model.__pydantic_validator__.validate_json(json.dumps(current))
    except ValidationError as error:
        raise Invalid.of(schema.name, plain_errors(error, schema.hidden_names)) from None
    return schema.encode(instance)


def plain_errors(error: ValidationError, hidden: Container[str] = ()) -> list[tuple[str, str, str]]:
    """pydantic's findings as (field, reason, message), without the values that caused them.

    A message may repeat a part of the value: of a field that is ``hidden`` there is another one.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        (".".join(map(str, item["loc"])), item["type"], "Input is not valid" if _field(item) in hidden else item["msg"])
        for item in found[:ERRORS_MAX]
    ]


def _field(item: ErrorDetails) -> str:
    """The field that a finding is about; in a list of objects its position comes first."""
    return next((part for part in item["loc"] if isinstance(part, str)), "")
