"""The simulated disk, the SQLite file on it, and the network."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from quorate.errors import StorageFailed
from quorate.node.forwarding import Forward
from quorate.node.wire import WIRE_CODEC
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import Heartbeat, HeartbeatReply
from quorate.raft.output import HardState, Write
from quorate.storage.filesystem import read_bytes, write_atomically
from quorate.storage.store import GroupStore
from quorate.testing.simulation.disk import DiskPlan, ProcessKilled, SimulatedDisk, SimulatedWriter
from quorate.testing.simulation.loop import Scheduler, SimulatedLoop
from quorate.testing.simulation.network import NetworkPlan, SimulatedNetwork
from quorate.testing.simulation.sqlite_state import SimulatedSqliteState
from quorate.testing.simulation.trace import Trace
from quorate.testing.simulation.transport import SimulatedTransport
from quorate.transport.contract import Announcement, Identity, Introduction, Lane, Refusal

ROOT = Path("/simulated")


class Room:
    """A scheduler, a disk, a process."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.fired: Counter[str] = Counter()
        self.disk = SimulatedDisk(self.scheduler, Random(1), DiskPlan(base_seconds=0.01, jitter_seconds=0), self.fired)
        self.disk.make_directories(ROOT)
        self.loop = SimulatedLoop(self.scheduler, "a process", Random(2))  # type: ignore[abstract]
        self.events: list[Any] = []

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self.scheduler.run(self.scheduler.world, main)

    def writer(self) -> SimulatedWriter:
        self.store = GroupStore.open(self.disk, ROOT / "group", segment_bytes=4096)
        return SimulatedWriter(
            self.disk, self.store, self.events.append, self.events.append, self.loop,
            on_submitted=lambda write: None,
            on_durable=lambda writes: self.events.append([write.ticket for write in writes]),
        )  # fmt: skip


@pytest.fixture
def room() -> Room:
    return Room()


def write(ticket: int) -> Write:
    return Write(ticket, HardState(1, None), (Entry(ticket, 1, EntryKind.COMMANDS, b"x" * 100),))


def test_one_batch_covers_what_arrived_while_the_last_was_under_way(room: Room) -> None:
    writer = room.writer()

    async def main() -> None:
        writer.submit(write(1))
        await asyncio.sleep(0.005)
        writer.submit(write(2))
        writer.submit(write(3))
        assert writer.pending == 3
        assert room.events == []
        await asyncio.sleep(0.007)
        assert room.events == [[1], 1]
        await asyncio.sleep(0.01)

    room.run(main())
    assert room.events == [[1], 1, [2, 3], 3]


def test_a_stalled_disk_takes_longer(room: Room) -> None:
    writer = room.writer()
    room.disk.stalled_until = 5.0

    async def main() -> float:
        writer.submit(write(1))
        while not room.events:  # noqa: ASYNC110 - the writer sets no event
            await asyncio.sleep(0.01)
        return room.scheduler.now

    assert room.run(main()) == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize(("operation", "code"), [("sync", errno.EIO), ("write", errno.EIO)])
def test_a_failure_is_told_once_and_nothing_is_written_after_it(room: Room, operation: str, code: int) -> None:
    writer = room.writer()
    room.disk.fail_next(operation, code)

    async def main() -> None:
        writer.submit(write(1))
        await asyncio.sleep(0.1)
        writer.submit(write(2))
        await asyncio.sleep(0.1)

    room.run(main())
    (failure,) = room.events
    assert isinstance(failure, StorageFailed)
    assert room.disk.broken


def test_a_full_disk_refuses_writes_until_there_is_room(room: Room) -> None:
    room.disk.is_full = True
    with pytest.raises(OSError, match="No space left"):
        write_atomically(room.disk, ROOT / "file", b"content")
    room.disk.heal()
    write_atomically(room.disk, ROOT / "file", b"content")
    assert read_bytes(room.disk, ROOT / "file") == b"content"


def test_a_kill_can_come_at_each_change(room: Room) -> None:
    write_atomically(room.disk, ROOT / "file", b"old")
    found = []
    for changes in range(20):
        killed: list[bool] = []
        room.disk.kill_after(changes, lambda killed=killed: killed.append(True))  # type: ignore[misc]
        try:
            write_atomically(room.disk, ROOT / "file", b"new")
        except ProcessKilled:
            assert killed == [True]
        else:
            assert killed == []
        room.disk.lose_power()
        found.append(read_bytes(room.disk, ROOT / "file"))
        if not killed:
            break
    assert set(found) == {b"old", b"new"}
    assert found[0] == b"old"
    assert found[-1] == b"new"


