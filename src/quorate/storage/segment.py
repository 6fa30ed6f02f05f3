"""One file of the log: a header, then the records of consecutive entries, with sync marks between them."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

from google_crc32c import value as crc32c

from quorate.errors import CorruptLog, FrameError
from quorate.raft.entry import Entry
from quorate.records import HEADER_BYTES, decode_entries
from quorate.storage.filesystem import TEMPORARY_SUFFIX, File, FileSystem

SUFFIX = ".raftlog"
RESTORE_ADVICE = "Nothing was changed: have this node repaired from its peers, or restore a backup."
ALLOCATION_STEP_BYTES = 4 * 1024 * 1024

_MAGIC = b"QUORLOG\n"
_VERSION = 1
_HEADER = struct.Struct(">8sIQQ")
_CHECKSUM = struct.Struct(">I")
SEGMENT_HEADER_BYTES = _HEADER.size + _CHECKSUM.size


def segment_name(first_index: int) -> str:
    """The file name of the segment that begins with ``first_index``; names sort like their indexes."""
    return f"{first_index:020d}{SUFFIX}"


def encode_header(group: int, first_index: int) -> bytes:
    """Magic, format version, group and first index, and their checksum."""
    header = _HEADER.pack(_MAGIC, _VERSION, group, first_index)
    return header + _CHECKSUM.pack(crc32c(header))


def check_header(data: bytes, path: Path, group: int) -> int:
    """The first index of the segment whose file starts with ``data``.

    Raises :class:`CorruptLog`: a segment gets its name only after its header is durable, so that no power loss
    excuses a bad one.
    """
    header = data[: _HEADER.size]
    if data[_HEADER.size : SEGMENT_HEADER_BYTES] != _CHECKSUM.pack(crc32c(header)):
        raise CorruptLog(f"{path}: byte 0: the header cannot be read. {RESTORE_ADVICE}")
    magic, version, owner, first_index = _HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION:
        raise CorruptLog(f"{path}: byte 0: expected a log segment of format version {_VERSION}")
    if owner != group or path.name != segment_name(first_index):
        raise CorruptLog(
            f"{path}: expected group {group} and the first index of its name, "
            f"found group {owner} and first index {first_index}: the file belongs elsewhere"
        )
    return int(first_index)


class Segment:
    """A log file and the index of what is in it. Not synchronised: :class:`~quorate.storage.wal.Wal` is.

    Writing and indexing are two steps, so that a reader never learns of a record that is not in the file yet.
    """

    def __init__(self, path: Path, file: File, first_index: int) -> None:
        self.path = path
        self.file = file
        self.first_index = first_index
        self.offsets = array("Q")
        """Where each entry's record starts, in bytes from the start of the file."""
        self.lengths = array("I")
        """How long each entry's record is, in bytes."""
        self.end = SEGMENT_HEADER_BYTES
        """Where the next record goes."""
        self.allocated = file.size
        self._readers = 0
        self._retired = False

    @classmethod
    def create(cls, fs: FileSystem, directory: Path, group: int, first_index: int) -> Segment:
        """A new, empty segment; durable on return."""
        path = directory / segment_name(first_index)
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        file = fs.open(temporary, create=True)
        file.write_at(0, encode_header(group, first_index))
        file.sync()
        fs.rename(temporary, path)
        fs.sync_directory(directory)
        return cls(path, file, first_index)

    @property
    def last_index(self) -> int:
        """The index of its last entry; ``first_index - 1`` while there is none."""
        return self.first_index + len(self.offsets) - 1

    def end_of(self, index: int) -> int:
        """The byte behind the record of an entry; of one before the first, where the records begin."""
        position = index - self.first_index
        return self.offsets[position] + self.lengths[position] if position >= 0 else SEGMENT_HEADER_BYTES

    def bytes_up_to(self, index: int) -> int:
        """The bytes of the records up to that of entry ``index``, or of all of them if it is a later one."""
        return self.end_of(min(index, self.last_index)) - SEGMENT_HEADER_BYTES

    def write(self, data: bytes, allocation_step_bytes: int) -> None:
        """Put ``data`` behind the last record; :attr:`end` moves only when it is indexed.

        Space is taken in big zeroed steps ahead of the writes: an append then changes neither the length of the
        file nor its block map, and the sync that follows has no metadata to journal beside the data.
        """
        end = self.end + len(data)
        if end > self.allocated:
            self.allocated = end + -end % allocation_step_bytes
            self.file.allocate(self.allocated)
        self.file.write_at(self.end, data)

    def index(self, mark_bytes: int, lengths: list[int]) -> None:
        """Take note of what was written last: ``mark_bytes`` of marks, then records of these ``lengths``."""
        offset = self.end + mark_bytes
        for length in lengths:
            self.offsets.append(offset)
            offset += length
        self.lengths.extend(lengths)
        self.end = offset

    def cut(self, index: int) -> None:
        """Forget the entries from ``index`` on; the file is not touched."""
        position = index - self.first_index
        if position < len(self.offsets):
            self.end = self.offsets[position]
            del self.offsets[position:], self.lengths[position:]

    def truncate(self) -> None:
        """Drop from the file whatever is behind :attr:`end`, durably."""
        self.file.truncate(self.end)
        self.allocated = self.end
        self.file.sync()

    def span(self, low: int, high: int, max_bytes: int) -> tuple[array[int], array[int]]:
        """Offsets and lengths of the records from ``low`` to below ``high``, up to ``max_bytes`` of payload.

        The record that reaches ``max_bytes`` is the last one, and there is always one.
        """
        start = stop = low - self.first_index
        limit = min(high - self.first_index, len(self.offsets))
        size = 0
        while stop < limit and (size < max_bytes or stop == start):
            size += self.lengths[stop] - HEADER_BYTES
            stop += 1
        return self.offsets[start:stop], self.lengths[start:stop]

    def read(self, offsets: array[int], lengths: array[int]) -> list[Entry]:
        """The entries of neighbouring records. Raises :class:`CorruptLog` if one decayed since it was indexed."""
        base = offsets[0]
        data = self.file.read_at(base, offsets[-1] + lengths[-1] - base)
        if len(data) != sum(lengths):  # there are marks in between
            data = b"".join(
                data[offset - base : offset - base + length] for offset, length in zip(offsets, lengths, strict=True)
            )
        try:
            return decode_entries(data)
        except FrameError as error:
            raise CorruptLog(f"{self.path}: behind byte {base}: {error}") from error

    def pin(self) -> None:
        """Keep the file open for a reader, even if the segment is retired meanwhile."""
        self._readers += 1

    def unpin(self) -> None:
        """A reader is done."""
        self._readers -= 1
        self._close_if_unused()

    def retire(self) -> None:
        """The segment is not used any more: close its file as soon as the last reader is done."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._readers:
            self.file.close()
