"""Query parameters and headers of a request, each checked: what is not known is refused."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from quorate.models.rest.http import Headers, RequestError, finding
from quorate.node.reads import Consistency

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
OFFSET_MAX = (1 << 63) - 1
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
ACTOR_CHARACTERS_MAX = 255
ETAGS_MAX = 32
NO_VERSION = -1
"""Stands for an ETag that is none of ours: no object is of this version."""

_NUMBER = re.compile(r"[0-9]{1,19}")
_PRINTABLE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ETAG = re.compile(rb'(?:W/)?"([!\x23-\x7e]*)"')


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


class WriteHead(NamedTuple):
    """What the headers of a write say.

    ``request_id`` is the ``Idempotency-Key``: a retry with the same key is applied once and gets the same answer.
    ``actor`` is who sends it, by ``X-Actor``; ``expected`` the version that the object must be of, by ``If-Match``.
    """

    request_id: str | None = None
    actor: str | None = None
    expected: int | None = None


def write_head(headers: Headers) -> WriteHead:
    """What the headers of a write say. Raises :class:`RequestError` for what they should not."""
    request_id = actor = None
    expected: int | None = None
    for name, value in headers:
        if name == b"idempotency-key":
            request_id = _once(request_id, "Idempotency-Key", value, IDEMPOTENCY_KEY_CHARACTERS_MAX)
        elif name == b"x-actor":
            actor = _once(actor, "X-Actor", value, ACTOR_CHARACTERS_MAX)
        elif name == b"if-match":
            expected = _expected(value)
    return WriteHead(request_id, actor, expected)


def _once(before: str | None, name: str, value: bytes, characters_max: int) -> str:
    if before is not None or len(value) > characters_max or not _PRINTABLE.fullmatch(value):
        raise RequestError(400, f"{name} should be given once, as 1 to {characters_max} printable ASCII characters")
    return value.decode("ascii")


def _expected(value: bytes) -> int | None:
    if value.strip() == b"*":
        return None  # some version: that the object is there is expected anyway
    tags = entity_tags(value)
    if len(tags) != 1:
        raise RequestError(400, "If-Match should be one ETag, as a read of the object has it, or *")
    return NO_VERSION if value.lstrip().startswith(b"W/") else tags[0]


def entity_tags(value: bytes) -> list[int]:
    """The versions in a list of ETags (RFC 9110 §8.8.3)."""
    tags = []
    for part in value.split(b",")[: ETAGS_MAX + 1]:
        match = _ETAG.fullmatch(part.strip())
        if match is None:
            raise RequestError(400, "an ETag should be in double quotes")
        tags.append(int(match[1]) if _NUMBER.fullmatch(match[1].decode()) else NO_VERSION)
    if len(tags) > ETAGS_MAX:
        raise RequestError(400, f"at most {ETAGS_MAX} ETags can be compared")
    return tags


def is_known(headers: Headers, version: int) -> bool:
    """Whether the client says that it has this version (``If-None-Match``)."""
    given = b",".join([value for name, value in headers if name == b"if-none-match"])
    return bool(given) and (given.strip() == b"*" or version in entity_tags(given))


def etag(version: int) -> tuple[bytes, bytes]:
    """The header of an object's version."""
    return (b"etag", b'"%d"' % version)


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
