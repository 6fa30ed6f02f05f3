"""One file of the log: a header, then the records of consecutive entries, with sync marks between them."""

from __future__ import annotations

from array import array
from pathlib import Path

from quorate.errors import CorruptLog, FrameError
from quorate.raft.entry import Entry
from quorate.storage.codecs import Codec, NoRecord, codec_of
from quorate.storage.filesystem import TEMPORARY_SUFFIX, File, FileSystem

SUFFIX = ".raftlog"
RESTORE_ADVICE = "Nothing was changed: have this node repaired from its peers, or restore a backup."
ALLOCATION_STEP_BYTES = 4 * 1024 * 1024


def segment_name(first_index: int) -> str:
    """The file name of the segment that begins with ``first_index``; names sort like their indexes."""
    return f"{first_index:020d}{SUFFIX}"


def check_header(data: bytes, path: Path, group: int) -> tuple[Codec, int, int]:
    """Of the segment whose file starts with ``data``: its form, its first index, and the byte behind its header.

    Raises :class:`CorruptLog`: a segment gets its name only after its header is durable, so that no power loss
    excuses a bad one.
    """
    codec = codec_of(data)
    try:
        owner, first_index, end = codec.read_header(data)
    except NoRecord as error:
        raise CorruptLog(f"{path}: byte 0: {error}. {RESTORE_ADVICE}") from error
    if owner != group or path.name != segment_name(first_index):
        raise CorruptLog(
            f"{path}: expected group {group} and the first index of its name, "
            f"found group {owner} and first index {first_index}: the file belongs elsewhere"
        )
    return codec, first_index, end


class Segment:
    """A log file and the index of what is in it. Not synchronised: :class:`~quorate.storage.wal.Wal` is.

    Writing and indexing are two steps, so that a reader never learns of a record that is not in the file yet.
    """

    def __init__(self, path: Path, file: File, codec: Codec, first_index: int, header_bytes: int) -> None:
        self.path = path
        self.file = file
        self.codec = codec
        """The form of the file."""
        self.first_index = first_index
        self.header_bytes = header_bytes
        self.offsets = array("Q")
        """Where each entry's record starts, in bytes from the start of the file."""
        self.lengths = array("I")
        """How long each entry's record is, in bytes."""
        self.sizes = array("I")
        """How long each entry's payload is, in bytes."""
        self.end = header_bytes
        """Where the next record goes."""
        self.allocated = file.size
        self._readers = 0
        self._retired = False

    @classmethod
    def create(cls, fs: FileSystem, directory: Path, codec: Codec, group: int, first_index: int) -> Segment:
        """A new, empty segment in the place of any of that name; durable on return."""
        path = directory / segment_name(first_index)
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        file = fs.open(temporary, create=True)
        header = codec.header(group, first_index)
        file.write_at(0, header)
        file.sync()
        fs.rename(temporary, path)
        fs.sync_directory(directory)
        return cls(path, file, codec, first_index, len(header))

    @property
    def last_index(self) -> int:
        """The index of its last entry; ``first_index - 1`` while there is none."""
        return self.first_index + len(self.offsets) - 1

    def end_of(self, index: int) -> int:
        """The byte behind the record of an entry; of one before the first, where the records begin."""
        position = index - self.first_index
        return self.offsets[position] + self.lengths[position] if position >= 0 else self.header_bytes

    def bytes_up_to(self, index: int) -> int:
        """The bytes of the records up to that of entry ``index``, or of all of them if it is a later one."""
        return self.end_of(min(index, self.last_index)) - self.header_bytes

    def write(self, data: bytes, allocation_step_bytes: int) -> None:
        """Put ``data`` behind the last record; :attr:`end` moves only when it is indexed.

        Space is taken in big zeroed steps ahead of the writes, unless the form forbids that: an append then changes
        neither the length of the file nor its block map, and the sync that follows has no metadata to journal beside
        the data.
        """
        end = self.end + len(data)
        if end > self.allocated and self.codec.reserves_space:
            self.allocated = end + -end % allocation_step_bytes
            self.file.allocate(self.allocated)
        self.file.write_at(self.end, data)

    def index(self, mark_bytes: int, lengths: list[int], sizes: list[int]) -> None:
        """Take note of what was written last: ``mark_bytes`` of marks, then records of these ``lengths``.

        ``sizes`` are those of their payloads.
        """
        offset = self.end + mark_bytes
        for length in lengths:
            self.offsets.append(offset)
            offset += length
        self.lengths.extend(lengths)
        self.sizes.extend(sizes)
        self.end = offset

    def cut(self, index: int) -> None:
        """Forget the entries from ``index`` on; the file is not touched."""
        position = index - self.first_index
        if position < len(self.offsets):
            self.end = self.offsets[position]
            del self.offsets[position:], self.lengths[position:], self.sizes[position:]

    def truncate(self) -> None:
        """Drop from the file whatever is behind :attr:`end`, durably."""
        self.file.truncate(self.end)
        self.allocated = self.end
        self.file.sync()

    def span(self, low: int, high: int, max_bytes: int) -> tuple[array[int], array[int], int]:
        """Offsets and lengths of the records from ``low`` to below ``high``, up to ``max_bytes`` of payload.

        And how many bytes of payload these have. The record that reaches ``max_bytes`` is the last one, and there is
        always one.
        """
        start = stop = low - self.first_index
        limit = min(high - self.first_index, len(self.offsets))
        size = 0
        while stop < limit and (size < max_bytes or stop == start):
            size += self.sizes[stop]
            stop += 1
        return self.offsets[start:stop], self.lengths[start:stop], size

    def read(self, offsets: array[int], lengths: array[int]) -> list[Entry]:
        """The entries of neighbouring records. Raises :class:`CorruptLog` if one decayed since it was indexed."""
        base = offsets[0]
        data = self.file.read_at(base, offsets[-1] + lengths[-1] - base)
        if len(data) != sum(lengths):  # there are marks in between
            data = b"".join(
                data[offset - base : offset - base + length] for offset, length in zip(offsets, lengths, strict=True)
            )
        try:
            return self.codec.decode(data)
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
