"""The write-ahead log of one group: consecutive entries in segment files, written by one thread."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from quorate.errors import CorruptLog
from quorate.raft.entry import Entry
from quorate.raft.output import Floor
from quorate.raft.terms import TermRuns
from quorate.storage.codecs import BINARY, Codec
from quorate.storage.cut import announce_cut, announced_cut, withdraw_cut
from quorate.storage.filesystem import TEMPORARY_SUFFIX, FileSystem
from quorate.storage.floor import NO_FLOOR
from quorate.storage.recovery import Scan, recover_segment
from quorate.storage.segment import ALLOCATION_STEP_BYTES, RESTORE_ADVICE, SUFFIX, Segment, segment_name

SEGMENT_BYTES = 16 * 1024 * 1024
ROTATE_BYTES = 1024 * 1024


class Wal:
    """The log on disk; implements :class:`~quorate.raft.output.LogReader`.

    One thread at a time appends, marks, syncs and resets. Others may :meth:`read` meanwhile, away from the
    entries that are just being replaced, and one may :meth:`cut_prefix`, though not during a :meth:`reset`. An
    :class:`OSError` of a method that writes leaves the log in an unknown state: open it anew.
    """

    def __init__(
        self, fs: FileSystem, directory: Path, group: int, codec: Codec, segment_bytes: int, rotate_bytes: int
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._group = group
        self._codec = codec
        self._segment_bytes = segment_bytes
        self._rotate_bytes = min(rotate_bytes, segment_bytes)
        self._step_bytes = min(ALLOCATION_STEP_BYTES, segment_bytes)
        self._lock = Lock()  # guards the list of segments, their indexes and the terms; never held during I/O
        self._segments: list[Segment] = []
        self._terms = TermRuns()
        self._base_term = 0
        self._outworn: Segment | None = None
        self._durable = 0
        self._marked = 0
        self.configurations: tuple[Entry, ...] = ()
        """The MEMBERSHIP entries that were in the log when it was opened, in ascending order."""

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        directory: Path,
        *,
        group: int = 0,
        codec: Codec = BINARY,
        segment_bytes: int = SEGMENT_BYTES,
        rotate_bytes: int = ROTATE_BYTES,
        floor: Floor = NO_FLOOR,
    ) -> Wal:
        """The log in ``directory``, which exists; begun there if it is empty. All of it is durable on return.

        A segment is closed and the next begun before it outgrows ``segment_bytes``, unless by a single entry; and
        after a :meth:`cut_prefix` that found ``rotate_bytes`` in it to be cut. New segments are in the form of
        ``codec``, those that are there may be of another. The entries up to ``floor`` are known to have been durable.
        Raises :class:`CorruptLog` if something that was durable cannot be read, and :class:`OSError`.
        """
        wal = cls(fs, directory, group, codec, segment_bytes, rotate_bytes)
        try:
            wal._recover(floor)
        except BaseException:
            wal.close()
            raise
        return wal

    def _recover(self, floor: Floor) -> None:
        self._base_term = floor.term
        cut = announced_cut(self._fs, self._directory)
        names = self._segment_names(cut)
        if floor.index and not names:
            raise CorruptLog(f"{self._directory}: all entries behind entry {floor.index} are gone. {RESTORE_ADVICE}")
        scan = Scan(self._group, cut, floor.index)
        for number, name in enumerate(names, start=1):
            if self._segments and name != segment_name(self.last_index + 1):
                raise CorruptLog(
                    f"{self._directory}: expected entry {self.last_index + 1} behind "
                    f"{self._segments[-1].path.name}, but the next segment is {name}. {RESTORE_ADVICE}"
                )
            path = self._directory / name
            sealed = number < len(names)
            segment, proven = recover_segment(self._fs, path, scan, sealed=sealed)
            self._segments.append(segment)
            self._marked = max(proven, segment.first_index - 1)
        if not names:
            self._segments.append(Segment.create(self._fs, self._directory, self._codec, self._group, 1))
        self._fs.sync_directory(self._directory)
        if cut is not None:
            withdraw_cut(self._fs, self._directory)
        self._terms = scan.terms
        self.configurations = tuple(scan.configurations)
        self._durable = self.last_index
        self.mark()

    def _segment_names(self, cut: int | None) -> list[str]:
        """The names of the segments to recover, the rest removed: unfinished ones, and those behind a cut."""
        names: list[str] = []
        for name in self._fs.list_files(self._directory):
            behind_cut = cut is not None and names and name > segment_name(cut)
            if name.endswith(TEMPORARY_SUFFIX) or (name.endswith(SUFFIX) and behind_cut):
                self._fs.remove(self._directory / name)
            elif name.endswith(SUFFIX):
                names.append(name)
        return names

    @property
    def first_index(self) -> int:
        """The lowest index that the log has, or will have: 1 while nothing was cut away."""
        return self._segments[0].first_index

    @property
    def last_index(self) -> int:
        """The index of the last entry, durable or not; ``first_index - 1`` while there is none."""
        return self._segments[-1].last_index

    @property
    def durable_index(self) -> int:
        """The entries up to here are durable."""
        return self._durable

    @property
    def unsynced(self) -> tuple[int, int]:
        """How many entries are not durable yet, and how many bytes behind the last that is."""
        with self._lock:
            active, durable = self._segments[-1], self._durable
            entries = active.last_index - durable  # below 0 while a suffix is being cut
            return (entries, active.end - active.end_of(durable)) if entries > 0 else (0, 0)

    @property
    def term_starts(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) of each run of entries of one term, ascending."""
        with self._lock:
            return self._terms.starts

    def term(self, index: int) -> int:
        """The term of the entry at ``index``, which the log has, or which is the one before its first."""
        with self._lock:
            return self._terms.at(index) if index >= self.first_index else self._base_term

    @property
    def size_bytes(self) -> int:
        """The bytes of all records, marks and headers, without the space reserved ahead."""
        with self._lock:
            return sum(segment.end for segment in self._segments)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write consecutive entries in place of whatever the log holds from ``entries[0].index`` on.

        They can be read on return, and are durable after the next :meth:`sync`. Raises :class:`ValueError`,
        with nothing written, if they would leave a gap or go back in term, and :class:`OSError`.
        """
        if not entries:
            return
        self._check(entries)
        if entries[0].index <= self.last_index:
            self._cut_suffix(entries[0].index)
        active = self._segments[-1]
        if active.codec is not self._codec or (active is self._outworn and active.last_index >= active.first_index):
            active = self._rotate()
        encode = self._codec.encode
        records = [encode(entry) for entry in entries]
        room = self._segment_bytes - active.end - self._codec.mark_bytes_max
        first = 0  # of those that go into the active segment
        for position, record in enumerate(records):
            if len(record) > room and (position > first or active.last_index >= active.first_index):
                self._write(entries[first:position], records[first:position])
                active = self._rotate()
                room = self._segment_bytes - active.end
                first = position
            room -= len(record)
        self._write(entries[first:], records[first:])

    def sync(self) -> None:
        """Make everything durable that was appended before. Raises :class:`OSError`."""
        last_index = self.last_index
        if self._durable < last_index:
            self._segments[-1].file.sync()
            self._durable = last_index

    def mark(self) -> None:
        """Say in the log that what is synced is, so that none of it can ever pass for a torn write.

        Every append does so first; call it when none is to follow soon. It takes no sync, because a mark that
        is lost does no harm. Raises :class:`OSError`.
        """
        self._write((), [])

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries ``low`` … ``high`` - 1, cut short after the first that brings the payloads to ``max_bytes``.

        Raises :class:`IndexError` if the log does not have all of them, :class:`CorruptLog` if one has decayed
        since the log was opened, and :class:`OSError`.
        """
        with self._lock:
            if not self.first_index <= low <= high <= self.last_index + 1:
                raise IndexError(
                    f"entries {low} to {high - 1} were asked for, the log has {self.first_index} to {self.last_index}"
                )
            spans: list[tuple[Segment, array[int], array[int]]] = []
            position = bisect_right(self._segments, low, key=lambda segment: segment.first_index) - 1
            while low < high and (max_bytes > 0 or not spans):
                segment = self._segments[position]
                offsets, lengths, size = segment.span(low, high, max_bytes)
                segment.pin()
                spans.append((segment, offsets, lengths))
                low += len(offsets)
                max_bytes -= size
                position += 1
        try:
            return [entry for segment, offsets, lengths in spans for entry in segment.read(offsets, lengths)]
        finally:
            with self._lock:
                for segment, _, _ in spans:
                    segment.unpin()

    def cut_prefix(self, up_to_index: int) -> None:
        """Remove the segments all of whose entries are at or below ``up_to_index``, but never the last one.

        If that one holds enough of such entries, the next append begins another one, so that a later cut can
        remove it. Raises :class:`OSError`.
        """
        while True:
            with self._lock:
                segment = self._segments[0]
                if len(self._segments) == 1 or segment.last_index > up_to_index:
                    active = self._segments[-1]
                    if active.bytes_up_to(up_to_index) >= self._rotate_bytes:
                        self._outworn = active
                    return
                self._base_term = self._terms.at(segment.last_index)
                del self._segments[0]
                segment.retire()
                self._terms.cut_before(self.first_index)
                self._terms.cut(self.last_index + 1)
            # One by one, durably: a power loss must not leave a hole between segments.
            self._fs.remove(segment.path)
            self._fs.sync_directory(self._directory)

    def reset(self, first_index: int, base_term: int) -> None:
        """Remove all entries and begin anew with ``first_index``, behind an entry of ``base_term``.

        Durable on return; stopped half way, any of the old segments may be left. Raises :class:`OSError`.
        """
        segment = begin_anew(self._fs, self._directory, self._codec, self._group, first_index)
        with self._lock:
            retired, self._segments = self._segments, [segment]
            self._terms = TermRuns()
            self._base_term = base_term
            self._outworn = None
            self._durable = self._marked = first_index - 1
            for old in retired:
                old.retire()

    def close(self) -> None:
        """Close the files; what was not synced may be lost. Safe to call twice."""
        with self._lock:
            for segment in self._segments:
                segment.retire()

    def _check(self, entries: Sequence[Entry]) -> None:
        """Raise :class:`ValueError` unless ``entries`` continue the log, or a beginning of it."""
        index = entries[0].index
        if not self.first_index <= index <= self.last_index + 1:
            raise ValueError(f"entry {index} cannot follow a log of {self.first_index} to {self.last_index}")
        term = self.term(index - 1)
        for expected, entry in enumerate(entries, start=index):
            if entry.index != expected or entry.term < term:
                raise ValueError(
                    f"entry {entry.index} of term {entry.term} cannot follow {expected - 1} of term {term}"
                )
            term = entry.term

    def _write(self, entries: Sequence[Entry], records: list[bytes]) -> None:
        """Write ``records``, which fit into the active segment, behind a mark if one is due: in one piece."""
        segment = self._segments[-1]
        mark = b""
        if self._durable > self._marked:
            mark = segment.codec.encode_mark(self._durable, segment.end)
        if not (mark or records):
            return
        segment.write(b"".join([mark, *records]), self._step_bytes)
        lengths = [len(record) for record in records]
        sizes = [len(entry.payload) for entry in entries]
        with self._lock:
            segment.index(len(mark), lengths, sizes)
            for entry in entries:
                self._terms.extend(entry.index, entry.term)
        self._marked = self._durable

    def _rotate(self) -> Segment:
        """Close the active segment for good and begin the next one, which takes the place of an empty one."""
        full = self._segments[-1]
        # Before the next one exists: that it does is taken as proof that all of this one was durable.
        full.truncate()
        self._durable = self._marked = full.last_index
        segment = Segment.create(self._fs, self._directory, self._codec, self._group, full.last_index + 1)
        with self._lock:
            if full.first_index == segment.first_index:
                self._segments.pop().retire()
            self._segments.append(segment)
        return segment

    def _cut_suffix(self, index: int) -> None:
        """Remove the entries from ``index`` on, durably.

        Durably, before anything is written in their place: of a longer old suffix, records of old terms would
        otherwise stand right behind shorter new ones after a power loss, and be taken for their continuation.
        """
        announce_cut(self._fs, self._directory, index)
        while self._segments[-1].first_index > index:
            with self._lock:
                segment = self._segments.pop()
                segment.retire()
            self._fs.remove(segment.path)
        segment = self._segments[-1]
        with self._lock:
            segment.cut(index)
            self._terms.cut(index)
        segment.truncate()
        self._fs.sync_directory(self._directory)
        withdraw_cut(self._fs, self._directory)
        self._durable = min(self._durable, index - 1)
        if self._marked >= index:
            self._marked = 0  # that mark is gone, and what the ones before it prove is not remembered


def begin_anew(fs: FileSystem, directory: Path, codec: Codec, group: int, first_index: int) -> Segment:
    """Remove the log in ``directory`` and make an empty one, whose first entry will be ``first_index``; durably."""
    for name in fs.list_files(directory):
        if name.endswith((SUFFIX, TEMPORARY_SUFFIX)):
            fs.remove(directory / name)
    withdraw_cut(fs, directory)  # it would be about entries that are gone
    return Segment.create(fs, directory, codec, group, first_index)
