"""Reading a log as it is on disk: what can be read, and where what cannot be read begins.

Like :mod:`quorate.storage.recovery`, which a start of the node goes by; but this changes nothing, goes on behind
damage, and says everything instead of refusing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from quorate.errors import CorruptLog, FrameError
from quorate.raft.entry import Entry, EntryKind
from quorate.storage.codecs import MARK_KIND, Codec, NoRecord
from quorate.storage.cut import announced_cut
from quorate.storage.filesystem import TEMPORARY_SUFFIX, FileSystem, read_bytes
from quorate.storage.segment import SUFFIX, check_header, segment_name

_ENTRY_KINDS = frozenset(EntryKind)


@dataclass(slots=True, kw_only=True)
class Damage:
    """Bytes that are no record. ``torn`` is a write that a power loss cut short: nobody was promised it."""

    byte: int
    """Where it begins in the file."""
    expected_index: int
    """The entry that should begin there."""
    problem: str
    torn: bool
    evidence: str = ""
    """Why it is no torn write."""
    next_index: int | None = None
    """The first entry behind it that can be read."""
    next_byte: int | None = None


@dataclass(slots=True, kw_only=True)
class SegmentReport:
    """One file of the log."""

    name: str
    bytes: int
    form: str | None = None
    """``binary`` or ``json``."""
    first_index: int | None = None
    last_index: int | None = None
    """The last entry that can be read in it; ``first_index`` - 1 without any."""
    entries: int = 0
    end_byte: int = 0
    """The byte behind the last record that can be read; the rest is space reserved ahead, or damage."""
    marks: int = 0
    proven_index: int = 0
    """The sync marks in it prove that the entries up to here were durable."""
    terms: list[tuple[int, int]] = field(default_factory=list)
    """(first index, term) of each run of entries of one term."""
    damage: list[Damage] = field(default_factory=list)
    problem: str | None = None
    """Why nothing in it can be read, or why it does not fit behind the one before."""


@dataclass(slots=True, kw_only=True)
class LogReport:
    """All of the log. Everything that is not a torn write makes the node refuse to start with it."""

    first_index: int = 0
    last_index: int = 0
    """The last entry that can be read without a gap before it: how far the node could use the log."""
    last_term: int = 0
    announced_cut: int | None = None
    """Entries from here on do not count any more: the next start cuts them off."""
    segments: list[SegmentReport] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    """Files that were never finished, or lie behind the cut: the next start removes them."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_damaged(self) -> bool:
        """Whether a start of the node refuses it."""
        torn = all(damage.torn for segment in self.segments for damage in segment.damage)
        return bool(self.problems) or not torn


Visitor = Callable[[str, int, Entry], None]
"""Is told each entry that can be read: the segment's name, the byte, the entry."""


def read_log(
    fs: FileSystem, directory: Path, *, floor_index: int = 0, group: int = 0, visit: Visitor | None = None
) -> LogReport:
    """Everything in the log's ``directory``. ``floor_index`` is what the log was compacted up to."""
    report = LogReport()
    try:
        report.announced_cut = announced_cut(fs, directory)
    except (CorruptLog, OSError) as error:
        report.problems.append(str(error))
    names = fs.list_files(directory)
    report.leftovers = [name for name in names if name.endswith(TEMPORARY_SUFFIX)]
    segments = [name for name in names if name.endswith(SUFFIX)]
    if report.announced_cut is not None:
        behind = [name for name in segments[1:] if name > segment_name(report.announced_cut)]
        segments = [name for name in segments if name not in behind]
        report.leftovers += behind
    if not segments:
        report.problems += [f"all entries behind entry {floor_index} are gone"] if floor_index else []
        return report
    whole = True
    for number, name in enumerate(segments, start=1):
        segment = _read_segment(
            fs, directory / name, report, group, floor_index, sealed=number < len(segments), visit=visit
        )
        before = report.segments[-1] if report.segments else None
        if before is not None and before.last_index is not None and name != segment_name(before.last_index + 1):
            segment.problem = segment.problem or f"entry {before.last_index + 1} should come next"
        report.segments.append(segment)
        if segment.problem is not None:
            report.problems.append(f"{name}: {segment.problem}")
        whole = _extend(report, segment, whole=whole)
    return report


def _extend(report: LogReport, segment: SegmentReport, *, whole: bool) -> bool:
    """Add what a segment has to the usable part of the log, which ends at the first damage."""
    if not whole or segment.problem is not None or segment.first_index is None or segment.last_index is None:
        return False
    report.first_index = report.first_index or segment.first_index
    last = min((damage.expected_index - 1 for damage in segment.damage), default=segment.last_index)
    report.last_index = last
    terms = [term for index, term in segment.terms if index <= last]
    report.last_term = terms[-1] if terms else report.last_term
    return not segment.damage


