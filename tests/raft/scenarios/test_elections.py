"""Named regression scenarios about terms and votes."""

from __future__ import annotations

import pytest

from quorate.raft.config import CoreConfig
from quorate.raft.core import RaftCore
from quorate.raft.entry import EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntries, Heartbeat, HeartbeatReply, RequestVote, RequestVoteReply
from quorate.raft.output import HardState
from quorate.raft.roles import Role
from tests.raft.harness import Cluster, Disk, FixedTimeouts, entries


def test_scenario_01_term_and_vote_survive_a_restart() -> None:
    """A voter that restarts cannot be talked into a second vote in the same term.

    From: camunda/camunda #5356: the vote was forgotten within its term, and given again.
    How: a voter votes for A, restarts without its vote, votes for B in the same term: two leaders.
    Brings it back: in ``Persistence.set_hard_state``, ``HardState(term, None)``.
    """
    cluster = Cluster(3, offsets=[14, 14, 14])
    cluster.tick(times=16)
    cluster.step(2, 1, RequestVote(term=1, last_index=0, last_term=0))
    assert cluster.messages(RequestVoteReply, 1, 2)[0].granted
    cluster.crash(1)
    cluster.restart(1)
    assert (cluster.core(1).term, cluster.core(1).voted_for) == (1, 2)
    cluster.tick(1, times=16)
    cluster.drop()
    cluster.step(3, 1, RequestVote(term=1, last_index=9, last_term=1))
    assert [reply.granted for reply in cluster.messages(RequestVoteReply, 1, 3)] == [False]


def test_scenario_02_simultaneous_restart_cannot_reuse_a_lower_term() -> None:
    """All servers restart at once and the next election is above every term that was ever used.

    From: vesoft-inc/nebula #2405: a term that had been entered was taken back, and with it the vote given in it.
    How: the term is written only together with a vote; servers that entered it by hearing of it forget it.
    Brings it back: in ``RaftCore._become_follower``, leave out ``set_hard_state``.
    """
    cluster = Cluster(3, offsets=[14, 14, 14])
    for node in (1, 2, 3):
        cluster.step(node % 3 + 1, node, Heartbeat(term=7, session=1, sequence=0, commit=0))
        cluster.crash(node)
        cluster.restart(node)
    assert [cluster.core(node).term for node in (1, 2, 3)] == [7, 7, 7]
    cluster.tick(times=16)
    cluster.elect(1)
    assert cluster.core(1).term == 8


def test_scenario_04_term_and_vote_are_written_together() -> None:
    """There is no moment at which the disk holds a new term with an old vote, or the other way round.

    From: hashicorp/raft #661: term and vote are two keys and two writes.
    How: term 5 is written, the node crashes before the vote for A is: it restarts in term 5 and votes for B.
    Brings it back: in ``Persistence.take_write``, write only the term first.
    """
    cluster = Cluster(3, offsets=[14, 14, 14], disks={1: Disk(HardState(4, 3))})
    cluster.tick(times=16)
    cluster[1].slow_disk = True
    cluster.step(2, 1, RequestVote(term=5, last_index=0, last_term=0))
    assert [write.hard_state for write in cluster[1].writes] == [HardState(5, 2)]


def test_scenario_05_a_candidate_persists_its_own_vote() -> None:
    """A candidate does not even ask for votes before its own is durable, and a crash does not free it.

    From: vesoft-inc/nebula #3415: the own vote was counted and never saved.
    How: it votes for itself, gets another's vote, leads, restarts in the same term, votes for a competitor.
    Brings it back: in ``RaftCore._begin_campaign``, ``send`` the requests in place of ``send_durable``.
    """
    cluster = Cluster(3, offsets=[0, 14, 14])
    cluster.tick(times=16)
    cluster[1].slow_disk = True
    cluster.campaign(1)
    cluster.settle()
    assert cluster.core(1).role is Role.CANDIDATE
    assert not cluster.packets()
    cluster.persist(1)
    assert len(cluster.messages(RequestVote)) == 2
    cluster.crash(1)
    cluster.restart(1)
    assert (cluster.core(1).term, cluster.core(1).voted_for) == (1, 1)


