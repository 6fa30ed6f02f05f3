"""Named regression scenarios about compaction and snapshots."""

from __future__ import annotations

import pytest

from quorate.errors import ProtocolViolation
from quorate.raft.config import CoreConfig
from quorate.raft.core import RaftCore
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntries, AppendEntriesReply, Heartbeat, HeartbeatReply, RequestVote
from quorate.raft.output import Floor, HardState
from quorate.raft.progress import ProgressState
from quorate.raft.roles import Role
from tests.raft.harness import Cluster, Disk, FixedTimeouts, entries
from tests.raft.server import Snapshot, members


def behind_the_floor(**settings: object) -> Cluster:
    """Leader 1 has cut its log; server 3, which was away, needs a snapshot."""
    cluster = Cluster(3, **settings)  # type: ignore[arg-type]
    cluster.elect(1)
    cluster.isolate(3)
    for number in range(8):
        cluster.propose(1, b"%d" % number)
    cluster.settle()
    cluster.compact(1)
    cluster.heal()
    return cluster


def until_a_snapshot_leaves(cluster: Cluster, target: int = 3) -> None:
    for _ in range(40):
        cluster.tick()
        while (others := [each for each in cluster.pool if not isinstance(each.message, Snapshot)]) and not (
            cluster.packets(Snapshot, target=target)
        ):
            cluster.deliver(others[0])
        if cluster.packets(Snapshot, target=target):
            return
    raise AssertionError("no snapshot is sent")


def test_scenario_26_there_is_no_gap_between_a_snapshot_and_the_first_entry() -> None:
    """The entry just behind the floor follows the floor itself; a peer that lacks more gets a snapshot, never a gap.

    From: etcd-io/etcd #7470, "get term should never fail: requested index is unavailable due to compaction".
    How: the leader cannot name what precedes the entry that it wants to send: it stops, or leaves a hole.
    Brings it back: in ``Replication.messages``, ``progress.next < self._log.floor.index``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(6)
    cluster.isolate(3)
    cluster.propose(1, b"the first that 3 lacks is the last that is cut")
    cluster.settle()
    cluster.compact(1)
    cluster.heal()
    cluster.core(1).peer_lost(3)
    cluster.propose(1, b"behind the floor")
    cluster.run(30)
    assert cluster[3].disk.floor.index == 2
    assert [each.index for each in cluster[3].disk.entries] == [3]
    assert cluster[3].applied == cluster[1].applied


def test_scenario_26_a_state_that_ends_before_the_log_begins_is_an_error_at_start() -> None:
    """See the scenario above: entries that are neither in the state nor in the log are lost, and that is said.

    Brings it back: in ``RaftCore.__init__``, do not compare ``applied`` with the floor.
    """
    disk = Disk(HardState(1), entries([1], first=6), floor=Floor(5, 1))
    with pytest.raises(ProtocolViolation, match="the state ends at 3, but the log begins behind 5"):
        RaftCore(CoreConfig(node_id=1), Configuration.of((1,)), disk.recovered, disk, FixedTimeouts(0), applied=3)


def test_scenario_30_a_snapshot_that_arrives_while_entries_are_applied_wins_once_and_in_order() -> None:
    """Entries were handed out and are still being applied when a snapshot replaces the log under them.

    From: matrixorigin/matrixcube #93: what is committed while a snapshot is being restored.
    How: the entries behind the snapshot are handed out before the snapshot is in place.
    Brings it back: in ``RaftLog.take_committed``, leave out ``or self.handed_out > self.applied``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(6)
    cluster[3].slow_apply = True
    cluster.propose(1, b"being applied by 3")
    cluster.run(6)
    assert cluster.core(3).log.handed_out == 2 > cluster.core(3).log.applied
    cluster.isolate(3)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.settle()
    cluster.compact(1)
    cluster.heal()
    until_a_snapshot_leaves(cluster)
    cluster.deliver_kind(Snapshot)
    cluster.settle()
    cluster.propose(1, b"behind the snapshot")
    cluster.run(12)
    log = cluster.core(3).log
    assert (log.committed, log.handed_out, log.applied) == (8, 7, 1), "nothing more, before the snapshot is in place"
    assert cluster.core(3).log.compact(7) is None
    cluster[3].slow_apply = False
    cluster.finish_applying(3)
    assert cluster[3].applied == cluster[1].applied


