"""The JSON form: each record is a line that ``less``, ``grep``, ``jq`` and ``tail -f`` can do something with.

::

    {"log":"quorate","version":1,"group":0,"first_index":1,"crc32c":"…"}
    {"index":17,"term":3,"kind":"COMMANDS","time":"2026-11-21T18:04:23.123456Z","bytes":210,"payload":…,"crc32c":"…"}
    {"durable":17,"byte":4096,"crc32c":"…"}

``payload`` is in the form of :mod:`quorate.storage.codecs.readable`, and ``bytes`` is its length without it. ``time``
is the leader's clock, which a batch of commands begins with; it is there for the reader alone. ``crc32c`` is that of
the line's bytes before it. It comes last and is always as long, so that whether a line is intact, and which entry it
is, is known without parsing it. The line break ends a record because JSON has none inside of text; but only with the
checksum is it believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from google_crc32c import value as crc32c

from quorate.errors import FrameError
from quorate.raft.entry import Entry, EntryKind
from quorate.storage.codecs.contract import MARK_KIND, UNKNOWN_KIND, NoRecord, Record
from quorate.storage.codecs.readable import Readable, as_base64, original, readable

_VERSION = 1
_CHECKSUM = b',"crc32c":"%08x"}\n'
_CHECKSUM_BYTES = len(_CHECKSUM % 0)
_HEADER = b'{"log":"quorate","version":%d,"group":%d,"first_index":%d'
_HEADER_LINE = re.compile(rb'\{"log":"quorate","version":(\d{1,9}),"group":(\d{1,20}),"first_index":(\d{1,20})')
_HEADER_BYTES_MAX = 256
_ENTRY_START = re.compile(
    rb'\{"index":(\d{1,20}),"term":(\d{1,20}),"kind":"([A-Z]{1,32})",(?:"time":"[^"]{1,40}",)?'
    rb'"bytes":(\d{1,9}),"payload":'
)
_MARK = b'{"durable":%d,"byte":%d'
_MARK_LINE = re.compile(rb'\{"durable":(\d{1,20}),"byte":(\d{1,20})')
_MARK_START = b'{"durable":'
_MARK_BYTES_MAX = len(_MARK % (2**64 - 1, 2**64 - 1)) + _CHECKSUM_BYTES
_LINE_START = re.compile(rb'\n(?=\{"(?:index|durable)":)')
_KINDS = {kind.name.encode(): kind.value for kind in EntryKind}
_NAMES = {kind.value: kind.name.encode() for kind in EntryKind}

_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


class _Line(msgspec.Struct):
    """What is needed of an entry's line."""

    index: int
    term: int
    kind: str
    payload: Any


_line_of = msgspec.json.Decoder(_Line).decode


