"""Nothing that promises something comes out before what it promises is durable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntriesReply, Envelope, RequestVoteReply
from quorate.raft.output import Floor, HardState, Recovered, Write
from quorate.raft.persistence import Persistence
from tests.raft.harness import Disk, entries


class Rig:
    """A log and its persistence over a disk that finishes writes when told to."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.log = RaftLog(Recovered(), self.disk, cache_bytes_max=1 << 20, initial=Configuration.of((1,)))
        self.persistence = Persistence(HardState(), self.log)
        self.writes: list[Write] = []

    def append(self, first: int, terms: list[int]) -> None:
        self.log.append(entries(terms, first=first))

    def take(self) -> int:
        write = self.persistence.take_write()
        assert write is not None
        self.writes.append(write)
        return write.ticket

    def persist(self, ticket: int) -> list[Envelope]:
        while self.writes and self.writes[0].ticket <= ticket:
            self.disk.carry_out(self.writes.pop(0))
        return self.persistence.persisted(ticket)


def acknowledgement(match: int, term: int = 1, peer: int = 1) -> Envelope:
    return Envelope(peer, AppendEntriesReply(term=term, session=1, match_index=match))


def test_a_clean_state_holds_nothing_back() -> None:
    rig = Rig()
    assert not rig.persistence.hold(acknowledgement(0))
    assert rig.persistence.take_write() is None


def test_an_acknowledgement_waits_for_the_write_with_its_entries() -> None:
    rig = Rig()
    rig.append(1, [1, 1])
    assert rig.persistence.hold(acknowledgement(2))
    ticket = rig.take()
    assert rig.log.durable == 0
    assert rig.persist(ticket) == [acknowledgement(2)]
    assert rig.log.durable == 2


def test_a_vote_waits_for_the_hard_state() -> None:
    rig = Rig()
    vote = Envelope(3, RequestVoteReply(term=2, granted=True))
    rig.persistence.set_hard_state(2, 3)
    assert rig.persistence.hold(vote)
    assert rig.persist(rig.take()) == [vote]
    assert rig.disk.hard_state == HardState(2, 3)


def test_what_needs_nothing_new_still_waits_for_what_is_under_way() -> None:
    rig = Rig()
    rig.append(1, [1])
    ticket = rig.take()
    assert rig.persistence.hold(acknowledgement(1)), "a repeated message must not be acknowledged before its original"
    assert rig.persist(ticket) == [acknowledgement(1)]


def test_an_older_ticket_releases_only_what_is_older() -> None:
    rig = Rig()
    rig.append(1, [1])
    rig.persistence.hold(acknowledgement(1))
    first = rig.take()
    rig.append(2, [1])
    rig.persistence.hold(acknowledgement(2))
    second = rig.take()
    assert rig.persist(first) == [acknowledgement(1)]
    assert rig.log.durable == 1
    assert rig.persist(second) == [acknowledgement(2)]
    assert rig.log.durable == 2


def test_one_report_may_cover_many_tickets() -> None:
    rig = Rig()
    for index in (1, 2, 3):
        rig.append(index, [1])
        rig.persistence.hold(acknowledgement(index))
        ticket = rig.take()
    assert rig.persist(ticket) == [acknowledgement(1), acknowledgement(2), acknowledgement(3)]
    assert rig.log.durable == 3


def test_acknowledgements_of_one_turn_leave_as_one() -> None:
    rig = Rig()
    for index in (1, 2, 3):
        rig.append(index, [1])
        rig.persistence.hold(acknowledgement(index))
    assert rig.persist(rig.take()) == [acknowledgement(3)]


def test_acknowledgements_to_another_leader_or_term_are_kept_apart() -> None:
    rig = Rig()
    rig.append(1, [1])
    held = [acknowledgement(1), acknowledgement(1, term=2), acknowledgement(1, term=2, peer=2)]
    for envelope in held:
        rig.persistence.hold(envelope)
    assert rig.persist(rig.take()) == held


