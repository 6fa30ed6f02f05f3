"""The JSON of a body, read strictly: what means two things to two readers is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import msgspec
from pydantic_core import from_json

from quorate.rest.http import RequestError, finding


def parse_strictly(body: bytes) -> Any:
    """JSON as RFC 8259 recommends it for interchange: names are unique, numbers are finite, depth is bounded."""
    try:
        from_json(body, allow_inf_nan=False)  # it bounds the depth, and knows lone surrogates
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not valid JSON: {_reason(error)}") from None


def parse_object(body: bytes) -> dict[str, Any]:
    """As :func:`parse_strictly`, and the value is an object."""
    document = parse_strictly(body)
    if not isinstance(document, dict):
        message = "Input should be an object"
        raise RequestError(422, message, errors=[finding("", "model_type", message)])
    return document


def malformed(error: msgspec.ValidationError) -> RequestError:
    """msgspec says ``Expected `int`, got `str` - at `$.version```; it does not repeat values that could be long."""
    message, _, where = str(error).partition(" - at `$")
    message = message[:200]
    return RequestError(422, message, errors=[finding(where.strip(".`"), "malformed", message)])


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the member {name[:64]!r} is given twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _reason(error: Exception) -> str:
    return "too deeply nested" if isinstance(error, RecursionError) else str(error)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_float=_finite, parse_constant=_no_constant)
