"""What the parameters of lists, counts and aggregates ask for."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from quorate.models.query.aggregation import FUNCTIONS, Aggregation, parse_aggregation
from quorate.models.query.cursors import Cursors
from quorate.models.query.errors import BadQuery
from quorate.models.query.fields import QueryFields
from quorate.models.query.filters import Condition, parse_filters
from quorate.models.query.ordering import parse_order
from quorate.models.query.selection import Selection
from quorate.models.store.schema import Row
from quorate.node.reads import Consistency
from quorate.rest import params
from quorate.rest.http import RequestError
from quorate.rest.params import LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX

ALL = "all"
"""The ``limit`` of a list without an end."""
LIST_PARAMETERS = ("order_by", "limit", "offset", "cursor", "fields", "consistency")
AGGREGATE_PARAMETERS = ("group_by", *FUNCTIONS, "count", "limit", "offset", "consistency")
"""A field of one of these names can be asked for with ``__eq``."""


class Paging(NamedTuple):
    """Where a page stands among the others. ``offset`` is ``None`` if it was not given."""

    shared: dict[str, str]
    limit: int
    offset: int | None

    def link(self, path: str, count: int, has_more: bool) -> bytes:
        """The ``Link`` header (RFC 8288) to the pages around this one of ``count`` items, by their offsets."""
        offset = self.offset or 0
        links = []
        if has_more:
            links.append(self._to(path, "next", "offset", str(offset + count)))
        if offset:
            links.append(self._to(path, "prev", "offset", str(max(0, offset - self.limit))))
        return b", ".join(links)

    def link_behind(self, path: str, cursor: str) -> bytes:
        """The same to what lies behind."""
        return self._to(path, "next", "cursor", cursor)

    def _to(self, path: str, relation: str, parameter: str, value: str) -> bytes:
        return f'<{path}?{urlencode(self.shared | {parameter: value})}>; rel="{relation}"'.encode()


class Wanted(NamedTuple):
    """What a list request asks for. Without a ``paging`` that is all of it."""

    selection: Selection
    cursors: Cursors
    after: Row | None
    fields: tuple[str, ...]
    paging: Paging | None
    consistency: Consistency


def read_list(fields: QueryFields, query: bytes, default: Consistency = "strong") -> Wanted:
    """The parameters of a list, read with consistency ``default`` if none is given.

    Raises :class:`RequestError`, as do the others, for what is wrong with them.
    """
    values = params.parameters(query)
    try:
        conditions = parse_filters(fields, _without(values, LIST_PARAMETERS))
        selection = Selection(fields.schema, conditions, parse_order(fields, values.get("order_by")))
        cursors = Cursors(fields.schema, conditions, selection.order)
        after = cursors.read(values["cursor"]) if "cursor" in values else None
        names = _names(fields, values.get("fields"))
    except BadQuery as error:
        raise refusal_of(error) from None
    if after is not None and "offset" in values:
        raise params.invalid("offset", "contradiction", "A cursor says where the page begins: give one of both")
    if values.get("limit") == ALL:
        if "offset" in values:
            raise params.invalid("offset", "contradiction", "All are asked for")
        paging = None
    else:
        paging = _paging(values)
    return Wanted(selection, cursors, after, names, paging, params.consistency_of(values, default))


def read_count(fields: QueryFields, query: bytes, default: Consistency = "strong") -> tuple[Selection, Consistency]:
    """The filters of a count."""
    values = params.parameters(query)
    try:
        conditions = parse_filters(fields, _without(values, ("consistency",)))
        return Selection(fields.schema, conditions, parse_order(fields, None)), params.consistency_of(values, default)
    except BadQuery as error:
        raise refusal_of(error) from None


def read_aggregate(
    fields: QueryFields, query: bytes, default: Consistency = "strong"
) -> tuple[Aggregation, Paging, Consistency]:
    """The parameters of aggregates."""
    values = params.parameters(query)
    try:
        conditions: tuple[Condition, ...] = parse_filters(fields, _without(values, AGGREGATE_PARAMETERS))
        aggregation = parse_aggregation(fields, conditions, values)
    except BadQuery as error:
        raise refusal_of(error) from None
    return aggregation, _paging(values), params.consistency_of(values, default)


def refusal_of(error: BadQuery) -> RequestError:
    """How it is answered."""
    return params.invalid(error.parameter, error.reason, error.message)


def _paging(values: dict[str, str]) -> Paging:
    offset = params.number(values, "offset", 0, 0, OFFSET_MAX) if "offset" in values else None
    return Paging(
        _without(values, ("cursor", "offset")), params.number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX), offset
    )


def _without(values: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def _names(fields: QueryFields, text: str | None) -> tuple[str, ...]:
    exposed = fields.schema.exposed_names
    if text is None:
        return exposed
    names = text.split(",", len(exposed))
    for name in names:
        if name not in exposed:
            raise BadQuery("fields", "unknown_field", f"It should name some of {', '.join(exposed)}")
    if len(set(names)) < len(names):
        raise BadQuery("fields", "repeated_field", "A field is named twice")
    return tuple(names)
