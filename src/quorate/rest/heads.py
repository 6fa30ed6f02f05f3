"""The headers of a request, each checked, and an object's version as its ETag."""

from __future__ import annotations

import re
from typing import NamedTuple

from quorate.rest.http import Headers, RequestError

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
ACTOR_CHARACTERS_MAX = 255
ETAGS_MAX = 32
NO_VERSION = -1
"""Stands for an ETag that is none of ours: no object is of this version."""

_PRINTABLE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ETAG = re.compile(rb'(?:W/)?"([!\x23-\x7e]*)"')
_VERSION = re.compile(rb"[0-9]{1,19}")


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
        tags.append(int(match[1]) if _VERSION.fullmatch(match[1]) else NO_VERSION)
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
