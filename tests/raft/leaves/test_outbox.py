"""What goes out at once, what waits, and what the node says to itself."""

from __future__ import annotations

from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntriesReply, Envelope, Heartbeat, RequestVoteReply
from quorate.raft.outbox import Outbox
from quorate.raft.output import HardState, Recovered
from quorate.raft.persistence import Persistence
from tests.raft.harness import entries
from tests.raft.server import Disk

BEAT = Heartbeat(term=1, session=1, sequence=1, commit=0)
VOTE = RequestVoteReply(term=1, granted=True)


def rig() -> tuple[Outbox, Persistence, RaftLog]:
    log = RaftLog(Recovered(), Disk(), cache_bytes_max=1 << 20, initial=Configuration.of((1, 2)))
    persistence = Persistence(HardState(), log)
    return Outbox(1, persistence), persistence, log


def test_what_promises_nothing_leaves_at_once_and_once() -> None:
    outbox, _, _ = rig()
    outbox.send(2, BEAT)
    outbox.extend([Envelope(3, BEAT)])
    assert outbox.take() == [Envelope(2, BEAT), Envelope(3, BEAT)]
    assert outbox.take() == []


def test_what_promises_something_waits_for_its_write_and_not_for_others() -> None:
    outbox, persistence, log = rig()
    persistence.set_hard_state(1, 2)
    outbox.send_durable(2, VOTE)
    first = persistence.take_write()
    log.append(entries([1]))
    outbox.send_durable(2, AppendEntriesReply(term=1, session=1, match_index=1))
    second = persistence.take_write()
    outbox.send(2, BEAT)
    assert outbox.take() == [Envelope(2, BEAT)]
    assert first is not None
    assert second is not None
    outbox.persisted(first.ticket)
    assert [envelope.message for envelope in outbox.take()] == [VOTE]
    outbox.persisted(second.ticket)
    assert [type(envelope.message) for envelope in outbox.take()] == [AppendEntriesReply]


def test_nothing_waits_when_everything_is_durable() -> None:
    outbox, _, _ = rig()
    outbox.send_durable(2, VOTE)
    assert outbox.take() == [Envelope(2, VOTE)]


def test_what_the_node_says_to_itself_does_not_leave_it_and_waits_just_the_same() -> None:
    outbox, persistence, _ = rig()
    persistence.set_hard_state(1, 1)
    outbox.send_durable(1, VOTE)
    write = persistence.take_write()
    assert outbox.take_own() is None
    assert write is not None
    outbox.persisted(write.ticket)
    assert outbox.take() == []
    assert outbox.take_own() == VOTE
    assert outbox.take_own() is None
