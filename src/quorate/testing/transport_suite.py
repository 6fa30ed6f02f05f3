"""What every transport must pass: ours, and a third party's.

Derive a test class from :class:`TransportSuite`, give it a ``harness`` fixture, and run it under pytest with
pytest-asyncio in auto mode::

    class TestMyTransport(TransportSuite):
        @pytest.fixture
        async def harness(self):
            async with MyHarness() as harness:
                yield harness
"""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from quorate.transport.contract import Identity, Introduction, LinkState, LinkStatus, Transport, WireMessage
from quorate.transport.faults import Direction, LinkFaults

WAIT_SECONDS = 20.0
"""Longer than anything here takes; a condition that is not met by then never will be."""


async def until(condition: Callable[[], object], *, seconds: float = WAIT_SECONDS) -> None:
    """Return once ``condition()`` holds; raise :class:`AssertionError` if it does not in ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.001)


class Recorder:
    """A receiver that remembers everything it is told, and turns away whom it is asked to."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, WireMessage]] = []
        self.events: list[tuple[str, int]] = []
        self.introductions: list[Introduction] = []
        self.refuse: Callable[[Introduction], str | None] = lambda introduction: None
        self.calls = 0

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        self.calls += 1
        self.messages.append((peer, group, message))

    def connected(self, peer: int) -> None:
        self.calls += 1
        self.events.append(("connected", peer))

    def disconnected(self, peer: int) -> None:
        self.calls += 1
        self.events.append(("disconnected", peer))

    def introduced(self, introduction: Introduction) -> str | None:
        self.calls += 1
        self.introductions.append(introduction)
        return self.refuse(introduction)

    def from_peer(self, peer: int) -> list[WireMessage]:
        """The messages that came from ``peer``."""
        return [message for sender, _, message in self.messages if sender == peer]


class Station:
    """A transport, its receiver and its faults."""

    def __init__(self, transport: Transport, recorder: Recorder, faults: LinkFaults) -> None:
        self.transport = transport
        self.recorder = recorder
        self.faults = faults

    @property
    def address(self) -> str:
        return self.transport.identity.address

    def connected_to(self, peer: int) -> bool:
        stats = self.transport.stats().get(peer)
        return stats is not None and stats.connected

    def dropped(self, peer: int) -> int:
        stats = self.transport.stats().get(peer)
        return 0 if stats is None else stats.dropped

    def link_to(self, address: str) -> LinkStatus:
        return self.transport.links()[address]


class TransportHarness(ABC):
    """Makes transports of one kind that can reach each other."""

    def __init__(self) -> None:
        self._stations: list[Station] = []
        self._incarnations = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(station.transport.stop() for station in self._stations))

    @abstractmethod
    async def new_address(self) -> str:
        """An address that nobody uses."""

    @abstractmethod
    async def make(self, identity: Identity, faults: LinkFaults) -> Transport:
        """A transport, not started, that can be reached at ``identity.address`` once it is."""

    async def open(
        self, node_id: int, *, address: str | None = None, cluster_id: str = "suite", recorder: Recorder | None = None
    ) -> Station:
        """A started transport. Each has another incarnation."""
        identity = Identity(
            cluster_id=cluster_id,
            node_id=node_id,
            address=address or await self.new_address(),
            incarnation=next(self._incarnations),
            software="suite",
        )
        faults = LinkFaults(random.Random(node_id))
        station = Station(await self.make(identity, faults), recorder or Recorder(), faults)
        self._stations.append(station)
        await station.transport.start(station.recorder)
        return station

    async def pair(self) -> tuple[Station, Station]:
        """Nodes 1 and 2, of which 1 is connected to 2."""
        a, b = await self.open(1), await self.open(2)
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
        return a, b


def heartbeat(sequence: int) -> Heartbeat:
    """One of many messages that can be told apart."""
    return Heartbeat(term=1, session=2, sequence=sequence, commit=3)