def test_scenario_31_two_snapshots_in_quick_succession() -> None:
    """A second snapshot arrives while the first is being written: the end of the first write says nothing of it.

    From: sofastack/sofa-jraft #605, etcd-io/etcd #7470: a second install ran into the first.
    How: the first write's completion is taken for the second's: acknowledged, and not on the disk.
    Brings it back: in ``Persistence.reset_log``, leave ``_under_way`` as it is.
    """
    cluster = Cluster(3, disks={3: Disk(HardState(1), entries([1, 1, 1]))})
    cluster[3].slow_disk = True
    first, second = Floor(10, 2), Floor(20, 2)
    cluster.invariants.check = lambda servers: None  # type: ignore[method-assign]
    found = tuple(entries([2], first=4))
    cluster.step(1, 3, AppendEntries(term=2, session=1, previous_index=3, previous_term=1, commit=0, entries=found))
    cluster.step(1, 3, Snapshot(2, 1, first, tuple(entries([2] * 10))))
    cluster.step(1, 3, Snapshot(2, 1, second, tuple(entries([2] * 20))))
    log = cluster.core(3).log
    cluster.persist(3, 1)
    assert log.durable == 0
    cluster.persist(3, 1)
    assert log.durable == 0, "the first snapshot is durable, and the log has begun anew since"
    assert [reply.match_index for reply in cluster.messages(AppendEntriesReply, 3, 1)] == [4, 10]
    assert log.applied == 10
    cluster.persist(3, 1)
    assert (log.durable, log.applied, len(cluster[3].applied)) == (20, 20, 20)
    assert [reply.match_index for reply in cluster.messages(AppendEntriesReply, 3, 1)] == [4, 10, 20]


def test_scenario_31_an_older_snapshot_that_arrives_late_changes_nothing() -> None:
    """See the scenario above: what is committed already is acknowledged, and kept.

    Brings it back: in ``RaftCore.install_snapshot``, ``known = False``.
    """
    cluster = behind_the_floor()
    until_a_snapshot_leaves(cluster)
    (packet,) = cluster.packets(Snapshot)
    cluster.settle()
    cluster.propose(1, b"more")
    cluster.run(6)
    cluster.compact(3)
    before = list(cluster[3].applied)
    cluster.step(1, 3, packet.message)
    assert cluster[3].applied == before
    assert cluster.core(3).log.last_index == 10


def test_scenario_31_a_snapshot_of_what_the_log_holds_cuts_nothing() -> None:
    """The entries arrived otherwise meanwhile: the snapshot proves them committed, and those behind it stay (§7).

    From: figure 13, step 6.
    How: acknowledged entries behind the snapshot's end disappear.
    Brings it back: in ``RaftCore.install_snapshot``, leave out ``self.log.matches``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.deliver_kind(AppendEntries)
    assert (cluster.core(3).log.committed, cluster.core(3).log.last_index) == (1, 6)
    cluster.deliver_kind(AppendEntriesReply, source=2)
    cluster.compact(1, 4)
    snapshot = Snapshot(1, cluster.session(1, 3), cluster[1].disk.floor, cluster[1].disk.state)
    cluster.step(1, 3, snapshot)
    assert (cluster.core(3).log.committed, cluster.core(3).log.last_index) == (4, 6)
    assert cluster[3].disk.floor.index == 0


def test_scenario_31_a_snapshot_replaces_entries_that_disagree_with_it() -> None:
    """A follower has other entries, of an old term, where the snapshot ends, and more behind: all of them go.

    From: hashicorp/raft #704: the entry at the snapshot's end was kept, so that every later append was refused, and
    the snapshot sent again, for ever.
    Brings it back: in ``RaftLog.reset``, keep ``last_index`` where it is beyond the floor.
    """
    disks = {node: Disk(HardState(4), entries([1, 2, 2, 4])) for node in (1, 2)}
    cluster = Cluster(3, disks={**disks, 3: Disk(HardState(3), entries([1, 3, 3, 3, 3, 3, 3]))})
    cluster.isolate(3)
    cluster.elect(1)
    cluster.compact(1)
    cluster.heal()
    cluster.run(30)
    assert cluster.core(3).log.floor == cluster.core(1).log.floor
    cluster.propose(1)
    cluster.run(10)
    assert cluster.terms(3) == cluster.terms(1)
    assert cluster[3].applied == cluster[1].applied


def test_scenario_32_membership_is_restored_from_a_snapshot() -> None:
    """A server that missed a change of the membership learns of it from the snapshot alone, and decides by it.

    From: moby/swarmkit #238: the members were in the log only, and compacted away.
    How: it campaigns with the old configuration, and two majorities do not meet.
    Brings it back: in ``RaftLog.compact``, ``Floor(index, self.term(index))``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.join(4)
    cluster.change(1, members((1, 2, 3, 4)))
    cluster.settle()
    cluster.isolate(4)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.change(1, members((1, 2, 3), learners=(4,)))
    cluster.heal()
    cluster.isolate(3)
    cluster.run(20)
    cluster.compact(1)
    cluster.heal()
    until_a_snapshot_leaves(cluster)
    cluster.settle()
    assert cluster.core(3).configuration == cluster.core(1).configuration
    assert cluster.core(3).log.configurations.index == cluster.core(1).log.configurations.index
    cluster.crash(3)
    cluster.restart(3)
    assert cluster.core(3).configuration.voters == {1, 2, 3}
    assert not cluster.core(3).configuration.is_voter(4)


