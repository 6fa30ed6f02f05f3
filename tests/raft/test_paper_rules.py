"""The rules of the paper and the thesis, one to a test, by section."""

from __future__ import annotations

from random import Random

import pytest

from quorate.errors import NotLeader, ProtocolViolation
from quorate.raft.entry import EntryKind
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
from quorate.raft.output import HardState
from quorate.raft.roles import TRANSITIONS, Event, Role
from tests.raft.harness import Cluster, Disk, entries, entry


def append(term: int, previous: int, previous_term: int, *terms: int, commit: int = 0) -> AppendEntries:
    return AppendEntries(
        term=term,
        session=1,
        previous_index=previous,
        previous_term=previous_term,
        commit=commit,
        entries=tuple(entries(terms, first=previous + 1)),
    )


def ready_to_vote(disk: Disk | None = None, size: int = 3) -> Cluster:
    """Server 1 with this disk, which has heard of no leader for long and does not campaign itself."""
    cluster = Cluster(size, offsets=[14] * size, disks={1: disk or Disk()})
    cluster.tick(times=16)
    return cluster


def vote(cluster: Cluster, candidate: int, term: int, last: tuple[int, int], *, pre_vote: bool = False) -> list[bool]:
    """What server 1 answers a candidate whose log ends in (index, term); nothing, if it does not answer."""
    cluster.drop()
    cluster.step(candidate, 1, RequestVote(term=term, last_index=last[0], last_term=last[1], pre_vote=pre_vote))
    return [reply.granted for reply in cluster.messages(RequestVoteReply, 1, candidate)]


