"""Reading a log back: what is intact, where it ends, and whether the end is an honest one.

::

    the record at the expected place …
      is intact                                → an entry or a sync mark; go on
      is not, and only zeros follow            → the end of the log
      is not, and the entry was never promised → a torn tail: cut
      is not, and the entry was durable        → corrupt: refuse to start, cut nothing

Durable is what a sync mark further on says is (see :mod:`quorate.storage.codecs.contract`), what the log was compacted
up to, and all of every segment but the last one: a segment is synced before the next one is made.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from quorate.errors import CorruptLog
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.terms import TermRuns
from quorate.storage.codecs import MARK_KIND, NoRecord
from quorate.storage.filesystem import FileSystem
from quorate.storage.segment import RESTORE_ADVICE, Segment, check_header

log = logging.getLogger(__name__)

_ENTRY_KINDS = frozenset(EntryKind)
_MEMBERSHIP = EntryKind.MEMBERSHIP.value


@dataclass(slots=True)
class Scan:
    """What is known of a log before its segments are read one after the other, and what is found in them."""

    group: int
    cut: int | None
    """The first entry that does not count any more, if a cut was announced."""
    durable: int
    """The entries up to here are known to have been durable."""
    terms: TermRuns = field(default_factory=TermRuns)
    configurations: list[Entry] = field(default_factory=list)
    """The MEMBERSHIP entries, taken along so that nobody has to read the log for them."""


def recover_segment(fs: FileSystem, path: Path, scan: Scan, *, sealed: bool) -> tuple[Segment, int]:
    """Open and index the segment at ``path``, which is the next one of the log.

    Returns it with the highest index that its marks prove durable. A ``sealed`` segment has a successor, and so
    was durable as a whole. Of the last one, a torn tail is cut off, and so are the entries that an announced cut
    concerns. Raises :class:`CorruptLog`.

    What is returned is durable, too: the process may have died before its last sync, or because of it.
    """
    file = fs.open(path)
    try:
        data = file.read_at(0, file.size)
        segment = Segment(path, file, *check_header(data, path, scan.group))
        cut = None if sealed else scan.cut
        proven, problem = _index_records(segment, data, scan, cut)
        if sealed:
            if segment.end != len(data):
                raise _corrupt(segment, problem, "later segments follow")
        else:
            if cut == segment.last_index + 1:
                segment.truncate()
                data = data[: segment.end]
            _settle_tail(segment, data, proven, problem, scan.durable)
        return segment, proven
    except BaseException:
        file.close()
        raise


def _index_records(segment: Segment, data: bytes, scan: Scan, cut: int | None) -> tuple[int, str]:
    """Index the intact records from the start of the segment on.

    Stops in front of entry ``cut``. Returns the highest index claimed by a mark among them, and what is wrong
    with the bytes behind them.
    """
    offset, proven, problem = segment.end, 0, ""
    record_at, terms = segment.codec.record_at, scan.terms
    offsets, lengths, sizes = segment.offsets, segment.lengths, segment.sizes
    index, last_term = segment.first_index, terms.last
    while index != cut:
        try:
            stop, kind, term, number, size = record_at(data, offset)
        except NoRecord as error:
            problem = str(error)
            break
        if kind in _ENTRY_KINDS and number == index and term >= last_term:
            offsets.append(offset)
            lengths.append(stop - offset)
            sizes.append(size)
            if term != last_term:
                terms.extend(index, term)
                last_term = term
            if kind == _MEMBERSHIP:
                scan.configurations += segment.codec.decode(data[offset:stop])
            index += 1
        elif kind == MARK_KIND and term == offset and number < index:
            proven = max(proven, number)
        else:
            # Intact, so no power loss made it: someone wrote it.
            problem = f"found an intact record of kind {kind}, term {term}, index {number}"
            raise _corrupt(segment, f"{problem} behind term {terms.last}", "the record is intact")
        segment.end = offset = stop
    return proven, problem


def _settle_tail(segment: Segment, data: bytes, proven: int, problem: str, durable: int) -> None:
    """Decide about the bytes behind the last intact record, and make what stays durable."""
    rest = data[segment.end :].rstrip(b"\0")
    if rest:
        claimed = segment.codec.proven_behind(data, segment.end)
        if durable > segment.last_index:
            raise _corrupt(segment, problem, f"entries up to {durable} were durable when the log was compacted")
        if claimed > segment.last_index:
            raise _corrupt(segment, problem, f"a later sync mark says that entries up to {claimed} were durable")
        log.warning(
            "%s: cut %d bytes of a torn write behind entry %d (byte %d: %s)",
            segment.path, len(rest), segment.last_index, segment.end, problem,
        )  # fmt: skip
        segment.truncate()
    # The last process may have ended because a sync failed. The kernel then takes the pages for clean, and a sync
    # would do nothing: what no mark proves is written once more, so that the sync has something to do.
    start = segment.end_of(proven)
    if start < segment.end:
        segment.file.write_at(start, data[start : segment.end])
    segment.file.sync()


def _corrupt(segment: Segment, problem: str, evidence: str) -> CorruptLog:
    return CorruptLog(
        f"{segment.path}: byte {segment.end}: expected entry {segment.last_index + 1}, but {problem}, "
        f"and this is no torn write: {evidence}. {RESTORE_ADVICE}"
    )
