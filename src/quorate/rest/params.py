"""The parameters of a query, each checked: what is not known is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from quorate.node.reads import Consistency
from quorate.rest.http import RequestError, finding

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
PARAMETERS_MAX = 64
OFFSET_MAX = SEQUENCE_MAX = (1 << 63) - 1

_NUMBER = re.compile(r"[0-9]{1,19}")


def parameters(query: bytes) -> dict[str, str]:
    """All of them, each of which may be given once."""
    if query.count(b"&") >= PARAMETERS_MAX:
        raise RequestError(422, f"the query string has more than {PARAMETERS_MAX} parameters")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict")
    except ValueError:
        raise RequestError(422, "the query string is not percent-encoded UTF-8") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise invalid(name, "repeated_parameter", "Query parameter should be given once")
        values[name] = value
    return values


def known_parameters(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """The same, each of which is one of these."""
    values = parameters(query)
    for name in values:
        if name not in known:
            allowed = f"known here: {', '.join(known)}" if known else "this request has none"
            raise invalid(name, "unknown_parameter", f"Unknown query parameter; {allowed}")
    return values


def number(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A parameter that is a whole number."""
    text = values.get(name)
    if text is None:
        return default
    value = whole_number(text, high)
    if value is None or value < low:
        raise invalid(name, "range", f"Query parameter should be a whole number from {low} to {high}")
    return value


def whole_number(text: str, high: int = SEQUENCE_MAX) -> int | None:
    """The number from 0 to ``high`` that ``text`` is in decimal digits, or ``None``."""
    value = int(text) if _NUMBER.fullmatch(text) else None
    return None if value is None or value > high else value


def consistency_of(values: Mapping[str, str], default: Consistency = "strong") -> Consistency:
    """How fresh a read is to be."""
    text = values.get("consistency", default)
    if text == "strong":
        return "strong"
    if text == "eventually":
        return "eventually"
    raise invalid("consistency", "enum", "Query parameter should be 'strong' or 'eventually'")


def read_consistency(query: bytes, default: Consistency = "strong") -> Consistency:
    """The only parameter of many reads."""
    return consistency_of(known_parameters(query, ("consistency",)), default) if query else default


def refuse_parameters(query: bytes) -> None:
    """Writes have no parameters."""
    if query:
        known_parameters(query, ())


def invalid(name: str, reason: str, message: str) -> RequestError:
    """The refusal of one parameter."""
    # The name comes from the client and goes into the answer, so its length is bounded.
    return RequestError(422, f"query parameter {name[:64]!r}: {message}", errors=[finding(name[:64], reason, message)])
