"""Sync marks: proof, inside a log file, of how far the log was durable.

A record that cannot be read is either the tail of a write that a power loss tore, which nobody was promised, or a
promised record that decayed. They look alike, and only the first may be cut away. So the writer says, behind
records that it has synced, that it has: a mark that claims ``durable`` and is found *behind* an unreadable record
up to that index proves decay.

A mark has the form of every other record, with a kind of its own, no payload, ``durable`` as its index and its
own byte offset in place of a term: bytes that look like a mark because someone stored a log file inside an entry
stand at another offset, and prove nothing.
"""

from __future__ import annotations

from quorate.records import HEADER_BYTES, LENGTH_MIN, encode_record

MARK_KIND = 0xFF
MARK_BYTES = HEADER_BYTES

_INDEX_AT = slice(16, 24)
_LENGTH_AT = 4
_LENGTH = LENGTH_MIN.to_bytes(4, "big")


def encode_mark(durable: int, offset: int) -> bytes:
    """The mark that stands at byte ``offset`` and says that the entries up to ``durable`` are."""
    return encode_record(offset, durable, MARK_KIND, b"")


def proven_behind(data: bytes, start: int) -> int:
    """The highest index that an intact mark at or behind byte ``start`` claims durable; 0 without any."""
    proven = 0
    found = data.find(_LENGTH, start + _LENGTH_AT)
    while found >= 0:
        offset = found - _LENGTH_AT
        record = data[offset : offset + MARK_BYTES]
        durable = int.from_bytes(record[_INDEX_AT], "big")
        if durable > proven and record == encode_mark(durable, offset):
            proven = durable
        found = data.find(_LENGTH, found + 1)
    return proven
