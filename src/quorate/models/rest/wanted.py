"""What the parameters of a request for events, for a history or for the past ask for."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from quorate.models.store.events import Moment
from quorate.node.reads import Consistency
from quorate.rest.events import last_event_id
from quorate.rest.http import Headers
from quorate.rest.params import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    SEQUENCE_MAX,
    consistency_of,
    invalid,
    known_parameters,
    number,
    whole_number,
)
from quorate.rest.times import parse_timestamp


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
    values = known_parameters(query, ("after", "limit", "resource", "consistency"))
    resource = values.get("resource")
    if resource is not None and resource not in resources:
        raise invalid("resource", "enum", "Query parameter should be the name of a resource")
    return EventsWanted(
        _after(values), number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX), resource, consistency_of(values)
    )


def read_history(query: bytes) -> EventsWanted:
    """``after``, ``limit`` and ``consistency`` of a request for an object's history."""
    values = known_parameters(query, ("after", "limit", "consistency"))
    limit = number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
    return EventsWanted(_after(values) or 0, limit, None, consistency_of(values))


def read_watch(query: bytes, headers: Headers) -> EventsWanted:
    """``after`` and ``consistency`` of a request to watch. A client that comes back says ``Last-Event-ID`` instead."""
    values = known_parameters(query, ("after", "consistency"))
    last = last_event_id(headers)
    return EventsWanted(_after(values) if last is None else last, LIMIT_DEFAULT, None, consistency_of(values))


def _after(values: dict[str, str]) -> int | None:
    return number(values, "after", 0, 0, SEQUENCE_MAX) if "after" in values else None


def names_as_of(query: bytes) -> bool:
    """Whether the object is asked for as it was."""
    return query.startswith(b"as_of=") or b"&as_of=" in query


def read_as_of(query: bytes) -> tuple[Moment, Consistency]:
    """``as_of``, an RFC 3339 timestamp or the index of a log entry, and ``consistency``."""
    values = known_parameters(query, ("as_of", "consistency"))
    text = values["as_of"]
    index = whole_number(text)
    if index is not None:
        return Moment("entry_index", index), consistency_of(values)
    time_us = parse_timestamp(text)
    if time_us is not None:
        return Moment("time_us", time_us), consistency_of(values)
    raise invalid("as_of", "moment", "Query parameter should be a timestamp of RFC 3339 or the index of a log entry")
