"""The log against a plain list, and its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import ProtocolViolation
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.output import Floor, Recovered, Write
from tests.raft.harness import Disk, entries, entry

UNBOUNDED = 1 << 40


def log_of(terms: list[int], *, cache_bytes_max: int = 1 << 20) -> RaftLog:
    """A log that was recovered with entries of these terms: nothing is in memory."""
    disk = Disk(log=entries(terms))
    return RaftLog(disk.recovered, disk, cache_bytes_max=cache_bytes_max, initial=Configuration.of((1,)))


def hint(terms: list[int], index: int, term: int) -> tuple[int, int]:
    """The definition of the conflict hint, entry by entry."""
    for position in range(min(index, len(terms)), 0, -1):
        if terms[position - 1] <= term:
            return position, terms[position - 1]
    return 0, 0


class Model:
    """The log and a list that gets the same."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.log = RaftLog(Recovered(), self.disk, cache_bytes_max=1500, initial=Configuration.of((1,)))
        self.list: list[Entry] = []

    def append(self, back: int, count: int, newer: bool, size: int) -> None:
        first = max(self.log.committed, len(self.list) - back) + 1
        term = max([1, *(each.term for each in self.list)]) + (newer or first <= len(self.list))
        new = [Entry(first + offset, term, entry(1, 1).kind, b"%d" % size * size) for offset in range(count)]
        self.log.append(new)
        self.list[first - 1 :] = new

    def persist(self) -> None:
        self.disk.carry_out(Write(1, entries=tuple(self.log.unwritten())))
        self.log.written = self.log.durable = self.log.last_index

    def commit(self, share: int) -> None:
        self.log.commit_to(self.log.committed + (self.log.last_index - self.log.committed) * share // 3)

    def apply(self, max_bytes: int) -> None:
        before = self.log.handed_out
        taken = list(self.log.take_committed(max_bytes))
        assert taken == self.list[before : before + len(taken)]
        assert bool(taken) is (before < min(self.log.committed, self.log.durable))
        if taken:
            self.log.applied_to(taken[-1].index)

    def compact(self, share: int) -> None:
        before = self.log.floor.index
        wanted = before + (self.log.last_index - before) * share // 3
        floor = self.log.compact(wanted)
        expected = max(before, min(wanted, self.log.applied, self.log.durable))
        assert self.log.floor.index == expected
        assert (floor is not None) is (expected > before)
        if floor is not None:
            assert floor.term == self.list[expected - 1].term
            self.disk.compact(floor, ())

    def install(self, ahead: int) -> None:
        """A snapshot takes the place of the log, ``ahead`` of its end, and is durable and applied at once."""
        index, term = len(self.list) + ahead, self.log.last_term + 1
        self.list += [entry(len(self.list) + offset, term) for offset in range(1, ahead + 1)]
        floor = Floor(index, term)
        self.disk.staged[index] = ()
        self.log.reset(floor)
        assert list(self.log.take_committed(UNBOUNDED)) == []
        assert self.log.compact(index) is None
        self.disk.carry_out(Write(1, floor=floor))
        self.log.durable = index
        self.log.applied_to(index)

    def check(self) -> None:
        log, terms, floor = self.log, [each.term for each in self.list], self.log.floor.index
        assert (log.last_index, log.last_term) == (len(terms), terms[-1] if terms else 0)
        assert [log.term(index) for index in range(max(floor, 1), len(terms) + 1)] == terms[max(floor, 1) - 1 :]
        assert list(log.unwritten()) == self.list[log.written :]
        for outside in (floor - 1, len(terms) + 1):
            assert not log.matches(outside, 1)
            with pytest.raises(IndexError):
                log.term(outside)
        for low in range(floor + 1, len(terms) + 2):
            found: list[Entry] = []
            while len(found) < len(terms) + 1 - low:  # memory and disk are read one after the other
                found += log.entries(low + len(found), len(terms) + 1, UNBOUNDED)
            assert found == self.list[low - 1 :]
        for index in range(floor, len(terms) + 2):
            for term in range(log.floor.term, max([1, *terms]) + 1):
                assert log.last_index_within_term(index, term) == hint(terms, index, term)


STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 4), st.integers(1, 4), st.booleans(), st.integers(0, 9)),
    st.tuples(st.just("persist")),
    st.tuples(st.just("commit"), st.integers(1, 3)),
    st.tuples(st.just("apply"), st.sampled_from((1, 20, UNBOUNDED))),
    st.tuples(st.just("compact"), st.integers(1, 3)),
    st.tuples(st.just("install"), st.integers(1, 3)),
)