def every_message() -> list[WireMessage]:
    """One or more of each kind, with the largest integers there are."""
    top = 2**64 - 1
    entries = tuple(
        Entry(10 + n, 7, kind, payload)
        for n, (kind, payload) in enumerate(
            [(EntryKind.NOOP, b""), (EntryKind.COMMANDS, bytes(range(256)) * 20), (EntryKind.MEMBERSHIP, b"m")]
        )
    )
    return [
        RequestVote(term=7, last_index=0, last_term=0, pre_vote=True),
        RequestVote(term=top, last_index=top, last_term=top),
        RequestVoteReply(term=7, granted=True),
        RequestVoteReply(term=7, granted=False, pre_vote=True),
        AppendEntries(term=7, session=1, previous_index=9, previous_term=6, commit=8),
        AppendEntries(term=7, session=top, previous_index=9, previous_term=6, commit=8, entries=entries),
        AppendEntriesReply(term=7, session=1, match_index=12),
        AppendEntriesReply(
            term=7, session=1, match_index=0, rejected=True, previous_index=9, hint_index=5, hint_term=3
        ),
        Heartbeat(term=7, session=1, sequence=3, commit=9),
        HeartbeatReply(term=7, session=1, sequence=3),
        ReadIndex(term=7, token=top),
        ReadIndexReply(term=7, token=0, index=12),
    ]


