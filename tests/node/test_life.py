"""Starting and stopping, in every state and in any order: nothing is left behind, nothing is used twice."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import apsw
import pytest

from quorate import ConfigError, Node, RaftConfig, ReadUnavailable
from quorate.errors import CorruptLog, DataDirectoryLocked, NodeStopped
from quorate.machine import sqlite
from quorate.node.snapshots import compaction
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster

from .support import Belongings, Counter, DiskCounter, GatedDisk, total, until, value_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(data_dir: Path, *others: str, port: int | None = None) -> RaftConfig:
    return RaftConfig(node_id=1, cluster_nodes=(f"1@127.0.0.1:{port or free_port()}", *others), data_dir=data_dir)


async def test_a_single_node_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    await asyncio.to_thread(int)  # the loop's own threads are not the node's
    belongings = Belongings()
    for run in (1, 2):
        async with Node(config(tmp_path), machine=DiskCounter()) as node:
            await node.wait_for_leader()
            assert (await node.propose(b"5")).result == 5 * run
    belongings.assert_unchanged()


async def test_stop_before_start_and_twice_and_start_after_stop(tmp_path: Path) -> None:
    node = Node(config(tmp_path), machine=Counter())
    await node.stop()
    await node.stop()
    with pytest.raises(ConfigError, match="started once"):
        await node.start()
    with pytest.raises(NodeStopped):
        await node.propose(b"1")


async def test_a_node_is_started_once_and_goes_on_running(tmp_path: Path) -> None:
    async with Node(config(tmp_path), machine=Counter()) as node:
        with pytest.raises(ConfigError, match="started once"):
            await node.start()
        await node.wait_for_leader()
        assert (await node.propose(b"1")).result == 1


async def test_a_node_that_is_not_started_serves_nothing(tmp_path: Path) -> None:
    node = Node(config(tmp_path), machine=Counter())
    with pytest.raises(NodeStopped):
        await node.propose(b"1")
    for consistency in ("strong", "eventually"):
        with pytest.raises(ReadUnavailable):
            await node.read(total, consistency=consistency)  # type: ignore[arg-type]
    assert node.status.role == "joining"
    await node.stop()


async def test_stop_while_the_cluster_is_not_formed(tmp_path: Path) -> None:
    belongings = Belongings()
    node = Node(config(tmp_path, f"127.0.0.1:{free_port()}"), machine=DiskCounter())
    await node.start()
    assert node.status.role == "joining"
    with pytest.raises(ReadUnavailable):
        await node.read(total)
    assert await node.read(total, consistency="eventually") == 0
    await node.stop()
    with pytest.raises(ReadUnavailable):
        await node.read(total, consistency="eventually")
    await until(lambda: len(asyncio.all_tasks()) == 1)
    belongings.assert_unchanged()


async def test_stop_during_an_election(tmp_path: Path) -> None:
    belongings = Belongings()
    node = Node(config(tmp_path, f"2@127.0.0.1:{free_port()}"), machine=Counter())
    await node.start()
    await until(lambda: node.status.role == "pre_candidate")
    await node.stop()
    belongings.assert_unchanged()


async def test_many_may_stop_a_node_at_once() -> None:
    async with TestCluster(1, machine=Counter, file_system=GatedDisk) as cluster:
        node = await cluster.wait_for_leader()
        disk = cluster.file_system(1)
        assert isinstance(disk, GatedDisk)
        disk.hold_syncs()
        proposing = asyncio.ensure_future(node.propose(b"1"))
        await until(disk.holding.is_set)
        stopping = [asyncio.ensure_future(node.stop()) for _ in range(3)]
        await asyncio.sleep(0)
        stopping[0].cancel()
        assert not any(task.done() for task in stopping[1:])  # the disk is still at work
        disk.let_syncs_go()
        await asyncio.gather(*stopping[1:])
        await asyncio.gather(proposing, return_exceptions=True)
        await cluster.stop(1)
        assert value_of(await cluster.start(1)) == 0
        await cluster.wait_until(lambda: value_of(cluster.node(1)) == 1)  # it had been written, and so it counts


async def test_stop_while_starting(tmp_path: Path) -> None:
    belongings = Belongings()
    node = Node(config(tmp_path), machine=DiskCounter())
    starting = asyncio.ensure_future(node.start())
    await asyncio.sleep(0)
    await node.stop()
    await asyncio.gather(starting, return_exceptions=True)
    assert not node.is_leader
    belongings.assert_unchanged()


async def test_a_cancelled_start_leaves_nothing_behind(tmp_path: Path) -> None:
    belongings = Belongings()
    starting = asyncio.ensure_future(Node(config(tmp_path), machine=DiskCounter()).start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    belongings.assert_unchanged()


async def test_events_end_with_the_node() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        node = cluster.node(1)
        events = node.events()
        await cluster.wait_for_leader()
        await cluster.stop(1)
        names = [event.name async for event in events]
        assert names[-1] == "leader_elected"
        assert [event async for event in node.events()] == []


async def test_wait_stopped_returns_when_all_is_closed(tmp_path: Path) -> None:
    settings = config(tmp_path)
    node = Node(settings, machine=Counter())
    await node.start()
    waiting = asyncio.ensure_future(node.wait_stopped())
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(node.stop())
    await waiting
    async with Node(settings, machine=Counter()) as again:
        await again.wait_for_leader()
    await stopping


# -- what makes a start fail -----------------------------------------------------------------------------


async def test_a_data_directory_serves_one_node_at_a_time(tmp_path: Path) -> None:
    belongings = Belongings()
    async with Node(config(tmp_path), machine=Counter()) as node:
        await node.wait_for_leader()
        with pytest.raises(DataDirectoryLocked):
            await Node(config(tmp_path), machine=Counter()).start()
        assert (await node.propose(b"1")).result == 1
    belongings.assert_unchanged()


async def test_a_busy_port_is_one_clear_error(tmp_path: Path) -> None:
    belongings = Belongings()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            await Node(config(tmp_path, port=port), machine=DiskCounter()).start()
    belongings.assert_unchanged()


async def test_a_directory_of_another_node_or_cluster_is_refused(tmp_path: Path) -> None:
    port = free_port()
    async with Node(config(tmp_path, port=port)) as node:
        await node.wait_for_leader()
    other_id = RaftConfig(node_id=2, cluster_nodes=(f"2@127.0.0.1:{port}",), data_dir=tmp_path)
    with pytest.raises(ConfigError, match="belongs to node 1"):
        await Node(other_id).start()
    other_cluster = config(tmp_path, port=port).model_copy(update={"cluster_id": "other"})
    with pytest.raises(ConfigError, match="belongs to cluster 'quorate'"):
        await Node(other_cluster).start()


async def test_scenario_33_the_membership_survives_restart_over_the_configuration(tmp_path: Path) -> None:
    """A node that is restarted with other peers than before still goes by what it began with, and by its log.

    From: etcd and Consul: the flags of a restart won over what the cluster had agreed on.
    How: one change of a start script that was forgotten splits the cluster, each part with a majority of its own.
    Brings it back: in ``DurableState.beginning``, ``self._config.members`` in place of ``self.identity.members``; or
    in ``RaftLog.__init__``, leave out ``recovered.configurations``.
    """
    port = free_port()
    async with Node(config(tmp_path, port=port)) as node:
        await node.wait_for_leader()
    async with Node(config(tmp_path, "2@127.0.0.1:9", port=port)) as node:
        await node.wait_for_leader()
        await node.members.update(1, priority=7)
    async with Node(config(tmp_path, "2@127.0.0.1:9", port=port)) as node:
        await node.wait_for_leader()
        assert [(member.node_id, member.priority) for member in node.members] == [(1, 7)]


async def test_a_machine_that_cannot_open_fails_the_start(tmp_path: Path) -> None:
    class Unfit(DiskCounter):
        def open(self, state: object) -> None:
            raise ConfigError("the tables do not fit")

    belongings = Belongings()
    with pytest.raises(ConfigError, match="do not fit"):
        await Node(config(tmp_path), machine=Unfit()).start()
    belongings.assert_unchanged()


async def test_state_ahead_of_its_own_log_is_refused(tmp_path: Path) -> None:
    belongings = Belongings()
    settings = config(tmp_path)
    async with Node(settings, machine=DiskCounter()) as node:
        await node.wait_for_leader()
        await node.propose(b"1")
    for file in (tmp_path / "groups" / "0" / "log").iterdir():
        file.unlink()
    with pytest.raises(CorruptLog, match="lost entries"):
        await Node(settings, machine=DiskCounter()).start()
    belongings.assert_unchanged()


async def test_a_failure_on_joining_stops_a_node_that_has_started() -> None:
    """Ids were unknown, so the start itself went well; what fails then must not leave half a node."""
    async with TestCluster(3, machine=Counter, started=[], learn_ids=True) as cluster:
        disk = cluster.file_system(1)
        assert isinstance(disk, MemoryFileSystem)
        node = await cluster.start(1)
        disk.fail_next_sync()
        await asyncio.gather(cluster.start(2), cluster.start(3))
        with pytest.raises(Exception, match="identity"):
            await node.wait_stopped()
        assert node.status.role == "failed"
        await cluster.stop(1)


# -- checkpoints -----------------------------------------------------------------------------------------


async def test_checkpoints_run_while_the_node_works_and_none_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = 0
    finished = 0
    sync = sqlite.SqliteState.sync

    def counted(state: sqlite.SqliteState) -> int:
        nonlocal running, finished
        running += 1
        pages = sync(state)
        running -= 1
        finished += 1
        return pages

    monkeypatch.setattr(compaction, "CHECKPOINT_SECONDS", 0.001)
    monkeypatch.setattr(sqlite.SqliteState, "sync", counted)
    node = Node(config(tmp_path), machine=DiskCounter())
    async with node:
        await node.wait_for_leader()
        await node.propose(b"1")
        finished = 0
        while finished < 10:
            await node.propose(b"1")
        written = node.machine.value
    assert running == 0
    connection = apsw.Connection(str(tmp_path / "groups" / "0" / "state.sqlite"))
    assert list(connection.execute("SELECT sum(amount) FROM counted")) == [(written,)]
    connection.close()


async def test_a_checkpoint_that_fails_stops_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(state: sqlite.SqliteState) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(compaction, "CHECKPOINT_SECONDS", 0.001)
    node = Node(config(tmp_path), machine=DiskCounter())
    await node.start()
    monkeypatch.setattr(sqlite.SqliteState, "sync", fail)
    with pytest.raises(RuntimeError, match="unforeseen"):
        await node.wait_stopped()
