"""Nodes whose machine writes its state bit by bit: the log is cut, snapshots are made, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quorate.machine.contract import CachedStateMachine
from quorate.testing import TestCluster
from tests.machine.test_cached import Tally

from .snapshot_support import EARLY, catch_up_while_writes_go_on, floor_of, write, write_until_cut


class SlowTally(Tally):
    """``value`` is what it adds up to; many bits make a checkpoint."""

    def begin_checkpoint(self) -> None:
        super().begin_checkpoint()
        self.bits = 10

    @property
    def value(self) -> int:
        return self.total


def values(cluster: TestCluster) -> set[int]:
    return {node.machine.value for node in cluster.nodes}


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "real disk"])
async def test_a_follower_behind_the_log_catches_up_while_writes_go_on(on_disk: bool, tmp_path: Path) -> None:
    directory = tmp_path if on_disk else None
    async with TestCluster(3, machine=SlowTally, settings=EARLY, directory=directory) as cluster:
        _, least = await catch_up_while_writes_go_on(cluster)
        assert len(values(cluster)) == 1
        assert values(cluster).pop() >= least


async def test_what_was_acknowledged_is_there_after_a_kill_and_after_a_crash_of_all() -> None:
    async with TestCluster(3, machine=SlowTally, settings=EARLY) as cluster:
        leader = await write_until_cut(cluster)
        await write(leader, 7)
        for end in (cluster.kill, cluster.crash):
            for node_id in (1, 2, 3):
                await end(node_id)
            for node_id in (1, 2, 3):
                await cluster.start(node_id)
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert values(cluster) == {107}


@pytest.mark.parametrize("flush_commands", [1, 2_000])
async def test_a_checkpoint_ends_although_nothing_more_is_applied(
    monkeypatch: pytest.MonkeyPatch, flush_commands: int
) -> None:
    monkeypatch.setattr("quorate.node.applier.FLUSH_COMMANDS", flush_commands)
    async with TestCluster(1, machine=SlowTally) as cluster:
        node = await cluster.wait_for_leader()
        await write(node, 3)
        assert isinstance(node.machine, CachedStateMachine)
        node._router.begin_checkpoint()
        await write(node, 1)  # flushes at once, or later
        await cluster.wait_until(lambda: not node._router.is_checkpointing)
        node._router.begin_checkpoint()
        assert node._group is not None
        node._group.applier.begin_checkpoint()
        flushing = node._router._flushing
        assert flushing is not None
        await cluster.wait_until(lambda: flushing.flushed_index == node._router.applied)


async def test_the_log_is_cut_no_further_than_the_last_complete_checkpoint() -> None:
    class Endless(SlowTally):
        def write_checkpoint(self, seconds: float) -> bool:
            return False

    async with TestCluster(1, machine=Endless, settings=EARLY) as cluster:
        node = await cluster.wait_for_leader()
        await write(node, 100)
        await asyncio.sleep(1.0)
        assert node._router.is_checkpointing
        assert floor_of(node) == 0
        node.machine.write_checkpoint = lambda seconds: SlowTally.write_checkpoint(node.machine, seconds)  # type: ignore[method-assign]
        await cluster.wait_until(lambda: floor_of(node) > 0, what="the cut")
