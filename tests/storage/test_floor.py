"""Where the log begins: it moves up by compaction and with a snapshot, and there is never a hole behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import CorruptLog, StorageFailed
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.output import Floor, HardState, Recovered, Write
from quorate.storage import FileSystem, GroupStore, MemoryFileSystem, RealFileSystem, StorageSettings
from quorate.storage.filesystem import read_bytes
from quorate.storage.floor import StoredFloor, load_floor, save_floor
from quorate.storage.segment import segment_name

from .support import contents, disk, run, term_starts

GROUP = Path("/data/groups/0")
numbers = st.integers(0, 2**64 - 1)


def opened(fs: FileSystem, stored: StorageSettings, path: Path = GROUP, segment_bytes: int = 512) -> GroupStore:
    return GroupStore.open(fs, path, segment_bytes=segment_bytes, settings=stored)


def filled(
    fs: FileSystem, stored: StorageSettings, last: int, path: Path = GROUP, segment_bytes: int = 512
) -> GroupStore:
    """A log of these entries, all of term 1."""
    store = opened(fs, stored, path, segment_bytes)
    store.persist([Write(1, HardState(1), tuple(run(1, last, 1, 40)))])
    return store


def behind_floor(store: GroupStore) -> list[Entry]:
    return store.read(store.floor.index + 1, store.wal.last_index + 1, 1 << 40)


@given(numbers, numbers, numbers, st.binary(max_size=200), st.booleans())
def test_what_was_saved_is_loaded(index: int, term: int, at: int, configuration: bytes, resetting: bool) -> None:
    fs = disk()
    fs.make_directories(GROUP)
    stored = StoredFloor(Floor(index, term, at, configuration), resetting)
    save_floor(fs, GROUP, stored)
    fs.crash()
    assert load_floor(fs, GROUP) == stored


def test_every_bit_flip_in_the_floor_is_refused(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 20).compact(Floor(10, 1, 3, b"configuration"))
    path = GROUP / "floor"
    for place in range(8 * len(read_bytes(fs, path))):
        fs.flip_bit(path, place // 8, place % 8)
        with pytest.raises(CorruptLog, match="floor"):
            opened(fs, stored)
        fs.flip_bit(path, place // 8, place % 8)
    assert opened(fs, stored).floor == Floor(10, 1, 3, b"configuration")


def test_what_is_recovered_is_only_what_is_behind_the_floor(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = opened(fs, stored)
    entries = [*run(1, 10, 1, 40), *run(11, 20, 2, 40), *run(21, 30, 3, 40)]
    for index in (5, 15, 25):
        entries[index - 1] = Entry(index, entries[index - 1].term, EntryKind.MEMBERSHIP, b"{}%d" % index)
    store.persist([Write(1, HardState(3), tuple(entries))])
    assert opened(fs, stored).recovered == Recovered(
        HardState(3), 30, ((1, 1), (11, 2), (21, 3)), Floor(), (entries[4], entries[14], entries[24])
    )
    floor = Floor(14, 2, 5, b"{}5")
    store.compact(floor)
    assert store.floor == floor
    for each in (store, opened(fs, stored)):
        recovered = each.recovered
        assert (recovered.floor, recovered.last_index) == (floor, 30)
        assert recovered.term_starts == ((15, 2), (21, 3)) == term_starts(behind_floor(each))
        assert behind_floor(each) == entries[14:]
    assert opened(fs, stored).recovered.configurations == (entries[14], entries[24])
    with pytest.raises(IndexError):
        store.read(1, 5, 100)
    store.compact(Floor(30, 3))
    recovered = opened(fs, stored).recovered
    assert (recovered.last_index, recovered.term_starts, recovered.configurations) == (30, (), ())


def test_a_floor_at_or_below_the_present_one_is_ignored(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = filled(fs, stored, 20)
    store.compact(Floor(10, 1, 2, b"x"))
    before = contents(fs, GROUP), contents(fs, GROUP / "log")
    store.compact(Floor(10, 1))
    store.compact(Floor(9, 1))
    store.compact(Floor())
    assert (contents(fs, GROUP), contents(fs, GROUP / "log")) == before
    assert store.floor == Floor(10, 1, 2, b"x")


@pytest.mark.parametrize("floor", [Floor(21, 1), Floor(15, 2)], ids=["behind the log", "another term"])
def test_a_floor_that_the_log_does_not_have_is_refused(stored: StorageSettings, floor: Floor) -> None:
    fs = MemoryFileSystem()
    store = filled(fs, stored, 20)
    with pytest.raises(ValueError, match="no durable entry"):
        store.compact(floor)
    assert store.floor == opened(fs, stored).floor == Floor()


def test_a_write_below_the_floor_is_refused(stored: StorageSettings) -> None:
    store = filled(MemoryFileSystem(), stored, 20)
    store.compact(Floor(10, 1))
    with pytest.raises(ValueError, match="floor"):
        store.persist([Write(2, None, tuple(run(10, 12, 2)))])
    with pytest.raises(ValueError, match="cannot begin"):
        store.persist([Write(2, floor=Floor(10, 1))])
    store.persist([Write(2, HardState(2), tuple(run(11, 12, 2)))])
    assert behind_floor(store) == run(11, 12, 2)


def test_a_snapshot_takes_the_place_of_the_whole_log_and_entries_follow_it(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = filled(fs, stored, 20)
    floor = Floor(12, 4, 3, b"configuration")
    store.persist([Write(2, HardState(4, 2), floor=floor)])
    for each in (store, opened(fs, stored)):
        assert each.recovered == Recovered(HardState(4, 2), 12, (), floor)
        assert each.read(13, 13, 100) == []
        with pytest.raises(IndexError):
            each.read(12, 13, 100)
    assert not fs.list_files(GROUP / "log")[1:]
    with pytest.raises(ValueError, match="term 4"):
        store.persist([Write(3, None, tuple(run(13, 14, 3)))])
    store.persist([Write(3, HardState(5), tuple(run(13, 40, 5, 40)))])
    store.compact(Floor(30, 5))
    fs.crash()
    store = opened(fs, stored)
    assert store.floor == Floor(30, 5)
    assert behind_floor(store) == run(31, 40, 5, 40)


def test_no_entry_of_a_term_before_the_floors_follows_it_after_a_restart(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 3).persist([Write(2, HardState(4), floor=Floor(12, 4))])
    with pytest.raises(ValueError, match="term 4"):
        opened(fs, stored).persist([Write(3, None, tuple(run(13, 14, 3)))])


def test_of_a_batch_only_what_stands_behind_its_last_floor_is_written(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = filled(fs, stored, 5)
    store.persist(
        [
            Write(2, HardState(2), tuple(run(6, 9, 2))),
            Write(3, None, tuple(run(21, 22, 2)), Floor(20, 2)),
            Write(4, HardState(3), (), Floor(30, 3)),
            Write(5, None, tuple(run(31, 33, 3))),
            Write(6, HardState(4), tuple(run(33, 35, 4))),
        ]
    )
    fs.crash()
    store = opened(fs, stored)
    assert store.recovered == Recovered(HardState(4), 35, ((31, 3), (33, 4)), Floor(30, 3))
    assert behind_floor(store) == [*run(31, 32, 3), *run(33, 35, 4)]


# -- what does not fit together ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor", "words"),
    [
        (Floor(), "behind entry 0"),
        (Floor(3, 1), "behind entry 3"),
        (Floor(41, 1), "behind entry 41"),
        (Floor(30, 2), "entry 30 should be of term 2, but the log has term 1"),
    ],
)
def test_a_floor_that_does_not_fit_the_log_is_refused(stored: StorageSettings, floor: Floor, words: str) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 40).compact(Floor(20, 1))
    assert opened(fs, stored).wal.first_index > 5
    save_floor(fs, GROUP, StoredFloor(floor))
    with pytest.raises(CorruptLog, match=words):
        opened(fs, stored)


def test_entries_of_a_term_before_the_floors_are_refused(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 5).persist([Write(2, HardState(5), tuple(run(21, 25, 4)), Floor(20, 4))])
    save_floor(fs, GROUP, StoredFloor(Floor(20, 5)))
    with pytest.raises(CorruptLog, match="term 4 behind it"):
        opened(fs, stored)


def test_a_lost_floor_or_a_lost_log_is_refused(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 40).compact(Floor(20, 1))
    fs.remove(GROUP / "floor")
    with pytest.raises(CorruptLog, match="behind entry 0"):
        opened(fs, stored)
    save_floor(fs, GROUP, StoredFloor(Floor(20, 1)))
    opened(fs, stored)
    for name in fs.list_files(GROUP / "log"):
        fs.remove(GROUP / "log" / name)
    with pytest.raises(CorruptLog, match="all entries behind entry 20 are gone"):
        opened(fs, stored)
    assert not fs.list_files(GROUP / "log"), "refused, and still changed"


def test_a_hard_state_behind_the_floor_is_refused(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    filled(fs, stored, 5).persist([Write(2, HardState(7), floor=Floor(20, 7))])
    fs.remove(GROUP / "hard_state")
    with pytest.raises(CorruptLog, match="term 7, but hard_state says term 0"):
        opened(fs, stored)


def test_what_was_compacted_is_no_torn_tail(stored: StorageSettings) -> None:
    """Decay that no mark proves, of entries that the floor says were durable: refused, and nothing cut."""
    fs = MemoryFileSystem()
    store = opened(fs, stored, segment_bytes=1 << 16)
    store.persist([Write(1, HardState(1), tuple(run(1, 9)))])
    store.compact(Floor(8, 1))
    path = GROUP / "log" / segment_name(1)
    fs.flip_bit(path, 100, 1)
    before = contents(fs, GROUP / "log")
    with pytest.raises(CorruptLog, match="up to 8 were durable when the log was compacted"):
        opened(fs, stored)
    assert contents(fs, GROUP / "log") == before


# -- wherever power is lost --------------------------------------------------------------------------------

Outcome = tuple[Floor, list[Entry]]
"""A floor and the entries behind it."""


def allowed(before: Outcome, after: Outcome, kept: int) -> list[Outcome]:
    """What a crash in a step may leave: the old, or as much of the new as came behind entry ``kept``."""
    floor, entries = after
    least = max(0, kept - floor.index)
    return [before, *((floor, entries[:count]) for count in range(least, len(entries) + 1))]


Step = tuple[Callable[[GroupStore], None], Outcome, int]


def steps() -> list[Step]:
    """Every kind of move of the floor, with what is there behind it, and the entries that stay throughout."""

    def write(*writes: Write) -> Callable[[GroupStore], None]:
        return lambda store: store.persist(writes)

    def compact(floor: Floor) -> Callable[[GroupStore], None]:
        return lambda store: store.compact(floor)

    first, second, third = run(1, 30, 1, 40), run(31, 50, 2, 40), run(61, 80, 3, 40)
    # An old segment begins where the log does after the snapshot: none of its entries may be taken for new ones.
    stale = run(81, 130, 4, 40)
    return [
        (write(Write(1, HardState(1), tuple(first))), (Floor(), first), 0),
        (compact(Floor(12, 1)), (Floor(12, 1), first[12:]), 30),
        (write(Write(2, HardState(2), tuple(second))), (Floor(12, 1), [*first[12:], *second]), 30),
        (compact(Floor(40, 2, 1, b"c")), (Floor(40, 2, 1, b"c"), second[10:]), 50),
        (write(Write(3, HardState(3), (), Floor(60, 3))), (Floor(60, 3), []), 0),
        (write(Write(4, None, tuple(third))), (Floor(60, 3), third), 60),
        (compact(Floor(75, 3)), (Floor(75, 3), third[15:]), 80),
        (write(Write(5, HardState(4), tuple(stale))), (Floor(75, 3), [*third[15:], *stale]), 80),
        (
            write(Write(6, HardState(5), tuple(run(101, 104, 5)), Floor(100, 5, 90, b"d"))),
            (Floor(100, 5, 90, b"d"), run(101, 104, 5)),
            0,
        ),
        (write(Write(7, HardState(6), tuple(run(103, 120, 6, 40)))),
         (Floor(100, 5, 90, b"d"), [*run(101, 102, 5), *run(103, 120, 6, 40)]), 102),
        (compact(Floor(120, 6)), (Floor(120, 6), []), 120),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [None, *range(4)])
def test_there_is_never_a_hole_nor_a_lost_entry_wherever_power_is_lost(
    stored: StorageSettings, seed: int | None
) -> None:
    rng = Random(seed)
    for changes in range(2000):
        fs = MemoryFileSystem()
        store = opened(fs, stored)
        fs.lose_power_after(changes)
        before: Outcome = (Floor(), [])
        outcomes = [before]
        finished = True
        for step, after, kept in steps():
            outcomes = allowed(before, after, kept)
            try:
                step(store)
            except StorageFailed:
                finished = False
                break
            before, outcomes = after, [after]
        fs.crash(rng if seed is not None else None)
        for _ in range(2):  # power may go again while the log recovers
            fs.lose_power_after(rng.randint(0, 12))
            try:
                opened(fs, stored)
            except CorruptLog:
                raise
            except Exception:
                pass
            fs.crash(rng if seed is not None else None)
        recovered = opened(fs, stored)
        found = (recovered.floor, behind_floor(recovered))
        assert found in outcomes
        assert recovered.recovered.term_starts == term_starts(found[1])
        if finished:
            break
    assert finished
    assert changes > 60


@pytest.mark.parametrize("seed", range(20))
def test_no_old_segment_passes_for_what_follows_a_snapshot(stored: StorageSettings, seed: int) -> None:
    """One that begins right behind the snapshot fits there by its name; it may be all that a power loss leaves."""
    rng = Random(seed)
    for changes in range(100):
        fs = MemoryFileSystem()
        store = filled(fs, stored, 40)
        names = fs.list_files(GROUP / "log")
        floor = Floor(int(names[rng.randrange(1, len(names))][:20]) - 1, 2)
        fs.lose_power_after(changes)
        try:
            store.persist([Write(2, HardState(2), (), floor)])
        except StorageFailed:
            finished = False
        else:
            finished = True
        fs.crash(rng)
        store = opened(fs, stored)
        assert (store.floor, behind_floor(store)) in ((Floor(), run(1, 40, 1, 40)), (floor, []))
        assert store.floor == floor or not finished
        if finished:
            break
    assert finished


def test_a_process_that_dies_instead_leaves_what_the_next_one_can_rely_on(stored: StorageSettings) -> None:
    """Killed between a rename and its sync, then started, then power is lost."""
    for changes in range(2000):
        fs = MemoryFileSystem()
        store = opened(fs, stored)
        fs.lose_power_after(changes)
        try:
            for step, _, _ in steps():
                step(store)
        except StorageFailed:
            finished = False
        else:
            finished = True
        fs.kill()
        store = opened(fs, stored)
        found = (store.floor, behind_floor(store))
        fs.crash()
        store = opened(fs, stored)
        assert (store.floor, behind_floor(store)) == found
        if finished:
            break
    assert finished


@pytest.mark.parametrize("path", ["floor.tmp", "log"])
def test_a_failed_compaction_is_fatal(stored: StorageSettings, path: str) -> None:
    fs = MemoryFileSystem()
    store = filled(fs, stored, 40)
    fs.fail_next_sync(path=GROUP / path)
    with pytest.raises(StorageFailed):
        store.compact(Floor(20, 1))
    with pytest.raises(StorageFailed):
        store.persist([Write(2)])


# -- disk use, and threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("segment_bytes", [4096, 16 << 20])
def test_disk_use_stays_bounded_when_the_log_is_compacted(
    stored: StorageSettings, real: bool, segment_bytes: int, tmp_path: Path
) -> None:
    """A1.55: old segments are deleted."""
    fs = RealFileSystem() if real else MemoryFileSystem()
    group = tmp_path / "0"
    store = GroupStore.open(fs, group, segment_bytes=segment_bytes, rotate_bytes=20_000, settings=stored)
    sizes, files = [], []
    for index in range(1, 1001, 50):
        store.persist([Write(index, HardState(1), tuple(run(index, index + 49, 1, 1000)))])
        store.compact(Floor(index + 39, 1))
        sizes.append(store.log_bytes)
        files.append(sum(fs.open(group / "log" / name).size for name in fs.list_files(group / "log")))
    assert max(sizes) < 150_000 < 1000 * 1000
    assert max(files) < min(segment_bytes, 4 << 20) + 150_000
    store.close()
    store = GroupStore.open(fs, group, settings=stored)
    assert behind_floor(store) == run(991, 1000, 1, 1000)
    store.close()


def test_a_segment_with_little_to_remove_is_kept(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = opened(fs, stored, segment_bytes=16 << 20)
    for index in range(1, 101, 10):
        store.persist([Write(index, HardState(1), tuple(run(index, index + 9, 1, 1000)))])
        store.compact(Floor(index + 9, 1))
    assert len(fs.list_files(GROUP / "log")) == 1


@pytest.mark.parametrize("real", [True, False])
def test_the_log_is_compacted_in_one_thread_while_another_persists_and_a_third_reads(
    stored: StorageSettings, real: bool, tmp_path: Path
) -> None:
    fs = RealFileSystem() if real else MemoryFileSystem()
    store = GroupStore.open(fs, tmp_path / "0", segment_bytes=4096, rotate_bytes=1024, settings=stored)
    last, batch = (1000 if real else 4000), 5
    failures: list[BaseException] = []
    floors: list[int] = []
    done = threading.Event()

    def watched(work: Callable[[], None]) -> threading.Thread:
        def target() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                done.set()

        thread = threading.Thread(target=target)
        thread.start()
        return thread

    def persist() -> None:
        for index in range(1, last, batch):
            store.persist([Write(index, HardState(1), tuple(run(index, index + batch - 1, size=60)))])
            store.mark()
        # A snapshot, while the log is still being compacted.
        store.persist([Write(last + 1, HardState(2), tuple(run(last + 101, last + 110, 2)), Floor(last + 100, 2))])
        done.set()

    def compact() -> None:
        while not done.is_set():
            index = store.wal.durable_index - 20
            if store.floor.index < index <= last:
                store.compact(Floor(index, 1))
                floors.append(index)

    threads = [watched(persist), watched(compact)]
    while not done.is_set():
        low = max(store.wal.first_index, store.floor.index + 1)
        try:
            found = store.read(low, min(low + 10, store.wal.last_index + 1), 1 << 20)
        except IndexError:
            continue  # compacted meanwhile, or nothing there yet
        assert found == run(low, low + len(found) - 1, size=60) or low > last
    for thread in threads:
        thread.join()
    assert not failures
    assert floors
    store.close()
    store = GroupStore.open(fs, tmp_path / "0", settings=stored)
    assert (store.floor, behind_floor(store)) == (Floor(last + 100, 2), run(last + 101, last + 110, 2))
    store.close()
