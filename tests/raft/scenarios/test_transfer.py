"""Named regression scenarios about handing the leadership over, and leaders that are not fit to lead."""

from __future__ import annotations

import pytest

from quorate.errors import LeadershipMoving, MembershipConflict, NotLeader
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from quorate.raft.roles import Role
from tests.raft.harness import Cluster
from tests.raft.server import members


def test_scenario_18_a_follower_read_after_a_transfer_is_fresh() -> None:
    """With leases on: the leader hands over and is cut off; it and its followers answer nothing from its lease.

    From: tikv/raft-rs #234, etcd-io/etcd #12704, databendlabs/openraft #1749: the followers' promise is broken by the
    very election that the leader has asked for, and the leader counted on it.
    How: it gives the transfer up, or never hears of its success, and its lease still runs.
    Brings it back: in ``Leadership._urge_successor``, leave out ``forgo_lease``.
    """
    cluster = Cluster(3, lease_reads=True)
    cluster.elect(1)
    cluster.run(11)
    assert cluster.answer(1, cluster.read(1)) == 1, "the lease is good"
    cluster.deliver()
    assert cluster.transfer(1, 2) == 2
    (order,) = cluster.packets(TimeoutNow)
    cluster.tick()
    cluster.deliver(order)
    cluster.cut |= {(2, 1), (3, 1), (1, 2)}
    cluster.settle()
    assert cluster.leaders == [1, 2]
    acknowledged = cluster.propose(2)
    cluster.settle()
    assert cluster.core(2).log.applied == acknowledged
    old = cluster.read(1)
    assert cluster.answer(1, old) == "pending", "the old leader does not answer from its lease"
    cluster.step(3, 1, ReadIndex(term=1, token=4711))
    token = cluster.read(3)
    cluster.settle()
    answer = cluster.answer(3, token)
    assert isinstance(answer, int)
    assert answer >= acknowledged
    assert cluster.answer(1, old) == "pending"


def test_scenario_18_the_lease_stays_given_up_until_the_end_of_the_term() -> None:
    """The transfer has failed, as far as the leader knows: its order may still arrive, at any time of this term.

    From: tikv/raft-rs #234: the leader only reset a field, and MsgTimeoutNow was still on its way.
    Brings it back: in ``LeaderReads.forgo_lease``, ``self._lease_from = None`` in place of what it does.
    """
    cluster = Cluster(3, lease_reads=True)
    cluster.elect(1)
    cluster.run(11)
    cluster.transfer(1, 2)
    (order,) = cluster.packets(TimeoutNow)
    for _ in range(40):
        cluster.tick()
        for packet in [each for each in cluster.pool if each.message is not order.message]:
            if isinstance(packet.message, TimeoutNow):
                cluster.lose(packet)
            else:
                cluster.deliver(packet)
    cluster.deliver_kind((Heartbeat, HeartbeatReply))
    assert cluster.core(1).successor is None
    cluster.propose(1, b"all goes on")
    token = cluster.read(1)
    assert cluster.answer(1, token) == "pending"
    cluster.cut |= {(2, 1), (3, 1)}
    cluster.deliver(order)
    cluster.settle()
    assert 2 in cluster.leaders or cluster.core(2).term == 2
    assert cluster.answer(1, token) == "pending"


def test_scenario_43_a_transfer_ends_with_the_leadership() -> None:
    """A leader is deposed in the middle of a transfer, and elected again: it takes proposals, and hands over to nobody.

    From: hashicorp/raft #487: the flag outlived the leadership that it belonged to.
    How: every proposal is refused for ever, "leadership is being handed over".
    Brings it back: in ``RaftCore._become_leader``, carry ``transfer`` over from the last leadership.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(2)
    cluster.propose(1, b"2 does not get this")
    cluster.settle()
    cluster.transfer(1, 2)
    with pytest.raises(LeadershipMoving):
        cluster.propose(1)
    with pytest.raises(LeadershipMoving):
        cluster.change(1, members((1, 3)))
    cluster.heal()
    cluster.isolate(1)
    cluster.elect(3)
    cluster.heal()
    cluster.run(10)
    with pytest.raises(NotLeader, match="node 3 is the leader"):
        cluster.propose(1)
    cluster.transfer(3, 1)
    cluster.settle()
    assert (cluster.leaders, cluster.core(1).successor) == ([1], None)
    cluster.propose(1)
    cluster.run(60)
    assert cluster.leaders == [1]


def test_a_transfer_that_comes_to_nothing_ends_after_an_election_timeout() -> None:
    """The target is gone: proposals are refused meanwhile, without any effect, and taken again afterwards.

    From: thesis, section 3.10.
    Brings it back: in ``Transfer.tick``, ``return False``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(3)
    last = cluster.core(1).log.last_index
    cluster.transfer(1, 3)
    with pytest.raises(LeadershipMoving):
        cluster.transfer(1, 2)
    for _ in range(29):
        cluster.tick()
        cluster.settle()
        with pytest.raises(LeadershipMoving):
            cluster.propose(1)
    assert cluster.core(1).log.last_index == last
    cluster.run(2)
    cluster.propose(1)