def test_scenario_06_seeing_a_higher_term_is_not_voting() -> None:
    """A server that enters a term because it heard of it still has its vote, and one refused is not used up.

    From: vesoft-inc/nebula #685: the term for voting and the term for replication were two variables.
    How: entering a term records the sender as voted for, or keeps the vote of the term before.
    Brings it back: in ``RaftCore._become_follower``, ``set_hard_state(term, self.voted_for)``.
    """
    cluster = Cluster(3, offsets=[14, 14, 14], disks={1: Disk(HardState(3, 2), entries([1, 3]))})
    cluster.tick(times=16)
    cluster.step(2, 1, RequestVote(term=6, last_index=1, last_term=1))
    assert [reply.granted for reply in cluster.messages(RequestVoteReply, 1, 2)] == [False]
    assert cluster[1].disk.hard_state == HardState(6, None)
    cluster.step(3, 1, RequestVote(term=6, last_index=2, last_term=3))
    assert [reply.granted for reply in cluster.messages(RequestVoteReply, 1, 3)] == [True]


def test_scenario_06_stepping_down_in_the_same_term_keeps_the_vote() -> None:
    """A candidate that follows another leader of its own term has still voted for itself in it.

    From: ktoso/akka-raft #56, microsoft/CCF #8094 and etcd-io/etcd #2461: becoming a follower cleared the vote.
    How: it votes for a second candidate of the same term; with pre-vote even two leaders are possible.
    Brings it back: in ``RaftCore._become_follower``, ``set_hard_state`` also when the term stays.
    """
    cluster = Cluster(3, offsets=[0, 14, 14])
    cluster.tick(times=17)
    cluster.deliver()
    cluster.deliver()
    assert cluster.core(1).role is Role.CANDIDATE
    cluster.step(2, 1, Heartbeat(term=1, session=1, sequence=1, commit=0))
    assert cluster.core(1).role is Role.FOLLOWER
    cluster.tick(1, times=16)
    cluster.drop()
    cluster.step(3, 1, RequestVote(term=1, last_index=9, last_term=1))
    assert [reply.granted for reply in cluster.messages(RequestVoteReply, 1, 3)] == [False]
    assert cluster[1].disk.hard_state == HardState(1, 1)


def test_scenario_07_the_last_term_decides_before_the_length_of_the_log() -> None:
    """A long log of an old term loses against a short one of a newer term.

    From: section 5.4.1, read in a hurry: the index is compared alone, or first.
    How: an isolated old leader with many uncommitted entries is elected and overwrites committed ones.
    Brings it back: in ``RaftLog.is_up_to_date``, compare ``(last_index, last_term)``.
    """
    disks = {1: Disk(HardState(2), entries([1] * 50)), 2: Disk(HardState(2), entries([1, 2])), 3: Disk(HardState(2))}
    cluster = Cluster(3, disks=disks)
    cluster.crash(3)
    cluster.tick(1, 2, times=16)
    cluster.campaign(1)
    cluster.settle()
    assert cluster.leaders == []
    cluster.elect(2)
    assert cluster.terms(1) == [1, 2, 3]


def test_scenario_39_voting_does_not_depend_on_ones_own_configuration() -> None:
    """A server votes for a candidate that its own, older configuration does not know; and so does a learner.

    From: thesis, section 4.2.2, and etcd-io/raft, where learners vote for the same reason.
    How: a server that lags behind refuses a legitimate new member's request, and there is no quorum for ever.
    Brings it back: in ``RaftCore._handle_vote_request``, return if the candidate is not in ``self.configuration``.
    """
    for configuration in (
        Configuration.of((1, 2, 3)),
        Configuration.of((2, 3), learners=(1,)),
    ):
        disk = Disk()
        core = RaftCore(CoreConfig(node_id=1), configuration, disk.recovered, disk, FixedTimeouts(14))
        for now in range(1, 18):
            core.tick(now)
        core.step(9, RequestVote(term=1, last_index=0, last_term=0))
        output = core.ready()
        assert output.write is not None
        assert output.write.hard_state == HardState(1, 9)


