"""Named regression scenarios about snapshots and cutting the log, on real nodes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quorate import Node
from quorate.errors import CorruptLog, StorageError, StorageFailed
from quorate.raft.output import Floor
from quorate.storage.manifest import Manifest
from quorate.storage.memory import MemoryFileSystem
from quorate.testing import TestCluster
from tests.node.snapshot_support import (
    BLOB,
    EARLY,
    Blobs,
    Machine,
    Watched,
    both,
    both_heavy,
    floor_of,
    installed,
    write,
    write_until_cut,
    writers,
)
from tests.node.support import Counter, DiskCounter, core_of, until, value_of

pytestmark = pytest.mark.usefixtures("quick")


async def a_follower_behind(cluster: TestCluster, command: bytes = b"1", count: int = 100) -> int:
    """Stop a follower and write until it needs a snapshot; returns its id."""
    leader = await cluster.wait_for_leader()
    follower = next(node.node_id for node in cluster.nodes if node is not leader)
    await cluster.kill(follower)
    await write_until_cut(cluster, count, command)
    return follower


async def test_scenario_26_no_gap_between_snapshot_and_first_log_index(tmp_path: Path) -> None:
    """A state that is older than the beginning of the log is refused, not continued with a hole in it.

    From: hashicorp/raft #85: an older snapshot was restored, and the log had nothing of what came right behind it.
    How: the newest snapshot is lost; the one before it, or an empty state, is taken with the entries that are left.
    Brings it back: in ``DurableState._check_state``, leave out the comparison with ``recovered.floor``.
    """
    async with TestCluster(1, machine=Counter, settings=EARLY, directory=tmp_path) as cluster:
        node = await cluster.wait_for_leader()
        await write_until_cut(cluster)
        floor = floor_of(node)
        await cluster.stop(1)
        (snapshot,) = (tmp_path / "node1" / "groups" / "0" / "snapshots").glob("machines-*.snapshot")
        assert int(snapshot.stem.partition("-")[2]) >= floor
        snapshot.unlink()
        with pytest.raises(CorruptLog, match=f"begins behind entry {floor}"):
            await cluster.start(1)


async def test_scenario_27_a_crash_while_a_snapshot_is_written_leaves_one_to_start_with() -> None:
    """Whenever the power goes, the snapshot that is there is whole, and the log goes on behind it.

    From: RedisLabs/redisraft #654: a node that died while it wrote its snapshot could not read the stump at its start.
    How: the new file takes the place of the old one before all of it is durable.
    Brings it back: in ``write_machines``, write to the file itself instead of calling ``write_atomically``.
    """
    settings = {**EARLY, "heartbeat_interval_ms": 10, "election_timeout_min_ms": 20, "election_timeout_ms": 40}
    async with TestCluster(1, machine=Blobs, settings=settings, seed=27) as cluster:
        expected = 0
        for changes in range(16):
            node = await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            await write_until_cut(cluster, 45)
            assert node._running is not None
            disk = cluster.file_system(1)
            assert isinstance(disk, MemoryFileSystem)
            compaction = node._running.snapshots.compaction
            disk.lose_power_after(changes)
            try:
                await compaction._save_machines()
            except StorageError:
                pass
            await cluster.crash(1)
            expected += 45
            node = await cluster.start(1)
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert value_of(node) == expected


@both
async def test_scenario_29_a_failed_install_leaves_the_old_state_usable(machine: Machine) -> None:
    """A snapshot that turns out to be damaged changes nothing: the node reads as before, and gets another one.

    From: atomix/atomix #1038: what went wrong at the installation was swallowed, and entries applied to an empty state.
    How: the old state is given up first, and the new one looked at afterwards.
    Brings it back: in ``Receiver._received``, leave out ``installation.check`` and ``incoming.verify``.
    """
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        await write(leader, 5)
        await cluster.wait_for_convergence()
        follower = await a_follower_behind(cluster)
        node = await cluster.start(follower)
        router, seen = node._router, []
        original = router.check_copy

        def check_copy(*args: Any) -> None:
            if len(seen) < 2:
                seen.append(value_of(node) if machine is Counter else None)
                raise CorruptLog("the snapshot is damaged")
            original(*args)

        router.check_copy = check_copy  # type: ignore[method-assign]
        await until(lambda: seen)
        assert await node.read(value_of_machine, consistency="eventually") == 5
        await cluster.wait_for_convergence()
        assert len(seen) == 2
        assert node.failure is None
        assert value_of(node) == 105


def value_of_machine(machine: Counter | DiskCounter) -> int:
    return machine.value


async def test_scenario_30_installing_and_applying_do_not_race() -> None:
    """What waits to be applied when a snapshot is installed is in it, and is not applied once more on top of it.

    From: tikv/tikv #1287: committed entries that came with a snapshot were applied while it was being installed.
    How: the follower still has entries to apply when the snapshot comes; they are applied to the new state.
    Brings it back: in ``Applier.suspend``, keep ``_backlog``.
    """
    async with TestCluster(3, machine=Counter, settings=EARLY) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_for_convergence()
        applier, router, applied = follower._group.applier, follower._router, threading.Event()  # type: ignore[union-attr]
        original, installing = router.replace_state, asyncio.Event()
        loop = asyncio.get_running_loop()

        def replace_state(*args: Any) -> None:
            loop.call_soon_threadsafe(installing.set)
            applied.wait(5)
            original(*args)

        router.replace_state = replace_state  # type: ignore[method-assign]
        with applier.paused():
            await write(leader, 20)
            await until(lambda: follower.status.commit_index > 15)
            cluster.partition_network([follower.node_id])
            await write_until_cut_by(cluster, leader)
            index = asyncio.create_task(installed(follower))
            cluster.heal()
            await asyncio.wait_for(installing.wait(), 20)
        await asyncio.sleep(0.05)  # now it would apply
        assert value_of(follower) == 0
        applied.set()
        assert await asyncio.wait_for(index, 20) > 20
        await cluster.wait_for_convergence()
        assert value_of(follower) == value_of(leader) == 120


async def write_until_cut_by(cluster: TestCluster, leader: Node) -> None:
    last = leader.status.last_index
    await write(leader, 100)
    await cluster.wait_until(lambda: floor_of(leader) > last)


@both_heavy
async def test_scenario_31_two_snapshots_in_quick_succession(machine: Machine) -> None:
    """While one is being put in place another offer is put off, and neither is lost.

    From: sofastack/sofa-jraft #605: a second request during an installation made both end without a loaded snapshot.
    How: the answer to the first is lost, the leader asks again, and the first is taken for interrupted.
    Brings it back: in ``Receiver.offered``, leave out the branch of ``is_final``.
    """
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        follower = await a_follower_behind(cluster, bytes(BLOB), 60)
        node = await cluster.start(follower)
        router, others = node._router, threading.Event()
        original = router.replace_state
        replaced = []

        def replace_state(*args: Any) -> None:
            replaced.append(threading.get_ident())
            others.wait(5)
            original(*args)

        router.replace_state = replace_state  # type: ignore[method-assign]
        watched = Watched(node)
        await until(lambda: replaced)
        (offer, *_) = watched.offers
        manifest = Manifest.decode(offer.manifest)
        later = replace(manifest, floor=replace(manifest.floor, index=manifest.floor.index + 50))
        leader = await cluster.wait_for_leader()
        assert node._running is not None
        for number, each in enumerate((manifest, later), start=offer.number + 1000):
            again = replace(offer, number=number, manifest=each.encode())
            node._running.snapshots.received(leader.node_id, again)
            await asyncio.sleep(0.01)
        others.set()
        await cluster.wait_for_convergence()
        assert value_of(node) == value_of(leader) == 60
        assert len(replaced) == 1
        # And a whole new one right behind it.
        cluster.partition_network([follower])
        await write_until_cut_by(cluster, leader)
        cluster.heal()
        await cluster.wait_for_convergence()
        assert value_of(node) == value_of(leader) == 160
        assert len(replaced) == 2


async def test_scenario_47_snapshot_work_never_blocks_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a copy, its checksums and its verification take, the cluster goes on meanwhile.

    From: camunda/camunda #6269: the leader computed the checksum of a large snapshot and sent no heartbeats meanwhile.
    How: the work is done by the thread that also keeps the leadership alive.
    Brings it back: in ``OutgoingSnapshots._made``, call ``self._copied`` without ``in_thread``.
    """
    async with TestCluster(3, machine=Blobs, settings=EARLY) as cluster:
        follower = await a_follower_behind(cluster, bytes(BLOB), 50)
        leader = await cluster.wait_for_leader()
        slowed: set[str] = set()
        blocked: set[str] = set()
        ended = threading.Event()
        async with writers(cluster) as acknowledged:

            def slow(owner: Any, name: str) -> None:
                original = getattr(owner, name)

                def slowly(*args: Any, **kwargs: Any) -> Any:
                    """Not done before some more is written, by the event loop that all nodes here share."""
                    slowed.add(name)
                    enough = acknowledged[0] + 20
                    for _ in range(2000):
                        if acknowledged[0] >= enough or ended.wait(0.005):
                            break
                    else:
                        blocked.add(name)
                    return original(*args, **kwargs)

                monkeypatch.setattr(owner, name, slowly)

            slow(leader._running.snapshots.sender._outgoing, "_copied")  # type: ignore[union-attr]
            slow(leader._router, "sync")
            node = await cluster.start(follower)
            slow(node._router, "check_copy")
            slow(node._router, "replace_state")
            await asyncio.wait_for(installed(node), 60)
            ended.set()
        await cluster.wait_for_convergence()
        assert not blocked
        assert {"_copied", "check_copy", "replace_state"} <= slowed