# -- §5.1 terms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        RequestVote(term=7, last_index=0, last_term=0),
        RequestVoteReply(term=7, granted=False),
        append(7, 0, 0),
        AppendEntriesReply(term=7, session=0, match_index=0, rejected=True),
        Heartbeat(term=7, session=1, sequence=1, commit=0),
        HeartbeatReply(term=7, session=1, sequence=1),
        ReadIndex(term=7, token=1),
        ReadIndexReply(term=7, token=1, index=0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_5_1_whoever_sees_a_higher_term_enters_it(message: AppendEntries) -> None:
    cluster = ready_to_vote()
    cluster.step(2, 1, message)
    assert (cluster.core(1).term, cluster.core(1).role) == (7, Role.FOLLOWER)
    assert cluster[1].disk.hard_state.term == 7


@pytest.mark.parametrize("role", [Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_5_1_a_candidate_or_leader_of_an_old_term_becomes_a_follower(role: Role) -> None:
    cluster = Cluster(3)
    cluster.tick(times=16)
    cluster.campaign(1)
    while cluster.core(1).role is not role:
        cluster.deliver()
    cluster.step(2, 1, append(9, 0, 0))
    assert (cluster.core(1).role, cluster.core(1).leader, cluster.core(1).term) == (Role.FOLLOWER, 2, 9)


def test_5_1_a_request_of_an_old_term_is_refused_with_the_new_one() -> None:
    cluster = Cluster(3, disks={1: Disk(HardState(5))})
    cluster.step(2, 1, append(4, 0, 0, 4))
    cluster.step(3, 1, RequestVote(term=4, last_index=9, last_term=4))
    (to_leader,) = cluster.messages(AppendEntriesReply, 1, 2)
    (to_candidate,) = cluster.messages(RequestVoteReply, 1, 3)
    assert (to_leader.term, to_leader.rejected) == (5, True)
    assert (to_candidate.term, to_candidate.granted) == (5, False)
    assert cluster.core(1).log.last_index == 0


def test_5_1_an_answer_of_an_old_term_is_ignored() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    cluster.heal()
    index = cluster.propose(2)
    cluster.drop()
    cluster.step(3, 2, AppendEntriesReply(term=1, session=cluster.session(2, 3), match_index=index))
    assert cluster.core(2).log.committed == index - 1


def test_5_1_every_change_of_role_is_one_of_the_table() -> None:
    """Figure 4 with PreVote: a leader comes only from a candidate, a candidate from a pre-candidate (or is asked)."""
    sources = {after: {role for (role, _), target in TRANSITIONS.items() if target is after} for after in Role}
    assert sources[Role.LEADER] == {Role.CANDIDATE}
    assert sources[Role.CANDIDATE] == {Role.PRE_CANDIDATE, Role.FOLLOWER}
    asked = [event for (role, event), after in TRANSITIONS.items() if (role, after) == (Role.FOLLOWER, Role.CANDIDATE)]
    assert asked == [Event.OFFICE_HANDED_OVER]
    assert sources[Role.PRE_CANDIDATE] == {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}
    assert all(TRANSITIONS[role, Event.HIGHER_TERM] is Role.FOLLOWER for role in Role)


# -- §5.2 elections ----------------------------------------------------------------------------------------


def test_5_2_a_follower_that_hears_nothing_campaigns() -> None:
    cluster = Cluster(3)
    cluster.tick(1, times=17)
    assert cluster.core(1).role is Role.PRE_CANDIDATE


def test_5_2_a_follower_that_hears_a_leader_does_not() -> None:
    cluster = Cluster(3)
    cluster.elect(3)
    for _ in range(40):
        cluster.tick()
        cluster.deliver_kind(Heartbeat)
        cluster.deliver_kind(HeartbeatReply)
    assert cluster.leaders == [3]
    assert cluster.core(3).term == 1


def test_5_2_a_candidate_enters_the_next_term_and_votes_for_itself() -> None:
    cluster = ready_to_vote(Disk(HardState(4)))
    cluster.campaign(1)
    cluster.deliver()
    cluster.deliver()
    assert (cluster.core(1).role, cluster.core(1).term, cluster.core(1).voted_for) == (Role.CANDIDATE, 5, 1)


def test_5_2_one_vote_per_term_first_come_first_served() -> None:
    cluster = ready_to_vote()
    assert vote(cluster, 2, 3, (0, 0)) == [True]
    assert vote(cluster, 3, 3, (0, 0)) == [False]
    assert vote(cluster, 2, 3, (0, 0)) == [True], "a repeated request gets the same answer"
    assert vote(cluster, 3, 4, (0, 0)) == [True], "a new term, a new vote"


@pytest.mark.parametrize(("size", "granted", "wins"), [(3, 1, True), (3, 0, False), (5, 2, True), (5, 1, False)])
def test_5_2_a_majority_of_votes_wins(size: int, granted: int, wins: bool) -> None:
    cluster = ready_to_vote(size=size)
    cluster.campaign(1)
    cluster.deliver()
    cluster.deliver()
    cluster.drop()
    for peer in range(2, 2 + granted):
        cluster.step(peer, 1, RequestVoteReply(term=1, granted=True))
        cluster.step(peer, 1, RequestVoteReply(term=1, granted=True))
    assert (cluster.core(1).role is Role.LEADER) is wins


def test_5_2_a_candidate_that_is_refused_by_a_majority_gives_up() -> None:
    cluster = ready_to_vote()
    cluster.campaign(1)
    cluster.deliver()
    cluster.deliver()
    for peer in (2, 3):
        cluster.step(peer, 1, RequestVoteReply(term=1, granted=False))
    assert (cluster.core(1).role, cluster.core(1).term) == (Role.FOLLOWER, 1)


def test_5_2_a_candidate_follows_a_leader_of_its_own_term() -> None:
    cluster = ready_to_vote()
    cluster.campaign(1)
    cluster.deliver()
    cluster.deliver()
    cluster.step(3, 1, append(1, 0, 0))
    assert (cluster.core(1).role, cluster.core(1).leader) == (Role.FOLLOWER, 3)


def test_5_2_a_split_vote_is_tried_again_in_a_new_term() -> None:
    cluster = ready_to_vote()
    cluster.campaign(1)
    cluster.deliver()
    cluster.deliver()
    cluster.drop()
    cluster.tick(1, times=15)
    assert (cluster.core(1).role, cluster.core(1).term) == (Role.PRE_CANDIDATE, 1)
    cluster.settle()
    assert (cluster.core(1).role, cluster.core(1).term) == (Role.LEADER, 2)


def test_5_2_a_new_leader_makes_itself_known_at_once() -> None:
    cluster = ready_to_vote()
    cluster.campaign(1)
    while cluster.core(1).role is not Role.LEADER:
        cluster.deliver()
    assert {packet.target for packet in cluster.packets(Heartbeat)} == {2, 3}


def test_5_2_two_leaders_in_one_term_stop_the_node() -> None:
    cluster = Cluster(3, check=False)
    cluster.elect(1)
    with pytest.raises(ProtocolViolation, match="both lead term 1"):
        cluster.core(3).step(2, Heartbeat(term=1, session=1, sequence=1, commit=0))


# -- §5.3 log replication ----------------------------------------------------------------------------------


def test_5_3_an_append_is_accepted_only_behind_a_matching_entry() -> None:
    cluster = Cluster(3, disks={1: Disk(HardState(2), entries([1, 2]))})
    for previous, term, accepted in ((3, 2, False), (2, 1, False), (2, 2, True), (0, 0, True)):
        cluster.drop()
        cluster.step(2, 1, append(3, previous, term))
        (reply,) = cluster.messages(AppendEntriesReply)
        assert reply.rejected is not accepted
    assert cluster.core(1).log.last_index == 2


def test_5_3_a_conflicting_entry_and_all_behind_it_give_way() -> None:
    cluster = Cluster(3, disks={1: Disk(HardState(2), entries([1, 2, 2, 2]))})
    cluster.step(2, 1, append(3, 1, 1, 3))
    assert cluster.terms(1) == [1, 3]
    assert [each.term for each in cluster[1].disk.entries] == [1, 3]


def test_5_3_entries_that_are_there_already_are_left_alone() -> None:
    cluster = Cluster(3, disks={1: Disk(HardState(2), entries([1, 2, 2, 2]))})
    cluster.step(2, 1, append(2, 0, 0, 1, 2))
    assert cluster.terms(1) == [1, 2, 2, 2]
    (reply,) = cluster.messages(AppendEntriesReply)
    assert reply.match_index == 2, "only what this message proves"


def test_5_3_the_commit_index_follows_the_leader_but_not_beyond_what_matches() -> None:
    cluster = Cluster(3, disks={1: Disk(HardState(2), entries([1, 2, 2, 2]))}, check=False)
    cluster.core(1).step(2, append(3, 1, 1, commit=4))
    assert cluster.core(1).log.committed == 1
    cluster.core(1).step(2, append(3, 1, 1, 2, 2, commit=2))
    assert cluster.core(1).log.committed == 2


def test_5_3_a_leader_counts_a_majority_before_it_commits() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    index = cluster.propose(1)
    cluster.deliver_kind(AppendEntries, target=2)
    cluster.deliver_kind(AppendEntriesReply)
    assert cluster.core(1).log.committed == index - 1
    cluster.deliver_kind(AppendEntries, target=3)
    cluster.deliver_kind(AppendEntriesReply)
    assert cluster.core(1).log.committed == index


def test_5_3_committed_entries_are_applied_in_order_on_every_node() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    for number in range(10):
        cluster.propose(1, b"%d" % number)
    cluster.settle()
    for server in cluster.servers.values():
        assert [each.payload for each in server.applied] == [b"", *(b"%d" % number for number in range(10))]


def test_5_3_a_rejection_skips_all_entries_of_the_conflicting_term() -> None:
    log = [1] + [2] * 50
    disks = {1: Disk(HardState(4), entries([1] + [3] * 60)), 2: Disk(HardState(2), entries(log)), 3: Disk(HardState(4))}
    cluster = Cluster(3, disks=disks)
    cluster.elect(1)
    assert cluster.terms(2) == cluster.terms(1)
    assert cluster.terms(3) == cluster.terms(1)


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param([1, 1, 1, 4, 4, 5, 5, 6, 6], id="a"),
        pytest.param([1, 1, 1, 4], id="b"),
        pytest.param([1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6], id="c"),
        pytest.param([1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], id="d"),
        pytest.param([1, 1, 1, 4, 4, 4, 4], id="e"),
        pytest.param([1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], id="f"),
    ],
)
def test_5_3_figure_7_every_follower_is_brought_to_the_leaders_log_in_two_round_trips(terms: list[int]) -> None:
    leader = Disk(HardState(7), entries([1, 1, 1, 4, 4, 5, 5, 6, 6, 6]))
    cluster = Cluster(3, disks={1: leader, 2: Disk(HardState(7), entries(terms)), 3: Disk(HardState(7))})
    cluster.elect(1)
    assert cluster.terms(2) == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]


