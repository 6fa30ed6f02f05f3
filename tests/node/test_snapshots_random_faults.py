"""The same as in test_random_faults, with a log so short that nearly everyone who was away needs a snapshot."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from quorate import ApplyContext, DiskStateMachine, NodeEvent, SnapshotInstalled, StateMachine
from quorate.machine.sqlite import SqliteState
from quorate.node.events import EventStream
from quorate.testing import TestCluster

from .snapshot_support import floor_of
from .support import core_of
from .test_random_faults import FAULTS, NO_QUORUM, Clients, make_trouble, repair

pytestmark = pytest.mark.usefixtures("quick")
SETTINGS = {"snapshot_threshold": 20, "snapshot_trailing_entries": 5, "segment_bytes": 4096}


class Tally(StateMachine):
    """Every command ever applied, in order."""

    def __init__(self) -> None:
        self.applied: list[tuple[bytes, int]] = []

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.applied.append((command, context.time_us))
        return len(self.applied)

    def snapshot(self) -> bytes:
        return json.dumps([(command.decode(), time) for command, time in self.applied]).encode()

    def restore(self, data: bytes) -> None:
        self.applied = [(command.encode(), time) for command, time in json.loads(data)]


class DiskTally(DiskStateMachine):
    """The same in the SQLite file."""

    def open(self, state: SqliteState) -> None:
        self._connection = state.connection
        self._connection.execute("CREATE TABLE IF NOT EXISTS tally (number INTEGER PRIMARY KEY, command BLOB, time)")

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self._connection.execute("INSERT INTO tally (command, time) VALUES (?, ?)", (command, context.time_us))
        return self._connection.last_insert_rowid()

    @property
    def applied(self) -> list[tuple[bytes, int]]:
        return [(row[0], row[1]) for row in self._connection.execute("SELECT command, time FROM tally ORDER BY number")]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EventStream]:
    """The event streams of the nodes that installed a snapshot, noted where it is announced, so that none is missed."""
    streams: list[EventStream] = []
    publish = EventStream.publish

    def noting(stream: EventStream, event: NodeEvent) -> None:
        if isinstance(event, SnapshotInstalled):
            streams.append(stream)
        publish(stream, event)

    monkeypatch.setattr(EventStream, "publish", noting)
    return streams


async def leave_behind(cluster: TestCluster, rng: Random, installed: list[EventStream]) -> None:
    """A node is away until what it lacks is in nobody's log any more; back again, it is brought a snapshot."""
    away = rng.choice(cluster.nodes)
    await cluster.kill(away.node_id)
    last = core_of(away).log.last_index
    await cluster.wait_until(lambda: all(floor_of(node) > last for node in cluster.nodes), 20, "the cut")
    back = await cluster.start(away.node_id)
    await cluster.wait_until(lambda: back._events in installed, 20, "the snapshot")


@pytest.mark.parametrize(("machine", "seed"), [(Tally, 1), (DiskTally, 2)])
async def test_acknowledged_requests_are_applied_exactly_once(
    machine: type[Tally] | type[DiskTally], seed: int, installed: list[EventStream]
) -> None:
    rng = Random(seed)
    async with TestCluster(3, machine=machine, seed=seed, settings=SETTINGS) as cluster:
        await cluster.wait_for_leader()
        clients = Clients(cluster, rng)
        running = [asyncio.create_task(clients.run(name)) for name in range(4)]
        await leave_behind(cluster, rng, installed)
        for fault in rng.sample(FAULTS, k=len(FAULTS) // 2):
            progress = len(clients.acknowledged)
            await cluster.wait_until(lambda progress=progress: len(clients.acknowledged) >= progress + 50, 20)
            await make_trouble(cluster, rng, fault)
            if fault not in NO_QUORUM:
                progress = len(clients.acknowledged)
                await cluster.wait_until(lambda progress=progress: len(clients.acknowledged) >= progress + 100, 20)
            await repair(cluster)
        await cluster.wait_for_leader()
        clients.finished = True
        await asyncio.gather(*running)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()

        tallies = [node.machine.applied for node in cluster.nodes]
        assert len(tallies) == 3
        assert tallies[0] == tallies[1] == tallies[2]
        applied = [command for command, _ in tallies[0]]
        assert len(applied) == len(set(applied)), "applied twice"
        assert set(clients.acknowledged) <= set(applied), "lost"
        assert set(applied) <= clients.attempted, "invented"
        times = [time for _, time in tallies[0]]
        assert times == sorted(times)