@both
async def test_scenario_50_a_disk_that_fails_while_a_snapshot_is_put_in_place_stops_the_node(machine: Machine) -> None:
    """The node does not go on with half a state; started on a good disk, it finishes what it had begun.

    From: camunda/camunda #6505: the snapshot store met a full disk, logged it, and went on with its next job.
    How: the log begins behind the snapshot already, the state is the old one still, and the next entries come.
    Brings it back: in ``Receiver._receive``, catch ``StorageError`` without looking at ``is_final``.
    """
    async with TestCluster(3, machine=machine, settings=EARLY) as cluster:
        follower = await a_follower_behind(cluster)
        node = await cluster.start(follower)
        assert node._running is not None
        directory = node._running.snapshots.receiver._access.directory

        def switch(state_path: Path) -> None:
            raise StorageFailed("the disk is full")

        directory.switch = switch  # type: ignore[method-assign]
        await cluster.wait_until(lambda: node.failure is not None)
        assert isinstance(node.failure, StorageFailed)
        await cluster.crash(follower)
        node = await cluster.start(follower)
        await cluster.wait_for_convergence()
        assert value_of(node) == 100


async def test_scenario_52_a_crash_during_compaction_loses_neither_the_beginning_nor_the_rest() -> None:
    """After a power loss at any point of a cut, the log begins where it did or where it should, and nothing is missing.

    From: eBay/HomeStore #530: the new beginning of the log was only noted in memory when the entries were removed.
    How: entries go first, the note of where the log begins now comes later, or never.
    Brings it back: in ``GroupStore.compact``, call ``save_floor`` behind ``cut_prefix``.
    """
    settings = {
        "segment_bytes": 4096,
        "heartbeat_interval_ms": 10, "election_timeout_min_ms": 20, "election_timeout_ms": 40,
    }  # fmt: skip
    async with TestCluster(1, machine=Blobs, settings=settings, seed=52) as cluster:
        expected = 0
        for changes in range(0, 40, 2):
            node = await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            await write(node, 40, bytes(1024))
            expected += 40
            assert node._running is not None
            assert node._durable is not None
            disk = cluster.file_system(1)
            assert isinstance(disk, MemoryFileSystem)
            await node._running.snapshots.compaction._save_machines()
            disk.lose_power_after(changes)
            floor: Floor | None = node._group.compact(node.status.applied_index - 5)  # type: ignore[union-attr]
            if floor is not None:
                try:
                    node._durable.store.compact(floor)
                except StorageFailed:
                    pass
            await cluster.crash(1)
            node = await cluster.start(1)
            await cluster.wait_for_leader()
            await cluster.wait_for_convergence()
            assert value_of(node) == expected
            assert core_of(node).log.floor.index == node._durable.store.floor.index  # type: ignore[union-attr]


