"""The encoded form of a log entry: the same bytes in the log file and in every peer's frame.

::

    ┌────────────┬────────────┬──────────┬───────────┬─────────┬──────────────┐
    │ crc32c u32 │ length u32 │ term u64 │ index u64 │ kind u8 │ payload …    │   big-endian
    └────────────┴────────────┴──────────┴───────────┴─────────┴──────────────┘
                 └────────────── covered by the checksum ────────────────────┘

``length`` counts the bytes that follow it, so it is never below 17: four zero bytes where a length should
be can only be unwritten space, never a record.
"""

from __future__ import annotations

import struct

from google_crc32c import extend
from google_crc32c import value as crc32c

from quorate.errors import FrameError
from quorate.raft.entry import Entry, EntryKind

_CHECKSUM = struct.Struct(">I")
_BODY = struct.Struct(">IQQB")
HEADER_BYTES = _CHECKSUM.size + _BODY.size
LENGTH_MIN = _BODY.size - 4
_PREFIX = struct.Struct(">II")
PREFIX_BYTES = _PREFIX.size
LONG_BYTES = 64 * 1024
_KINDS = {kind.value: kind for kind in EntryKind}


def encode_record(term: int, index: int, kind: int, payload: bytes) -> bytes:
    """One record, ready to be written or sent."""
    body = _BODY.pack(LENGTH_MIN + len(payload), term, index, kind)
    if len(payload) > LONG_BYTES:
        return b"".join((_CHECKSUM.pack(_checksum(body, payload)), body, payload))
    body += payload
    return _CHECKSUM.pack(crc32c(body)) + body


def _checksum(head: bytes, payload: bytes) -> int:
    """Without a copy of the payload, which for a short one would be the quicker way."""
    checksum: int = extend(crc32c(head), payload)
    return checksum


def encode_entry(entry: Entry) -> bytes:
    """The entry's record; encoded on first use and kept on the entry."""
    record = entry.record
    if record is None:
        record = entry.record = encode_record(entry.term, entry.index, entry.kind, entry.payload)
    return record


def decode_entries(data: bytes) -> list[Entry]:
    """The entries of back-to-back records.

    Raises :class:`FrameError` if ``data`` is not exactly a sequence of intact records of known kinds.
    """
    entries: list[Entry] = []
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER_BYTES:
            raise FrameError(f"{end - offset} stray bytes behind the last record")
        checksum, length = _PREFIX.unpack_from(data, offset)
        stop = offset + PREFIX_BYTES + length
        if length < LENGTH_MIN or stop > end:
            raise FrameError(f"record at byte {offset} claims {length} bytes, {end - offset} are there")
        record = data[offset:stop]
        payload = record[HEADER_BYTES:]
        if (crc32c(record[4:]) if length <= LONG_BYTES else _checksum(record[4:HEADER_BYTES], payload)) != checksum:
            raise FrameError(f"record at byte {offset} fails its checksum")
        _, term, index, kind = _BODY.unpack_from(record, 4)
        if kind not in _KINDS:
            raise FrameError(f"record at byte {offset} is of unknown kind {kind}")
        entries.append(Entry(index, term, _KINDS[kind], payload, record))
        offset = stop
    return entries
