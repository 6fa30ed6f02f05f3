"""JSON merge patch (RFC 7396) on a stored object."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

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


def merged_row(schema: ModelSchema, row: Row, document: dict[str, Any]) -> Row:
    """The row after the merge, judged by the model's own rules. Raises :class:`Invalid`.

    A field of an object is not a member that may be missing: ``null`` sets it to ``None``, if it may be that.
    """
    current = json.loads(schema.complete_json(row))
    for name, value in document.items():
        current[name] = None if value is None else merge_patch(current.get(name), value)
    try:
        instance = schema.model.__pydantic_validator__.validate_json(json.dumps(current))
    except ValidationError as error:
        raise Invalid.of(schema.name, plain_errors(error)) from None
    return schema.encode(instance)


def plain_errors(error: ValidationError) -> list[tuple[str, str, str]]:
    """pydantic's findings as (field, reason, message), without the values that caused them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(".".join(map(str, item["loc"])), item["type"], item["msg"]) for item in found[:ERRORS_MAX]]