def test_scenario_32_a_joiner_without_a_configuration_gets_it_with_the_snapshot() -> None:
    """See the scenario above, for one that knew nothing at all.

    Brings it back: as there.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.join(4)
    cluster.change(1, members((1, 2, 3), learners=(4,)))
    cluster.deliver_kind((AppendEntries, AppendEntriesReply), target=2)
    cluster.deliver_kind((AppendEntries, AppendEntriesReply), target=1)
    cluster.compact(1)
    cluster.run(20)
    assert cluster[4].disk.floor.index == cluster.core(1).log.floor.index > 0
    assert cluster.core(4).configuration == cluster.core(1).configuration
    assert cluster[4].applied == cluster[1].applied


def test_scenario_47_a_snapshot_that_is_under_way_stops_no_heartbeat() -> None:
    """While a peer gets a snapshot it still hears its leader, counts for its quorum, and for reads.

    From: camunda/camunda #6269, moby/swarmkit #1346: whoever was busy with a snapshot sent no heartbeats.
    How: the peer campaigns, or the leader loses its quorum, because of a large snapshot.
    Brings it back: in ``Leadership.begin_round``, leave out peers whose progress is paused.
    """
    cluster = behind_the_floor()
    until_a_snapshot_leaves(cluster)
    cluster.isolate(2)
    for _ in range(80):
        cluster.tick()
        for kind in (Heartbeat, HeartbeatReply, AppendEntries, AppendEntriesReply):
            cluster.deliver_kind(kind)
    assert cluster.leaders == [1]
    assert cluster.core(3).leader == 1
    token = cluster.read(1)
    cluster.deliver_kind(Heartbeat)
    cluster.deliver_kind(HeartbeatReply)
    assert cluster.answer(1, token) == cluster.core(1).log.committed
    assert not cluster.packets(AppendEntries, target=3), "nothing is sent ahead of the snapshot"


@pytest.mark.parametrize("role", [Role.PRE_CANDIDATE, Role.CANDIDATE])
def test_scenario_51_a_candidate_that_needs_a_snapshot_rejoins(role: Role) -> None:
    """A server campaigns while the leader of that very term brings it a snapshot: it follows, and installs it.

    From: vesoft-inc/nebula #1769: a candidate refused the snapshot of its leader.
    How: the candidate ignores it, and as appends cannot reach it, it campaigns for ever.
    Brings it back: in ``RaftCore.install_snapshot``, ``if self.role is not Role.FOLLOWER: return False`` at the top.
    """
    cluster = behind_the_floor()
    until_a_snapshot_leaves(cluster)
    (packet,) = cluster.packets(Snapshot)
    snapshot = packet.message
    assert isinstance(snapshot, Snapshot)
    cluster.tick(3, times=16)
    cluster.drop()
    cluster.campaign(3)
    if role is Role.CANDIDATE:
        assert cluster.core(3).term == 1
        # It lost: another was elected in the term that it campaigned in.
        cluster.core(3)._begin_campaign(pre_vote=False)
        cluster.pump(cluster[3])
        cluster.drop()
        cluster.crash(1)
        cluster.restart(1, applied=9)
        cluster.tick(1, 2, times=16)
        cluster.campaign(1)
        cluster.drop(RequestVote, target=3)
        cluster.settle()
        assert cluster.leaders == [1]
        snapshot = Snapshot(cluster.core(1).term, cluster.session(1, 3), snapshot.floor, snapshot.state)
    assert cluster.core(3).role is role or role is Role.CANDIDATE
    cluster.step(1, 3, snapshot)
    assert (cluster.core(3).role, cluster.core(3).leader) == (Role.FOLLOWER, 1)
    cluster.run(30)
    assert cluster[3].applied == cluster[1].applied


def test_a_snapshot_of_an_old_term_is_discarded() -> None:
    """It was under way when its sender was deposed: the next leader decides what this server needs.

    From: figure 13, step 1.
    Brings it back: in ``RaftCore.install_snapshot``, do not compare the terms.
    """
    cluster = behind_the_floor()
    until_a_snapshot_leaves(cluster)
    (packet,) = cluster.packets(Snapshot)
    cluster.step(2, 3, Heartbeat(term=5, session=1, sequence=0, commit=0))
    cluster.step(1, 3, packet.message)
    assert cluster.core(3).leader == 2
    assert cluster.core(3).log.floor.index == 0


def test_a_peer_with_a_full_window_whose_next_entry_is_compacted_does_not_stop_the_leader() -> None:
    """A peer answers heartbeats, its disk hangs, its window is full; the others go on, and the log is cut beyond it.

    Found in review of this code: the leader asked whether what was sent had arrived, behind an entry whose term it no
    longer knew, and stopped with an ``IndexError``.
    Brings it back: in ``Replication.messages``, leave out ``progress.recheck or``.
    """
    cluster = Cluster(3, inflight_appends_max=2)
    cluster.elect(1)
    cluster.run(10)
    cluster[3].slow_disk = True
    for number in range(6):
        cluster.propose(1, b"%d" % number)
        cluster.settle()
    cluster.compact(1)
    cluster.run(20)
    replication = cluster.core(1).replication
    assert replication is not None
    assert replication.peers[3].state is ProgressState.SNAPSHOT
    cluster[3].slow_disk = False
    cluster.persist(3)
    cluster.run(20)
    assert cluster[3].applied == cluster[1].applied


def test_what_was_to_be_checked_before_a_snapshot_became_necessary_is_forgotten() -> None:
    """The connection breaks, and the log is cut, just when the leader wanted to see whether something had arrived.

    Found in review of this code, see above.
    Brings it back: in ``Progress.wait_for_snapshot``, leave ``recheck`` as it is.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(10)
    cluster[3].slow_disk = True
    cluster.propose(1, b"a")
    cluster.settle()
    replication = cluster.core(1).replication
    assert replication is not None
    replication.peers[3].recheck = True
    cluster.core(1).peer_lost(3)
    cluster.compact(1)
    assert replication.peers[3].state is ProgressState.SNAPSHOT


