"""Query parameters and headers of a request, each checked: what is not known is refused."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from quorate.models.http import Headers, RequestError, finding
from quorate.node.reads import Consistency

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
OFFSET_MAX = (1 << 63) - 1
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255

_NUMBER = re.compile(r"[0-9]{1,19}")
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Page(NamedTuple):
    """What a list request asks for."""

    limit: int
    offset: int
    consistency: Consistency

    def link(self, path: str, *, count: int, total: int) -> bytes:
        """The ``Link`` header (RFC 8288) to the pages around this one, which holds ``count`` objects."""
        links = []
        if count > 0 and self.offset + count < total:
            links.append((self.offset + count, "next"))
        if self.offset > 0:
            links.append((max(0, self.offset - self.limit), "prev"))
        shared: dict[str, Any] = {"limit": self.limit}
        if self.consistency != "strong":
            shared["consistency"] = self.consistency
        return ", ".join(
            f'<{path}?{urlencode(shared | {"offset": offset})}>; rel="{relation}"' for offset, relation in links
        ).encode()


def read_page(query: bytes) -> Page:
    """``limit``, ``offset`` and ``consistency`` of a list request."""
    values = _values(query, ("limit", "offset", "consistency"))
    return Page(
        _number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX),
        _number(values, "offset", 0, 0, OFFSET_MAX),
        _consistency(values),
    )


def read_consistency(query: bytes) -> Consistency:
    """The only parameter of the other reads. A read is strong unless it says otherwise."""
    return _consistency(_values(query, ("consistency",))) if query else "strong"


def refuse_parameters(query: bytes) -> None:
    """Writes have no parameters."""
    if query:
        _values(query, ())


def content_type(headers: Headers) -> bytes:
    """The media type without its parameters, in lower case; empty if it is not given."""
    for name, value in headers:
        if name == b"content-type":
            return value.split(b";", 1)[0].strip().lower()
    return b""


def request_id(headers: Headers) -> str | None:
    """The ``Idempotency-Key``: a retry with the same key is applied once and gets the same answer."""
    found = [value for name, value in headers if name == b"idempotency-key"]
    if not found:
        return None
    if len(found) > 1 or len(found[0]) > IDEMPOTENCY_KEY_CHARACTERS_MAX or not _IDEMPOTENCY_KEY.fullmatch(found[0]):
        limit = IDEMPOTENCY_KEY_CHARACTERS_MAX
        raise RequestError(400, f"Idempotency-Key should be given once, as 1 to {limit} printable ASCII characters")
    return found[0].decode("ascii")


def _values(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=32, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise RequestError(422, "the query string cannot be read") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            allowed = f"known here: {', '.join(known)}" if known else "this request has none"
            raise _invalid(name, "unknown_parameter", f"Unknown query parameter; {allowed}")
        if name in values:
            raise _invalid(name, "repeated_parameter", "Query parameter should be given once")
        values[name] = value
    return values


def _number(values: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    number = int(text) if _NUMBER.fullmatch(text) else -1
    if not low <= number <= high:
        raise _invalid(name, "range", f"Query parameter should be a whole number from {low} to {high}")
    return number


def _consistency(values: dict[str, str]) -> Consistency:
    text = values.get("consistency", "strong")
    if text == "strong":
        return "strong"
    if text == "eventually":
        return "eventually"
    raise _invalid("consistency", "enum", "Query parameter should be 'strong' or 'eventually'")


def _invalid(name: str, reason: str, message: str) -> RequestError:
    # The name comes from the client and goes into the answer, so its length is bounded.
    return RequestError(422, f"query parameter {name[:64]!r}: {message}", errors=[finding(name[:64], reason, message)])
