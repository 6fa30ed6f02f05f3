"""The log as its users see it: what is appended is read back, across segments and restarts."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.errors import CorruptLog
from quorate.raft.entry import Entry, EntryKind
from quorate.records import decode_entries, encode_entry
from quorate.storage import Codec, MemoryFileSystem, RealFileSystem, Wal
from quorate.storage.memory import MemoryFile

from .support import LOG, contents, disk, entry, everything, run, term_starts

batches = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(EntryKind), st.binary(max_size=300)), max_size=6),
    max_size=8,
)


@given(batches, st.integers(64, 2000))
@settings(deadline=None)
def test_what_is_appended_is_read_back_at_once_and_after_a_restart(
    codec: Codec, steps: list[list[tuple[int, EntryKind, bytes]]], segment_bytes: int
) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=segment_bytes)
    written: list[Entry] = []
    term = 1
    for step in steps:
        batch: list[Entry] = []
        for rise, kind, payload in step:
            term += rise
            batch.append(Entry(len(written) + len(batch) + 1, term, kind, payload))
        wal.append(batch)
        wal.sync()
        written += batch
    assert decode_entries(b"".join(map(encode_entry, written))) == written
    for log in (wal, Wal.open(fs, LOG, codec=codec, segment_bytes=segment_bytes)):
        assert everything(log) == written
        assert list(map(encode_entry, everything(log))) == list(map(encode_entry, written))
        assert (log.first_index, log.last_index) == (1, len(written))
        assert log.term_starts == term_starts(written)


def test_an_empty_log_begins_at_one(codec: Codec, tmp_path: Path) -> None:
    wal = Wal.open(RealFileSystem(), tmp_path, codec=codec)
    assert (wal.first_index, wal.last_index, wal.term_starts) == (1, 0, ())
    assert wal.read(1, 1, 100) == []
    wal.append([])
    wal.sync()
    wal.close()
    wal.close()


def test_a_read_ends_with_the_entry_that_reaches_the_limit(codec: Codec) -> None:
    wal = Wal.open(disk(), LOG, codec=codec, segment_bytes=400)
    wal.append(run(1, 20, size=100))
    wal.sync()
    for limit, count in ((0, 1), (1, 1), (100, 1), (101, 2), (500, 5), (501, 6), (1 << 40, 18)):
        assert [item.index for item in wal.read(3, 21, limit)] == list(range(3, 3 + count))


def test_a_limit_counts_payloads_across_marks_and_empty_entries(codec: Codec) -> None:
    wal = Wal.open(disk(), LOG, codec=codec)
    for item in (entry(1, payload=b""), entry(2, payload=b""), entry(3, payload=b"x"), entry(4, payload=b"y")):
        wal.append([item])
        wal.sync()
    assert [item.index for item in wal.read(1, 5, 1)] == [1, 2, 3]


@pytest.mark.parametrize(("low", "high"), [(0, 3), (5, 12), (12, 13), (3, 2)])
def test_reading_what_the_log_does_not_have_is_refused(codec: Codec, low: int, high: int) -> None:
    wal = Wal.open(disk(), LOG, codec=codec)
    wal.append(run(1, 10))
    with pytest.raises(IndexError):
        wal.read(low, high, 100)


def test_segments_rotate_and_are_not_longer_than_their_records(codec: Codec) -> None:
    """A2.21: `.raftlog` files."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=1000)
    for index in range(1, 101):
        wal.append(run(index, index, size=75))
        wal.sync()
    names = fs.list_files(LOG)
    assert len(names) > 10
    assert names[0] == "00000000000000000001.raftlog"
    assert all(name.endswith(".raftlog") for name in names)
    assert all(fs.open(LOG / name).size <= 1000 for name in names)
    records = sum(len(codec.encode(item)) for item in run(1, 100, size=75))
    assert sum(fs.open(LOG / name).size for name in names[:-1]) < wal.size_bytes
    assert wal.size_bytes <= records + 100 * codec.mark_bytes_max + len(names) * len(codec.header(0, 100))
    assert everything(Wal.open(fs, LOG, codec=codec)) == run(1, 100, size=75)


def test_one_batch_may_fill_many_segments_and_one_entry_may_outgrow_them(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=300)
    entries = [entry(1, payload=b"x" * 5000), *run(2, 30), entry(31, payload=b"y" * 5000), entry(32)]
    wal.append(entries)
    wal.sync()
    fs.crash()
    assert everything(Wal.open(fs, LOG, codec=codec, segment_bytes=300)) == entries


@pytest.mark.parametrize("cut", [1, 2, 9, 17, 29, 30])
def test_a_conflicting_suffix_is_replaced(codec: Codec, cut: int) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=400)
    for first in range(1, 30, 3):
        wal.append(run(first, first + 2, term=first, size=50))
        wal.sync()
    kept = wal.read(1, cut, 1 << 40)
    wal.append(run(cut, cut + 4, term=90))
    wal.sync()
    for log in (wal, Wal.open(fs, LOG, codec=codec, segment_bytes=400)):
        assert everything(log) == [*kept, *run(cut, cut + 4, term=90)]
        assert log.term_starts == term_starts(everything(log))


