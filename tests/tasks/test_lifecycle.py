"""The table of states by itself, and the page that is drawn from it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from quorate.tasks.lifecycle import (
    BY_LABEL,
    ENDED,
    PENDING,
    TRANSITIONS,
    Event,
    Facts,
    ImpossibleTransition,
    State,
    Transition,
    after,
    is_possible,
)
from quorate.tasks.reference import lifecycle, renewed

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
ALL_FACTS = [Facts(*values) for values in product((False, True), repeat=3)]


def rows_of(before: State | None, event: Event) -> list[Transition]:
    return [row for row in TRANSITIONS if (row.before, row.event) == (before, event)]


CAUSES = list(dict.fromkeys((row.before, row.event) for row in TRANSITIONS))


def test_every_state_can_be_reached_and_every_task_can_be_forgotten() -> None:
    reached: set[State | None] = {None}
    for _ in State:
        reached |= {row.after for row in TRANSITIONS if row.before in reached}
    assert reached == {None, *State}
    forgettable: set[State | None] = {None}
    for _ in State:
        forgettable |= {row.before for row in TRANSITIONS if row.after in forgettable}
    assert forgettable == {None, *State}


def test_what_has_ended_is_only_tried_again_or_forgotten() -> None:
    left = {(row.before, row.event) for row in TRANSITIONS if row.before in ENDED}
    assert {event for _, event in left} == {Event.RETRY, Event.FORGET}
    assert (State.SUCCEEDED, Event.RETRY) not in left, "what was done is not done again"
    assert {state for state, event in left if event is Event.FORGET} == ENDED
    assert {row.before for row in TRANSITIONS if row.after is None} == ENDED, "nothing else is ever removed"


def test_only_a_claim_leads_to_a_lease_and_only_from_ready() -> None:
    assert [(row.before, row.event) for row in TRANSITIONS if row.after is State.RUNNING] == [
        (State.READY, Event.CLAIM)
    ]
    assert rows_of(State.RUNNING, Event.CANCEL) == [], "that takes force"


def test_every_pending_state_can_end_without_a_worker() -> None:
    for state, event in product(PENDING, (Event.EXPIRE, Event.CANCEL, Event.FORCE)):
        assert after(state, event) in ENDED
    assert PENDING | ENDED | {State.RUNNING} == set(State)
    assert not PENDING & ENDED


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause[0]!r} {cause[1].value}")
def test_exactly_one_row_counts_whatever_the_facts_are(cause: tuple[State | None, Event]) -> None:
    *guarded, last = rows_of(*cause)
    assert last.guard is None, "the last one takes all that is left"
    for row in guarded:
        assert row.guard is not None
        assert row.condition, "a guard is told in words"
    places = [TRANSITIONS.index(row) for row in (*guarded, last)]
    assert places == list(range(places[0], places[0] + len(places))), "rows of one cause stand together"


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.before!r} {row.event.value} {row.after!r}")
def test_no_row_is_dead(row: Transition) -> None:
    taken = [facts for facts in ALL_FACTS if first_of(row.before, row.event, facts) is row]
    assert taken
    assert {after(row.before, row.event, facts) for facts in taken} == {row.after}


def first_of(before: State | None, event: Event, facts: Facts) -> Transition:
    return next(row for row in rows_of(before, event) if row.guard is None or row.guard(facts))


def test_what_has_no_row_is_impossible() -> None:
    for state, event in product(State, Event):
        assert is_possible(state, event) == bool(rows_of(state, event))
        if not is_possible(state, event):
            with pytest.raises(ImpossibleTransition, match=state.label):
                after(state, event)
    with pytest.raises(ImpossibleTransition, match="new"):
        after(None, Event.CLAIM)


def test_states_have_the_numbers_and_names_that_files_and_callers_know() -> None:
    assert {label: int(state) for label, state in BY_LABEL.items()} == {
        "scheduled": 0, "waiting": 1, "ready": 2, "running": 3, "succeeded": 4, "failed": 5, "dead": 6, "cancelled": 7,
    }  # fmt: skip


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text()
    assert text == renewed(text), "run: make reference"
    drawn = lifecycle()
    for row in TRANSITIONS:
        before = "[*]" if row.before is None else row.before.label
        into = "[*]" if row.after is None else row.after.label
        assert any(line.startswith(f"    {before} --> {into}: ") and row.event in line for line in drawn.splitlines())