def test_5_3_only_a_leader_takes_proposals_and_others_say_who_leads() -> None:
    cluster = Cluster(3)
    with pytest.raises(NotLeader, match="no leader"):
        cluster.propose(1)
    cluster.elect(1)
    with pytest.raises(NotLeader, match="node 1 is the leader"):
        cluster.propose(2)


# -- §5.4.1 election restriction ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "granted"),
    [((3, 2), True), ((4, 2), True), ((1, 3), True), ((2, 2), False), ((9, 1), False), ((0, 0), False)],
)
@pytest.mark.parametrize("pre_vote", [False, True])
def test_5_4_1_a_vote_goes_only_to_a_log_that_is_up_to_date(
    last: tuple[int, int], granted: bool, pre_vote: bool
) -> None:
    cluster = ready_to_vote(Disk(HardState(3), entries([1, 2, 2])))
    assert vote(cluster, 2, 4, last, pre_vote=pre_vote) == [granted]


# -- §5.4.2 committing entries of earlier terms ------------------------------------------------------------


def figure_8() -> Cluster:
    """Figure 8 (c): S1 leads term 4, entry 2 of term 2 is on S1, S2 and S3, and S5 has an entry of term 3."""
    disks = {
        1: Disk(HardState(3), entries([1, 2])),
        2: Disk(HardState(3), entries([1, 2])),
        3: Disk(HardState(3), entries([1])),
        4: Disk(HardState(3), entries([1])),
        5: Disk(HardState(4), entries([1, 3])),  # it has heard of term 4, and nothing more
    }
    cluster = Cluster(5, disks=disks)
    cluster.crash(5)
    cluster.tick(times=16)
    cluster.campaign(1)
    while cluster.core(1).role is not Role.LEADER:
        cluster.deliver()
    return cluster