@pytest.mark.parametrize(
    "entries",
    [
        run(12, 13),
        run(0, 3),
        [entry(11, 1)],
        [entry(11, 2), entry(13, 2)],
        [entry(11, 3), entry(12, 2)],
        [entry(10, 1)],
    ],
    ids=["gap", "before the first", "term goes back", "gap inside", "term goes back inside", "below what stays"],
)
def test_entries_that_cannot_follow_are_refused_and_change_nothing(codec: Codec, entries: list[Entry]) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append(run(1, 10, term=2))
    before = wal.size_bytes
    with pytest.raises(ValueError, match="cannot follow"):
        wal.append(entries)
    assert (wal.last_index, wal.size_bytes) == (10, before)


def test_cutting_the_prefix_removes_whole_segments_and_never_the_last(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=400)
    for index in range(1, 41):
        wal.append(run(index, index, term=index // 10 + 1, size=60))
        wal.sync()
    wal.cut_prefix(0)
    assert wal.first_index == 1
    wal.cut_prefix(25)
    first = wal.first_index
    assert 15 < first <= 26
    for log in (wal, Wal.open(fs, LOG, codec=codec, segment_bytes=400)):
        assert log.first_index == first
        assert log.term_starts == ((first, 3), (30, 4), (40, 5))
        assert [item.index for item in everything(log)] == list(range(first, 41))
    with pytest.raises(IndexError):
        wal.read(first - 1, first, 1)
    wal.cut_prefix(1000)
    assert wal.first_index <= 40 == wal.last_index
    wal.append(run(41, 41, term=9))
    assert fs.list_files(LOG)[0] == f"{wal.first_index:020d}.raftlog"


def test_cutting_all_entries_leaves_no_terms(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=300)
    wal.append(run(1, 4, term=3, size=100))
    first = int(fs.list_files(LOG)[-1][:20])
    wal.append(run(first, first, term=4))
    wal.sync()
    wal.close()
    path = LOG / f"{first:020d}.raftlog"
    fs.open(path).truncate(codec.read_header(contents(fs)[path])[2])
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=300)
    assert len(wal.term_starts) == 1
    wal.cut_prefix(first - 1)
    assert (wal.first_index, wal.last_index) == (first, first - 1)
    assert not wal.term_starts


def test_half_made_segments_are_cleared_away_and_other_files_left_alone(codec: Codec) -> None:
    fs = disk({LOG / f"{7:020d}.raftlog.tmp": b"half", LOG / "notes.txt": b"mine"})
    Wal.open(fs, LOG, codec=codec)
    assert fs.list_files(LOG) == [f"{1:020d}.raftlog", "notes.txt"]


def test_a_log_of_another_group_is_refused(codec: Codec) -> None:
    fs = disk()
    Wal.open(fs, LOG, codec=codec, group=3).close()
    with pytest.raises(CorruptLog, match="group 3"):
        Wal.open(fs, LOG, codec=codec, group=4)


def test_decay_found_while_reading_is_an_error_and_no_entry(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append(run(1, 3, size=100))
    ((path, data),) = contents(fs).items()
    fs.flip_bit(path, data.index(b"1.2.*"), 3)
    with pytest.raises(CorruptLog, match="checksum"):
        wal.read(1, 4, 1000)
    assert wal.read(1, 2, 1000) == run(1, 1, size=100)


def test_a_segment_removed_in_the_middle_of_a_read_is_read_to_the_end(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal.open(disk(), LOG, codec=codec, segment_bytes=300)
    wal.append(run(1, 20))
    read_at = MemoryFile.read_at

    def read_after_compaction(file: MemoryFile, offset: int, size: int) -> bytes:
        wal.cut_prefix(20)
        return read_at(file, offset, size)

    monkeypatch.setattr(MemoryFile, "read_at", read_after_compaction)
    assert wal.read(1, 21, 1 << 20) == run(1, 20)
    assert wal.first_index > 1


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns often: a loop that only reads would otherwise hold a writer up for 5 ms per call."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("real", [True, False])
def test_reads_see_whole_entries_while_another_thread_appends_rotates_and_compacts(
    codec: Codec, real: bool, tmp_path: Path
) -> None:
    fs = RealFileSystem() if real else MemoryFileSystem()
    fs.make_directories(tmp_path)
    wal = Wal.open(fs, tmp_path, codec=codec, segment_bytes=4096)
    last = 3000
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for index in range(1, last + 1, 3):
                wal.append(run(index, index + 2, size=60))
                if index % 60 == 1:
                    wal.sync()
                    wal.cut_prefix(index - 500)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while thread.is_alive() or not reads:
        low, high = wal.first_index, wal.last_index + 1
        try:
            found = wal.read(low, high, 20_000)
        except IndexError:
            assert wal.first_index > low  # cut away meanwhile
            continue
        assert found == run(low, low + len(found) - 1, size=60)
        reads += bool(found)
    thread.join()
    assert not failures
    assert everything(wal) == run(wal.first_index, last, size=60)
    wal.close()


def test_what_is_unsynced_can_be_asked_for_while_a_suffix_is_cut() -> None:
    fs = disk()
    wal = Wal.open(fs, LOG)
    wal.append(run(1, 9))
    wal.sync()
    seen = []
    truncate = MemoryFile.truncate

    def look(file: MemoryFile, size: int) -> None:
        seen.append(wal.unsynced)
        truncate(file, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFile, "truncate", look)
        wal.append(run(4, 5, term=2))
    assert set(seen) == {(0, 0)}
