"""Which configuration is in force: the last one in the log, or what was in force at its floor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import ProtocolViolation
from quorate.raft.configurations import Configurations
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.output import Floor

INITIAL = Configuration.of((1, 2, 3))


def numbered(number: int) -> Configuration:
    return Configuration.of(range(1, number + 2))


class Model:
    """The log as a list of what each entry says about the membership."""

    def __init__(self) -> None:
        self.configurations = Configurations(INITIAL, Floor())
        self.log: list[Configuration | None] = []
        self.floor = 0

    def in_force(self, index: int) -> tuple[int, Configuration]:
        for position in range(index, 0, -1):
            found = self.log[position - 1]
            if found is not None:
                return position, found
        return 0, INITIAL

    def append(self, number: int) -> None:
        found = numbered(number) if number else None
        self.log.append(found)
        kind, payload = (EntryKind.MEMBERSHIP, found.encode()) if found else (EntryKind.COMMANDS, b"x")
        self.configurations.appended(Entry(len(self.log), 1, kind, payload))

    def cut(self, back: int) -> None:
        index = max(self.floor, len(self.log) - back) + 1
        del self.log[index - 1 :]
        self.configurations.cut(index)

    def compact(self, share: int) -> None:
        self.floor += (len(self.log) - self.floor) * share // 3
        self.configurations.compacted(self.floor)

    def begin(self, ahead: int) -> None:
        """A snapshot of the same cluster, further on."""
        self.log += [None] * ahead
        index, found = self.in_force(len(self.log))
        self.floor = len(self.log)
        self.configurations.begin_at(Floor(self.floor, 1, index, found.encode() if index else b""))

    def check(self) -> None:
        for index in range(self.floor, len(self.log) + 1):
            assert self.configurations.at(index) == self.in_force(index)
        assert (self.configurations.index, self.configurations.latest) == self.in_force(len(self.log))


STEPS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from((0, 0, 1, 2, 3, 4))),
    st.tuples(st.just("cut"), st.integers(1, 4)),
    st.tuples(st.just("compact"), st.integers(1, 3)),
    st.tuples(st.just("begin"), st.integers(0, 2)),
)


@given(st.lists(STEPS, max_size=30))
def test_against_a_plain_list(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    for name, argument in steps:
        getattr(model, name)(argument)
        model.check()


def test_a_log_that_begins_behind_a_snapshot_begins_with_its_configuration() -> None:
    found = Configurations(INITIAL, Floor(9, 2, 5, numbered(4).encode()))
    assert (found.index, found.latest) == (5, numbered(4))
    found.cut(10)
    assert (found.index, found.latest) == (5, numbered(4)), "what the snapshot holds is never cut off"


def test_what_was_in_force_before_the_floor_is_not_known_any_more() -> None:
    found = Configurations(INITIAL, Floor(9, 2, 5, numbered(4).encode()))
    assert found.at(5) == (5, numbered(4))
    assert found.at(4) == (0, Configuration())


def test_an_entry_that_holds_no_configuration_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        Configurations(INITIAL, Floor()).appended(Entry(1, 1, EntryKind.MEMBERSHIP, b"{}"))
