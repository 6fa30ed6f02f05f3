"""The durable state of a group: everything a write asks for, or a failure for good."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from quorate.errors import CorruptLog, StorageError, StorageFailed
from quorate.raft.output import HardState, Recovered, Write
from quorate.storage import GroupStore, MemoryFileSystem, RealFileSystem, StorageSettings

from .support import run

GROUP = Path("/data/groups/0")


class CountingFileSystem(MemoryFileSystem):
    """Counts what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def about_to(self, operation: str, path: Path) -> None:
        self.calls.append((operation, path.name))
        super().about_to(operation, path)


def test_a_new_group_starts_empty_and_what_is_persisted_is_recovered(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    assert store.recovered == Recovered()
    store.persist([Write(1, HardState(3, 2)), Write(2, None, tuple(run(1, 4, 2))), Write(3, HardState(4, None))])
    store.persist([Write(4, None, tuple(run(5, 6, 4)))])
    fs.crash()
    store = GroupStore.open(fs, GROUP, settings=stored)
    assert store.recovered == Recovered(HardState(4, None), 6, ((1, 2), (5, 4)))
    assert store.read(2, 7, 1 << 20) == [*run(2, 4, 2), *run(5, 6, 4)]
    store.close()


def test_writes_are_carried_out_in_order_and_later_entries_replace_earlier_ones(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist(
        [
            Write(1, HardState(1), tuple(run(1, 5))),
            Write(2, HardState(2), tuple(run(3, 4, 2))),
            Write(3, None, tuple(run(5, 5, 2))),
        ]
    )
    fs.crash()
    assert GroupStore.open(fs, GROUP, settings=stored).read(1, 6, 1 << 20) == [*run(1, 2), *run(3, 5, 2)]


def test_many_writes_cost_one_sync_of_each_file_and_one_write_of_the_log(stored: StorageSettings) -> None:
    fs = CountingFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist([Write(1, HardState(1), tuple(run(1, 1)))])
    store.mark()
    fs.calls.clear()
    store.persist([Write(ticket, HardState(ticket), tuple(run(ticket, ticket))) for ticket in range(2, 60)])
    log = f"{1:020d}.raftlog"
    assert fs.calls == [("write", "hard_state"), ("sync", "hard_state")] * 2 + [("write", log), ("sync", log)]
    assert (store.stats.batches, store.stats.writes, store.stats.syncs) == (2, 59, 2)
    assert (store.stats.batch_writes_last, store.stats.batch_writes_max) == (58, 58)
    assert 0 < store.stats.sync_seconds_last < store.stats.sync_seconds.sum


def test_an_unchanged_hard_state_and_a_write_without_entries_cost_nothing(stored: StorageSettings) -> None:
    fs = CountingFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist([Write(1, HardState(1, 1))])
    fs.calls.clear()
    store.persist([Write(2, HardState(1, 1))])
    store.persist([Write(3)])
    assert fs.calls == []


@pytest.mark.parametrize("path", ["hard_state", f"log/{1:020d}.raftlog"])
def test_a_failed_sync_is_fatal_and_never_tried_again(stored: StorageSettings, path: str) -> None:
    fs = CountingFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist([Write(1, HardState(1))])
    fs.fail_next_sync(path=GROUP / path)
    with pytest.raises(StorageFailed, match="Input/output error"):
        store.persist([Write(2, HardState(2), tuple(run(1, 3)))])
    fs.calls.clear()
    for call in (lambda: store.persist([Write(3)]), store.mark, lambda: store.read(1, 2, 10)):
        with pytest.raises(StorageFailed, match="Input/output error"):
            call()
    assert fs.calls == []
    store.close()


def test_a_full_disk_is_fatal(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    fs.fail_next_write()
    with pytest.raises(StorageFailed, match="No space left"):
        store.persist([Write(1, HardState(1), tuple(run(1, 3)))])


def test_a_log_ahead_of_the_hard_state_is_refused(stored: StorageSettings) -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist([Write(1, HardState(5, 1), tuple(run(1, 3, 5)))])
    store.close()
    fs.remove(GROUP / "hard_state")
    with pytest.raises(CorruptLog, match="term 5, but hard_state says term 0"):
        GroupStore.open(fs, GROUP, settings=stored)


def test_a_directory_that_cannot_be_used_is_a_clear_error(stored: StorageSettings, tmp_path: Path) -> None:
    (tmp_path / "groups").touch()
    with pytest.raises(StorageError, match="cannot be used"):
        GroupStore.open(RealFileSystem(), tmp_path / "groups" / "0", settings=stored)


@pytest.mark.parametrize("seed", range(5))
def test_the_hard_state_is_never_behind_the_log_wherever_power_is_lost(stored: StorageSettings, seed: int) -> None:
    rng = Random(seed)
    batches = [
        [Write(1, HardState(1, 1), tuple(run(1, 8, 1, 100)))],
        [Write(2, HardState(2, 2)), Write(3, None, tuple(run(9, 12, 2))), Write(4, HardState(3), tuple(run(6, 9, 3)))],
        [Write(5, HardState(4, None), tuple(run(10, 20, 4, 50)))],
    ]
    kept = [0, 5, 9, 20]  # of what the batches before promised, the next one replaces the entries behind 5
    for changes in range(1000):
        fs = MemoryFileSystem()
        store = GroupStore.open(fs, GROUP, segment_bytes=1024, settings=stored)
        fs.lose_power_after(changes)
        done = 0
        try:
            for batch in batches:
                store.persist(batch)
                done += 1
        except StorageFailed:
            pass
        fs.crash(rng)
        recovered = GroupStore.open(fs, GROUP, segment_bytes=1024, settings=stored).recovered
        promised = [HardState(), HardState(1, 1), HardState(3), HardState(4)]
        assert recovered.hard_state in promised[done : done + 2]
        assert recovered.last_index >= kept[done]
        if done == len(batches):
            break
    assert done == len(batches)