@given(st.lists(STEPS, max_size=30))
def test_against_a_plain_list(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        model.check()


def test_the_cache_keeps_to_its_bound_whatever_the_size_of_the_entries() -> None:
    for size in (0, 100, 100_000):
        model = Model()
        for _ in range(200):
            model.append(0, 1, False, 0)
            model.log._cache[-1].payload = bytes(size)
            model.log._cache_bytes += size
            model.persist()
            model.commit(3)
            model.apply(UNBOUNDED)
            assert model.log._cache_bytes <= 1500
        assert len(model.log._cache) <= 1500 // 200
        assert model.log.entries(1, 201, UNBOUNDED)[0].index == 1, "what left memory is read back"
        assert model.disk.reads


def test_nothing_leaves_memory_before_it_is_durable_and_applied() -> None:
    model = Model()
    for _ in range(50):
        model.append(0, 1, False, 9)
    model.log.commit_to(50)
    assert list(model.log.take_committed(UNBOUNDED)) == [], "not durable here"
    assert len(model.log._cache) == 50
    model.persist()
    taken = model.log.take_committed(UNBOUNDED)
    assert len(model.log._cache) == 50
    model.log.applied_to(taken[-1].index)
    assert len(model.log._cache) < 10


def test_what_is_cut_from_a_recovered_log_is_never_read_from_disk_again() -> None:
    log = log_of([1, 1, 2, 2])
    log.append([entry(3, 3)])
    found = [*log.entries(1, 4, UNBOUNDED)]
    found += log.entries(3, 4, UNBOUNDED)
    assert [each.term for each in found] == [1, 1, 3]


def test_a_committed_entry_is_never_overwritten() -> None:
    log = log_of([1, 1, 2])
    log.commit_to(2)
    with pytest.raises(ProtocolViolation, match="entry 2 is committed"):
        log.append([entry(2, 3)])
    log.append([entry(3, 3)])


def test_a_gap_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="gap"):
        log_of([1]).append([entry(3, 1)])


def test_applied_never_passes_what_was_handed_out() -> None:
    log = log_of([1, 1, 1])
    log.commit_to(2)
    with pytest.raises(ProtocolViolation, match="applied 2"):
        log.applied_to(2)
    assert len(log.take_committed(UNBOUNDED)) == 2
    log.applied_to(2)
    with pytest.raises(ProtocolViolation, match="applied 3"):
        log.applied_to(3)


def test_at_most_one_portion_is_being_applied() -> None:
    log = log_of([1, 1, 1])
    log.commit_to(3)
    assert [each.index for each in log.take_committed(1)] == [1]
    assert not log.take_committed(1)
    log.applied_to(1)
    assert [each.index for each in log.take_committed(1)] == [2]


def test_limits_of_a_message_leave_at_least_one_entry() -> None:
    log = log_of([])
    log.append([entry(index, 1, b"12345") for index in range(1, 6)])
    assert len(log.entries(1, 6, max_bytes=0)) == 1
    assert len(log.entries(1, 6, max_bytes=10)) == 2
    assert len(log.entries(1, 6, max_bytes=14)) == 2
    assert len(log.entries(1, 6, max_bytes=1000, max_entries=3)) == 3
    assert not log.entries(6, 6, max_bytes=1000)


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_one_of_two_logs_is_up_to_date_and_the_last_term_decides_first(one: list[int], other: list[int]) -> None:
    first, second = sorted(each + 1 for each in one), sorted(each + 1 for each in other)
    ends = [(terms[-1] if terms else 0, len(terms)) for terms in (first, second)]
    assert log_of(first).is_up_to_date(len(second), ends[1][0]) is (ends[1] >= ends[0])
    assert log_of(second).is_up_to_date(len(first), ends[0][0]) is (ends[0] >= ends[1])


def test_a_floor_remembers_the_configuration_that_was_in_force_there() -> None:
    log = log_of([])
    configurations = [Configuration.of(range(1, size)) for size in (3, 4, 5)]
    log.append([entry(1, 1)])
    for index, configuration in enumerate(configurations, start=2):
        log.append([Entry(index, 1, EntryKind.MEMBERSHIP, configuration.encode())])
    log.written = log.durable = 4
    log.commit_to(4)
    log.handed_out = log.applied = 4
    assert log.compact(1) == Floor(1, 1, 0, b"")
    assert log.compact(3) == Floor(3, 1, 3, configurations[1].encode())
    assert log.configurations.latest == configurations[2]
    log.reset(Floor(9, 2, 3, configurations[1].encode()))
    assert (log.configurations.index, log.configurations.latest) == (3, configurations[1])


def test_a_log_with_a_floor_is_recovered_as_it_was() -> None:
    configuration = Configuration.of((7, 8, 9))
    log = log_of([1, 1, 2])
    log.append([Entry(4, 2, EntryKind.MEMBERSHIP, configuration.encode()), entry(5, 3)])
    disk = Disk(log=entries([1, 1, 2]))
    disk.carry_out(Write(1, entries=tuple(log.unwritten())))
    log.written = log.durable = 5
    log.commit_to(3)
    log.handed_out = log.applied = 3
    floor = log.compact(3)
    assert floor is not None
    disk.compact(floor, ())
    again = RaftLog(disk.recovered, disk, cache_bytes_max=0, initial=Configuration.of((1,)))
    assert (again.floor, again.last_index, again.last_term, again.committed) == (log.floor, 5, 3, 3)
    assert [again.term(index) for index in (3, 4, 5)] == [2, 2, 3]
    assert (again.configurations.index, again.configurations.latest) == (4, configuration)
    assert [each.index for each in again.entries(4, 6, UNBOUNDED)] == [4, 5]
    assert again.last_index_within_term(5, 1) == (0, 0), "nothing in this log is that old"
