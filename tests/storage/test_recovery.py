"""After a power loss: a torn tail is cut, a corrupt middle is refused, and never is there a wrong entry."""

from __future__ import annotations

import logging
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.errors import CorruptLog
from quorate.raft.entry import Entry
from quorate.storage import Codec, MemoryFileSystem, Wal
from quorate.storage.codecs import MARK_KIND

from .support import LOG, Promises, contents, disk, entry, everything, places, run

FIRST = LOG / f"{1:020d}.raftlog"


def small_log(codec: Codec, *, marked: bool) -> tuple[bytes, list[Entry], int]:
    """A log of three synced batches in one file: its bytes, its entries, and where its records end."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=1024)
    entries: list[Entry] = []
    for term, size in ((1, 3), (1, 40), (4, 0)):
        batch = run(len(entries) + 1, len(entries) + 2, term, size)
        wal.append(batch)
        wal.sync()
        entries += batch
    if marked:
        wal.mark()
    return contents(fs)[FIRST], entries, wal.size_bytes


@pytest.mark.parametrize("marked", [True, False])
def test_every_truncation_recovers_a_prefix(codec: Codec, marked: bool) -> None:
    data, entries, end = small_log(codec, marked=marked)
    lengths = set()
    for size in range(codec.read_header(data)[2], len(data) + 1):
        wal = Wal.open(disk({FIRST: data[:size]}), LOG, codec=codec)
        found = everything(wal)
        assert found == entries[: len(found)]
        lengths.add(len(found))
        if size >= end:
            assert found == entries
    assert lengths == set(range(len(entries) + 1))


def test_a_truncated_header_is_refused(codec: Codec) -> None:
    data, _, _ = small_log(codec, marked=False)
    for size in range(codec.read_header(data)[2]):
        with pytest.raises(CorruptLog, match="header"):
            Wal.open(disk({FIRST: data[:size]}), LOG, codec=codec)


@pytest.mark.parametrize("marked", [True, False])
def test_every_bit_flip_is_refused_or_costs_only_what_no_mark_proves(codec: Codec, marked: bool) -> None:
    data, entries, end = small_log(codec, marked=marked)
    proven = 6 if marked else 4
    refused = cut = 0
    looked_at = min(end + 20, len(data))
    for place in range(8 * looked_at):
        fs = disk({FIRST: data})
        fs.flip_bit(FIRST, place // 8, place % 8)
        try:
            wal = Wal.open(fs, LOG, codec=codec, segment_bytes=1024)
        except CorruptLog:
            refused += 1
            assert contents(fs)[FIRST][place // 8] != data[place // 8], "refused, and still changed"
        else:
            cut += 1
            found = everything(wal)
            assert found == entries[: len(found)]
            assert len(found) >= proven
            # What was cut is gone for good: the log goes on, and is whole after the next restart.
            wal.append([entry(len(found) + 1, 9)])
            wal.sync()
            assert everything(Wal.open(fs, LOG, codec=codec)) == [*entries[: len(found)], entry(len(found) + 1, 9)]
    proven_bytes = max(start for start, _, kind in places(codec, data) if kind == MARK_KIND)
    assert (refused, cut) == (8 * proven_bytes, 8 * (looked_at - proven_bytes))


def test_every_bit_flip_in_a_closed_segment_is_refused(codec: Codec) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=300)
    wal.append(run(1, 6, size=40))
    files = contents(fs)
    assert len(files) > 1
    for place in range(8 * len(files[FIRST])):
        fs = disk(files)
        fs.flip_bit(FIRST, place // 8, place % 8)
        with pytest.raises(CorruptLog):
            Wal.open(fs, LOG, codec=codec)


def test_decay_is_seen_in_what_a_cut_has_left_of_the_log(codec: Codec) -> None:
    """The marks that proved it may have gone with the cut: what is written next must prove it anew."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append(run(1, 6))
    wal.sync()
    wal.mark()
    wal.append(run(4, 5, term=2))
    fs.flip_bit(FIRST, places(codec, contents(fs)[FIRST])[2][1] - 1, 0)
    with pytest.raises(CorruptLog, match="expected entry 3"):
        Wal.open(fs, LOG, codec=codec)


def test_the_refusal_says_where_and_what_and_what_to_do(codec: Codec) -> None:
    data, _, _ = small_log(codec, marked=True)
    fs = disk({FIRST: data})
    fs.flip_bit(FIRST, data.index(b"1.3.***"), 0)
    with pytest.raises(CorruptLog) as caught:
        Wal.open(fs, LOG, codec=codec)
    message = str(caught.value)
    for part in (str(FIRST), "expected entry 3", "checksum", "entries up to 6 were durable", "backup"):
        assert part in message


