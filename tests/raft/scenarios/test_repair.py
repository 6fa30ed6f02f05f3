"""Named regression scenarios about servers that lost their data, and about witnesses, which have none."""

from __future__ import annotations

import pytest

from quorate.errors import ConfigError, LeadershipMoving
from quorate.raft.entry import EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from quorate.raft.output import HardState
from quorate.raft.progress import ProgressState
from quorate.raft.roles import Role
from tests.raft.harness import Cluster, Disk, entries
from tests.raft.server import Snapshot, members, witnessed


def lost_its_disk(size: int = 3, node: int = 3) -> Cluster:
    """Leader 1 has replicated; then the disk of ``node`` is lost, and it comes back with an empty one."""
    cluster = Cluster(size)
    cluster.elect(1)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.run(6)
    cluster.crash(node)
    cluster.wipe(node)
    return cluster


def take_in_anew(cluster: Cluster, leader: int, node: int, *, learner: bool = True) -> None:
    """Write down which data ``node`` has now: first as a learner, then as a voter; or as a voter at once."""
    stores = {node: cluster[node].disk.store}
    voters = sorted(cluster.core(leader).configuration.voters)
    if learner:
        others = [each for each in voters if each != node]
        cluster.change(leader, members(others, learners=(node,), stores=stores))
        cluster.run(20)
    cluster.change(leader, members(voters, stores=stores))
    cluster.run(20)


def test_a_server_that_lost_its_disk_is_filled_anew_by_the_leader_that_knew_it() -> None:
    """The leader remembers how far the server's log went, and must not go by it any more.

    Found in review of this code: its heartbeats told a commit index that the server no longer had, which stopped it
    (scenario 48); and its refusals of appends lay behind what was known to match, so that they were ignored for ever.
    From: atomix/atomix #1027, where the leader "remembered" what a server had lost.
    Brings it back: in ``RaftCore._handle_heartbeat``, leave out ``self.repairing``; or in ``Replication.heard``, do
    not begin anew.
    """
    cluster = lost_its_disk()
    cluster.run(20)
    assert cluster[3].applied == cluster[1].applied
    assert cluster.core(3).repairing
    take_in_anew(cluster, 1, 3)
    assert not cluster.core(3).repairing
    assert (cluster.leaders, cluster.core(1).term) == ([1], 1)


def test_a_server_that_lost_its_disk_twice_is_filled_anew_twice() -> None:
    """It answers as one in repair both times, so that only its refusal shows that it has less than before.

    Brings it back: in ``Replication.handle_reply``, ignore that a server in repair refuses what it had confirmed.
    """
    cluster = lost_its_disk()
    cluster.run(20)
    cluster.crash(3)
    cluster.wipe(3)
    cluster.core(1).peer_lost(3)
    cluster.pump(cluster[1])
    cluster.run(20)
    assert cluster[3].applied == cluster[1].applied


def test_a_server_that_lost_its_disk_gets_a_snapshot_where_the_log_is_cut() -> None:
    """The same, with nothing left of the log but its end."""
    cluster = lost_its_disk()
    cluster.compact(1)
    cluster.run(30)
    assert cluster[3].disk.floor == cluster[1].disk.floor
    assert cluster[3].applied == cluster[1].applied


def test_answers_of_before_the_loss_do_not_count() -> None:
    """An acknowledgement of the lost disk is still under way when the server answers as one in repair.

    From: tikv/raft-rs #571, for data that was lost without the server being removed.
    How: the late answer takes the mark of repair away, and a copy that no longer exists counts.
    Brings it back: in ``Replication._begin_anew``, keep the session.
    """
    cluster = lost_its_disk()
    old_session = cluster.session(1, 3)
    cluster.isolate(2)
    index = cluster.propose(1)
    cluster.step(3, 1, HeartbeatReply(term=1, session=old_session, sequence=1, repairing=True))
    cluster.step(3, 1, AppendEntriesReply(term=1, session=old_session, match_index=index))
    replication = cluster.core(1).replication
    assert replication is not None
    assert replication.peers[3].repairing
    assert cluster.core(1).log.committed == index - 1


def test_what_a_server_in_repair_has_counts_for_nothing() -> None:
    """Of three, one is in repair and one is down: nothing commits, no read is confirmed, the leader steps down.

    From: "Protocol-Aware Recovery for Consensus-Based Storage" (Alagappan and others, FAST 2018).
    How: what it promised is forgotten: it may have voted for another, or acknowledged what nobody else has.
    Brings it back: in ``Replication.quorum_match``, ``LeaderReads.acknowledged`` or ``Replication.take_active``, do
    not look at ``repairing``.
    """
    cluster = lost_its_disk()
    cluster.run(20)
    cluster.isolate(2)
    index = cluster.propose(1)
    token = cluster.read(1)
    cluster.settle()
    assert cluster.core(3).log.last_index == index
    assert cluster.core(1).log.committed == index - 1
    assert cluster.answer(1, token) == "pending"
    cluster.run(60)
    assert cluster.leaders == []


