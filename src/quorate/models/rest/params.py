"""Query parameters and headers of a request, each checked: what is not known is refused."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl

from quorate.models.rest.events_json import EPOCH
from quorate.models.rest.http import Headers, RequestError, finding
from quorate.models.store.events import Moment
from quorate.node.reads import Consistency

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
PARAMETERS_MAX = 64
OFFSET_MAX = SEQUENCE_MAX = (1 << 63) - 1
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
ACTOR_CHARACTERS_MAX = 255
ETAGS_MAX = 32
NO_VERSION = -1
"""Stands for an ETag that is none of ours: no object is of this version."""

_NUMBER = re.compile(r"[0-9]{1,19}")
_TIMESTAMP = re.compile(  # in a query a + that is not percent-encoded means a space
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
_PRINTABLE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ETAG = re.compile(rb'(?:W/)?"([!\x23-\x7e]*)"')


def read_consistency(query: bytes, default: Consistency = "strong") -> Consistency:
    """The only parameter of the other reads."""
    return consistency_of(_values(query, ("consistency",)), default) if query else default


class EventsWanted(NamedTuple):
    """What is asked for of the changes behind number ``after``; from the oldest on, or from now on, if it is not given.

    ``resource`` is one of those that are known.
    """

    after: int | None
    limit: int
    resource: str | None
    consistency: Consistency


def read_events(query: bytes, resources: Container[str]) -> EventsWanted:
    """``after``, ``limit``, ``resource`` and ``consistency`` of a request for events."""
    values = _values(query, ("after", "limit", "resource", "consistency"))
    resource = values.get("resource")
    if resource is not None and resource not in resources:
        raise invalid("resource", "enum", "Query parameter should be the name of a resource")
    return EventsWanted(
        _after(values), number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX), resource, consistency_of(values)
    )


def read_history(query: bytes) -> EventsWanted:
    """``after``, ``limit`` and ``consistency`` of a request for an object's history."""
    values = _values(query, ("after", "limit", "consistency"))
    limit = number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
    return EventsWanted(_after(values) or 0, limit, None, consistency_of(values))


def read_watch(query: bytes, headers: Headers) -> EventsWanted:
    """``after`` and ``consistency`` of a request to watch. A client that comes back says ``Last-Event-ID`` instead."""
    values = _values(query, ("after", "consistency"))
    for name, value in headers:
        if name == b"last-event-id" and value:
            text = value.decode("latin-1")
            if not _NUMBER.fullmatch(text) or int(text) > SEQUENCE_MAX:
                raise RequestError(400, "Last-Event-ID should be the id of an event of this stream, a number")
            values["after"] = text
    return EventsWanted(_after(values), LIMIT_DEFAULT, None, consistency_of(values))


def _after(values: dict[str, str]) -> int | None:
    return number(values, "after", 0, 0, SEQUENCE_MAX) if "after" in values else None


def names_as_of(query: bytes) -> bool:
    """Whether the object is asked for as it was."""
    return query.startswith(b"as_of=") or b"&as_of=" in query


def read_as_of(query: bytes) -> tuple[Moment, Consistency]:
    """``as_of``, an RFC 3339 timestamp or the index of a log entry, and ``consistency``."""
    values = _values(query, ("as_of", "consistency"))
    text = values["as_of"]
    if _NUMBER.fullmatch(text) and int(text) <= SEQUENCE_MAX:
        return Moment("entry_index", int(text)), consistency_of(values)
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match is not None:
            when = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3].upper().replace(' ', '+')}")
            return Moment("time_us", (when - EPOCH) // timedelta(microseconds=1)), consistency_of(values)
    except ValueError:
        pass
    raise invalid("as_of", "moment", "Query parameter should be a timestamp of RFC 3339 or the index of a log entry")


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


def _values(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
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
    value = int(text) if _NUMBER.fullmatch(text) else -1
    if not low <= value <= high:
        raise invalid(name, "range", f"Query parameter should be a whole number from {low} to {high}")
    return value


def consistency_of(values: Mapping[str, str], default: Consistency = "strong") -> Consistency:
    """How fresh a read is to be."""
    text = values.get("consistency", default)
    if text == "strong":
        return "strong"
    if text == "eventually":
        return "eventually"
    raise invalid("consistency", "enum", "Query parameter should be 'strong' or 'eventually'")


def invalid(name: str, reason: str, message: str) -> RequestError:
    """The refusal of one parameter."""
    # The name comes from the client and goes into the answer, so its length is bounded.
    return RequestError(422, f"query parameter {name[:64]!r}: {message}", errors=[finding(name[:64], reason, message)])