class TransportSuite:
    """The contract of :mod:`quorate.transport.contract`, one promise per test."""

    async def test_dialling_connects_and_introduces_both_ends(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        assert a.recorder.events == [("connected", 2)]
        assert b.recorder.events == []
        (answered,) = a.recorder.introductions
        assert (answered.node_id, answered.address, answered.dialled) == (2, b.address, b.address)
        assert (answered.incarnation, answered.software) == (b.transport.identity.incarnation, "suite")
        (dialled,) = b.recorder.introductions
        assert (dialled.node_id, dialled.address, dialled.dialled) == (1, a.address, None)
        assert (dialled.incarnation, dialled.cluster_id) == (a.transport.identity.incarnation, "suite")
        assert a.link_to(b.address) == LinkStatus(b.address, LinkState.CONNECTED, 2)

    async def test_every_kind_of_message_arrives_whole_in_order_and_in_its_group(
        self, harness: TransportHarness
    ) -> None:
        a, b = await harness.pair()
        sent = every_message()
        a.transport.send(2, 0, sent)
        a.transport.send(2, 2**32, sent)
        await until(lambda: len(b.recorder.messages) >= 2 * len(sent))
        assert b.recorder.messages == [(1, group, message) for group in (0, 2**32) for message in sent]

    async def test_many_messages_keep_their_order(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        for first in range(0, 5000, 50):
            a.transport.send(2, 0, [heartbeat(n) for n in range(first, first + 50)])
        await until(lambda: len(b.recorder.messages) >= 5000)
        assert b.recorder.from_peer(1) == [heartbeat(n) for n in range(5000)]
        stats = a.transport.stats()[2]
        assert (stats.frames_sent, stats.dropped) == (5000, 0)
        assert b.transport.stats()[1].frames_received == 5000

    async def test_a_large_message_arrives(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        entry = Entry(1, 1, EntryKind.COMMANDS, random.Random(1).randbytes(3 * 1024 * 1024))
        message = AppendEntries(term=1, session=1, previous_index=0, previous_term=0, commit=0, entries=(entry,))
        a.transport.send(2, 0, [heartbeat(1), message, heartbeat(2)])
        await until(lambda: len(b.recorder.messages) >= 3)
        assert b.recorder.from_peer(1) == [heartbeat(1), message, heartbeat(2)]

    async def test_a_connection_carries_only_what_its_dialler_sends(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        b.transport.send(1, 0, [heartbeat(1)])
        assert b.dropped(1) == 1
        b.transport.dial(a.address)
        await until(lambda: b.connected_to(1))
        b.transport.send(1, 0, [heartbeat(2)])
        a.transport.send(2, 0, [heartbeat(3)])
        await until(lambda: a.recorder.messages and b.recorder.messages)
        assert (a.recorder.from_peer(2), b.recorder.from_peer(1)) == ([heartbeat(2)], [heartbeat(3)])

    async def test_sending_to_a_stranger_is_dropped_and_counted(self, harness: TransportHarness) -> None:
        a = await harness.open(1)
        for _ in range(1000):
            a.transport.send(77, 0, [heartbeat(1), heartbeat(2)])
        stats = a.transport.stats()[77]
        assert (stats.dropped, stats.frames_sent, stats.connected) == (2000, 0, False)

    async def test_an_address_may_be_dialled_before_anyone_is_there(self, harness: TransportHarness) -> None:
        a, address = await harness.open(1), await harness.new_address()
        a.transport.dial(address)
        a.transport.dial(address)
        await harness.open(2, address=address)
        await until(lambda: a.connected_to(2))
        assert a.recorder.events == [("connected", 2)]

    async def test_a_peer_that_restarts_is_connected_again_as_another_incarnation(
        self, harness: TransportHarness
    ) -> None:
        a, b = await harness.pair()
        await b.transport.stop()
        await until(lambda: not a.connected_to(2))
        before = a.dropped(2)
        a.transport.send(2, 0, [heartbeat(1)])
        assert a.dropped(2) == before + 1
        again = await harness.open(2, address=b.address)
        await until(lambda: a.connected_to(2))
        a.transport.send(2, 0, [heartbeat(2)])
        await until(lambda: again.recorder.messages)
        assert again.recorder.from_peer(1) == [heartbeat(2)]
        assert a.recorder.events == [("connected", 2), ("disconnected", 2), ("connected", 2)]
        incarnations = [introduction.incarnation for introduction in a.recorder.introductions]
        assert incarnations == [b.transport.identity.incarnation, again.transport.identity.incarnation]

    async def test_hanging_up_ends_the_connection_and_dialling_brings_it_back(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        a.transport.hang_up(b.address)
        a.transport.hang_up(b.address)
        assert a.transport.links() == {}
        a.transport.send(2, 0, [heartbeat(1)])
        assert a.dropped(2) == 1
        await until(lambda: len(a.recorder.events) == 2)
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
        a.transport.send(2, 0, [heartbeat(2)])
        await until(lambda: b.recorder.messages)
        assert b.recorder.from_peer(1) == [heartbeat(2)]
        assert a.recorder.events == [("connected", 2), ("disconnected", 2), ("connected", 2)]

    async def test_hanging_up_and_dialling_at_once_tells_the_loss_first(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        a.transport.hang_up(b.address)
        a.transport.dial(b.address)
        await until(lambda: len(a.recorder.events) == 3)
        assert a.recorder.events == [("connected", 2), ("disconnected", 2), ("connected", 2)]
        assert a.connected_to(2)

    async def test_the_receiver_is_never_called_from_inside_a_call(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        b.transport.dial(a.address)
        await until(lambda: b.connected_to(1))
        calls = a.recorder.calls, b.recorder.calls
        a.transport.send(2, 0, [heartbeat(1)])
        a.transport.hang_up(b.address)
        a.transport.dial(b.address)
        b.transport.hang_up(a.address)
        assert (a.recorder.calls, b.recorder.calls) == calls

    async def test_another_cluster_is_refused(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2, cluster_id="other")
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert "'suite'" in (a.link_to(b.address).last_error or "")
        assert "'other'" in (a.link_to(b.address).last_error or "")
        assert a.recorder.calls == b.recorder.calls == 0

    async def test_two_nodes_with_one_id_refuse_each_other(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(1)
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert "two nodes are configured with id 1" in (a.link_to(b.address).last_error or "")
        assert a.recorder.calls == b.recorder.calls == 0

    async def test_an_own_address_is_recognised_and_left_alone(self, harness: TransportHarness) -> None:
        a = await harness.open(1)
        a.transport.dial(a.address)
        await until(lambda: a.link_to(a.address).state is LinkState.OURSELVES)
        assert a.recorder.calls == 0

    async def test_the_accepting_receiver_may_refuse_and_change_its_mind(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        b.recorder.refuse = lambda introduction: f"node {introduction.node_id} is not a member"
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert a.link_to(b.address).last_error == "node 1 is not a member"
        assert a.recorder.calls == 0
        b.recorder.refuse = lambda introduction: None
        await until(lambda: a.connected_to(2))
        assert a.link_to(b.address) == LinkStatus(b.address, LinkState.CONNECTED, 2)

    async def test_the_dialling_receiver_may_refuse(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        a.recorder.refuse = lambda introduction: f"{introduction.dialled} should be node 3"
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert a.link_to(b.address).last_error == f"{b.address} should be node 3"
        assert a.recorder.events == []
        a.transport.send(2, 0, [heartbeat(1)])
        assert a.dropped(2) == 1

    async def test_a_second_address_of_a_connected_node_is_refused(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        twin = await harness.open(2)
        a.transport.dial(twin.address)
        await until(lambda: a.link_to(twin.address).state is LinkState.REFUSED)
        assert "already reached" in (a.link_to(twin.address).last_error or "")
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: b.recorder.messages)
        assert a.recorder.events == [("connected", 2)]

    async def test_nothing_is_told_after_stop(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        b.transport.dial(a.address)
        await until(lambda: b.connected_to(1))
        b.transport.send(1, 0, [heartbeat(n) for n in range(100)])
        await a.transport.stop()
        assert a.recorder.events == [("connected", 2), ("disconnected", 2)]
        calls = a.recorder.calls
        await a.transport.stop()
        a.transport.send(2, 0, [heartbeat(1)])
        a.transport.dial(b.address)
        b.transport.send(1, 0, [heartbeat(1)])
        await until(lambda: not b.connected_to(1))
        assert a.recorder.calls == calls
        assert a.dropped(2) == 1

    async def test_a_cut_swallows_messages_until_it_is_healed(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        for node, peer, direction in ((a, 2, Direction.OUTGOING), (b, None, Direction.INCOMING)):
            node.faults.cut(peer, direction)
            a.transport.send(2, 0, [heartbeat(1), heartbeat(2)])
            await until(lambda node=node: node.faults.fired["cut"] == 2)  # type: ignore[misc]
            node.faults.heal()
        a.transport.send(2, 0, [heartbeat(3)])
        await until(lambda: b.recorder.messages)
        assert b.recorder.from_peer(1) == [heartbeat(3)]
        assert a.recorder.events == [("connected", 2)]

    async def test_delays_keep_the_order(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        a.faults.delay(2, 0.0, jitter_seconds=0.05)
        b.faults.delay(1, 0.01, jitter_seconds=0.05)
        for n in range(50):
            a.transport.send(2, 0, [heartbeat(n)])
        a.faults.heal()
        a.transport.send(2, 0, [heartbeat(50)])
        await until(lambda: len(b.recorder.messages) >= 51)
        assert b.recorder.from_peer(1) == [heartbeat(n) for n in range(51)]
        assert a.faults.fired["delay"] == 50

    async def test_dropped_messages_are_counted_and_the_rest_arrives(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        a.faults.drop(None, 0.5, Direction.OUTGOING)
        a.transport.send(2, 0, [heartbeat(n) for n in range(200)])
        a.faults.heal()
        a.transport.send(2, 0, [heartbeat(200)])
        await until(lambda: heartbeat(200) in b.recorder.from_peer(1))
        dropped = a.dropped(2)
        assert 0 < dropped < 200
        assert len(b.recorder.messages) == 201 - dropped
        assert a.faults.fired["drop"] == dropped
