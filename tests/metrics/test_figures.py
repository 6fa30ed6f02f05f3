"""What a node counts beside its work: outcomes, how far behind a peer is, requests, queues."""

from __future__ import annotations

import pytest

from quorate.errors import CommandFailed, NotLeader, OutcomeUnknown, ProposalDropped
from quorate.measures import Histogram
from quorate.metrics.families import histogram
from quorate.metrics.tasks import OTHERS, QUEUES_MAX, tasks
from quorate.node.figures import LEVEL_SAMPLES_MAX, LEVELS, Appended, Proposals, SnapshotFigures
from quorate.rest.requests import Requests
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import TasksMachine
from quorate.tasks.store.tables import Lane, Queue


def test_each_proposal_has_one_outcome_and_a_duration() -> None:
    proposals = Proposals()
    proposals.succeeded(0.5)
    for error in (CommandFailed("no"), ProposalDropped("no room"), NotLeader(None), NotLeader(3), OutcomeUnknown("?")):
        proposals.failed(error, 0.5)
    assert proposals.outcomes == {"applied": 1, "refused": 1, "not_applied": 2, "not_leader": 1, "unknown": 1}
    assert proposals.seconds.count == 6


def test_entries_that_a_peer_lacks_are_told_as_seconds() -> None:
    appended = Appended()
    assert appended.seconds_behind(0, 10.0) == 0
    appended.reached(5, 10.0)
    appended.reached(5, 10.1)
    appended.reached(9, 11.0)
    assert appended.seconds_behind(9, 12.0) == 0
    assert appended.seconds_behind(7, 12.0) == pytest.approx(1.0)
    assert appended.seconds_behind(4, 12.0) == pytest.approx(2.0)


def test_what_was_long_ago_is_known_less_exactly_and_stays_bounded() -> None:
    appended = Appended()
    ticks = 400_000
    for tick in range(1, ticks + 1):
        appended.reached(tick, tick / 100)
    now = ticks / 100
    for lacked in (1, 1000, 100_000, 350_000, 399_000, 399_950, 399_999):
        exact = now - (lacked + 1) / 100
        assert appended.seconds_behind(lacked, now) == pytest.approx(exact, rel=0.05, abs=0.001)
    assert appended.seconds_behind(ticks, now) == 0
    assert sum(map(len, appended._levels)) <= LEVELS * LEVEL_SAMPLES_MAX


def test_a_log_that_is_shorter_is_another_one() -> None:
    appended = Appended()
    appended.reached(50, 1.0)
    appended.reached(20, 2.0)
    assert appended.seconds_behind(10, 5.0) == pytest.approx(3.0)


def test_snapshots_are_counted_by_their_bytes() -> None:
    figures = SnapshotFigures()
    figures.sent(100, 0.5)
    figures.installed(300)
    assert (figures.bytes_sent, figures.bytes_received, figures.bytes_last) == (100, 300, 300)
    assert figures.seconds.count == 1


def test_what_clients_send_becomes_no_label() -> None:
    requests = Requests()
    for method in ("GET", "POST", "BREW", "PROPFIND"):
        requests.answered("pages", method, 200, 0.001)
    assert requests.counts == {("pages", "GET", 200): 1, ("pages", "POST", 200): 1, ("pages", "other", 200): 2}
    assert {place: each.count for place, each in requests.seconds.items()} == {
        ("pages", "read"): 1,
        ("pages", "write"): 3,
    }


def test_what_is_turned_away_before_it_is_for_anybody_is_counted_without_a_duration() -> None:
    requests = Requests()
    for status in (400, 503, 503):
        requests.turned_away(status)
    assert requests.counts == {("none", "other", 400): 1, ("none", "other", 503): 2}
    assert not requests.seconds


def test_the_largest_queues_are_named_and_the_others_counted_together() -> None:
    class Tables:
        def __init__(self) -> None:
            self.queues: dict[str, Queue] = {}
            self.numbers = type("Numbers", (), {"change": 7})

    machine = TasksMachine()
    machine.is_open = True
    machine.tables = Tables()  # type: ignore[assignment]
    for number in range(QUEUES_MAX + 3):
        queue = machine.tables.queues[f"queue {number}"] = Queue(number, f"queue {number}")
        lane = queue.lanes[number] = Lane(number, queue, "type", ())
        lane.counts[State.READY] = number
        lane.counts[State.DEAD] = 1
    family = next(iter(tasks(machine)))
    values = {(each.labels["queue"], each.labels["state"]): each.value for each in family.samples}
    named = {queue for queue, _ in values}
    assert named == {f"queue {number}" for number in range(3, QUEUES_MAX + 3)} | {OTHERS}
    assert values["queue 7", "ready"] == 7
    assert values[OTHERS, "ready"] == 0 + 1 + 2
    assert values[OTHERS, "dead"] == 3
    assert len(values) == (QUEUES_MAX + 1) * len(State)


def test_a_histogram_is_cumulative_there_and_ends_with_infinity() -> None:
    measured = Histogram((0.5, 1.0))
    for value in (0.1, 0.7, 0.8, 3.0):
        measured.observe(value)
    samples = {
        (each.name, each.labels.get("le")): each.value for each in histogram("x_seconds", "It", measured).samples
    }
    assert samples == {
        ("quorate_x_seconds_bucket", "0.5"): 1,
        ("quorate_x_seconds_bucket", "1.0"): 3,
        ("quorate_x_seconds_bucket", "+Inf"): 4,
        ("quorate_x_seconds_count", None): 4,
        ("quorate_x_seconds_sum", None): pytest.approx(4.6),
    }