def test_scenario_44_pre_vote_and_a_protected_leader_do_not_block_a_transfer() -> None:
    """Everyone has just heard from the leader, and would promise nobody a vote: the transfer goes through at once.

    From: canonical/raft #203: the target asked for promises first, and a heartbeat made it a follower again.
    How: the followers protect their leader against the one that this very leader has sent.
    Brings it back: in ``RaftCore._handle_vote_request``, leave out ``not request.transfer``; or begin with a pre-vote.
    """
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.run(7)
    cluster.transfer(1, 3)
    cluster.settle()
    assert cluster.leaders == [3]
    assert {cluster.core(node).leader for node in range(1, 6)} == {3}
    cluster.propose(3)
    cluster.run(50)
    assert (cluster.leaders, cluster.core(3).term) == ([3], 2)


def test_a_transfer_waits_until_its_target_has_everything() -> None:
    """The order leaves only when the target's log is complete, entries that the leader itself has not written included.

    From: redpanda-data/redpanda #2606: the target could not win, and a third one did, seconds later.
    Brings it back: in ``Transfer.may_ask``, do not look at ``match``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"under way")
    cluster.transfer(1, 2)
    assert not cluster.packets(TimeoutNow)
    cluster.settle()
    assert cluster.leaders == [2]
    assert cluster.core(2).log.term(2) == 1


def test_an_order_that_is_repeated_or_late_changes_nothing() -> None:
    """TimeoutNow arrives again after the transfer, for one that is a leader, a candidate, or follows another by now.

    From: databendlabs/openraft #1806, where a stale order began an election that could not be won.
    Brings it back: in ``RaftCore._handle_timeout_now``, do not look at the leader; in ``_step``, at the term.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(7)
    cluster.transfer(1, 2)
    (order,) = cluster.packets(TimeoutNow)
    cluster.settle()
    assert cluster.leaders == [2]
    for target in (1, 2, 3):
        cluster.step(1, target, order.message)
        cluster.step(3, target, TimeoutNow(term=2))
    assert not cluster.packets(RequestVote)
    assert (cluster.leaders, cluster.core(2).term) == ([2], 2)


@pytest.mark.parametrize("role", ["learner", "witness", "stranger", "itself"])
def test_only_another_voter_is_handed_the_leadership(role: str) -> None:
    """Neither by name nor by choice of the leader, and not if it is asked all the same.

    From: eBay/NuRaft #553: a learner became the leader when it was asked to.
    Brings it back: in ``Leadership.hand_over`` and ``RaftCore._may_take_over``, leave out ``may_lead``.
    """
    target = {"learner": 3, "witness": 4, "stranger": 9, "itself": 1}[role]
    cluster = Cluster(4, members=members((1, 2), learners=(3,), witnesses=(4,)))
    cluster.elect(1)
    cluster.run(7)
    with pytest.raises(MembershipConflict, match="only another voter can"):
        cluster.transfer(1, target)
    if target in (3, 4):
        cluster.step(1, target, TimeoutNow(term=1))
        assert cluster.core(target).role is Role.FOLLOWER
    cluster.crash(2)
    cluster.run(60)
    if cluster.leaders:
        with pytest.raises(MembershipConflict, match="no other voter can be reached"):
            cluster.transfer(1)