def numbers(state: SimulatedSqliteState) -> list[int]:
    return [number for (number,) in state.connection.execute("SELECT number FROM numbers ORDER BY number")]


def filled(room: Room) -> SimulatedSqliteState:
    """1 is synced, 2 committed, 3 neither."""
    state = SimulatedSqliteState(ROOT / "state.sqlite", room.disk)
    state.connection.execute("CREATE TABLE numbers (number INTEGER)")
    for number in (1, 2, 3):
        state.begin()
        state.connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        if number < 3:
            state.commit()
        if number == 1:
            state.sync()
    return state


def test_a_killed_process_leaves_what_it_committed(room: Room) -> None:
    filled(room)
    room.disk.kill()
    assert numbers(SimulatedSqliteState(ROOT / "state.sqlite", room.disk)) == [1, 2]


def test_a_power_loss_leaves_something_between_the_last_sync_and_the_last_commit() -> None:
    found = set()
    for seed in range(20):
        room = Room()
        room.disk._rng = Random(seed)
        filled(room)
        room.disk.lose_power()
        found.add(tuple(numbers(SimulatedSqliteState(ROOT / "state.sqlite", room.disk))))
    assert found == {(1,), (1, 2)}


def test_a_failed_sync_of_the_state_is_an_error(room: Room) -> None:
    state = filled(room)
    room.disk.fail_next("sync", errno.EIO)
    with pytest.raises(StorageFailed):
        state.sync()


# -- the network -----------------------------------------------------------------------------------------


