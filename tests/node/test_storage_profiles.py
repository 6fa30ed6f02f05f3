"""Nodes with storage profiles (A2.53-A2.67): what they work together, and what is left behind a loss of power."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from random import Random

import pytest

from quorate import DiskStateMachine, Node, StateMachine
from quorate.node.abstention import Abstention
from quorate.raft.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from quorate.records import encode_entry
from quorate.storage import PROFILES, MemoryFileSystem, StorageProfile
from quorate.storage.codecs import codec_of
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, core_of, until, value_of

both = pytest.mark.parametrize("machine", [Counter, DiskCounter])
Machine = Callable[[], StateMachine | DiskStateMachine]
LATE = {"flush_interval_ms": 60_000}
QUICK = {"heartbeat_interval_ms": 20, "election_timeout_min_ms": 60, "election_timeout_ms": 120}
"""A node that may have lost something keeps its vote back for ten of these time-outs."""
CUT_OFTEN = {"snapshot_threshold": 20, "snapshot_trailing_entries": 2, "segment_bytes": 4096}


def forms(cluster: TestCluster, node_id: int) -> set[str]:
    disk = cluster.file_system(node_id)
    directory = cluster.config(node_id).data_dir / "groups" / "0" / "log"
    found = set()
    for name in disk.list_files(directory):
        file = disk.open(directory / name)
        found.add(codec_of(file.read_at(0, 1)).name)
        file.close()
    return found


async def start_all(cluster: TestCluster, profiles: Iterable[str], **settings: object) -> Node:
    starts = zip((1, 2, 3), cycle(profiles), strict=False)
    await asyncio.gather(*(cluster.start(node_id, storage_profile=name, **settings) for node_id, name in starts))
    return await cluster.wait_for_leader()


@both
async def test_nodes_with_different_settings_are_one_cluster_and_may_change_them(machine: Machine) -> None:
    rounds = (["durable", "durable_security", "high_throughput"], ["durable_security", "balanced", "durable"])
    total = 0
    async with TestCluster(3, machine=machine, started=()) as cluster:
        for profiles in rounds:
            leader = await start_all(cluster, profiles)
            await asyncio.gather(*(leader.propose(b"1") for _ in range(10)))
            total += 10
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}
            records = []
            for node in cluster.nodes:
                store = node._durable.store  # type: ignore[union-attr]
                entries = store.read(1, store.wal.last_index + 1, 1 << 20)
                records.append([encode_entry(entry) for entry in entries])
            assert records[0] == records[1] == records[2], "what peers are sent is the same from everyone"
            await asyncio.gather(*(cluster.stop(node_id, hand_over=False) for node_id in (1, 2, 3)))
        assert [forms(cluster, node_id) for node_id in (1, 2, 3)] == [
            {"binary", "json"},
            {"binary", "json"},
            {"binary"},
        ]


@both
@pytest.mark.parametrize("profile", StorageProfile)
async def test_the_death_of_all_processes_keeps_acknowledged_writes(profile: StorageProfile, machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings={"storage_profile": profile}) as cluster:
        for total in (10, 20):
            leader = await cluster.wait_for_leader()
            await asyncio.gather(*(leader.propose(b"1") for _ in range(10)))
            await asyncio.gather(*map(cluster.kill, (1, 2, 3)))
            await asyncio.gather(*map(cluster.start, (1, 2, 3)))
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}


@both
@pytest.mark.parametrize("profile", [StorageProfile.DURABLE, StorageProfile.DURABLE_SECURITY])
async def test_durable_profiles_lose_nothing_when_the_power_fails(profile: StorageProfile, machine: Machine) -> None:
    async with TestCluster(3, machine=machine, settings={"storage_profile": profile, **CUT_OFTEN}) as cluster:
        for total in range(30, 100, 30):
            leader = await cluster.wait_for_leader()
            for _ in range(15):
                await asyncio.gather(leader.propose(b"1"), leader.propose(b"1"))
            await cluster.crash()
            await asyncio.gather(*map(cluster.start, (1, 2, 3)))
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert {value_of(node) for node in cluster.nodes} == {total}
            assert all(node.status.storage.power_loss is None for node in cluster.nodes)


async def cut_the_power(cluster: TestCluster, *, seed: int | None) -> None:
    """Of all nodes, in the middle of what they do. Nothing is synced on their way out; SQLite's file stays as it is."""
    nodes = [node.node_id for node in cluster.nodes]
    disks = [cluster.file_system(node_id) for node_id in nodes]
    for disk in disks:
        assert isinstance(disk, MemoryFileSystem)
        disk.lose_power_after(0)
    await asyncio.gather(*map(cluster.kill, nodes))
    for disk in disks:
        assert isinstance(disk, MemoryFileSystem)
        disk.crash(None if seed is None else Random(seed))


async def propose_some(leader: Node) -> int:
    for _ in range(12):
        await asyncio.gather(*(leader.propose(b"1") for _ in range(4)))
    return 48


async def values_behind_a_restart(cluster: TestCluster) -> int:
    await asyncio.gather(*map(cluster.start, (1, 2, 3)))
    await cluster.wait_for_leader()
    await cluster.wait_for_convergence()
    (value,) = {value_of(node) for node in cluster.nodes}
    assert not any(node.status.repairing for node in cluster.nodes)
    lost = {node.status.storage.power_loss for node in cluster.nodes}
    assert all(line is not None and "may be missing on this node" in line for line in lost)
    return value