def test_scenario_44_pre_vote_does_not_block_a_deposed_leader_or_a_higher_term_for_ever() -> None:
    """A server in a higher term that nobody votes for gets back into the cluster.

    From: etcd-io/etcd #8501: a node in a higher term was ignored by all others, ignored the leader itself, and could
    never rejoin.
    How: messages of a lower term are dropped in silence, so that the leader never hears of the higher term.
    Brings it back: in ``RaftCore._answer_lower_term``, do not answer ``AppendEntries`` and ``Heartbeat``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    index = cluster.propose(1)
    cluster.isolate(3)
    cluster.settle()
    cluster.crash(3)
    cluster[3].disk.hard_state = HardState(9, 3)
    cluster.restart(3)
    cluster.heal()
    cluster.run(150)
    assert len(cluster.leaders) == 1
    assert {cluster.core(node).leader for node in (1, 2, 3)} == set(cluster.leaders)
    assert cluster.core(3).log.applied > index


def test_scenario_44_pre_vote_spreads_the_term_that_it_needs() -> None:
    """One server has the better log and a lower term, the other a higher term and the worse log; the third is down.

    From: etcd-io/etcd #8243, canonical/raft #279, databendlabs/openraft #1796: leaderless for ever.
    How: the refusal of a pre-vote does not tell the higher term, or is ignored by the one who needs it.
    Brings it back: in ``RaftCore._answer_lower_term``, do not answer ``RequestVote``.
    """
    disks = {1: Disk(HardState(3), entries([1, 1, 1])), 2: Disk(HardState(9), entries([1])), 3: Disk()}
    cluster = Cluster(3, disks=disks)
    cluster.crash(3)
    cluster.run(100)
    assert cluster.leaders == [1]
    assert cluster.terms(2) == [1, 1, 1, cluster.core(1).term]


def test_scenario_44_a_deposed_leader_follows_the_next_one() -> None:
    """See the scenario above: here the old leader comes back with unreplicated entries and a lower term.

    Brings it back: in ``RaftCore._enter_higher_term``, ignore the leader unless this node is a follower.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.propose(1, b"never committed")
    cluster.run(100)
    assert cluster.core(1).role is not Role.LEADER
    (leader,) = cluster.leaders
    cluster.propose(leader, b"committed")
    cluster.settle()
    cluster.heal()
    cluster.run(30)
    assert cluster.leaders == [leader]
    assert cluster.core(1).leader == leader
    payloads = [each.payload for each in cluster[1].applied if each.kind is EntryKind.COMMANDS]
    assert payloads == [b"committed"]


def test_scenario_45_a_partial_partition_does_not_depose_a_leader_with_a_quorum() -> None:
    """A follower that lost only the leader, and still reaches the others, cannot depose it.

    From: the Cloudflare outage of November 2020 (etcd behind a switch that failed in part); etcd-io/etcd #9333.
    How: the cut-off server campaigns, raises the term through its friends, and the leader steps down, again and again.
    Brings it back: in ``ElectionTimer.leader_is_recent``, ``return False``.
    """
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.cut |= {(1, 3), (3, 1)}
    cluster.run(500)
    assert cluster.leaders == [1]
    assert cluster.core(1).term == 1


@pytest.mark.parametrize("cut", [(1, 3), (3, 1)], ids=["receives nothing", "sends nothing"])
def test_scenario_45_a_one_way_partition_does_not_depose_a_leader_with_a_quorum(cut: tuple[int, int]) -> None:
    """See the scenario above, with only one direction lost.

    Brings it back: as there.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut.add(cut)
    cluster.run(500)
    assert cluster.leaders == [1]
    assert cluster.core(1).term == 1


@pytest.mark.parametrize("direction", ["hears nobody", "is heard by nobody"])
def test_scenario_45_a_leader_in_a_one_way_partition_gives_way(direction: str) -> None:
    """The counterpart: a leader that lost its quorum in one direction must not block the others for ever.

    Brings it back: in ``Leadership._check_quorum``, ``return None``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut |= {(2, 1), (3, 1)} if direction == "hears nobody" else {(1, 2), (1, 3)}
    cluster.run(130)
    assert any(leader != 1 for leader in cluster.leaders)


def test_a_late_request_for_a_vote_does_not_make_a_follower_forget_its_leader() -> None:
    """A repeated RequestVote of the current term arrives while the term's leader is at work.

    Found in review of this code: the vote was granted (harmless by itself), and with it the wait began anew as if no
    leader had been heard, so that the next pre-vote found a promise it should not have.
    Brings it back: in ``RaftCore._handle_vote_request``, ask ``_leader_is_protected`` for pre-votes only.
    """
    cluster = Cluster(3)
    cluster.step(2, 1, AppendEntries(term=4, session=1, previous_index=0, previous_term=0, commit=0))
    cluster.step(3, 1, RequestVote(term=4, last_index=9, last_term=3))
    cluster.step(3, 1, RequestVote(term=5, last_index=9, last_term=3, pre_vote=True))
    assert not cluster.packets(RequestVoteReply)
    assert cluster.core(1).leader == 2


def test_reads_do_not_stop_the_clock() -> None:
    """Strong reads arrive all the time, and a follower still notices that its leader is gone.

    Found in review of this code: a read told the core the time, and the next tick took that for its own last reading.
    Brings it back: in ``RaftCore.read_index``, set ``_ticked_at`` too.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(10)
    cluster.isolate(2)
    for _ in range(60):
        cluster.core(2).read_index(cluster.now, cluster.now + 1)
        cluster.tick(2)
        cluster.core(1).read_index(cluster.now, cluster.now)
    assert cluster.core(2).role is Role.PRE_CANDIDATE
    assert not cluster.packets(HeartbeatReply, 2)