class Ear:
    """A node, as a transport sees it."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Any]] = []
        self.peers: set[int] = set()
        self.lost = 0

    def received(self, peer: int, group: int, message: Any) -> None:
        self.heard.append((peer, message))

    def receiving(self, peer: int) -> None:
        raise AssertionError("nothing long was sent")

    def connected(self, peer: int) -> None:
        self.peers.add(peer)

    def disconnected(self, peer: int) -> None:
        self.peers.discard(peer)
        self.lost += 1

    def announcement(self) -> Announcement:
        return Announcement()

    def introduced(self, introduction: Introduction) -> str | None:
        return None

    def refused(self, address: str, refusal: Refusal) -> None:
        raise AssertionError(f"{address} refused: {refusal}")

    @property
    def sequences(self) -> list[int]:
        return [message.sequence for _, message in self.heard]


class Wire:
    """Two nodes and the network between them."""

    def __init__(self, plan: NetworkPlan | None = None) -> None:
        self.scheduler = Scheduler()
        self.fired: Counter[str] = Counter()
        trace = Trace(self.scheduler)
        plan = plan or NetworkPlan(jitter_seconds=0.001)
        self.network = SimulatedNetwork(self.scheduler, Random(1), plan, WIRE_CODEC, trace, self.fired)
        self.network.powered = {1, 2}
        self.ears = {1: Ear(), 2: Ear()}
        self.transports = {node: self.make(node) for node in (1, 2)}

    def make(self, node: int, incarnation: int = 0) -> SimulatedTransport:
        loop = SimulatedLoop(self.scheduler, f"node {node}", Random(node))  # type: ignore[abstract]
        identity = Identity(cluster_id="c", node_id=node, address=f"node{node}:1", incarnation=incarnation or node)
        transport = SimulatedTransport(self.network, identity, loop)
        transport.dial(f"node{3 - node}:1")
        return transport

    async def start(self) -> None:
        for node, transport in self.transports.items():
            await transport.start(self.ears[node])  # type: ignore[arg-type]
        await asyncio.sleep(0.5)

    def send(self, *sequences: int, source: int = 1) -> None:
        messages = [Heartbeat(term=1, session=1, sequence=sequence, commit=0) for sequence in sequences]
        self.transports[source].send(3 - source, 0, messages)

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        self.scheduler.run(self.scheduler.world, main)


def test_messages_arrive_in_order_and_late() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        assert wire.ears[1].peers == {2}
        assert wire.ears[2].peers == {1}
        wire.send(*range(20))
        assert wire.ears[2].heard == []
        await asyncio.sleep(1)
        assert wire.ears[2].sequences == list(range(20))

    wire.run(main())


def test_the_bulk_lane_has_to_be_opened_and_delays_nobody_else() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        beat = Heartbeat(term=1, session=1, sequence=1, commit=0)
        first = wire.transports[1]
        first.send(2, 0, [Forward(number=1, commands=b"")], lane=Lane.BULK)
        await asyncio.sleep(0.1)
        assert wire.ears[2].heard == []
        for _ in range(100):
            first.send(2, 0, [Forward(number=1, commands=b"x" * 1_000_000)], lane=Lane.BULK)
        assert first.backlog_bytes(2, Lane.BULK) == 100_000_000
        first.send(2, 0, [beat])
        await asyncio.sleep(0.1)
        assert wire.ears[2].heard[0] == (1, beat)
        await asyncio.sleep(20)
        assert len(wire.ears[2].heard) == 101
        assert first.backlog_bytes(2, Lane.BULK) == 0

    wire.run(main())


def test_a_cut_path_swallows_without_a_word() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        wire.network.path(1, 2).cut += 1
        wire.send(1)
        wire.send(2, source=2)
        await asyncio.sleep(1)
        assert wire.ears[2].heard == []
        assert wire.ears[1].sequences == [2]
        assert wire.ears[1].lost == 0
        wire.network.heal()
        wire.send(3)
        await asyncio.sleep(1)
        assert wire.ears[2].sequences == [3]

    wire.run(main())


def test_only_answers_are_lost() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        wire.network.path(1, 2).answers_lost = 1
        wire.send(1)
        wire.transports[1].send(2, 0, [HeartbeatReply(term=1, session=1, sequence=2)])
        await asyncio.sleep(1)
        assert wire.ears[2].sequences == [1]

    wire.run(main())


def test_a_clogged_path_gives_back_everything_at_once() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        path = wire.network.path(1, 2)
        path.clogged += 1
        wire.send(1, 2, 3)
        await asyncio.sleep(1)
        assert wire.ears[2].heard == []
        path.clogged = 0
        wire.network.unclog(path)
        await asyncio.sleep(0.01)
        assert wire.ears[2].sequences == [1, 2, 3]

    wire.run(main())


def test_a_damaged_frame_is_noticed_and_costs_the_connection() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        wire.network.path(1, 2).damage = 1.0
        wire.send(1)
        await asyncio.sleep(0.05)
        assert wire.ears[2].heard == []
        wire.network.heal()
        await asyncio.sleep(1)
        assert wire.ears[1].lost == 1
        assert wire.ears[1].peers == {2}

    wire.run(main())
    assert wire.fired["frames corrupted"] + wire.fired["frames truncated"] == 1


@pytest.mark.parametrize(("half_open", "known_after"), [(0, 0.1), (1, 4.0)])
def test_a_dead_peer_is_noticed_sooner_or_later(half_open: int, known_after: float) -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        wire.network.path(1, 2).half_open = half_open
        wire.transports[2].vanish(told=True)
        await asyncio.sleep(0.9)
        assert wire.ears[1].lost == (known_after < 0.9)
        await asyncio.sleep(4)
        assert wire.ears[1].lost == 1

    wire.run(main())


def test_what_an_earlier_incarnation_said_can_be_heard_again() -> None:
    wire = Wire()

    async def main() -> None:
        await wire.start()
        wire.send(1)
        await asyncio.sleep(1)
        wire.transports[1].vanish(told=True)
        wire.transports[1] = wire.make(1, incarnation=77)
        await wire.transports[1].start(wire.ears[1])  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert wire.network.replay(wire.transports[1], wire.transports[2], older=False) == 0
        assert wire.network.replay(wire.transports[1], wire.transports[2], older=True) == 1
        await asyncio.sleep(1)
        assert wire.ears[2].sequences == [1, 1]

    wire.run(main())


def test_loss_repetition_and_disorder_are_what_the_plan_says() -> None:
    wire = Wire(NetworkPlan(drop=0.2, duplicate=0.2, reorder=0.2, through_codec=0.5))

    async def main() -> None:
        await wire.start()
        wire.send(*range(500))
        await asyncio.sleep(5)

    wire.run(main())
    heard = wire.ears[2].sequences
    assert 330 < len(set(heard)) < 470
    assert len(set(heard)) < len(heard)
    assert heard != sorted(heard)