def test_a_torn_tail_is_cut_and_said(codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    data, entries, end = small_log(codec, marked=False)
    with caplog.at_level(logging.WARNING, "quorate.storage"):
        wal = Wal.open(disk({FIRST: data[: end - 1]}), LOG, codec=codec)
    assert everything(wal) == entries[:-1]
    (record,) = caplog.records
    assert f"cut {end - 1 - places(codec, data)[-1][0]} bytes" in record.getMessage()
    assert "entry 5" in record.getMessage()


def test_a_clean_end_is_not_reported(codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    data, entries, _ = small_log(codec, marked=False)
    assert everything(Wal.open(disk({FIRST: data}), LOG, codec=codec)) == entries
    assert not caplog.records


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_refused(codec: Codec, missing: int) -> None:
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec, segment_bytes=300)
    wal.append(run(1, 30, size=40))
    names = fs.list_files(LOG)
    fs.remove(LOG / names[missing])
    with pytest.raises(CorruptLog, match=names[missing + 1]):
        Wal.open(fs, LOG, codec=codec)


def test_a_segment_under_the_wrong_name_is_refused(codec: Codec) -> None:
    data, _, _ = small_log(codec, marked=False)
    with pytest.raises(CorruptLog, match="first index 1"):
        Wal.open(disk({LOG / f"{2:020d}.raftlog": data}), LOG, codec=codec)


def test_a_mark_inside_a_payload_proves_nothing(codec: Codec) -> None:
    """A log file stored inside an entry: torn afterwards, it must not turn a torn tail into a corrupt middle."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append([entry(1)])
    wal.sync()
    start = wal.size_bytes
    wal.append([entry(2, payload=b"\0" * 600 + codec.encode_mark(1_000_000, 4711) + b"\0" * 600)])
    data = contents(fs)[FIRST]
    torn = data[:start] + bytes(100) + data[start + 100 :]
    assert everything(Wal.open(disk({FIRST: torn}), LOG, codec=codec)) == [entry(1)]


def test_intact_records_that_cannot_follow_are_refused(codec: Codec) -> None:
    for wrong in (entry(3), entry(1), entry(2, term=0)):
        fs = disk()
        wal = Wal.open(fs, LOG, codec=codec)
        wal.append([entry(1)])
        end = wal.size_bytes
        wal.close()
        fs.open(FIRST).write_at(end, codec.encode(wrong))
        with pytest.raises(CorruptLog, match="intact"):
            Wal.open(fs, LOG, codec=codec)


def test_what_survives_a_dead_process_is_durable_after_the_restart(codec: Codec) -> None:
    """The process died between write and sync: its entries were recovered, so they may be acknowledged."""
    fs = disk()
    Wal.open(fs, LOG, codec=codec).append(run(1, 3))
    fs.kill()
    assert everything(Wal.open(fs, LOG, codec=codec)) == run(1, 3)
    fs.crash()
    assert everything(Wal.open(fs, LOG, codec=codec)) == run(1, 3)


def test_what_a_failed_sync_left_in_the_cache_is_durable_after_the_restart(codec: Codec) -> None:
    """The kernel counts the pages as clean after a failed sync: only writing them again makes them durable."""
    fs = disk()
    wal = Wal.open(fs, LOG, codec=codec)
    wal.append(run(1, 3))
    wal.sync()
    wal.append(run(4, 6))
    fs.fail_next_sync()
    with pytest.raises(OSError):
        wal.sync()
    fs.kill()
    assert everything(Wal.open(fs, LOG, codec=codec)) == run(1, 6)
    fs.crash()
    assert everything(Wal.open(fs, LOG, codec=codec)) == run(1, 6)


def random_step(promises: Promises, rng: Random, term: int) -> None:
    last = len(promises.written)
    action = rng.choice(("append", "append", "append", "sync", "sync", "mark", "replace", "compact"))
    if action == "append":
        first = last + 1
    elif action == "replace" and promises.wal.first_index <= last:
        first = rng.randint(promises.wal.first_index, last)
    else:
        if action == "sync":
            promises.sync()
        elif action == "mark":
            promises.wal.mark()
        else:
            promises.wal.cut_prefix(rng.randint(0, promises.promised))
        return
    size = rng.choice((0, 10, 100, 600, 1500))
    promises.append(run(first, first + rng.randint(0, 4), term, size))


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_and_lost_synced_entries_stay_and_no_others_appear(codec: Codec, seed: int) -> None:
    rng = Random(seed)
    fs = disk()
    segment_bytes = rng.choice((512, 2048, 8192, 1 << 20))
    promises = Promises(Wal.open(fs, LOG, codec=codec, segment_bytes=segment_bytes))
    for life in range(1, 6):
        if rng.random() < 0.5:
            fs.lose_power_after(rng.randint(1, 60))
        try:
            for _ in range(rng.randint(0, 25)):
                random_step(promises, rng, life)
        except OSError:
            pass
        ending = rng.choice(("torn", "torn", "torn", "lost", "killed"))
        if ending == "killed":
            fs.kill()
        else:
            fs.crash(rng if ending == "torn" else None)
        promises.resume(Wal.open(fs, LOG, codec=codec, segment_bytes=segment_bytes))


def scenario(fs: MemoryFileSystem, promises: Promises) -> None:
    """Passes through everything the log does to its files."""
    promises.append(run(1, 5, 1, 100))
    promises.sync()
    promises.append(run(6, 12, 1, 100))
    promises.sync()
    promises.append(run(13, 13, 1))
    promises.append(run(9, 20, 2, 100))
    promises.sync()
    promises.wal.mark()
    promises.append(run(5, 5, 3, 700))
    promises.append(run(6, 20, 3, 100))
    promises.sync()
    promises.wal.cut_prefix(12)


@pytest.mark.parametrize("seed", range(10))
def test_power_may_be_lost_at_any_point(codec: Codec, seed: int) -> None:
    rng = Random(seed)
    for changes in range(1000):
        fs = disk()
        promises = Promises(Wal.open(fs, LOG, codec=codec, segment_bytes=512))
        fs.lose_power_after(changes)
        try:
            scenario(fs, promises)
        except OSError:
            finished = False
        else:
            finished = True
        fs.crash(rng)
        # Power may go again while the log recovers from the first time.
        fs.lose_power_after(rng.randint(0, 8))
        try:
            Wal.open(fs, LOG, codec=codec, segment_bytes=512)
        except OSError:
            pass
        fs.crash(rng)
        promises.check(Wal.open(fs, LOG, codec=codec, segment_bytes=512))
        if finished:
            break
    assert changes > 50
