"""Events as clients see them: what changed, when, by whom, as one JSON object.

::

    {"event_id": "018f...", "aggregate_id": "products/018e...", "event_type": "ProductUpdated",
     "event_data": {"price": "9.99"}, "sequence_number": 42, "term": 3, "timestamp": "2026-11-21T16:13:29.000123Z",
     "node_id": 2, "index": 77, "actor": "ann", "model": "Product"}

Everything in it comes from the log, so it is the same on every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from quorate.models.names import resource_name
from quorate.models.store.columns import SqlValue, show_uuid
from quorate.models.store.events import Event, Kind
from quorate.models.store.schema import ModelSchema
from quorate.rest.times import timestamp

_UUID_FIXED_BITS = (0x7 << 76) | (0b10 << 62)  # version 7, RFC 9562 variant
_SEQUENCE_BITS = (1 << 62) - 1
_UUID_BYTES = 16

encode_json = msgspec.json.Encoder().encode


def event_id(time_us: int, sequence: int) -> str:
    """A UUIDv7 (RFC 9562 §5.7, §6.2 method 3) of the log's time, whose other 62 bits are the sequence number."""
    milliseconds, microseconds = divmod(time_us, 1000)
    fraction = microseconds * 4096 // 1000
    bits = (milliseconds & 0xFFFFFFFFFFFF) << 80 | _UUID_FIXED_BITS | fraction << 64 | sequence & _SEQUENCE_BITS
    return show_uuid(bits.to_bytes(_UUID_BYTES, "big"))


def event_type(model: str, kind: Kind, name: str) -> str:
    """``ProductCreated``, or of a declared event its own name: ``stock_changed`` → ``StockChanged``."""
    return "".join(word.capitalize() for word in name.split("_")) if name else model + kind.value.capitalize()


class EventDocuments:
    """Makes them by the declarations of this node: what these do not know, or hide, is left out."""

    def __init__(self, schemas: Iterable[ModelSchema]) -> None:
        self._schemas = {schema.name: schema for schema in schemas}

    def document(self, event: Event) -> dict[str, Any]:
        """One event, for msgspec to encode."""
        schema = self._schemas.get(event.model)
        return {
            "event_id": event_id(event.time_us, event.sequence),
            "aggregate_id": _unknown_object(event) if schema is None else object_path(schema, event.key),
            "event_type": event_type(event.model, event.kind, event.name),
            "event_data": {} if schema is None else _data(schema, event),
            "sequence_number": event.sequence,
            "term": event.term,
            "timestamp": timestamp(event.time_us),
            "node_id": event.origin,
            "index": event.entry_index,
            "actor": event.actor,
            "model": event.model,
        }

    def encoded(self, event: Event) -> bytes:
        """It as JSON, in one line."""
        return encode_json(self.document(event))


def object_path(schema: ModelSchema, key: SqlValue) -> str:
    """Where an object is, behind ``/api/``."""
    return f"{schema.resource}/{quote(schema.show_key(key), safe='')}"


def _unknown_object(event: Event) -> str:
    key = event.key
    shown = show_uuid(key) if isinstance(key, bytes) and len(key) == _UUID_BYTES else str(key)
    return f"{resource_name(event.model)}/{quote(shown, safe='')}"


def _data(schema: ModelSchema, event: Event) -> Mapping[str, object]:
    known = schema.by_name
    return {
        name: schema.show(column, value)
        for name, value in zip(event.columns, event.values, strict=True)
        if (column := known.get(name)) is not None and column.exposed
    }
