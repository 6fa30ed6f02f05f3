"""SQLite's own log is moved into its file while the node works, and does not grow for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quorate.testing import TestCluster

from .support import DiskCounter


async def test_the_log_of_sqlite_starts_anew_under_steady_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pages_max = 20
    monkeypatch.setattr("quorate.node.snapshots.compaction.CHECKPOINT_SECONDS", 0.02)
    monkeypatch.setattr("quorate.node.snapshots.compaction.CHECKPOINT_PAGES_MAX", pages_max)
    monkeypatch.setattr("quorate.node.applier.FLUSH_COMMANDS", 50)
    async with TestCluster(1, machine=DiskCounter, directory=tmp_path) as cluster:
        node = await cluster.wait_for_leader()
        file = Path(node.machine.state.path)
        log = file.with_name(file.name + "-wal")

        restarts = 0

        async def write(number: int) -> None:
            while restarts < 3:
                await node.propose(b"%d" % number)

        async def watch() -> None:
            nonlocal restarts
            header = b""
            while restarts < 3:
                salt = log.read_bytes()[16:24] if log.exists() else b""
                restarts += bool(header) and salt != header
                header = salt or header
                await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(watch(), *(write(number) for number in range(20))), timeout=30)
        assert node.machine.applied == (await node.read(count_rows))


def count_rows(machine: DiskCounter) -> object:
    return machine.state.connection.execute("SELECT count(*) FROM counted").get


async def test_nothing_is_applied_while_applying_is_paused_and_all_of_it_afterwards() -> None:
    async with TestCluster(1, machine=DiskCounter) as cluster:
        node = await cluster.wait_for_leader()
        await node.propose(b"1")
        group = node._group
        assert group is not None
        with group.applier.paused():
            assert node._router.unflushed == 0
            proposals = [asyncio.ensure_future(node.propose(b"1")) for _ in range(3)]
            await cluster.wait_until(lambda: node.status.commit_index > node.status.applied_index)
            await node.read_barrier(consistency="eventually")
            assert node.machine.applied == 1
            assert not any(proposal.done() for proposal in proposals)
        await asyncio.gather(*proposals)
        assert node.machine.applied == 4
