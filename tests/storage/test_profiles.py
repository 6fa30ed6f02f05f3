"""The storage profiles (A2.53-A2.67): what each promises when a process dies and when the power fails."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from quorate.errors import ConfigError, CorruptLog, StorageFailed
from quorate.raft.output import Floor, HardState, Write
from quorate.storage import (
    DURABLE,
    PROFILES,
    GroupCommitWriter,
    GroupStore,
    InlineWriter,
    MemoryFileSystem,
    RealFileSystem,
    StorageProfile,
    StorageSettings,
    writer_for,
)
from quorate.storage.unsynced import NAME

from .support import contents, run

GROUP = Path("/data/groups/0")
MARKER = GROUP / NAME
LATER = StorageSettings(fsync_on_append=False, flush_interval_ms=60_000)
"""Nothing is synced for a minute, unless there is too much of it."""

profiles = pytest.mark.parametrize("profile", StorageProfile)
unsynced = pytest.mark.parametrize("profile", [StorageProfile.BALANCED, StorageProfile.HIGH_THROUGHPUT])


def opened(fs: MemoryFileSystem, settings: StorageSettings = LATER) -> GroupStore:
    return GroupStore.open(fs, GROUP, segment_bytes=64 * 1024, settings=settings)


def write(first: int, last: int | None = None, size: int = 7) -> Write:
    return Write(first, HardState(1, 1), tuple(run(first, last or first, size=size)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.001)


# -- the settings -----------------------------------------------------------------------------------------


def test_the_profiles_are_what_their_names_say() -> None:
    assert PROFILES[StorageProfile.DURABLE] == DURABLE == StorageSettings()
    security, balanced, throughput = (PROFILES[name] for name in list(StorageProfile)[1:])
    assert security.fsync_on_append
    assert not security.enable_binary
    assert security.snapshot_threshold < DURABLE.snapshot_threshold
    assert balanced.enable_binary
    assert not balanced.fsync_on_append
    assert throughput.enable_binary
    assert not throughput.fsync_on_append
    for name in ("flush_interval_ms", "buffer_size", "max_events_buffer", "snapshot_threshold"):
        assert getattr(throughput, name) > getattr(balanced, name)
    assert all(settings.opt_persist for settings in PROFILES.values())
    assert (DURABLE.buffer_size, DURABLE.max_events_buffer, DURABLE.event_max_batch) == (1 << 20, 2000, 65_536)


def test_without_a_writer_thread_every_entry_is_synced() -> None:
    with pytest.raises(ConfigError, match="nobody would sync"):
        StorageSettings(opt_persist=False, fsync_on_append=False)


# -- what is lost -----------------------------------------------------------------------------------------


@profiles
def test_the_death_of_the_process_loses_nothing(profile: StorageProfile) -> None:
    fs = MemoryFileSystem()
    store = opened(fs, PROFILES[profile])
    for index in range(1, 50):
        store.persist([write(index)])
    fs.kill()
    store = opened(fs, PROFILES[profile])
    assert store.read(1, 50, 1 << 20) == run(1, 49)
    assert store.power_loss is None
    # What was found is durable, so that it can be acknowledged: it may have been, before.
    assert store.unsynced == (0, 0)
    fs.crash()
    assert opened(fs, PROFILES[profile]).recovered.last_index == 49


@profiles
@pytest.mark.parametrize("seed", range(8))
def test_a_loss_of_power_loses_at_most_what_the_settings_allow(profile: StorageProfile, seed: int) -> None:
    rng = Random(seed)
    settings = replace(PROFILES[profile], max_events_buffer=20, buffer_size=4096, flush_interval_ms=60_000)
    fs = MemoryFileSystem()
    acknowledged = 0
    for _ in range(6):
        store = opened(fs, settings)
        assert store.recovered.last_index >= acknowledged - 20
        assert (store.recovered.last_index >= acknowledged) or not settings.fsync_on_append
        acknowledged = store.recovered.last_index
        for _ in range(rng.randint(0, 30)):
            count = rng.randint(1, 6)
            store.persist([write(acknowledged + 1, acknowledged + count, rng.choice((7, 100, 900)))])
            acknowledged += count
            entries, size = store.unsynced
            assert entries <= 20
            assert size <= 4096
            assert store.durable_index == acknowledged - entries
        fs.crash(rng)


@unsynced
def test_the_worst_loss_of_power_loses_just_what_was_said_to_be_unsynced(profile: StorageProfile) -> None:
    fs = MemoryFileSystem()
    store = opened(fs, PROFILES[profile])
    store.persist([write(1, 10)])
    store.sync()
    store.persist([write(11, 15)])
    entries, size = store.unsynced
    assert (entries, size) == (5, 25 + 5 * 32), "a mark, and the records"
    assert opened_after_power_loss(fs).recovered.last_index == 10


def opened_after_power_loss(fs: MemoryFileSystem) -> GroupStore:
    fs.crash()
    return opened(fs)


def test_term_and_vote_are_synced_whatever_the_settings() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.persist([Write(1, HardState(7, 3), tuple(run(1, 5, 7)))])
    recovered = opened_after_power_loss(fs).recovered
    assert (recovered.hard_state, recovered.last_index) == (HardState(8), 0), "it begins a term of its own behind it"


def test_a_segment_that_is_closed_and_a_suffix_that_is_cut_are_synced_whatever_the_settings() -> None:
    fs = MemoryFileSystem()
    store = GroupStore.open(fs, GROUP, segment_bytes=512, settings=LATER)
    for index in range(1, 41):
        store.persist([write(index, size=40)])
    last_closed = int(fs.list_files(GROUP / "log")[-1][:20]) - 1
    assert store.durable_index == last_closed > 20
    assert opened_after_power_loss(fs).recovered.last_index == last_closed
    store = opened(fs)
    store.persist([Write(2, HardState(2), tuple(run(5, 6, 2)))])
    assert opened_after_power_loss(fs).recovered.last_index == 4


def test_entries_and_bytes_that_wait_are_bounded() -> None:
    fs = MemoryFileSystem()
    store = opened(fs, replace(LATER, max_events_buffer=10))
    store.persist([write(1, 10)])
    assert (store.unsynced[0], store.stats.syncs) == (10, 0)
    store.persist([write(11)])
    assert (store.unsynced, store.stats.syncs) == ((0, 0), 1)
    store.close()
    store = opened(fs, replace(LATER, buffer_size=4096))
    store.persist([write(12, size=4000)])
    assert store.unsynced == (1, 25 + 4025)
    store.persist([write(13, size=100)])
    assert store.unsynced == (0, 0)


def test_marks_claim_only_what_was_synced() -> None:
    """Else a torn tail that nobody synced would be taken for decay, and the node would refuse to start."""
    for seed in range(40):
        fs = MemoryFileSystem()
        store = opened(fs)
        for index in range(1, 40):
            store.persist([write(index, size=200)])
            store.mark()
            if index in (9, 22):
                store.sync()
        fs.crash(Random(seed))
        assert 22 <= opened(fs).recovered.last_index <= 39


# -- nothing durable is ahead of the log ------------------------------------------------------------------


def test_the_log_is_synced_before_it_is_cut() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.persist([write(1, 30)])
    store.compact(Floor(20, 1))
    assert store.durable_index == 30
    recovered = opened_after_power_loss(fs).recovered
    assert (recovered.floor.index, recovered.last_index) == (20, 30)


def test_the_log_is_synced_before_a_repair_is_over() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.mark_repairing("for the test")
    store.persist([write(1, 5)])
    store.repaired()
    store = opened_after_power_loss(fs)
    assert (store.repairing, store.recovered.last_index) == (False, 5)


# -- when it is synced ------------------------------------------------------------------------------------


async def test_the_writer_syncs_in_time_while_nothing_comes() -> None:
    fs = MemoryFileSystem()
    store = opened(fs, replace(LATER, flush_interval_ms=5))
    tickets: list[int] = []
    writer = writer_for(store, tickets.append, lambda error: None, asyncio.get_running_loop())
    for index in (1, 2):
        writer.submit(write(index))
        await until(lambda index=index: store.durable_index == index)  # type: ignore[misc]
        assert (store.unsynced, store.seconds_until_sync()) == ((0, 0), None)
    await until(lambda: tickets[-1:] == [2])
    writer.close()


async def test_the_writer_syncs_in_time_while_more_and_more_comes() -> None:
    store = opened(MemoryFileSystem(), replace(LATER, flush_interval_ms=5, max_events_buffer=1_000_000))
    tickets: list[int] = []
    writer = writer_for(store, tickets.append, lambda error: None, asyncio.get_running_loop())
    index = 0
    async with asyncio.timeout(30):
        while store.stats.syncs < 5:
            while index < sum(tickets[-1:]) + 500:  # as the core does, which bounds what is under way
                index += 1
                writer.submit(write(index))
            await asyncio.sleep(0)
    assert store.stats.syncs < store.stats.batches
    writer.close()
    assert store.durable_index == index


async def test_a_write_is_reported_before_its_sync() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    tickets: list[int] = []
    writer = writer_for(store, tickets.append, lambda error: None, asyncio.get_running_loop())
    writer.submit(write(1))
    await until(lambda: tickets == [1])
    assert (store.unsynced[0], store.stats.syncs) == (1, 0)
    assert 50 < (store.seconds_until_sync() or 0) <= 60
    writer.close()
    assert (store.unsynced[0], store.stats.syncs) == (0, 1)
    fs.crash()
    assert opened(fs).recovered.last_index == 1


async def test_a_sync_that_fails_later_stops_the_node() -> None:
    fs = MemoryFileSystem()
    store = opened(fs, replace(LATER, flush_interval_ms=200))
    failures: list[BaseException] = []
    tickets: list[int] = []
    writer = writer_for(store, tickets.append, failures.append, asyncio.get_running_loop())
    writer.submit(write(1))
    await until(lambda: tickets == [1])
    fs.fail_next_sync()
    await until(lambda: bool(failures))
    assert isinstance(failures[0], StorageFailed)
    with pytest.raises(StorageFailed):
        store.sync()
    writer.close()
    store.close()
    assert fs.exists(MARKER), "what a failed sync has left is unknown"


async def test_so_many_entries_are_written_in_one_go_at_most() -> None:
    store = opened(MemoryFileSystem(), replace(DURABLE, event_max_batch=10))
    tickets: list[int] = []
    go_on = threading.Event()
    persist, batches = store.persist, []

    def counted(writes: list[Write]) -> None:
        batches.append(sum(len(each.entries) for each in writes))
        if len(batches) == 1:
            go_on.wait()
        persist(writes)

    store.persist = counted  # type: ignore[method-assign, assignment]
    writer = writer_for(store, tickets.append, lambda error: None, asyncio.get_running_loop())
    writer.submit(write(1))
    await until(lambda: bool(batches))
    for index in range(2, 35):
        writer.submit(write(index))
    go_on.set()
    await until(lambda: tickets[-1:] == [34])
    assert batches == [1, 10, 10, 10, 3]
    writer.close()


async def test_the_settings_choose_the_writer() -> None:
    loop = asyncio.get_running_loop()
    for settings, kind in ((DURABLE, GroupCommitWriter), (replace(DURABLE, opt_persist=False), InlineWriter)):
        store = opened(MemoryFileSystem(), settings)
        tickets: list[int] = []
        writer = writer_for(store, tickets.append, lambda error: None, loop)
        assert type(writer) is kind
        writer.submit(write(1))
        await until(lambda tickets=tickets: tickets == [1])  # type: ignore[misc]
        assert store.durable_index == 1
        writer.close()
        store.close()


# -- a loss of power is noticed ---------------------------------------------------------------------------


def test_a_loss_of_power_is_noticed_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    fs = MemoryFileSystem()
    opened(fs, PROFILES[StorageProfile.HIGH_THROUGHPUT]).persist([write(1, 5)])
    fs.crash()
    with caplog.at_level(logging.WARNING, "quorate.storage"):
        store = opened(fs)
    assert store.power_loss is not None
    assert "writes of up to 500 ms may be missing on this node" in store.power_loss
    assert store.power_loss in caplog.text
    fs.kill()
    assert opened(fs).power_loss is None


def test_the_end_of_the_process_and_a_clean_close_are_no_loss_of_power() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.persist([write(1, 5)])
    fs.kill()
    store = opened(fs)
    assert store.power_loss is None
    store.persist([write(6, 7)])
    store.close()
    store.close()
    assert not fs.exists(MARKER)
    fs.crash()
    store = opened(fs)
    assert (store.power_loss, store.recovered.last_index) == (None, 7)


def test_a_start_that_fails_keeps_the_note() -> None:
    fs = MemoryFileSystem()
    opened(fs).persist([Write(1, HardState(5), tuple(run(1, 3, 5)))])
    fs.kill()
    opened(fs).persist([Write(2, None, tuple(run(4, 4, 5)))])
    kept = contents(fs, GROUP)[GROUP / "hard_state"]
    fs.remove(GROUP / "hard_state")
    fs.sync_directory(GROUP)
    fs.crash()
    with pytest.raises(CorruptLog, match="votes were lost"):
        opened(fs)
    file = fs.open(GROUP / "hard_state", create=True)
    file.write_at(0, kept)
    file.sync()
    store = opened(fs)
    assert store.power_loss is not None
    assert store.recovered.hard_state == HardState(6)


def test_a_durable_start_forgets_the_note_and_makes_none() -> None:
    fs = MemoryFileSystem()
    opened(fs).persist([write(1, 5)])
    fs.crash()
    assert opened(fs, DURABLE).power_loss is not None
    assert not fs.exists(MARKER)
    fs.crash()
    assert opened(fs, DURABLE).power_loss is None


def test_the_note_is_durable_before_the_first_entry_that_is_not() -> None:
    for changes in range(60):
        fs = MemoryFileSystem()
        store = opened(fs, DURABLE)
        store.persist([write(1)])
        store.close()
        fs.lose_power_after(changes)
        acknowledged = False
        try:
            store = opened(fs)
            store.persist([write(2)])
            acknowledged = True
        except Exception:
            pass
        fs.crash()
        store = opened(fs)
        if acknowledged:
            assert store.power_loss is not None
            break
    assert acknowledged


@pytest.mark.parametrize(
    ("content", "words"), [(b"{", "cannot be read"), (b'{"boot_id":null,"flush_interval_ms":5}', "not known")]
)
def test_what_cannot_be_told_is_called_so(content: bytes, words: str) -> None:
    fs = MemoryFileSystem()
    opened(fs).persist([write(1)])
    file = fs.open(MARKER)
    file.truncate(0)
    file.write_at(0, content)
    fs.kill()
    lost = opened(fs).power_loss
    assert lost is not None
    assert words in lost


def test_the_machines_own_boot_id_is_in_the_note(tmp_path: Path) -> None:
    store = GroupStore.open(RealFileSystem(), tmp_path, settings=LATER)
    marker = json.loads((tmp_path / NAME).read_text())
    assert marker == {"boot_id": RealFileSystem().boot_id(), "flush_interval_ms": 60_000}
    store.close()
    assert not (tmp_path / NAME).exists()


def test_one_setting_after_the_other_reads_the_same_log() -> None:
    """Profiles are changed by a restart, in any order."""
    fs = MemoryFileSystem()
    last = 0
    for profile in [*StorageProfile, *reversed(StorageProfile)]:
        store = opened(fs, PROFILES[profile])
        assert store.recovered.last_index == last
        store.persist([write(last + 1, last + 7)])
        last += 7
        store.close()
        fs.crash()
    assert opened(fs).read(1, last + 1, 1 << 20) == run(1, last)
    forms = [data[:1] for _, data in sorted(contents(fs, GROUP / "log").items())]
    assert forms == [b"Q", b"{", b"Q", b"{", b"Q"]