def test_a_peer_that_catches_up_by_itself_needs_the_snapshot_no_longer() -> None:
    """What was under way arrives after all while the snapshot is being prepared: the leader goes on behind it.

    From: etcd-io/raft #123: the leader waited for the end of a snapshot that nobody needed any more.
    Brings it back: in ``Progress.matched``, leave out SNAPSHOT.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(10)
    cluster.propose(1, b"late")
    late = cluster.packets(AppendEntries, target=3)
    cluster.deliver_kind(AppendEntries, target=2)
    cluster.deliver_kind(AppendEntriesReply)
    cluster.compact(1)
    cluster.core(1).peer_lost(3)
    cluster.pump(cluster[1])
    replication = cluster.core(1).replication
    assert replication is not None
    assert replication.peers[3].state is ProgressState.SNAPSHOT
    cluster.deliver(*late)
    cluster.deliver_kind(AppendEntriesReply, source=3)
    assert replication.peers[3].state is ProgressState.REPLICATE
    index = cluster.propose(1, b"goes on")
    cluster.deliver_kind(AppendEntries)
    assert cluster.core(3).log.last_index == index


def test_compaction_keeps_what_is_not_applied_or_not_durable() -> None:
    """Whatever the driver asks for, the log gives up only what is in the state.

    From: figure 13, and the invariant purged ≤ snapshot ≤ applied.
    Brings it back: in ``RaftLog.compact``, ``index = min(index, self.committed)``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(5)
    cluster[2].slow_apply = True
    for number in range(4):
        cluster.propose(1, b"%d" % number)
    cluster.run(5)
    assert cluster.core(2).log.committed == 5
    cluster.compact(2, 99)
    assert cluster.core(2).log.floor.index == 1
    assert cluster.core(2).compact(99) is None
