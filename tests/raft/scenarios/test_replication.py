"""Named regression scenarios about the log: replication, durability, commit."""

from __future__ import annotations

import pytest

from quorate.errors import ProtocolViolation
from quorate.raft.config import CoreConfig
from quorate.raft.core import RaftCore
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntries, AppendEntriesReply, Heartbeat, HeartbeatReply
from quorate.raft.output import HardState
from quorate.raft.roles import Role
from tests.raft.harness import Cluster, Disk, FixedTimeouts, entries


def append(term: int, previous: int, previous_term: int, *terms: int, commit: int = 0) -> AppendEntries:
    return AppendEntries(
        term=term,
        session=1,
        previous_index=previous,
        previous_term=previous_term,
        commit=commit,
        entries=tuple(entries(terms, first=previous + 1)),
    )


def test_scenario_03_what_is_committed_never_runs_ahead_of_the_own_log() -> None:
    """A crash leaves no server whose applied state is ahead of its log; it starts and goes on.

    From: etcd-io/etcd #1716: the commit index on disk was ahead of the log, and the node could not start.
    How: a follower learns the commit index with the entries, applies them at once, and crashes before they are on disk.
    Brings it back: in ``RaftLog.take_committed``, ``ready = self.committed``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[3].slow_disk = True
    cluster.propose(1)
    cluster.settle()
    cluster.propose(1)
    cluster.settle()
    assert (cluster.core(3).log.committed, cluster.core(3).log.durable) == (2, 1)
    assert len(cluster[3].applied) == 1
    cluster.crash(3)
    cluster.restart(3, applied=1)
    cluster.run(30)
    assert cluster[3].applied == cluster[1].applied


def test_scenario_08_a_follower_never_acknowledges_before_durable() -> None:
    """Entries that a follower holds only in memory are not acknowledged, also not those of a repeated message.

    From: etcd-io/etcd #10166, on acknowledgements that left before the log was written.
    How: leader and follower acknowledge, both lose power, the other server is elected without the entry.
    Brings it back: in ``Persistence.hold``, ``return False`` while a write is under way.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[2].slow_disk = cluster[1].slow_disk = True
    index = cluster.propose(1)
    cluster.drop(AppendEntries, target=3)
    (packet,) = cluster.packets(AppendEntries, target=2)
    cluster.deliver(packet)
    cluster.step(1, 2, packet.message)
    assert not cluster.packets(AppendEntriesReply)
    cluster.persist(1)
    assert cluster.core(1).log.committed == index - 1
    cluster.persist(2)
    cluster.settle()
    assert cluster.core(1).log.committed == index


def test_scenario_09_a_single_node_never_acknowledges_before_its_log_is_durable() -> None:
    """A cluster of one commits when its own disk says so, not when it proposes.

    From: etcd-io/etcd #14370: a one-member cluster acknowledged before the WAL was written, and lost it in a crash.
    How: with a quorum of one the own copy was counted when it was appended.
    Brings it back: in ``Leadership.prepare_output``, ``handle_append_reply`` at once in place of ``send_durable``.
    """
    cluster = Cluster(1)
    cluster.campaign(1)
    assert cluster.leaders == [1]
    cluster[1].slow_disk = True
    index = cluster.propose(1, b"a")
    cluster.tick(times=20)
    assert cluster.core(1).log.committed == index - 1
    cluster.persist(1)
    assert cluster.core(1).log.committed == index
    assert cluster[1].applied[-1].payload == b"a"


