"""A damaged group is set aside as a whole, and whatever happens meanwhile, none of it ever votes again."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from quorate.errors import CorruptLog, StorageError, StorageFailed
from quorate.raft.output import Floor, HardState, Recovered, Write
from quorate.storage import FileSystem, GroupStore, MemoryFileSystem, RealFileSystem, quarantine
from quorate.storage.filesystem import read_bytes, write_atomically

from .support import run

GROUPS = Path("/data/groups")
GROUP, DAMAGED = GROUPS / "0", GROUPS / "damaged-0"
EMPTY = Recovered(repairing=True)


def everywhere(fs: FileSystem, directory: Path) -> dict[str, bytes]:
    """All files of a group's directory, without the marker."""
    return {
        f"{below}/{name}": read_bytes(fs, directory / below / name)
        for below in (".", "log", "snapshots")
        if fs.exists(directory / below)
        for name in fs.list_files(directory / below)
        if not name.startswith("repairing")
    }


def populate(fs: FileSystem, group: Path, seed: bytes = b"") -> None:
    """A group with everything that may be in its directory."""
    store = GroupStore.open(fs, group, segment_bytes=512)
    store.persist([Write(1, HardState(3, 2), tuple(run(1, 40, 3, 40)))])
    store.compact(Floor(20, 3))
    store.close()
    fs.make_directories(group / "snapshots")
    for name in ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm", "snapshots/machines-20.snapshot"):
        write_atomically(fs, group / name, name.encode() + seed)


@pytest.mark.parametrize("real", [True, False])
def test_everything_is_moved_and_an_empty_store_in_repair_is_left(real: bool, tmp_path: Path) -> None:
    fs = RealFileSystem() if real else MemoryFileSystem()
    group = tmp_path / "0"
    populate(fs, group)
    before = everywhere(fs, group)
    assert len(before) > 8
    assert quarantine(fs, group, "because") == tmp_path / "damaged-0"
    assert everywhere(fs, tmp_path / "damaged-0") == before
    assert everywhere(fs, group) == {}
    assert b'"because"' in read_bytes(fs, group / "repairing")
    store = GroupStore.open(fs, group)
    assert store.recovered == EMPTY
    store.persist([Write(1, HardState(9), tuple(run(51, 55, 9)), Floor(50, 9))])
    store.close()
    store = GroupStore.open(fs, group)
    assert store.recovered == Recovered(HardState(9), 55, ((51, 9),), Floor(50, 9), repairing=True)
    store.repaired()
    store.repaired()
    assert not store.recovered.repairing
    store.close()
    store = GroupStore.open(fs, group)
    assert not store.repairing
    store.close()


def test_what_was_damaged_does_not_matter() -> None:
    for name in ("hard_state", "floor", "log"):
        fs = MemoryFileSystem()
        populate(fs, GROUP)
        name += "/" + fs.list_files(GROUP / name)[0] if name == "log" else ""
        for offset in (10, 4096 + 10) if name == "hard_state" else (10,):
            fs.flip_bit(GROUP / name, offset, 0)
        with pytest.raises(CorruptLog) as caught:
            GroupStore.open(fs, GROUP)
        quarantine(fs, GROUP, str(caught.value))
        assert GroupStore.open(fs, GROUP).recovered == EMPTY


def test_only_the_newest_quarantine_is_kept() -> None:
    fs = MemoryFileSystem()
    populate(fs, GROUP, b"first")
    quarantine(fs, GROUP, "first")
    store = GroupStore.open(fs, GROUP)
    store.persist([Write(1, HardState(9))])
    store.close()
    before = everywhere(fs, GROUP)
    quarantine(fs, GROUP, "second")
    assert everywhere(fs, DAMAGED) == before
    assert b'"second"' in read_bytes(fs, GROUP / "repairing")
    assert GroupStore.open(fs, GROUP).recovered == EMPTY


def test_a_quarantine_of_nothing_keeps_what_the_last_one_saved() -> None:
    fs = MemoryFileSystem()
    populate(fs, GROUP)
    before = everywhere(fs, GROUP)
    for _ in range(2):
        quarantine(fs, GROUP, "because")
        assert everywhere(fs, DAMAGED) == before


def test_a_missing_directory_can_be_put_in_quarantine() -> None:
    fs = MemoryFileSystem()
    quarantine(fs, GROUP, "gone")
    assert GroupStore.open(fs, GROUP).recovered == EMPTY


def test_a_marker_that_cannot_be_read_still_marks() -> None:
    fs = MemoryFileSystem()
    populate(fs, GROUP)
    write_atomically(fs, GROUP / "repairing", b"\xff\x00")
    assert GroupStore.open(fs, GROUP).recovered == EMPTY


def test_a_node_may_learn_that_it_needs_repair() -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP)
    store.mark_repairing("the disk was replaced")
    store.mark_repairing("again")
    assert store.recovered == EMPTY
    fs.crash()
    store = GroupStore.open(fs, GROUP)
    assert store.recovered == EMPTY
    assert b"replaced" in read_bytes(fs, GROUP / "repairing")
    store.repaired()
    fs.crash()
    assert GroupStore.open(fs, GROUP).recovered == Recovered()


def test_a_marker_that_cannot_be_written_is_fatal() -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP)
    fs.fail_next_sync()
    with pytest.raises(StorageFailed):
        store.mark_repairing("the disk was replaced")
    with pytest.raises(StorageFailed):
        store.repaired()


@pytest.mark.parametrize("ending", ["lost", *range(8), *(f"killed {seed}" for seed in range(12))])
@pytest.mark.parametrize("older", [True, False])
def test_no_half_moved_store_ever_votes(ending: str | int, older: bool) -> None:
    rng = Random(str(ending))
    for changes in range(500):
        fs = MemoryFileSystem()
        if older:
            populate(fs, GROUP, b"older")
            quarantine(fs, GROUP, "older")
            store = GroupStore.open(fs, GROUP)
            store.repaired()
            store.close()
            for name in fs.list_files(GROUP / "log"):
                fs.remove(GROUP / "log" / name)
        populate(fs, GROUP)
        before = everywhere(fs, GROUP)
        for directory in (GROUP, GROUP / "log"):
            fs.sync_directory(directory)
        fs.lose_power_after(changes)
        try:
            quarantine(fs, GROUP, "because")
        except StorageError:
            finished = False
        else:
            finished = True
        if str(ending).startswith("killed"):
            fs.kill()
        else:
            fs.crash(rng if isinstance(ending, int) else None)
        fs.lose_power_after(rng.randint(0, 25))
        try:
            if rng.random() < 0.5:
                GroupStore.open(fs, GROUP)
            else:
                quarantine(fs, GROUP, "because")
        except StorageError:
            pass
        fs.crash(rng)
        store = GroupStore.open(fs, GROUP)
        if store.repairing:
            assert store.recovered == EMPTY
            assert everywhere(fs, DAMAGED) == before
        else:
            assert not finished
            assert (store.recovered.hard_state, store.recovered.last_index) == (HardState(3, 2), 40)
            assert everywhere(fs, GROUP).keys() == before.keys()
        store.close()
        # Called again, it finishes or begins anew.
        quarantine(fs, GROUP, "because")
        assert GroupStore.open(fs, GROUP).recovered == EMPTY
        if finished:
            break
    assert finished
    assert changes > 20