def test_a_server_in_repair_neither_votes_nor_campaigns_nor_takes_over() -> None:
    """Its acknowledged entry may be on one other server only: with its vote, a third could win without that entry.

    From: the same paper.
    How: {1, 3} commit, 3 loses its disk, and {2, 3} elect 2, which never had the entry.
    Brings it back: in ``RaftCore._handle_vote_request``, leave out ``self.repairing``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(2)
    index = cluster.propose(1, b"on 1 and 3 alone")
    cluster.settle()
    assert cluster.core(1).log.committed == index
    cluster.crash(3)
    cluster.wipe(3)
    cluster.crash(1)
    cluster.heal()
    cluster.run(200)
    assert cluster.leaders == []
    assert not cluster.packets(RequestVoteReply, source=3)
    cluster.restart(1)
    cluster.run(100)
    assert cluster.leaders == [1]
    cluster.step(1, 3, TimeoutNow(term=cluster.core(3).term))
    assert cluster.core(3).role is Role.FOLLOWER
    take_in_anew(cluster, 1, 3)
    assert cluster[3].applied == cluster[2].applied == cluster[1].applied


@pytest.mark.parametrize("learner", [True, False], ids=["as a learner first", "as a voter at once"])
def test_a_server_that_is_taken_in_anew_does_not_vote_twice_in_one_term(learner: bool) -> None:
    """It voted for the leader of this term, lost its disk, and is a voter again: its vote of this term is used up.

    Found in review of this code. From: microsoft/CCF #3810: who knows the leader of a term votes for nobody in it.
    How: five servers; 1 was elected by 2 and 3, 5 stands in the same term with the vote of 4, and is stopped; 3 loses
    its disk and is taken in anew by {1, 2, 4}; then 5's request arrives at 3: two leaders in one term.
    Brings it back: in ``RaftCore._hear_leader``, leave out ``set_hard_state``.
    """
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.run(6)
    cluster.isolate(5)
    cluster.crash(3)
    cluster.wipe(3)
    cluster.run(20)
    take_in_anew(cluster, 1, 3, learner=learner)
    assert not cluster.core(3).repairing
    cluster.crash(1)
    cluster.drop()
    cluster.tick(3, times=16)
    last = cluster.core(3).log
    cluster.drop()
    cluster.heal()
    cluster.step(5, 3, RequestVote(term=1, last_index=last.last_index, last_term=last.last_term))
    assert [reply.granted for reply in cluster.messages(RequestVoteReply, 3, 5)] == [False]
    assert cluster[3].disk.hard_state == HardState(1, 1)


def test_a_stale_leader_proves_nothing_to_a_server_in_repair() -> None:
    """Heartbeats tell what *was* known to be there: a server in repair goes by what it has compared itself.

    How: of its log only a wrong end is left, and a commit index cut down to the log's length would commit that.
    Brings it back: in ``RaftCore._handle_heartbeat``, ``min(heartbeat.commit, self.log.last_index)``.
    """
    disks = {node: Disk(HardState(4), entries([1, 2, 4, 4])) for node in (1, 2)}
    disks[3] = Disk(HardState(3), entries([1, 3, 3]), repairing=True)
    cluster = Cluster(3, disks=disks)
    cluster.step(1, 3, Heartbeat(term=4, session=9, sequence=1, commit=4))
    assert cluster.core(3).log.committed == 0
    cluster.elect(1)
    cluster.run(20)
    assert cluster[3].applied == cluster[1].applied


# -- witnesses ------------------------------------------------------------------------------------------------


def with_a_witness() -> Cluster:
    """Leader 1, voter 2, witness 3."""
    cluster = Cluster(3, members=members((1, 2), witnesses=(3,)))
    cluster.elect(1)
    return cluster


def test_a_witness_decides_without_holding_data() -> None:
    """With a voter and a witness there is a majority; the witness learns places, terms and members, nothing else.

    From: "Voting with Witnesses" (Pâris, 1986).
    Brings it back: in ``Replication._append_message``, leave out ``_witnessed``.
    """
    cluster = with_a_witness()
    cluster.crash(2)
    index = cluster.propose(1, b"secret")
    cluster.run(10)
    assert cluster.core(1).log.committed == index
    assert [(each.kind, each.payload) for each in cluster[3].disk.entries] == [
        (EntryKind.NOOP, b""),
        (EntryKind.WITNESSED, b""),
    ]
    token = cluster.read(1)
    cluster.settle()
    assert cluster.answer(1, token) == index


def test_a_witness_with_the_longest_log_does_not_lead_and_lets_nobody_without_the_entries_lead() -> None:
    """The entry is on the leader and the witness; without the leader there is none, until it is back.

    From: the paper on witnesses, see above.
    How: a witness that leads has nothing to give; one that votes for a shorter log forgets what was acknowledged.
    Brings it back: in ``Configuration.may_lead``, ``return self.is_voter(node_id)``.
    """
    cluster = with_a_witness()
    cluster.isolate(2)
    index = cluster.propose(1, b"on 1 and the witness")
    cluster.settle()
    assert cluster.core(1).log.applied == index
    cluster.crash(1)
    cluster.heal()
    cluster.run(200)
    assert cluster.leaders == []
    assert cluster.core(3).role is Role.FOLLOWER
    cluster.restart(1)
    cluster.run(100)
    assert cluster.leaders == [1]
    assert cluster[2].applied[index - 1].payload == b"on 1 and the witness"


def test_witnesses_are_never_a_majority() -> None:
    """They would commit what no server has: the leader stops before its own disk is done, and it is gone for ever.

    Found in review of this code: one voter with two witnesses was a valid configuration.
    How: the witnesses' logs are longer than any with data, so that nobody is ever elected again.
    Brings it back: in ``Configuration.__post_init__``, leave out the comparison with ``majority_size``.
    """
    for voters, witnesses in (((1,), (2, 3)), ((1, 2), (3, 4, 5))):
        with pytest.raises(ConfigError, match="witnesses must not be a majority"):
            Configuration(tuple(members(voters, witnesses=witnesses)))
    Configuration(tuple(members((1,), witnesses=(2,))))
    Configuration(tuple(members((1, 2), witnesses=(3, 4))))
    cluster = with_a_witness()
    with pytest.raises(ConfigError, match="witnesses must not be a majority"):
        cluster.change(1, members((1,), witnesses=(3, 4)))
    assert not cluster.core(1).configuration.is_joint, "nothing was appended"


def test_a_witness_never_becomes_anything_else_in_one_step() -> None:
    """It has no data to lead or to answer reads with; a voter that becomes a witness would keep what it must not.

    Brings it back: in ``Configuration.changed_to``, leave out the comparison of the roles.
    """
    cluster = with_a_witness()
    for change in (members((1, 2, 3)), members((1, 2), learners=(3,)), members((1,), witnesses=(2, 3))):
        with pytest.raises(ConfigError):
            cluster.change(1, change)
    cluster.change(1, members((1, 2)))
    cluster.run(10)
    assert cluster.core(1).configuration.voters == {1, 2}


def test_a_leader_that_was_removed_leaves_nothing_behind_that_only_a_witness_has() -> None:
    """The leader of two voters and a witness removes itself: from then on it takes no proposals.

    Found by the random schedules: what it took reached the witness alone; then its removal was committed, and it left.
    How: the witness votes for no shorter log, the other voter has a shorter one, and the removed one does not stand.
    Brings it back: in ``Leadership.propose``, leave out ``may_lead``.
    """
    cluster = with_a_witness()
    cluster.run(6)
    cluster.change(1, members((2,), witnesses=(3,)))
    while cluster.core(1).configuration.is_voter(1):
        cluster.deliver(cluster.pool[0])
    with pytest.raises(LeadershipMoving):
        cluster.propose(1, b"too late")
    cluster.run(100)
    assert cluster.leaders == [2]
    cluster.propose(2)


def test_a_witness_that_lags_behind_gets_a_floor_and_goes_on() -> None:
    """The leader's log is cut: the witness needs no state, and its log begins anew all the same."""
    cluster = with_a_witness()
    cluster.isolate(3)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.settle()
    cluster.compact(1)
    cluster.heal()
    cluster.run(30)
    assert cluster[3].disk.floor.index == cluster.core(1).log.floor.index == 6
    assert cluster[3].applied == list(witnessed(cluster[1].applied))
    cluster.propose(1, b"goes on")
    cluster.run(5)
    assert cluster.core(3).log.last_index == 7
    assert not cluster.packets(Snapshot)
    replication = cluster.core(1).replication
    assert replication is not None
    assert replication.peers[3].state is ProgressState.REPLICATE


def test_learners_and_witnesses_are_told_no_more_than_they_have() -> None:
    """Heartbeats tell a commit index that the receiver's log is known to reach.

    From: etcd-io/etcd #10166: a commit index beyond the log's end stops the receiver.
    Brings it back: in ``Replication.heartbeat``, ``commit_sent = self._log.committed``.
    """
    cluster = Cluster(4, members=members((1, 2), learners=(3,), witnesses=(4,)))
    cluster.elect(1)
    for node in (3, 4):
        cluster.cut.add((node, 1))
        cluster.cut.add((1, node))
    cluster.crash(2)
    cluster.restart(2)
    cluster.heal()
    for _ in range(3):
        cluster.propose(1)
        cluster.drop(AppendEntries, target=3)
        cluster.drop(AppendEntries, target=4)
        cluster.run(6)
    cluster.run(20)
    assert {cluster.core(node).log.committed for node in (1, 2, 3, 4)} == {4}