def test_scenario_10_power_loss_of_all_nodes_keeps_what_was_acknowledged() -> None:
    """All servers crash at once with writes under way; every acknowledged entry is there afterwards.

    From: etcd-io/etcd #12589, which asks whether this can happen; as in scenario 8.
    How: a quorum acknowledged from memory, nobody had it on disk.
    Brings it back: in ``Persistence.hold``, ``return False`` for an ``AppendEntriesReply``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    for number in range(10):
        cluster[number % 3 + 1].slow_disk = True
        cluster.propose(1, b"%d" % number)
        cluster.settle()
        cluster[number % 3 + 1].slow_disk = False
        if number % 2:
            cluster.persist(number % 3 + 1)
            cluster.settle()
    acknowledged = list(cluster[1].applied)
    for node in (1, 2, 3):
        cluster.crash(node)
    for node in (1, 2, 3):
        cluster.restart(node)
    cluster.run(60)
    (leader,) = cluster.leaders
    assert cluster[leader].applied[: len(acknowledged)] == acknowledged


def test_scenario_12_an_append_never_truncates_a_matching_suffix() -> None:
    """A late, shorter copy of an earlier append arrives after a longer one: nothing is cut.

    From: hashicorp/raft #113, lerna-stack/akka-entity-replication #152: what overlapped was cut and appended again.
    How: entries that were acknowledged, and perhaps committed with this follower's help, disappear.
    Brings it back: in ``accept_entries``, append whenever there are entries, whether one differs or not.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"a")
    (early,) = cluster.packets(AppendEntries, target=2)
    cluster.propose(1, b"b")
    cluster.propose(1, b"c")
    cluster.deliver_kind(AppendEntries, target=2)
    before = cluster.core(2).log.last_index
    cluster.step(1, 2, early.message)
    assert cluster.core(2).log.last_index == before == 4
    assert len(cluster[2].disk.entries) == 4


def test_scenario_13_an_old_write_says_nothing_of_the_entries_that_replaced_it() -> None:
    """Asynchronous append, ABA across terms: index 2 was written, cut and replaced while the first write was under way.

    From: rabbitmq/ra #637, where truncation left "written up to" too high; etcd-io/raft's notes on asynchronous writes.
    How: the first write's completion is taken for the second's, and the new entry is acknowledged from memory.
    Brings it back: in ``Persistence.take_write``, do not clip the writes under way.
    """
    newer = {node: Disk(HardState(2), entries([1, 2, 2])) for node in (2, 3)}
    cluster = Cluster(3, disks={1: Disk(HardState(1), entries([1])), **newer})
    cluster[1].slow_disk = True
    cluster.step(2, 1, append(1, 1, 1, 1, 1))
    cluster.step(3, 1, append(2, 1, 1, 2, 2))
    assert len(cluster[1].writes) == 2
    cluster.persist(1, 1)
    assert cluster.core(1).log.durable == 1
    assert not cluster.packets(AppendEntriesReply, 1, 3)
    cluster.step(3, 1, Heartbeat(term=2, session=1, sequence=0, commit=3))
    assert [each.index for each in cluster[1].applied] == [1], "the rest is committed, but not durable here"
    cluster.persist(1, 1)
    assert [reply.match_index for reply in cluster.messages(AppendEntriesReply, 1, 3)] == [3]
    assert [each.term for each in cluster[1].applied] == [1, 2, 2]


def test_scenario_14_only_entries_of_the_current_term_commit_by_counting() -> None:
    """An entry of an earlier term is on a majority and is not committed before one of this term is.

    From: figure 8; logcabin #44, canonical/raft #220, async-raft #108, bakwc/PySyncObj #169.
    How: it is committed, the leader dies, a server with a later term's entry there is elected and overwrites it.
    Brings it back: in ``Leadership._maybe_commit``, leave out the comparison of the term.
    """
    disks = {node: Disk(HardState(2), entries([1, 2])) for node in (1, 2, 3)}
    cluster = Cluster(3, disks=disks)
    cluster.tick(times=16)
    cluster.campaign(1)
    while cluster.core(1).role is not Role.LEADER:
        cluster.deliver()
    cluster.step(2, 1, AppendEntriesReply(term=3, session=cluster.session(1, 2), match_index=2))
    assert cluster.core(1).log.committed == 0
    cluster.settle()
    assert cluster.core(1).log.committed == 3


