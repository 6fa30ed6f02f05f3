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
import random

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
from quorate.testing.transport_harness import Recorder, Station, TransportHarness, heartbeat, open_bulk, until
from quorate.transport.contract import (
    Announcement,
    Lane,
    LinkState,
    LinkStatus,
    Refusal,
    RefusalCode,
    WireMessage,
)
from quorate.transport.faults import Direction

__all__ = [
    "Recorder",
    "Station",
    "TransportHarness",
    "TransportSuite",
    "every_message",
    "heartbeat",
    "open_bulk",
    "until",
]


def chunk(sequence: int, bytes_: int = 1024 * 1024) -> AppendEntries:
    """One of many large messages that can be told apart."""
    entry = Entry(sequence + 1, 1, EntryKind.COMMANDS, bytes(bytes_))
    return AppendEntries(term=1, session=1, previous_index=sequence, previous_term=0, commit=0, entries=(entry,))


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


def announced(station: Station, node_id: int) -> list[Announcement]:
    """What a node announced about itself to ``station``, each time it presented itself."""
    return [
        Announcement(
            store=each.store,
            configuration_index=each.configuration_index,
            member=each.member,
            repairing=each.repairing,
        )
        for each in station.recorder.introductions
        if each.node_id == node_id
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
        assert [refusal.code for _, refusal in a.recorder.refusals[:1]] == [RefusalCode.OTHER_CLUSTER]
        assert a.recorder.introductions == b.recorder.introductions == []
        assert a.recorder.events == b.recorder.events == []

    async def test_two_nodes_with_one_id_refuse_each_other(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(1)
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert "two nodes are configured with id 1" in (a.link_to(b.address).last_error or "")
        assert a.recorder.introductions == b.recorder.introductions == []
        assert a.recorder.events == b.recorder.events == []

    async def test_an_own_address_is_recognised_and_left_alone(self, harness: TransportHarness) -> None:
        a = await harness.open(1)
        a.transport.dial(a.address)
        await until(lambda: a.link_to(a.address).state is LinkState.OURSELVES)
        assert a.recorder.calls == 0

    async def test_the_accepting_receiver_may_refuse_and_change_its_mind(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        b.recorder.refuse = lambda introduction: Refusal(f"node {introduction.node_id} is not a member")
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert a.link_to(b.address).last_error == "node 1 is not a member"
        assert a.recorder.introductions == []
        assert a.recorder.events == []
        b.recorder.refuse = lambda introduction: None
        await until(lambda: a.connected_to(2))
        assert a.link_to(b.address) == LinkStatus(b.address, LinkState.CONNECTED, 2)

    async def test_the_dialling_receiver_may_refuse(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        a.recorder.refuse = lambda introduction: Refusal(f"{introduction.dialled} should be node 3")
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert a.link_to(b.address).last_error == f"{b.address} should be node 3"
        assert a.recorder.events == []
        a.transport.send(2, 0, [heartbeat(1)])
        assert a.dropped(2) == 1

    async def test_a_refusal_reaches_the_node_that_was_refused_each_time(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        refusal = Refusal("node 1 was removed", RefusalCode.REMOVED)
        b.recorder.refuse = lambda introduction: refusal
        a.transport.dial(b.address)
        await until(lambda: len(a.recorder.refusals) >= 2)
        b.recorder.refuse = lambda introduction: Refusal("no")
        await until(lambda: a.recorder.refusals[-1] != (b.address, refusal))
        assert a.recorder.refusals[0] == (b.address, refusal)
        assert a.recorder.refusals[-1] == (b.address, Refusal("no", RefusalCode.OTHER))
        assert b.recorder.refusals == []

    async def test_our_own_refusal_is_not_told_to_us(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        a.recorder.refuse = lambda introduction: Refusal("not you", RefusalCode.OTHER_DATA)
        a.transport.dial(b.address)
        await until(lambda: a.link_to(b.address).state is LinkState.REFUSED)
        assert a.recorder.refusals == []

    async def test_a_refused_node_may_hang_up_at_once(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        b.recorder.refuse = lambda introduction: Refusal("no")
        a.recorder.when_refused = a.transport.hang_up
        a.transport.dial(b.address)
        await until(lambda: a.recorder.refusals)
        assert a.transport.links() == {}
        a.recorder.when_refused = lambda address: None
        a.transport.dial(b.address)
        b.recorder.refuse = lambda introduction: None
        await until(lambda: a.connected_to(2))
        assert a.recorder.events == [("connected", 2)]

    async def test_announcements_go_both_ways_and_are_asked_for_anew(self, harness: TransportHarness) -> None:
        a, b = await harness.open(1), await harness.open(2)
        a.recorder.announces = Announcement(store=2**64 - 1, configuration_index=7, member=False, repairing=True)
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
        assert announced(b, 1) == [a.recorder.announces]
        assert announced(a, 2) == [Announcement()]
        first = a.recorder.announces
        a.recorder.announces = Announcement(configuration_index=8)
        b.recorder.announces = Announcement(store=5)
        a.transport.hang_up(b.address)
        a.transport.dial(b.address)
        await until(lambda: len(a.recorder.events) == 3)
        assert announced(b, 1) == [first, a.recorder.announces]
        assert announced(a, 2) == [Announcement(), b.recorder.announces]

    # -- a node at two addresses, and links that change at runtime ---------------------------------------

    async def test_of_two_addresses_of_a_node_the_newest_is_the_way_and_the_other_a_spare(
        self, harness: TransportHarness
    ) -> None:
        a, b = await harness.pair()
        moved = await harness.open(2)
        a.transport.dial(moved.address)
        await until(lambda: a.link_to(moved.address).state is LinkState.CONNECTED)
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: moved.recorder.messages)
        await moved.transport.stop()
        await until(lambda: a.link_to(moved.address).state is not LinkState.CONNECTED)
        assert a.connected_to(2)
        a.transport.send(2, 0, [heartbeat(2)])
        await until(lambda: b.recorder.messages)
        assert (moved.recorder.from_peer(1), b.recorder.from_peer(1)) == ([heartbeat(1)], [heartbeat(2)])
        assert a.recorder.events == [("connected", 2)]
        await b.transport.stop()
        await until(lambda: len(a.recorder.events) == 2)
        assert a.recorder.events == [("connected", 2), ("disconnected", 2)]
        assert not a.connected_to(2)

    async def test_losing_the_spare_is_no_loss(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        moved = await harness.open(2)
        a.transport.dial(moved.address)
        await until(lambda: a.link_to(moved.address).state is LinkState.CONNECTED)
        await b.transport.stop()
        await until(lambda: a.link_to(b.address).state is not LinkState.CONNECTED)
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: moved.recorder.messages)
        assert a.connected_to(2)
        assert a.recorder.events == [("connected", 2)]

    async def test_a_peer_changes_its_address(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        address = await harness.new_address()
        a.transport.dial(address)
        await b.transport.stop()
        await until(lambda: len(a.recorder.events) == 2)
        moved = await harness.open(2, address=address)
        a.transport.hang_up(b.address)
        await until(lambda: a.connected_to(2))
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: moved.recorder.messages)
        assert list(a.transport.links()) == [address]
        assert a.recorder.events == [("connected", 2), ("disconnected", 2), ("connected", 2)]

    async def test_hanging_up_either_of_two_addresses_leaves_the_other(self, harness: TransportHarness) -> None:
        for old in (True, False):
            a, b = await harness.open(1), await harness.open(2)
            moved = await harness.open(2)
            for station in (b, moved):
                a.transport.dial(station.address)
                await until(lambda a=a, to=station: a.link_to(to.address).state is LinkState.CONNECTED)  # type: ignore[misc]
            gone, left = (b, moved) if old else (moved, b)
            a.transport.hang_up(gone.address)
            a.transport.send(2, 0, [heartbeat(1)])
            await until(lambda left=left: left.recorder.messages)  # type: ignore[misc]
            assert gone.recorder.messages == []
            assert a.connected_to(2)
            assert a.recorder.events == [("connected", 2)]
            await a.transport.stop()
            assert a.recorder.events == [("connected", 2), ("disconnected", 2)]

    async def test_dialling_and_hanging_up_while_running(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        c = await harness.open(3)
        for _ in range(3):
            a.transport.dial(c.address)
            await until(lambda: a.connected_to(3))
            a.transport.hang_up(c.address)
            assert not a.connected_to(3)
        a.transport.dial(c.address)
        a.transport.hang_up(c.address)
        a.transport.dial(c.address)
        await until(lambda: a.connected_to(3))
        a.transport.send(3, 0, [heartbeat(1)])
        a.transport.send(2, 0, [heartbeat(2)])
        await until(lambda: b.recorder.messages and c.recorder.messages)
        of_three = [what for what, peer in a.recorder.events if peer == 3]
        assert of_three == ["connected", "disconnected"] * 3 + ["connected"]
        assert ("disconnected", 2) not in a.recorder.events

    # -- lanes -------------------------------------------------------------------------------------------

    async def test_each_lane_keeps_its_order(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        await open_bulk(a, b)
        for first in range(0, 2000, 50):
            a.transport.send(2, 0, [heartbeat(n) for n in range(first, first + 50)], lane=Lane.BULK)
            a.transport.send(2, 1, [heartbeat(n) for n in range(first, first + 50)])
        await until(lambda: len(b.recorder.messages) >= 4000)
        for group in (0, 1):
            arrived = [message for _, of, message in b.recorder.messages if of == group]
            assert arrived == [heartbeat(n) for n in range(2000)]
        assert a.recorder.events == [("connected", 2)]
        assert b.recorder.events == []

    async def test_what_is_large_does_not_hold_up_what_is_urgent(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        await open_bulk(a, b)
        chunks = [chunk(n) for n in range(24)]
        a.transport.send(2, 0, chunks, lane=Lane.BULK)
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: len(b.recorder.messages) >= 25)
        arrived = b.recorder.from_peer(1)
        assert [message for message in arrived if message != heartbeat(1)] == chunks
        assert arrived[-1] != heartbeat(1)

    async def test_a_sender_can_pace_itself_by_the_backlog(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        await open_bulk(a, b)
        assert a.transport.backlog_bytes(77, Lane.BULK) == 0
        bound, highest, sent, dropped = 4 * 1024 * 1024, 0, 0, a.dropped(2)
        a.faults.delay(2, 0.001)
        while sent < 48:
            while sent < 48 and a.transport.backlog_bytes(2, Lane.BULK) < bound:
                a.transport.send(2, 0, [chunk(sent)], lane=Lane.BULK)
                sent += 1
            highest = max(highest, a.transport.backlog_bytes(2, Lane.BULK))
            assert a.transport.backlog_bytes(2, Lane.PROMPT) == 0
            await asyncio.sleep(0)
        await until(lambda: len(b.recorder.messages) >= 48)
        assert b.recorder.from_peer(1) == [chunk(n) for n in range(48)]
        assert 0 < highest < bound + 1.1 * 1024 * 1024
        assert a.transport.backlog_bytes(2, Lane.BULK) == 0
        assert a.dropped(2) == dropped

    async def test_bulk_works_again_after_a_reconnection(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        await open_bulk(a, b)
        await b.transport.stop()
        await until(lambda: not a.connected_to(2))
        before = a.dropped(2)
        a.transport.send(2, 0, [chunk(1)], lane=Lane.BULK)
        assert a.dropped(2) == before + 1
        again = await harness.open(2, address=b.address)
        await until(lambda: a.connected_to(2))
        await open_bulk(a, again)
        a.transport.hang_up(b.address)
        a.transport.send(2, 0, [chunk(2)], lane=Lane.BULK)
        assert a.transport.backlog_bytes(2, Lane.BULK) == 0
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
        await open_bulk(a, again)
        assert a.recorder.events == [("connected", 2), ("disconnected", 2)] * 2 + [("connected", 2)]

    async def test_an_idle_bulk_lane_opens_again_and_nobody_was_told(self, harness: TransportHarness) -> None:
        harness.bulk_idle_seconds = 0.05
        a, b = await harness.pair()
        for _ in range(2):
            await open_bulk(a, b)
            await harness.until_bulk_closed(a, 2)
        a.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: b.recorder.messages)
        assert a.recorder.events == [("connected", 2)]
        assert a.link_to(b.address) == LinkStatus(b.address, LinkState.CONNECTED, 2)

    async def test_faults_are_for_both_lanes(self, harness: TransportHarness) -> None:
        a, b = await harness.pair()
        await open_bulk(a, b)
        for node, peer, direction in ((a, 2, Direction.OUTGOING), (b, 1, Direction.INCOMING)):
            node.faults.cut(peer, direction)
            a.transport.send(2, 0, [heartbeat(1)])
            a.transport.send(2, 0, [heartbeat(2)], lane=Lane.BULK)
            await until(lambda node=node: node.faults.fired["cut"] == 2)  # type: ignore[misc]
            node.faults.heal()
        a.faults.delay(2, 0.0, jitter_seconds=0.05)
        for n in range(50):
            a.transport.send(2, 0, [heartbeat(n)], lane=Lane.BULK)
        a.faults.heal()
        a.transport.send(2, 0, [heartbeat(50)], lane=Lane.BULK)
        await until(lambda: len(b.recorder.messages) >= 51)
        assert b.recorder.from_peer(1) == [heartbeat(n) for n in range(51)]

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