def test_truncation_makes_an_earlier_write_say_less() -> None:
    """ABA: entries 2 and 3 were handed to the disk, then replaced: the first ticket proves only entry 1."""
    rig = Rig()
    rig.append(1, [1, 1, 1])
    first = rig.take()
    rig.append(2, [2, 2])
    second = rig.take()
    rig.persist(first)
    assert rig.log.durable == 1
    rig.persist(second)
    assert rig.log.durable == 3


def test_a_report_between_truncation_and_its_write_counts_only_what_is_left() -> None:
    rig = Rig()
    rig.append(1, [1, 1, 1])
    first = rig.take()
    rig.append(2, [2, 2, 2, 2])
    rig.persist(first)
    assert (rig.log.written, rig.log.durable) == (1, 1)
    rig.persist(rig.take())
    assert rig.log.durable == 5


def test_durable_goes_back_when_durable_entries_are_cut() -> None:
    rig = Rig()
    rig.append(1, [1, 1, 1])
    rig.persist(rig.take())
    rig.append(2, [2])
    assert rig.log.durable == 1
    rig.persist(rig.take())
    assert rig.log.durable == 2


def test_a_write_of_the_hard_state_alone_does_not_undo_the_log() -> None:
    rig = Rig()
    rig.append(1, [1, 1])
    first = rig.take()
    rig.persistence.set_hard_state(5, None)
    second = rig.take()
    rig.persist(first)
    rig.persist(second)
    assert rig.log.durable == 2
    rig.append(2, [5])
    third = rig.take()
    rig.persistence.set_hard_state(6, None)
    fourth = rig.take()
    assert rig.log.durable == 1
    rig.persist(third)
    rig.persist(fourth)
    assert rig.log.durable == 2


def test_term_and_vote_travel_in_one_write() -> None:
    rig = Rig()
    rig.persistence.set_hard_state(3, None)
    rig.persistence.set_hard_state(3, 2)
    rig.take()
    assert [write.hard_state for write in rig.writes] == [HardState(3, 2)]
    assert rig.persistence.take_write() is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("persist"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("term"), st.just(0), st.just(0)),
        st.tuples(st.just("snapshot"), st.integers(1, 3), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_durable_is_never_more_than_what_the_disk_and_the_log_agree_on(steps: list[tuple[str, int, int]]) -> None:
    rig, term, tickets = Rig(), 1, []
    for name, one, other in steps:
        if name == "append":
            first = max(rig.log.floor.index, rig.log.last_index - one) + 1
            term += first <= rig.log.last_index
            rig.append(first, [term] * other)
            held = rig.persistence.hold(acknowledgement(rig.log.last_index, term))
            assert held
        elif name == "snapshot":
            floor = Floor(rig.log.last_index + one, term)
            rig.disk.staged[floor.index] = ()
            rig.persistence.reset_log(floor)
            assert rig.persistence.hold(acknowledgement(floor.index, term))
        elif name == "term":
            term += 1
            rig.persistence.set_hard_state(term, None)
        elif name == "take":
            write = rig.persistence.take_write()
            if write is not None:
                rig.writes.append(write)
                tickets.append(write.ticket)
        elif tickets:
            tickets, ticket = tickets[one:], tickets[min(one, len(tickets)) - 1]
            for envelope in rig.persist(ticket):
                message = envelope.message
                assert isinstance(message, AppendEntriesReply)
                if message.term == term:  # nothing of a later term can have replaced it
                    gone = message.match_index < max(rig.log.floor.index, rig.disk.floor.index)
                    assert gone or rig.disk.term_at(message.match_index) == rig.log.term(message.match_index)
        log, disk = rig.log, rig.disk
        begun_anew = disk.floor != log.floor
        agreed = 0 if begun_anew else log.floor.index
        while not begun_anew and agreed < log.last_index and disk.term_at(agreed + 1) == log.term(agreed + 1):
            agreed += 1
        assert log.durable <= agreed
        if not rig.writes and log.written == log.last_index and not begun_anew:
            assert log.durable == log.last_index