@both_heavy
async def test_scenario_54_a_lagging_replica_catches_up_under_load(machine: Machine) -> None:
    """The log that follows a snapshot is kept until the one who got it has caught up, however fast it is cut else.

    From: camunda/camunda #46345: followers began again and again with snapshots that were of no use when they had them.
    How: under load the log is cut beyond the snapshot before that has arrived, so it is followed by the next one.
    Brings it back: in ``Compaction.target``, leave out ``log_needed_from``.
    """
    settings = {"snapshot_threshold": 10, "snapshot_trailing_entries": 0}
    async with TestCluster(3, machine=machine, settings=settings) as cluster:
        follower = await a_follower_behind(cluster, bytes(BLOB), 60)
        async with writers(cluster, bytes(1024)) as acknowledged:
            node = await cluster.start(follower)
            watched = Watched(node)
            leader = await cluster.wait_for_leader()
            await cluster.wait_until(lambda: node.status.applied_index > 60, 20)
            before = acknowledged[0]
            await cluster.wait_until(lambda: acknowledged[0] > before + 100, 20)
            await cluster.wait_until(lambda: node.status.applied_index >= leader.status.commit_index - 20, 20)
        assert len({offer.manifest for offer in watched.offers}) == 1, "one snapshot was not enough"
        await cluster.wait_for_convergence()
        assert value_of(node) == value_of(leader)