def _read_segment(
    fs: FileSystem,
    path: Path,
    log: LogReport,
    group: int,
    floor_index: int,
    *,
    sealed: bool,
    visit: Visitor | None,
) -> SegmentReport:
    report = SegmentReport(name=path.name, bytes=0)
    try:
        data = read_bytes(fs, path)
        report.bytes = len(data)
        codec, report.first_index, report.end_byte = check_header(data, path, group)
    except (CorruptLog, OSError) as error:
        report.problem = str(error).partition(". Nothing was changed")[0].removeprefix(f"{path}: ")
        return report
    report.last_index = report.first_index - 1
    report.form = codec.name
    cut = log.announced_cut if not sealed else None
    _Reader(data, codec, report, cut, floor_index, sealed=sealed, visit=visit).read()
    return report


class _Reader:
    """Goes through the records of one segment."""

    def __init__(
        self,
        data: bytes,
        codec: Codec,
        report: SegmentReport,
        cut: int | None,
        floor_index: int,
        *,
        sealed: bool,
        visit: Visitor | None,
    ) -> None:
        self._data = data
        self._codec = codec
        self._report = report
        self._cut = cut
        self._floor_index = floor_index
        self._sealed = sealed
        self._visit = visit
        self._end = len(data) if sealed else len(data.rstrip(b"\0"))
        self._term = 0

    def read(self) -> None:
        """Fill the report."""
        offset: int | None = self._report.end_byte
        while offset is not None:
            problem = self._read_run(offset)
            offset = self._go_on_behind(problem) if problem is not None else None

    def _read_run(self, offset: int) -> str | None:
        """Read record after record; returns what is wrong with the bytes behind them, ``None`` at the end."""
        report, data = self._report, self._data
        while offset < self._end:
            expected = _next_index(report)
            if expected == self._cut:
                return None
            try:
                stop, kind, term, index, _ = self._codec.record_at(data, offset)
            except NoRecord as error:
                return str(error)
            if kind == MARK_KIND and term == offset and index < expected:
                report.marks += 1
                report.proven_index = max(report.proven_index, index)
            elif kind in _ENTRY_KINDS and index == expected and term >= self._term:
                try:
                    self._took(offset, stop, term, index)
                except FrameError as error:
                    return str(error)
            else:
                return f"found an intact record of kind {kind}, term {term}, index {index}"
            report.end_byte = offset = stop
        return None

    def _took(self, offset: int, stop: int, term: int, index: int) -> None:
        report = self._report
        (entry,) = self._codec.decode(self._data[offset:stop])
        if not report.terms or report.terms[-1][1] != term:
            report.terms.append((index, term))
        report.entries += 1
        report.last_index, self._term = index, term
        if self._visit is not None:
            self._visit(report.name, offset, entry)

    def _go_on_behind(self, problem: str) -> int | None:
        """Note the damage, and return where the records go on, if they do."""
        report = self._report
        byte, expected = report.end_byte, _next_index(report)
        found = next(self._records_behind(byte, expected), None)
        torn, evidence = self._judge(byte, expected)
        damage = Damage(byte=byte, expected_index=expected, problem=problem, torn=torn, evidence=evidence)
        report.damage.append(damage)
        if found is None:
            return None
        damage.next_byte, damage.next_index = found
        report.last_index = damage.next_index - 1
        return damage.next_byte

    def _judge(self, byte: int, expected: int) -> tuple[bool, str]:
        if self._sealed:
            return False, "later segments follow"
        if self._floor_index >= expected:
            return False, f"entries up to {self._floor_index} were durable when the log was compacted"
        claimed = self._codec.proven_behind(self._data, byte)
        if claimed >= expected:
            return False, f"a later sync mark says that entries up to {claimed} were durable"
        return (False, "the record is intact") if self._is_record(byte) else (True, "")

    def _is_record(self, byte: int) -> bool:
        try:
            self._codec.record_at(self._data, byte)
        except NoRecord:
            return False
        return True

    def _records_behind(self, byte: int, expected: int) -> Iterator[tuple[int, int]]:
        """(byte, index) of the intact entries behind ``byte``."""
        for offset in self._codec.places_behind(self._data, byte, self._end):
            try:
                _, kind, term, index, _ = self._codec.record_at(self._data, offset)
            except NoRecord:
                continue
            if kind in _ENTRY_KINDS and index >= expected and term >= self._term:
                yield offset, index


def _next_index(report: SegmentReport) -> int:
    return (report.last_index or 0) + 1