def test_scenario_24_a_proposal_that_is_refused_has_no_effect() -> None:
    """Whatever raises "not leader" or "dropped" left nothing in any log.

    From: section 8 on duplicates: a client retries what it was told had no effect, and it is applied twice.
    How: the entry is appended before the checks, or stays behind when a batch is refused halfway.
    Brings it back: in ``Leadership.propose``, check the bound after appending.
    """
    cluster = Cluster(3, uncommitted_bytes_max=10)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.propose(1, b"12345678")
    last = cluster.core(1).log.last_index
    with pytest.raises(Exception, match="uncommitted"):
        cluster.propose(1, b"1", b"2", b"3")
    with pytest.raises(Exception, match="node 1 is the leader"):
        cluster.propose(2, b"x")
    assert cluster.core(1).log.last_index == last
    assert cluster.core(2).log.last_index == last - 1
    cluster.heal()
    cluster.run(30)
    assert [each.payload for each in cluster[2].applied] == [b"", b"12345678"]
    cluster.propose(1, b"room again")


def test_scenario_48_a_commit_beyond_the_last_index_is_an_error_not_silence() -> None:
    """A server that lost entries it had acknowledged notices, and stops.

    From: etcd-io/etcd #10166, #16220 ("tocommit is out of range"), where the panic is right and often unwelcome.
    How: the disk lost acknowledged entries; cut down to the log's end, the commit index hides that for ever.
    Brings it back: in ``RaftLog.commit_to``, ``index = min(index, self.last_index)``.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.settle()
    cluster.crash(3)
    cluster[3].disk.entries.clear()
    cluster.restart(3)
    with pytest.raises(ProtocolViolation, match="lost entries that it had acknowledged"):
        cluster.run(10)


def test_scenario_48_a_state_machine_ahead_of_the_log_is_an_error_at_start() -> None:
    """See the scenario above: the state's own applied index proves what was committed.

    Brings it back: as there.
    """
    disk = Disk(HardState(1), entries([1]))
    with pytest.raises(ProtocolViolation, match="entry 2 is committed, but this log ends at 1"):
        RaftCore(CoreConfig(node_id=1), Configuration.of((1,)), disk.recovered, disk, FixedTimeouts(0), applied=2)


def test_scenario_49_applied_never_passes_committed() -> None:
    """What is handed out is committed and durable, in order, once; a driver that says otherwise is stopped.

    From: figure 2, "if commitIndex > lastApplied": what follows from it is easily done twice or too early.
    How: two batches are under way to the state machine, or the driver reports more than it was given.
    Brings it back: in ``RaftLog.applied_to``, leave out the check.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].slow_apply = True
    cluster.propose(1, b"a")
    cluster.settle()
    cluster.propose(1, b"b")
    cluster.settle()
    assert [each.payload for each in cluster[1].applied] == [b"", b"a"], "one batch at a time"
    with pytest.raises(ProtocolViolation, match="applied 3"):
        cluster.core(1).applied_to(3)
    cluster.core(1).applied_to(2)
    cluster.pump(cluster[1])
    assert cluster[1].applied[-1].payload == b"b"


def test_a_lost_append_is_recovered_without_later_traffic() -> None:
    """The last append before a silence is lost, or its answer is; heartbeats alone bring the follower up.

    From: thesis section 10.2.1: pipelining takes what was sent for received, so something must notice what was not.
    Brings it back: in ``Replication.nudge``, leave out the recheck.
    """
    for kind in (AppendEntries, AppendEntriesReply):
        cluster = Cluster(3)
        cluster.elect(1)
        cluster.run(20)
        index = cluster.propose(1)
        if kind is AppendEntriesReply:
            cluster.deliver_kind(AppendEntries)
        cluster.drop(kind)
        cluster.run(16)
        assert [cluster.core(node).log.committed for node in (1, 2, 3)] == [index] * 3


