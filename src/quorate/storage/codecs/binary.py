"""The binary form: a header, then records as they also travel to the peers (see :mod:`quorate.records`).

::

    header   magic "QUORLOG\\n" | version u32 | group u64 | first index u64 | crc32c u32     big-endian
    entry    crc32c u32 | length u32 | term u64 | index u64 | kind u8 | payload
    mark     the same with kind 0xff, no payload, and its own byte offset in place of the term
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from google_crc32c import value as crc32c

from quorate.records import HEADER_BYTES, LENGTH_MIN, PREFIX_BYTES, decode_entries, encode_entry, encode_record
from quorate.storage.codecs.contract import MARK_KIND, NoRecord, Record

_MAGIC = b"QUORLOG\n"
_VERSION = 1
_HEADER = struct.Struct(">8sIQQ")
_CHECKSUM = struct.Struct(">I")
_RECORD = struct.Struct(">IIQQB")

_MARK_BYTES = HEADER_BYTES
_MARK_INDEX_AT = slice(16, 24)
_LENGTH_AT = 4
_MARK_LENGTH = LENGTH_MIN.to_bytes(4, "big")

# Where a record could begin: its term and index are below 2**40, its kind is known.
_PLAUSIBLE = re.compile(rb"(?=\x00\x00\x00.{5}\x00\x00\x00.{5}[\x00-\x03\xff])", re.DOTALL)
_TERM_AT = 8


class BinaryCodec:
    """Short, and quick to write and to read; implements :class:`~quorate.storage.codecs.contract.Codec`."""

    name = "binary"
    mark_bytes_max = _MARK_BYTES
    reserves_space = True

    def header(self, group: int, first_index: int) -> bytes:
        """Magic, format version, group and first index, and their checksum."""
        header = _HEADER.pack(_MAGIC, _VERSION, group, first_index)
        return header + _CHECKSUM.pack(crc32c(header))

    def read_header(self, data: bytes) -> tuple[int, int, int]:
        """The inverse."""
        end = _HEADER.size + _CHECKSUM.size
        header = data[: _HEADER.size]
        if data[_HEADER.size : end] != _CHECKSUM.pack(crc32c(header)):
            raise NoRecord("the header cannot be read")
        magic, version, group, first_index = _HEADER.unpack(header)
        if magic != _MAGIC or version != _VERSION:
            raise NoRecord(f"expected a log segment of format version {_VERSION}")
        return group, first_index, end

    encode = staticmethod(encode_entry)

    def encode_mark(self, durable: int, offset: int) -> bytes:
        """Has the form of every other record."""
        return encode_record(offset, durable, MARK_KIND, b"")

    def record_at(self, data: bytes, offset: int) -> Record:
        """Its length says where it ends, and is believed with the checksum."""
        left = len(data) - offset
        if left < HEADER_BYTES:
            raise NoRecord(f"a record takes {HEADER_BYTES} bytes or more, {left} are left")
        checksum, length, term, index, kind = _RECORD.unpack_from(data, offset)
        stop = offset + PREFIX_BYTES + length
        if length < LENGTH_MIN or stop > len(data):
            raise NoRecord(f"a record of {length} bytes cannot be")
        if crc32c(data[offset + 4 : stop]) != checksum:
            raise NoRecord("its checksum does not match")
        return stop, kind, term, index, length - LENGTH_MIN

    decode = staticmethod(decode_entries)

    def proven_behind(self, data: bytes, start: int) -> int:
        """Marks are looked for at every byte, by the length that they all have."""
        proven = 0
        found = data.find(_MARK_LENGTH, start + _LENGTH_AT)
        while found >= 0:
            offset = found - _LENGTH_AT
            record = data[offset : offset + _MARK_BYTES]
            durable = int.from_bytes(record[_MARK_INDEX_AT], "big")
            if durable > proven and record == self.encode_mark(durable, offset):
                proven = durable
            found = data.find(_MARK_LENGTH, found + 1)
        return proven

    def places_behind(self, data: bytes, start: int, end: int) -> Iterator[int]:
        """By what terms, indexes and kinds look like."""
        for match in _PLAUSIBLE.finditer(data, start + 1 + _TERM_AT, end):
            yield match.start() - _TERM_AT
