"""Cursors: where a page ended, in a text that means something to the query that it came from alone.

base64url of a checksum (8 bytes, which covers the query too) and the MessagePack array of the last object's values of
the fields that the order is made of.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b

import msgspec

from quorate.models.query.errors import BadQuery
from quorate.models.query.filters import Condition
from quorate.models.query.ordering import Order
from quorate.models.store.schema import ModelSchema, Row

CURSOR_CHARACTERS_MAX = 4096
_SUM_BYTES = 8


class Cursors:
    """The cursors of one query."""

    def __init__(self, schema: ModelSchema, conditions: tuple[Condition, ...], order: Order) -> None:
        terms = [(term.column.name, term.descending) for term in order.terms]
        asked = [(condition.column, condition.operator.value, condition.values) for condition in conditions]
        self._schema = schema
        self._order = order
        self._query = msgspec.msgpack.encode((schema.name, terms, asked))

    def behind(self, row: Row) -> str:
        """The cursor of what lies behind ``row``. Raises :class:`BadQuery` if its values are too long for one."""
        data = msgspec.msgpack.encode(self._order.values(self._schema, row))
        text = urlsafe_b64encode(self._sum(data) + data).rstrip(b"=").decode()
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise BadQuery(
                "order_by", "too_long", "A page ends at a value too long for a cursor: give an offset, 0 for the first"
            )
        return text

    def read(self, text: str) -> Row:
        """The values in a cursor. Raises :class:`BadQuery` unless it is one of this query's."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            checksum, data = raw[:_SUM_BYTES], raw[_SUM_BYTES:]
            values = msgspec.msgpack.decode(data)
        except (ValueError, Error, msgspec.MsgspecError):
            raise _not_ours() from None
        if checksum != self._sum(data) or not self._order.fits(values):
            raise _not_ours()
        return tuple(values)

    def _sum(self, data: bytes) -> bytes:
        return blake2b(self._query + data, digest_size=_SUM_BYTES).digest()


def _not_ours() -> BadQuery:
    return BadQuery("cursor", "cursor", "Cursor should be one that this query, with the same filters and order, gave")