def test_5_4_2_figure_8_an_entry_of_an_old_term_is_not_committed_by_counting() -> None:
    cluster = figure_8()
    assert cluster.core(1).term == 4
    # Entry 2 of term 2 reaches S3, and nothing of term 4 does: on a majority, and not committed.
    for peer in (2, 3):
        match = 2 if peer == 2 else 1
        cluster.step(peer, 1, AppendEntriesReply(term=4, session=cluster.session(1, peer), match_index=match))
    cluster[3].disk.entries.append(entry(2, 2))
    cluster.step(3, 1, AppendEntriesReply(term=4, session=cluster.session(1, 3), match_index=2))
    replication = cluster.core(1).replication
    assert replication is not None
    assert replication.quorum_match() == 2
    assert cluster.core(1).log.committed == 0


def test_5_4_2_figure_8_d_such_an_entry_can_still_be_overwritten() -> None:
    cluster = figure_8()
    cluster.drop()
    cluster.crash(1)
    cluster.restart(5)
    cluster.elect(5)
    assert cluster.terms(2)[:2] == [1, 3]
    assert cluster.core(5).log.committed >= 2


def test_5_4_2_figure_8_e_it_commits_together_with_an_entry_of_the_leaders_term() -> None:
    cluster = figure_8()
    cluster.settle()
    assert cluster.core(1).log.committed == 3
    assert cluster.terms(3) == [1, 2, 4]
    cluster.crash(1)
    cluster.restart(5)
    with pytest.raises(AssertionError, match="5 was not elected"):
        cluster.elect(5)


# -- §5.5, §5.6 crashes and timing -------------------------------------------------------------------------


def test_5_5_a_repeated_message_does_no_harm() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"once")
    for packet in list(cluster.pool):
        cluster.step(packet.source, packet.target, packet.message)
        cluster.step(packet.source, packet.target, packet.message)
    cluster.settle()
    for server in cluster.servers.values():
        assert [each.payload for each in server.applied] == [b"", b"once"]


def test_5_6_failover_takes_less_than_half_a_second_of_ticks() -> None:
    """With timeouts of 150 to 300 ms and ticks of 10 ms; now and then the first vote is split."""
    split = 0
    for seed in range(60):
        rng = Random(seed)
        cluster = Cluster(3, rng=lambda node_id, rng=rng: Random(rng.getrandbits(32)))  # type: ignore[misc]
        cluster.run(60)
        (leader,) = cluster.leaders
        term = cluster.core(leader).term
        cluster.crash(leader)
        for _ in range(50):
            cluster.tick()
            cluster.deliver()  # a message takes as long as it takes until the next tick
            cluster.deliver()
        (leader,) = cluster.leaders
        split += cluster.core(leader).term > term + 1
    assert split < 20


# -- §8 clients --------------------------------------------------------------------------------------------


def test_8_a_leader_opens_its_term_with_a_no_op() -> None:
    cluster = Cluster(3, disks={node: Disk(HardState(2), entries([1, 2])) for node in (1, 2, 3)})
    cluster.elect(1)
    last = cluster.core(1).log.entries(3, 4, 1)[0]
    assert (last.index, last.term, last.kind, last.payload) == (3, 3, EntryKind.NOOP, b"")
    assert cluster.core(1).log.committed == 3


def test_8_a_read_is_answered_only_after_a_majority_confirmed_the_leader() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    token = cluster.read(1)
    cluster.deliver_kind(Heartbeat)
    assert cluster.answer(1, token) == "pending"
    cluster.deliver_kind(HeartbeatReply, source=2)
    assert cluster.answer(1, token) == "pending"
    cluster.deliver_kind(HeartbeatReply, source=3)
    assert cluster.answer(1, token) == 1


# -- thesis §4.2.3 disruptive servers ----------------------------------------------------------------------


