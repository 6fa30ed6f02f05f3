"""What a form of log files has to be able to do: entries and sync marks as bytes, and the way back.

Whatever the form, a record is trusted with its checksum alone: every change of a bit, and every beginning of a
record that lacks its end, is no record.

**Sync marks** are proof, inside a log file, of how far the log was durable. A record that cannot be read is either
the tail of a write that a power loss tore, which nobody was promised, or a promised record that decayed. They look
alike, and only the first may be cut away. So the writer says, behind records that it has synced, that it has: a mark
that claims ``durable`` and is found *behind* an unreadable record up to that index proves decay.

A mark holds its own byte offset. Bytes that look like a mark because someone stored a log file inside an entry stand
at another offset, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from quorate.raft.entry import Entry

MARK_KIND = 0xFF
"""The kind of a sync mark, where entries have an :class:`~quorate.raft.entry.EntryKind`."""
UNKNOWN_KIND = -1
"""The kind of a record that is intact and that nobody here would write."""

Record: TypeAlias = tuple[int, int, int, int, int]
"""(the byte behind it, kind, term, index, bytes of the payload). A mark has its byte offset in place of a term, and
as its index the one that it claims durable. A bare tuple, as one is made for each entry when a log is recovered."""


class NoRecord(ValueError):
    """There is none at this place; says why, to go behind "but"."""


class Codec(Protocol):
    """One form of log files. Without any state: one instance serves all files."""

    @property
    def name(self) -> str:
        """What the form is called."""

    @property
    def mark_bytes_max(self) -> int:
        """No mark is longer than this."""

    @property
    def reserves_space(self) -> bool:
        """Whether files are made longer ahead of the writes, with zeros that stand behind the last record.

        A sync then has no metadata to journal beside the data. Whoever reads along meets the zeros.
        """

    def header(self, group: int, first_index: int) -> bytes:
        """What a file begins with."""

    def read_header(self, data: bytes) -> tuple[int, int, int]:
        """(group, first index, the byte behind the header). Raises :class:`NoRecord`."""

    def encode(self, entry: Entry) -> bytes:
        """The entry's record. The way back gives the very same payload, byte for byte."""

    def encode_mark(self, durable: int, offset: int) -> bytes:
        """The mark that stands at byte ``offset`` and says that the entries up to ``durable`` are durable."""

    def record_at(self, data: bytes, offset: int) -> Record:
        """The intact record that begins at ``offset``. Raises :class:`NoRecord`."""

    def decode(self, data: bytes) -> list[Entry]:
        """The entries of back-to-back records. Raises :class:`~quorate.errors.FrameError` if one is not intact."""

    def proven_behind(self, data: bytes, start: int) -> int:
        """The highest index that an intact mark at or behind byte ``start`` claims durable; 0 without any."""

    def places_behind(self, data: bytes, start: int, end: int) -> Iterator[int]:
        """Where a record could begin behind ``start`` and before ``end``, ascending: to go on behind damage."""