@pytest.mark.parametrize("learners", [(), (4,)], ids=["removed", "demoted"])
def test_a_target_that_is_removed_meanwhile_does_not_take_over(learners: tuple[int, ...]) -> None:
    """The change of the membership that was under way ends without the target: the transfer does too.

    From: databendlabs/openraft #1806, where the target and its leader went by different configurations.
    Brings it back: in ``Leadership._urge_successor``, do not look whether the target is still a peer that may lead.
    """
    cluster = Cluster(4)
    cluster.elect(1)
    cluster.run(7)
    cluster.change(1, members((1, 2, 3), learners=learners))
    cluster.transfer(1, 4)
    cluster.settle()
    assert cluster.core(1).configuration.voters == {1, 2, 3}
    assert cluster.core(1).successor is None
    cluster.propose(1)
    cluster.run(5)
    cluster.step(1, 3, TimeoutNow(term=1))
    cluster.settle()
    assert cluster.leaders == [3], "whereas a voter takes over"


def test_a_request_of_a_transfer_is_no_pass_for_later_terms() -> None:
    """Requests of a transfer are repeated much later: the leader of a later term, and its followers, are not impressed.

    From: thesis, section 4.2.3: the flag breaks the protection of the leader that has set it, and of nobody else.
    Brings it back: in ``RaftCore._begin_campaign``, ``transfer`` for every campaign that follows.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(7)
    cluster.transfer(1, 2)
    cluster.deliver_kind(TimeoutNow)
    late = cluster.packets(RequestVote)
    assert all(packet.message.transfer for packet in late if isinstance(packet.message, RequestVote))
    cluster.settle()
    cluster.transfer(2, 3)
    cluster.settle()
    assert (cluster.leaders, cluster.core(3).term) == ([3], 3)
    for packet in late:
        for target in (1, 3):
            cluster.step(2, target, packet.message)
    assert (cluster.leaders, cluster.core(3).term, cluster.core(1).term) == ([3], 3, 3)
    assert not any(reply.granted for reply in cluster.messages(RequestVoteReply))
    cluster.tick(2, times=40)
    assert not any(request.transfer for request in cluster.messages(RequestVote))


def test_the_fittest_is_chosen_when_no_target_is_named() -> None:
    """The highest priority first, then the longest log; whoever is not heard from is not asked.

    Brings it back: in ``best_successor``, leave out ``priority``, or ``active``.
    """
    cluster = Cluster(4, members=members((1, 2, 3, 4), priorities={1: 5, 2: 1, 3: 3, 4: 4}))
    cluster.elect(1)
    cluster.crash(4)
    cluster.run(70)
    assert cluster.transfer(1) == 3


# -- a leader whose disk hangs --------------------------------------------------------------------------------


def test_scenario_46_a_leader_with_a_stalled_disk_yields() -> None:
    """The leader's own disk hangs: it hands over to one that works, and what was proposed is not lost.

    From: etcd-io/etcd #13527: the leader's disk hung for minutes, and heartbeats kept it in office.
    How: nobody else may campaign, as it is alive; and nothing that needs its disk gets done.
    Brings it back: in ``Leadership._check_disk``, ``return None``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].slow_disk = True
    index = cluster.propose(1, b"held up by the disk")
    cluster.run(40)
    assert cluster.leaders == [2]
    assert cluster.core(2).log.applied > index
    assert cluster[2].applied[index - 1].payload == b"held up by the disk"
    assert cluster.core(1).role is Role.FOLLOWER
    cluster[1].slow_disk = False
    cluster.persist(1)
    cluster.run(10)
    assert cluster[1].applied == cluster[2].applied


def test_scenario_46_a_leader_with_a_stalled_disk_and_no_successor_steps_down() -> None:
    """See the scenario above: nobody can take over at the moment, and after two timeouts it leaves all the same.

    Brings it back: in ``Leadership._check_disk``, never return ``Event.DISK_STALLED``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].slow_disk = True
    cluster.propose(1)
    for _ in range(70):
        cluster.tick()
        cluster.drop(TimeoutNow)
        cluster.drop((AppendEntries, AppendEntriesReply))
        cluster.settle()
    assert 1 not in cluster.leaders


def test_scenario_46_a_slow_disk_that_gets_on_keeps_its_leader() -> None:
    """Writes take long, and each ends before the next election timeout: that is no stall. A single node never yields.

    Brings it back: in ``Leadership._check_disk``, do not compare the tickets.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].slow_disk = True
    for number in range(8):
        cluster.propose(1, b"%d" % number)
        cluster.run(14)
        cluster.persist(1, 1)
    assert (cluster.leaders, cluster.core(1).successor) == ([1], None)
    alone = Cluster(1)
    alone.elect(1)
    alone[1].slow_disk = True
    alone.propose(1)
    alone.run(200)
    assert alone.leaders == [1]
