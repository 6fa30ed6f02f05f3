"""The test cluster keeps its promises; the first two tests are what it is for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quorate import ApplyContext, ConfigError, DiskStateMachine, NotLeader, StateMachine
from quorate.errors import StorageFailed
from quorate.machine.sqlite import SqliteState
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster


class Counter(StateMachine):
    value = 0

    def apply(self, command: bytes, context: ApplyContext) -> int:
        self.value += int(command)
        return self.value

    def snapshot(self) -> bytes:
        return str(self.value).encode()

    def restore(self, data: bytes) -> None:
        self.value = int(data)


class Table(DiskStateMachine):
    def open(self, state: SqliteState) -> None:
        self.state = state
        state.connection.execute("CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, value INTEGER)")
        state.connection.execute("INSERT OR IGNORE INTO total VALUES (1, 0)")

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.state.connection.execute("UPDATE total SET value = value + ?", (int(command),))
        return self.value

    @property
    def value(self) -> int:
        return int(self.state.connection.execute("SELECT value FROM total").fetchone()[0])


async def test_a_new_leader_takes_over_within_half_a_second() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        loop = asyncio.get_running_loop()
        interruptions: list[float] = []
        while not interruptions or min(interruptions) > 0.5:  # the machine that runs this may be busy with other things
            assert len(interruptions) < 10, interruptions
            await cluster.wait_for_leader()
            stopped = await cluster.stop_leader()
            begun = loop.time()
            leader = await cluster.wait_for_leader()
            assert (await leader.propose(b"1")).result == len(interruptions) + 1
            interruptions.append(loop.time() - begun)
            assert leader.node_id != stopped
            await cluster.start(stopped)
            await cluster.wait_for_convergence()


@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
async def test_of_two_sides_exactly_one_serves(tcp: bool) -> None:
    async with TestCluster(5, machine=Counter, tcp=tcp) as cluster:
        await cluster.wait_for_leader()
        cluster.partition_network([1, 2], [3, 4, 5])
        assert [side.node_ids for side in cluster.active_partitions] == [(1, 2), (3, 4, 5)]
        await cluster.wait_until(cluster.majority_partition.is_serving)
        assert not await cluster.minority_partition.is_serving()
        leader = await cluster.wait_for_leader()
        assert leader in cluster.majority_partition.nodes
        assert (await leader.propose(b"7")).result == 7
        cluster.heal()
        assert cluster.active_partitions == ()
        await cluster.wait_for_convergence()
        assert {node.machine.value for node in cluster.nodes} == {7}


async def test_three_sides_of_which_none_serves() -> None:
    async with TestCluster(5, machine=Counter) as cluster:
        await cluster.wait_for_leader()
        sides = cluster.partition_network([1, 2], [3, 4])
        assert [side.node_ids for side in sides] == [(1, 2), (3, 4), (5,)]
        assert not any([await side.is_serving() for side in sides])
        assert not cluster.has_leader()
        assert cluster.minority_partition.node_ids == (1, 2)
        with pytest.raises(LookupError):
            _ = cluster.majority_partition
        cluster.heal()
        assert cluster.majority_partition.node_ids == (1, 2, 3, 4, 5)
        with pytest.raises(LookupError):
            _ = cluster.minority_partition
        await cluster.wait_for_leader()


async def test_a_node_belongs_to_one_side() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        for sides in ([[1, 2], [2, 3]], [[1, 9], [2, 3]]):
            with pytest.raises(ConfigError, match="one side"):
                cluster.partition_network(*sides)
        assert cluster.active_partitions == ()


@pytest.mark.parametrize("machine", [Counter, Table])
@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize("real", [False, True], ids=["disk in memory", "real disk"])
async def test_nodes_come_back_with_their_data(
    machine: type[Counter] | type[Table], tcp: bool, real: bool, tmp_path: Path
) -> None:
    async with TestCluster(3, machine=machine, tcp=tcp, directory=tmp_path if real else None) as cluster:
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5")).result == 5
        follower = next(node.node_id for node in cluster.nodes if node is not leader)
        await cluster.stop(follower)
        with pytest.raises(ConfigError, match="not running"):
            cluster.node(follower)
        await (await cluster.wait_for_leader()).propose(b"5")
        await cluster.restart(follower)
        await cluster.kill(follower)
        await cluster.restart(follower)
        await cluster.wait_for_convergence()
        assert {node.machine.value for node in cluster.nodes} == {10}
        assert (tmp_path / "node1").exists() == real


async def test_a_crash_loses_nothing_that_was_synced() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        node = await cluster.wait_for_leader()
        await node.propose(b"5")
        disk = cluster.file_system(1)
        assert isinstance(disk, MemoryFileSystem)
        handle = disk.open(cluster.config(1).data_dir / "identity.json")
        await cluster.crash(1)
        with pytest.raises(OSError, match="Bad file descriptor"):
            handle.read_at(0, 1)
        await cluster.start(1)
        await cluster.wait_for_leader()
        assert await cluster.node(1).read(lambda counter: counter.value) == 5


async def test_a_real_disk_cannot_lose_its_power(tmp_path: Path) -> None:
    async with TestCluster(1, machine=Counter, directory=tmp_path) as cluster:
        with pytest.raises(ConfigError, match="in memory"):
            await cluster.crash(1)
        assert len(cluster.nodes) == 1


async def test_some_nodes_may_be_started_later() -> None:
    async with TestCluster(3, machine=Counter, started=[2]) as cluster:
        assert [node.node_id for node in cluster.nodes] == [2]
        assert not cluster.has_leader()
        with pytest.raises(NotLeader):
            await cluster.node(2).propose(b"1", timeout=0.05)
        await cluster.start(1)
        await cluster.wait_for_leader()
        with pytest.raises(ConfigError, match="is running"):
            await cluster.start(1)


async def test_what_never_comes_true_ends_with_all_statuses() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        with pytest.raises(TimeoutError, match=r"the moon was not met within 0\.02 s:\n  NodeStatus"):
            await cluster.wait_until(lambda: False, timeout=0.02, what="the moon")


async def test_a_failure_that_nobody_looked_at_is_raised_in_the_end() -> None:
    async def lose_a_disk() -> None:
        async with TestCluster(1, machine=Counter) as cluster:
            node = await cluster.wait_for_leader()
            disk = cluster.file_system(1)
            assert isinstance(disk, MemoryFileSystem)
            disk.fail_next_sync()
            await asyncio.gather(node.propose(b"1"), return_exceptions=True)
            await asyncio.gather(node.wait_stopped(), return_exceptions=True)

    with pytest.raises(StorageFailed):
        await lose_a_disk()


async def test_a_start_that_fails_leaves_nothing_running() -> None:
    made = 0

    def reluctant() -> Counter:
        nonlocal made
        made += 1
        if made == 3:
            raise ValueError("no third one")
        return Counter()

    with pytest.raises(ValueError, match="no third one"):
        async with TestCluster(3, machine=reluctant, tcp=True):
            pass
    assert len(asyncio.all_tasks()) == 1


def test_machines_are_given_one_way_or_the_other() -> None:
    with pytest.raises(ConfigError, match="either"):
        TestCluster(1, machine=Counter, machines=dict)