class JsonLinesCodec:
    """Made to be read; implements :class:`~quorate.storage.codecs.contract.Codec`."""

    name = "json"
    mark_bytes_max = _MARK_BYTES_MAX
    reserves_space = False  # zeros at the end are no JSON, and tail -f should show what is new

    def header(self, group: int, first_index: int) -> bytes:
        """The first line."""
        return _sealed(_HEADER % (_VERSION, group, first_index))

    def read_header(self, data: bytes) -> tuple[int, int, int]:
        """The inverse."""
        end = data.find(b"\n", 0, _HEADER_BYTES_MAX) + 1
        if not end or not _is_sealed(data[:end]):
            raise NoRecord("the header cannot be read")
        match = _HEADER_LINE.fullmatch(data, 0, end - _CHECKSUM_BYTES)
        if match is None or int(match[1]) != _VERSION:
            raise NoRecord(f"expected a log segment of format version {_VERSION}")
        return int(match[2]), int(match[3]), end

    def encode(self, entry: Entry) -> bytes:
        """The entry's line."""
        form, text = _exactly(entry.payload)
        start = b'{"index":%d,"term":%d,"kind":"%s",' % (entry.index, entry.term, _NAMES[entry.kind])
        time = _time_of(form) if entry.kind is EntryKind.COMMANDS else b""
        return _sealed(b'%s%s"bytes":%d,"payload":%s' % (start, time, len(entry.payload), text))

    def encode_mark(self, durable: int, offset: int) -> bytes:
        """A line of its own."""
        return _sealed(_MARK % (durable, offset))

    def record_at(self, data: bytes, offset: int) -> Record:
        """The line that begins there, if its checksum is right."""
        stop = data.find(b"\n", offset) + 1
        if not stop:
            raise NoRecord("no line ends there")
        if not _is_sealed(data[offset:stop]):
            raise NoRecord("its checksum does not match")
        end = stop - _CHECKSUM_BYTES
        if (entry := _ENTRY_START.match(data, offset, end)) is not None:
            index, term, kind, size = entry.groups()
            return stop, _KINDS.get(kind, UNKNOWN_KIND), int(term), int(index), int(size)
        if (mark := _MARK_LINE.fullmatch(data, offset, end)) is not None:
            return stop, MARK_KIND, int(mark[2]), int(mark[1]), 0
        return stop, UNKNOWN_KIND, 0, 0, 0

    def decode(self, data: bytes) -> list[Entry]:
        """Their records for the peers are made when one needs them."""
        entries: list[Entry] = []
        offset = 0
        while offset < len(data):
            try:
                stop, kind, _, index, size = self.record_at(data, offset)
            except NoRecord as error:
                raise FrameError(f"record at byte {offset}: {error}") from error
            if kind not in _NAMES:
                raise FrameError(f"record at byte {offset} is of unknown kind {kind}")
            entries.append(_entry(data[offset:stop], offset, index, size))
            offset = stop
        return entries

    def proven_behind(self, data: bytes, start: int) -> int:
        """A mark inside an entry has another offset, and no line break behind it."""
        proven = 0
        found = data.find(_MARK_START, start)
        while found >= 0:
            match = _MARK_LINE.match(data, found)
            if match is not None and (durable := int(match[1])) > proven and durable < 2**64:
                mark = self.encode_mark(durable, found)
                if data[found : found + len(mark)] == mark:
                    proven = durable
            found = data.find(_MARK_START, found + 1)
        return proven

    def places_behind(self, data: bytes, start: int, end: int) -> Iterator[int]:
        """Lines that begin like one of ours."""
        for match in _LINE_START.finditer(data, start, end):
            yield match.end()


def _checksum(body: bytes) -> bytes:
    return _CHECKSUM % int(crc32c(body))


def _sealed(body: bytes) -> bytes:
    return body + _checksum(body)


def _is_sealed(line: bytes) -> bool:
    return line[-_CHECKSUM_BYTES:] == _checksum(line[:-_CHECKSUM_BYTES])


def _exactly(payload: bytes) -> tuple[Readable, bytes]:
    """A form of ``payload``, and that as JSON, which was seen to give back the same bytes."""
    form = readable(payload)
    text = _to_json(form)
    try:
        if original(_from_json(text)) == payload:
            return form, text
    except (ValueError, msgspec.MsgspecError, RecursionError):
        pass
    form = as_base64(payload)
    return form, _to_json(form)


def _time_of(form: Readable) -> bytes:
    """The field ``time``, where the payload begins with microseconds since 1970."""
    value = form.get("$msgpack")
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        return b""
    try:
        time = datetime.fromtimestamp(value[0] // 1_000_000, UTC).replace(microsecond=value[0] % 1_000_000)
    except (ValueError, OverflowError, OSError):
        return b""
    return b'"time":"%s",' % time.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()


def _entry(line: bytes, offset: int, index: int, size: int) -> Entry:
    try:
        found = _line_of(line)
        payload = original(found.payload)
        if found.index != index or len(payload) != size:
            raise ValueError("the payload is not what the line says")
        return Entry(found.index, found.term, EntryKind[found.kind], payload)
    except (ValueError, KeyError, msgspec.MsgspecError, RecursionError) as error:
        raise FrameError(f"record at byte {offset} cannot be read: {error}") from error