@pytest.mark.parametrize("pre_vote", [False, True])
def test_thesis_4_2_3_nobody_votes_while_a_leader_is_at_work(pre_vote: bool) -> None:
    cluster = Cluster(3)
    cluster.elect(2)
    assert vote(cluster, 3, 2, (9, 1), pre_vote=pre_vote) == []
    assert cluster.core(1).term == 1, "not even the term is taken over"
    cluster.step(3, 2, RequestVote(term=2, last_index=9, last_term=1, pre_vote=pre_vote))
    assert (cluster.core(2).role, cluster.core(2).term) == (Role.LEADER, 1)


def test_thesis_4_2_3_after_the_shortest_timeout_votes_are_free_again() -> None:
    cluster = Cluster(3, offsets=[14, 0, 0])
    cluster.elect(2)
    cluster.tick(1, times=15)
    assert vote(cluster, 3, 2, (9, 1)) == []
    cluster.tick(1)
    assert vote(cluster, 3, 2, (9, 1)) == [True]


def test_thesis_6_2_a_leader_without_a_quorum_steps_down() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.tick(1, times=60)
    assert (cluster.core(1).role, cluster.core(1).leader, cluster.core(1).term) == (Role.FOLLOWER, None, 1)


def test_thesis_6_2_a_leader_with_a_quorum_stays() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.crash(4)
    cluster.crash(5)
    cluster.run(200)
    assert cluster.leaders == [1]
    assert cluster.core(1).term == 1


# -- thesis §6.4 reads -------------------------------------------------------------------------------------


def test_thesis_6_4_a_read_takes_the_commit_index_of_its_arrival() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    before = cluster.propose(1)
    cluster.settle()
    token = cluster.read(1)
    cluster.propose(1)
    cluster.settle()
    assert cluster.answer(1, token) == before


def test_thesis_6_4_a_follower_asks_the_leader() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    index = cluster.propose(1)
    cluster.deliver_kind(AppendEntries, target=2)
    cluster.deliver_kind(AppendEntriesReply)
    assert cluster.core(3).log.committed < index
    token = cluster.read(3)
    cluster.settle()
    assert cluster.answer(3, token) == index


def test_thesis_6_4_without_a_leader_a_read_is_refused_at_once() -> None:
    cluster = Cluster(3)
    assert cluster.answer(1, cluster.read(1)) is None


def test_thesis_6_4_1_a_lease_ends_with_time_even_if_nothing_is_heard() -> None:
    cluster = Cluster(3, lease_reads=True)
    cluster.elect(1)
    assert cluster.answer(1, cluster.read(1)) == 1
    cluster.now += cluster.core(1).config.lease_ticks  # no tick ran meanwhile: the process was stopped
    assert cluster.answer(1, cluster.read(1)) == "pending"


# -- thesis §9.6 pre-vote ----------------------------------------------------------------------------------


def test_thesis_9_6_a_pre_vote_changes_nothing_on_either_side() -> None:
    cluster = ready_to_vote()
    cluster.campaign(1)
    cluster.deliver_kind(RequestVote)
    for node in (1, 2, 3):
        assert cluster[node].disk.hard_state == HardState()
        assert cluster.core(node).term == 0


def test_thesis_9_6_a_pre_vote_may_be_promised_to_many() -> None:
    cluster = ready_to_vote()
    assert vote(cluster, 2, 1, (0, 0), pre_vote=True) == [True]
    assert vote(cluster, 3, 1, (0, 0), pre_vote=True) == [True]


def test_thesis_9_6_a_server_that_was_cut_off_comes_back_in_its_old_term() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.run(500)
    assert cluster.core(3).role is Role.PRE_CANDIDATE
    cluster.heal()
    cluster.run(10)
    assert cluster.leaders == [1]
    assert [cluster.core(node).term for node in (1, 2, 3)] == [1, 1, 1]


def test_thesis_9_6_a_late_promise_for_an_earlier_plan_does_not_count() -> None:
    cluster = ready_to_vote()
    cluster.step(2, 1, RequestVoteReply(term=1, granted=False))
    cluster.campaign(1)
    cluster.drop()
    for peer in (2, 3):
        cluster.step(peer, 1, RequestVoteReply(term=1, granted=True, pre_vote=True))
    assert cluster.core(1).role is Role.PRE_CANDIDATE


def test_thesis_10_2_1_followers_commit_before_the_leaders_own_disk_is_done() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].slow_disk = True
    index = cluster.propose(1)
    cluster.settle()
    assert [cluster.core(node).log.committed for node in (1, 2, 3)] == [index] * 3
    assert [cluster.core(node).log.applied for node in (1, 2, 3)] == [index - 1, index, index]