@both
@pytest.mark.parametrize("seed", [None, 1])
async def test_a_loss_of_power_leaves_a_beginning_of_what_was_acknowledged(
    machine: Machine, seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No state is ahead of its log, none differs from the others', and the nodes say what may be missing.

    What SQLite was given survives here in any case, which is the worst that can happen. A machine in memory has
    nothing synced here, so it may lose everything, even what survived on one node the time before.
    """
    monkeypatch.setattr("quorate.node.applier.FLUSH_LATE_SECONDS", 60.0)
    settings = {"storage_profile": "balanced", **QUICK, **LATE}
    async with TestCluster(3, machine=machine, settings=settings) as cluster:
        before = 0
        for _ in range(2):
            leader = await cluster.wait_for_leader()
            flushed = before + await propose_some(leader)
            await cluster.wait_for_convergence()
            for node in cluster.nodes:
                assert node._group is not None
                node._group.applier.flush()  # as a long read does: what it finds on the disk must not be lost
            acknowledged = flushed + await propose_some(leader)
            await cut_the_power(cluster, seed=seed)
            after = await values_behind_a_restart(cluster)
            assert (flushed if machine is DiskCounter else 0) <= after <= acknowledged
            if seed is None and machine is DiskCounter:
                assert after == flushed
            before = after


@both
@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("settings", [{}, {**CUT_OFTEN, "snapshot_threshold": 5}], ids=["log", "log that is cut"])
async def test_a_loss_of_power_takes_nothing_that_was_synced_in_the_background(
    machine: Machine, seed: int | None, settings: dict[str, int]
) -> None:
    chosen = {"storage_profile": "balanced", **QUICK, **settings}
    async with TestCluster(3, machine=machine, settings=chosen) as cluster:
        acknowledged = 0
        for _ in range(2):
            leader = await cluster.wait_for_leader()
            acknowledged += await propose_some(leader)
            if settings:
                await until(lambda nodes=cluster.nodes: all(node.status.snapshot_index for node in nodes))
            await cluster.wait_for_convergence()
            await until(lambda nodes=cluster.nodes: not any(node.status.storage.unsynced_entries for node in nodes))
            await cut_the_power(cluster, seed=seed)
            assert await values_behind_a_restart(cluster) == acknowledged


@both
@pytest.mark.parametrize("third_is_away", [False, True])
async def test_a_node_without_power_costs_the_cluster_nothing(
    machine: Machine, third_is_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader counted on what the follower has lost; and with the third, it could elect one who lacks it."""
    monkeypatch.setattr("quorate.node.assembly.ELECTION_TIMEOUTS", 1000)  # a slow machine outlasts the ordinary ten
    settings = {"storage_profile": "balanced", **QUICK, **LATE}
    async with TestCluster(3, machine=machine, settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        follower, third = (node.node_id for node in cluster.nodes if node is not leader)
        await leader.propose(b"1")
        if third_is_away:
            await cluster.kill(third)
        for _ in range(20):
            await leader.propose(b"1")
        await cluster.wait_for_convergence()
        disk = cluster.file_system(follower)
        assert isinstance(disk, MemoryFileSystem)
        disk.lose_power_after(0)
        await cluster.kill(follower)
        disk.crash()
        node = await cluster.start(follower)
        assert node.status.storage.power_loss is not None
        assert node.status.last_index < 20
        if third_is_away:
            await cluster.start(third)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {21}


async def test_the_status_says_the_settings_and_what_waits() -> None:
    async with TestCluster(1, machine=Counter, settings={"storage_profile": "high_throughput", **LATE}) as cluster:
        leader = await cluster.wait_for_leader()
        for _ in range(5):
            await leader.propose(b"1")
        storage = leader.status.storage
        assert storage.profile is StorageProfile.HIGH_THROUGHPUT
        assert storage.settings.flush_interval_ms == 60_000
        assert storage.settings.buffer_size == PROFILES[StorageProfile.HIGH_THROUGHPUT].buffer_size
        assert (storage.unsynced_entries, leader.status.fsyncs) == (core_of(leader).log.last_index, 0)
        assert storage.unsynced_bytes > 5 * 25
        assert storage.power_loss is None


async def test_a_flush_of_the_state_syncs_the_log_first() -> None:
    async with TestCluster(1, machine=DiskCounter, settings={"storage_profile": "high_throughput", **LATE}) as cluster:
        leader = await cluster.wait_for_leader()
        await leader.propose(b"1")
        await until(lambda: leader.status.storage.unsynced_entries == 0)
        assert leader.status.fsyncs == 1


@pytest.mark.parametrize("profile", StorageProfile)
async def test_a_profile_cuts_its_log_on_real_files(profile: StorageProfile, tmp_path: Path) -> None:
    settings = {"storage_profile": profile, **CUT_OFTEN}
    async with TestCluster(1, machine=DiskCounter, directory=tmp_path, settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        async with asyncio.timeout(20):
            while not leader.status.snapshot_index:
                await leader.propose(b"1")
        total = value_of(leader)
        await cluster.restart(1)
        await cluster.wait_for_leader()
        await until(lambda: value_of(cluster.node(1)) == total)


def test_votes_are_kept_back_for_a_while_and_nothing_else() -> None:
    now = 100.0
    abstention = Abstention(lambda: now, 3.0)
    asked = RequestVote(term=2, last_index=1, last_term=1)
    granted, refused = (RequestVoteReply(term=2, granted=granted) for granted in (True, False))
    heartbeat = AppendEntriesReply(term=2, session=1, match_index=1)
    assert abstention.of([asked, heartbeat, granted, refused]) == [heartbeat, refused]
    now += 2.9
    assert abstention.of([granted]) == []
    now += 0.2
    assert abstention.of([asked, granted]) == [asked, granted]
