"""The leader's pending reads, its rounds and its lease; the follower's questions."""

from __future__ import annotations

from quorate.raft.config import CoreConfig
from quorate.raft.inflights import Inflights
from quorate.raft.membership import Configuration
from quorate.raft.progress import Progress
from quorate.raft.reads import FollowerReads, LeaderReads

NO_OP = 7


class Rig:
    """The reads of leader 1 of three."""

    def __init__(self, *, voters: int = 3, lease: bool = False) -> None:
        self.config = CoreConfig(node_id=1, lease_reads=lease)
        self.reads = LeaderReads(self.config, Configuration.of(range(1, voters + 1)), NO_OP)
        self.peers = {node: Progress(node, 1, Inflights(1, 1)) for node in range(2, voters + 1)}

    def acknowledge(self, peer: int, sequence: int) -> None:
        self.peers[peer].round_acked = sequence
        self.reads.acknowledged(self.peers)

    def answerable(self, commit: int) -> list[tuple[int, int]]:
        return [(read.token, read.index) for read in self.reads.take_answerable(commit)]


def test_a_read_waits_for_a_round_that_was_begun_after_it() -> None:
    rig = Rig()
    early = rig.reads.begin_round(now=0)
    rig.reads.add(1, 100, commit=9, now=0)
    rig.acknowledge(2, early)
    assert rig.answerable(9) == []
    assert rig.reads.wants_round
    late = rig.reads.begin_round(now=1)
    rig.acknowledge(3, late)
    assert rig.answerable(9) == [(100, 9)]
    assert rig.answerable(9) == [], "once"


def test_one_round_serves_all_that_came_before_it() -> None:
    rig = Rig()
    for token in (1, 2, 3):
        rig.reads.add(2, token, commit=8 + token, now=0)
    sequence = rig.reads.begin_round(now=0)
    rig.reads.add(2, 4, commit=20, now=0)
    rig.acknowledge(2, sequence)
    assert rig.answerable(20) == [(1, 9), (2, 10), (3, 11)]


def test_one_round_at_a_time_is_begun_for_reads() -> None:
    rig = Rig()
    assert not rig.reads.wants_round
    rig.reads.add(1, 1, commit=9, now=0)
    assert rig.reads.wants_round
    rig.reads.begin_round(now=0)
    rig.reads.add(1, 2, commit=9, now=0)
    assert not rig.reads.wants_round
    rig.acknowledge(2, 1)
    assert rig.reads.wants_round


def test_before_the_no_op_is_committed_nothing_is_answered() -> None:
    rig = Rig()
    rig.reads.add(1, 1, commit=3, now=0)
    rig.acknowledge(2, rig.reads.begin_round(now=0))
    assert rig.answerable(NO_OP - 1) == []
    assert rig.answerable(NO_OP) == [(1, NO_OP)]


def test_a_read_quorum_is_a_majority() -> None:
    rig = Rig(voters=5)
    rig.reads.add(1, 1, commit=9, now=0)
    sequence = rig.reads.begin_round(now=0)
    rig.acknowledge(2, sequence)
    assert rig.answerable(9) == []
    rig.acknowledge(4, sequence)
    assert rig.answerable(9) == [(1, 9)]


def test_a_node_alone_is_its_own_quorum_and_remembers_no_rounds() -> None:
    rig = Rig(voters=1)
    rig.reads.add(1, 1, commit=9, now=0)
    for now in range(100):
        rig.reads.begin_round(now)
        rig.reads.acknowledged(rig.peers)
    assert rig.answerable(9) == [(1, 9)]
    assert not rig.reads._rounds


def test_a_lease_counts_from_the_sending_of_a_confirmed_round() -> None:
    rig = Rig(lease=True)
    rig.reads.add(1, 1, commit=9, now=100)
    rig.reads.begin_round(now=100)
    assert rig.answerable(9) == [], "not confirmed yet"
    rig.acknowledge(2, 1)
    assert rig.answerable(9) == [(1, 9)], "the round confirmed it"
    last = 100 + rig.config.lease_ticks - 1
    rig.reads.add(1, 2, commit=9, now=last)
    assert rig.answerable(9) == [(2, 9)]
    rig.reads.add(1, 3, commit=9, now=last + 1)
    assert rig.answerable(9) == []
    assert rig.reads.wants_round


def test_a_lease_serves_nothing_before_the_no_op_and_nobody_who_cannot_tell_the_time() -> None:
    rig = Rig(lease=True)
    rig.acknowledge(2, rig.reads.begin_round(now=0))
    rig.reads.add(1, 1, commit=NO_OP - 1, now=0)
    rig.reads.add(2, 2, commit=NO_OP, now=None)
    assert rig.answerable(99) == []
    rig.reads.add(1, 3, commit=NO_OP, now=0)
    assert rig.answerable(99) == [(3, NO_OP)]


def test_without_the_setting_there_is_no_lease() -> None:
    rig = Rig()
    rig.acknowledge(2, rig.reads.begin_round(now=0))
    rig.reads.add(1, 1, commit=9, now=0)
    assert rig.answerable(9) == []


def test_what_cannot_be_answered_here_any_more_is_given_back() -> None:
    rig = Rig()
    rig.reads.add(1, 1, commit=3, now=0)
    rig.acknowledge(2, rig.reads.begin_round(now=0))
    rig.reads.add(3, 2, commit=3, now=0)
    assert [(read.origin, read.token) for read in rig.reads.abandon()] == [(1, 1), (3, 2)]


def test_too_many_reads_are_refused() -> None:
    rig = Rig()
    assert all(rig.reads.add(2, token, commit=9, now=0) for token in range(LeaderReads.PENDING_MAX))
    assert not rig.reads.add(2, 0, commit=9, now=0)


def test_a_follower_accepts_each_answer_once_and_only_to_its_own_questions() -> None:
    reads = FollowerReads()
    reads.asked(1)
    reads.asked(2)
    assert reads.answered(2)
    assert not reads.answered(2)
    assert not reads.answered(3)
    assert reads.abandon() == [1]
    assert not reads.answered(1)


def test_a_follower_remembers_a_bounded_number_of_questions() -> None:
    reads = FollowerReads()
    for token in range(FollowerReads.ASKED_MAX + 5):
        reads.asked(token)
    assert not reads.answered(4)
    assert reads.answered(5)
    assert len(reads.abandon()) == FollowerReads.ASKED_MAX - 1
