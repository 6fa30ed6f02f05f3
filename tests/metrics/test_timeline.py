"""What a node remembers of what happened to it: elections with their duration, partitions, and no more than it may."""

from __future__ import annotations

import pytest

from quorate.node.events import (
    LeaderElected,
    LeaderLost,
    LogCompacted,
    MembershipChanged,
    PeerConnected,
    PeerDisconnected,
    PeersSilent,
    RoleChanged,
    SnapshotSent,
)
from quorate.node.timeline import KEPT_MAX, Timeline, TimelineEvent, rfc3339
from quorate.raft.membership import Configuration
from quorate.raft.roles import Role

NOON_US = 1_800_000_000_000_000


class Fixture:
    """The timeline of node 1 of three, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.configuration: Configuration | None = Configuration.of([1, 2, 3])
        self.timeline = Timeline(
            1,
            configuration=lambda: self.configuration,
            wall_clock_us=lambda: NOON_US + int(self.now * 1e6),
            clock=lambda: self.now,
        )

    def kinds(self) -> list[str]:
        return [event.kind for event in self.timeline.since()]


@pytest.fixture
def node() -> Fixture:
    return Fixture()


def test_an_election_lasts_from_the_loss_of_the_leader_until_there_is_another(node: Fixture) -> None:
    timeline = node.timeline
    timeline.note(LeaderElected(1, 2))
    assert timeline.elections.count == 0  # a node that was just started found its leader
    node.now += 0.2
    timeline.note(RoleChanged(1, Role.PRE_CANDIDATE))
    timeline.note(LeaderLost(1, 2, silent_seconds=0.2))
    node.now += 0.1
    timeline.note(RoleChanged(2, Role.LEADER))
    timeline.note(LeaderElected(2, 1))
    assert timeline.elections.count == 1
    assert timeline.election_seconds_last == pytest.approx(0.3)
    assert timeline.elected_at_us == NOON_US + 100_300_000
    (elected,) = timeline.since(timeline.last - 1)
    assert elected.facts == {"term": 2, "leader": 1, "seconds": 0.3}
    assert timeline.roles_taken == {Role.PRE_CANDIDATE: 1, Role.LEADER: 1}


def test_the_first_election_of_a_cluster_counts_for_who_stood_in_it(node: Fixture) -> None:
    node.timeline.note(RoleChanged(0, Role.PRE_CANDIDATE))
    node.now += 0.05
    node.timeline.note(LeaderElected(1, 1))
    assert node.timeline.election_seconds_last == pytest.approx(0.05)


def test_a_partition_begins_when_a_member_that_was_connected_is_not_and_ends_when_all_are(node: Fixture) -> None:
    timeline = node.timeline
    timeline.note(PeerConnected(2))
    timeline.note(PeerConnected(3))
    timeline.note(PeerDisconnected(3))
    assert timeline.lost == {3}
    assert not timeline.is_cut_off
    timeline.note(PeerDisconnected(2))
    assert timeline.is_cut_off
    node.now += 4
    timeline.note(PeerConnected(2))
    timeline.note(PeerConnected(3))
    assert timeline.lost == frozenset()
    assert node.kinds().count("partition_detected") == 3
    last = timeline.since()[-1]
    assert (last.kind, last.facts) == ("partition_recovered", {"lost": [3], "seconds": 4.0})
    assert timeline.partitions == 1  # one, though it looked different three times


def test_a_member_that_is_silent_is_lost_though_its_connection_stands(node: Fixture) -> None:
    timeline = node.timeline
    for peer in (2, 3):
        timeline.note(PeerConnected(peer))
    timeline.note(PeersSilent(frozenset({3, 9})))
    assert (timeline.lost, timeline.is_cut_off, timeline.partitions) == ({3}, False, 1)
    timeline.note(PeerDisconnected(3))
    timeline.note(PeersSilent(frozenset({2, 3})))
    assert (timeline.lost, timeline.is_cut_off, timeline.partitions) == ({2, 3}, True, 1)
    timeline.note(PeerConnected(3))
    assert timeline.lost == {2, 3}  # nothing has come through yet
    timeline.note(PeersSilent(frozenset()))
    assert timeline.lost == frozenset()
    assert node.kinds()[-1] == "partition_recovered"


def test_who_was_never_there_or_is_no_member_any_more_is_not_lost(node: Fixture) -> None:
    timeline = node.timeline
    timeline.note(PeerConnected(2))
    timeline.note(PeerConnected(9))
    timeline.note(PeerDisconnected(9))
    assert timeline.lost == frozenset()
    timeline.note(PeerDisconnected(2))
    assert timeline.lost == {2}
    node.configuration = Configuration.of([1, 3])
    timeline.note(MembershipChanged(7, node.configuration))
    assert timeline.lost == frozenset()
    assert node.kinds()[-2:] == ["membership_changed", "partition_recovered"]


def test_the_oldest_give_way_and_numbers_tell_how_many_there_were(node: Fixture) -> None:
    for index in range(KEPT_MAX + 5):
        node.timeline.note(LogCompacted(index))
    kept = node.timeline.since()
    assert len(kept) == KEPT_MAX
    assert (kept[0].number, kept[-1].number) == (6, KEPT_MAX + 5)
    assert node.timeline.counts["log_compacted"] == KEPT_MAX + 5
    assert [event.number for event in node.timeline.since(KEPT_MAX + 3)] == [KEPT_MAX + 4, KEPT_MAX + 5]


def test_an_event_is_plain_data(node: Fixture) -> None:
    node.timeline.note(SnapshotSent(3, 41))
    (event,) = node.timeline.since()
    time = "2027-01-15T08:01:40.000000Z"
    assert event.document() == {"number": 1, "time": time, "kind": "snapshot_sent", "index": 41, "peer": 3}
    assert rfc3339(NOON_US + 7) == "2027-01-15T08:00:00.000007Z"
    assert TimelineEvent(1, 0, "x", {}).document()["time"] == "1970-01-01T00:00:00.000000Z"
