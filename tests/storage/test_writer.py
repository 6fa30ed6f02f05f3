"""Group commit: off the event loop, in order, many writes to a sync, and a failure told once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.errors import StorageFailed
from quorate.raft.output import HardState, Write
from quorate.storage import GroupCommitWriter, GroupStore, InlineWriter, MemoryFileSystem, StorageSettings, Writer

from .support import run

GROUP = Path("/data/groups/0")


class GatedFileSystem(MemoryFileSystem):
    """A disk whose syncs take as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.syncing_thread = ""

    def about_to(self, operation: str, path: Path) -> None:
        if operation == "sync":
            self.syncing_thread = threading.current_thread().name
            self.waiting.set()
            assert self.gate.wait(30)
        super().about_to(operation, path)


class Reports:
    """What a writer told the event loop."""

    def __init__(self) -> None:
        self.tickets: list[int] = []
        self.failures: list[BaseException] = []
        self.changed = asyncio.Event()

    def persisted(self, ticket: int) -> None:
        self.tickets.append(ticket)
        self.changed.set()

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def write(ticket: int) -> Write:
    return Write(ticket, HardState(1, 1), tuple(run(ticket, ticket)))


def make(kind: type[GroupCommitWriter] | type[InlineWriter], store: GroupStore, reports: Reports) -> Writer:
    return kind(store, reports.persisted, reports.failed, asyncio.get_running_loop())


@pytest.fixture(params=[GroupCommitWriter, InlineWriter])
def kind(request: pytest.FixtureRequest) -> type[GroupCommitWriter] | type[InlineWriter]:
    return request.param  # type: ignore[no-any-return]


async def test_what_is_reported_is_durable(stored: StorageSettings, kind: type[GroupCommitWriter]) -> None:
    fs = MemoryFileSystem()
    reports = Reports()
    writer = make(kind, GroupStore.open(fs, GROUP, settings=stored), reports)
    for ticket in range(1, 101):
        writer.submit(write(ticket))
    assert reports.tickets == [], "reported from within submit"
    await reports.until(lambda: bool(reports.tickets) and reports.tickets[-1] == 100)
    assert reports.tickets == sorted(set(reports.tickets))
    writer.close()
    fs.crash()
    assert GroupStore.open(fs, GROUP, settings=stored).recovered.last_index == 100


async def test_a_failure_is_told_once_and_nothing_is_reported_after_it(
    stored: StorageSettings, kind: type[GroupCommitWriter]
) -> None:
    fs = MemoryFileSystem()
    reports = Reports()
    writer = make(kind, GroupStore.open(fs, GROUP, settings=stored), reports)
    writer.submit(write(1))
    await reports.until(lambda: reports.tickets == [1])
    fs.fail_next_sync()
    writer.submit(write(2))
    await reports.until(lambda: bool(reports.failures))
    writer.submit(write(3))
    writer.close()
    writer.close()
    await asyncio.sleep(0)
    assert reports.tickets == [1]
    (error,) = reports.failures
    assert isinstance(error, StorageFailed)


async def test_entries_that_cannot_follow_stop_the_writer_too(
    stored: StorageSettings, kind: type[GroupCommitWriter]
) -> None:
    reports = Reports()
    writer = make(kind, GroupStore.open(MemoryFileSystem(), GROUP, settings=stored), reports)
    writer.submit(write(7))
    await reports.until(lambda: bool(reports.failures))
    assert isinstance(reports.failures[0], ValueError)
    writer.close()


async def test_one_sync_covers_all_that_arrived_while_the_last_one_ran(stored: StorageSettings) -> None:
    fs = GatedFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    store.persist([Write(0, HardState(1, 1))])
    reports = Reports()
    writer = make(GroupCommitWriter, store, reports)
    fs.waiting.clear()
    fs.gate.clear()
    writer.submit(write(1))
    assert fs.waiting.wait(30)
    assert fs.syncing_thread == "quorate-writer"
    for ticket in range(2, 501):
        writer.submit(write(ticket))
    fs.gate.set()
    await reports.until(lambda: 500 in reports.tickets)
    assert reports.tickets == [1, 500]
    assert (store.stats.syncs, store.stats.batch_writes_last, store.stats.batch_writes_max) == (2, 499, 499)
    writer.close()


async def test_the_last_batch_is_marked_when_nothing_follows(
    stored: StorageSettings, kind: type[GroupCommitWriter]
) -> None:
    store = GroupStore.open(MemoryFileSystem(), GROUP, settings=stored)
    reports = Reports()
    writer = make(kind, store, reports)
    writer.submit(write(1))
    await reports.until(lambda: reports.tickets == [1])
    writer.close()
    size = store.wal.size_bytes
    store.mark()
    assert store.wal.size_bytes == size, "the writer left the mark to someone else"


async def test_close_finishes_what_was_submitted_and_then_takes_no_more(
    stored: StorageSettings, kind: type[GroupCommitWriter]
) -> None:
    fs = MemoryFileSystem()
    reports = Reports()
    writer = make(kind, GroupStore.open(fs, GROUP, settings=stored), reports)
    for ticket in range(1, 51):
        writer.submit(write(ticket))
    writer.close()
    writer.submit(write(51))
    fs.crash()
    assert GroupStore.open(fs, GROUP, settings=stored).recovered.last_index == 50
    await reports.until(lambda: 50 in reports.tickets)
    assert 51 not in reports.tickets


def test_a_writer_that_outlives_its_loop_stays_silent(stored: StorageSettings) -> None:
    fs = GatedFileSystem()
    store = GroupStore.open(fs, GROUP, settings=stored)
    told: list[object] = []
    loop = asyncio.new_event_loop()
    writer = GroupCommitWriter(store, told.append, told.append, loop)
    fs.waiting.clear()
    fs.gate.clear()
    writer.submit(write(1))
    assert fs.waiting.wait(30)
    loop.close()
    fs.gate.set()
    writer.close()
    assert store.recovered.last_index == 1
    assert told == []