def test_a_lost_probe_is_sent_again_even_when_nothing_is_missing() -> None:
    """After a connection broke, the first append is a probe. If that is lost, the next proposal must not wait for it.

    Found in review of this code: a probe was repeated only if the follower lacked entries.
    Brings it back: in ``Replication.nudge``, ``if progress.match < last_index`` around all of it.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(10)
    cluster.core(1).peer_lost(2)
    cluster.pump(cluster[1])
    assert cluster.drop(AppendEntries, target=2) == 1
    cluster.run(6)
    cluster.propose(1)
    assert cluster.packets(AppendEntries, target=2)


def test_rounds_for_reads_do_not_send_what_is_under_way_again() -> None:
    """A follower with a slow disk is being probed while strong reads start a heartbeat round each millisecond.

    Found in review of this code: every answered round repeated the probe, with up to a megabyte of entries.
    Brings it back: in ``Replication.nudge``, do not look at ``nudge_due``.
    """
    cluster = Cluster(3, disks={2: Disk(HardState(0), [])})
    cluster.elect(1)
    cluster.run(10)
    cluster[2].slow_disk = True
    cluster.core(1).peer_lost(2)
    cluster.propose(1, b"large")
    sent = 0
    for _ in range(20):
        cluster.read(1)
        sent += sum(bool(each.entries) for each in cluster.messages(AppendEntries, target=2))
        cluster.deliver()
        cluster.deliver_kind(HeartbeatReply)
    assert sent == 1


def test_a_follower_that_restarts_loses_nothing_it_acknowledged_and_gets_the_rest() -> None:
    """The leader has sent ahead; the follower crashes with writes under way and comes back in the same term.

    From: the same section: a leader that has sent ahead must go back when the follower does.
    Brings it back: in ``Replication.handle_reply``, ignore rejections while replicating.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(5)
    cluster[3].slow_disk = True
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.settle()
    cluster.crash(3, half_done=2)
    cluster.restart(3)
    cluster.run(30)
    assert cluster.leaders == [1]
    assert cluster.core(1).term == 1
    assert cluster[3].applied == cluster[1].applied


def test_a_long_message_that_is_arriving_is_a_sign_of_life_in_both_directions() -> None:
    """On a slow network heartbeats wait behind it for longer than any timeout: nobody is deposed for that."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.settle()
    for _ in range(40):
        cluster.tick(times=5)
        cluster.drop(Heartbeat)  # not lost, but behind what is long
        for follower in (2, 3):
            cluster.core(follower).receiving(1)
            cluster.pump(cluster[follower])
        cluster.deliver_kind(HeartbeatReply)
    assert (cluster.leaders, cluster.core(1).term) == ([1], 1)
    for _ in range(40):  # and of what a follower has to say, such as what was proposed there
        cluster.tick(times=5)
        cluster.deliver_kind(Heartbeat)
        cluster.drop(HeartbeatReply)
        cluster.core(1).receiving(3)
        cluster.pump(cluster[1])
    assert (cluster.leaders, cluster.core(1).term) == ([1], 1)


def test_what_is_still_arriving_is_not_sent_again() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.settle()
    cluster.core(1).peer_lost(2)
    cluster.propose(1)
    (probe,) = cluster.packets(AppendEntries, target=2)
    for _ in range(4):
        cluster.tick(times=5)
        cluster.core(2).receiving(1)
        cluster.pump(cluster[2])
        cluster.deliver_kind(HeartbeatReply, source=2)
    assert cluster.packets(AppendEntries, target=2) == [probe]
    cluster.settle()
    assert cluster.core(2).log.committed == cluster.core(1).log.last_index


def test_only_the_leaders_bits_count_as_having_heard_of_it() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.settle()
    cluster.isolate(1)
    for _ in range(10):
        cluster.tick(2, 3, times=5)
        cluster.core(3).receiving(2)
        cluster.pump(cluster[3])
        cluster.settle()
    assert cluster.core(3).term > 1
