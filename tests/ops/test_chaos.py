"""The parts of ``quorate chaos``: its judge, its thresholds, its report, its page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from quorate.errors import ConfigError
from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Call, Key, Record, Verb
from quorate.ops.chaos.judging import judge
from quorate.ops.chaos.load import LoadSettings
from quorate.ops.chaos.page import as_html, timeline
from quorate.ops.chaos.readback import Held
from quorate.ops.chaos.report import ChaosReport, Setup, Thresholds, floored, make_report, missed
from quorate.ops.chaos.run import ChaosSettings
from quorate.ops.chaos.scenarios import DOING, Fault, Scenario, scenarios_of
from quorate.ops.chaos.target import Target

OWN: Key = ("list", "own:1:0")
SHARED: Key = ("register", "shared:0:1")

GOOD_NUMBERS: dict[str, Any] = {
    "availability_percent": 99.9,
    "interruption_ms": 500.0,
    "consistency_percent": 100.0,
    "linearizable": True,
    "operations": 1,
    "findings": [],
}


def call(key: Key, verb: Verb, value: Any = None, answer: Any = None, *, at: float, outcome: str = OK) -> Call:
    """A call of one client, which takes a tenth of a second."""
    returned = at + 0.1 if outcome == OK else None
    return Call(
        client=1, key=key, verb=verb, value=value, answer=answer, invoked=at, returned=returned, outcome=outcome
    )


CALLS = [
    call(OWN, Verb.APPEND, 1, at=0.0),
    call(OWN, Verb.APPEND, 2, at=0.2),
    call(SHARED, Verb.WRITE, 3, at=0.4),
    call(SHARED, Verb.READ, answer=3, at=0.6),
]


def held(*values: int, shared: int = 3) -> Held:
    """What a node has at the end."""
    return Held(lists={OWN[1]: list(values)}, registers={SHARED[1]: shared}, began=100.0, ended=101.0)


# -- the judge -------------------------------------------------------------------------------------------


def test_all_that_was_acknowledged_is_there_once_on_every_node() -> None:
    consistency = judge(CALLS, {1: held(1, 2), 2: held(1, 2)})
    assert (consistency.percent, consistency.linearizable, consistency.findings) == (100.0, True, [])


@pytest.mark.parametrize(
    ("values", "broken"), [((1,), "lost=1"), ((1, 2, 2), "duplicated=1"), ((1, 2, 9), "never_sent=1")]
)
def test_one_node_that_breaks_a_promise_is_enough(values: tuple[int, ...], broken: str) -> None:
    consistency = judge(CALLS, {1: held(1, 2), 2: held(*values), 3: held(1, 2)})
    assert consistency.percent < 100
    assert consistency.differing == 1
    assert any("node 2" in finding and broken in finding for finding in consistency.findings)


def test_what_is_unknown_may_be_there_or_not_and_what_was_refused_may_not() -> None:
    unknown = [*CALLS, call(OWN, Verb.APPEND, 7, at=0.8, outcome=UNKNOWN)]
    assert judge(unknown, {1: held(1, 2)}).percent == judge(unknown, {1: held(1, 2, 7)}).percent == 100
    refused = [*CALLS, call(OWN, Verb.APPEND, 7, at=0.8, outcome=NOT_APPLIED)]
    consistency = judge(refused, {1: held(1, 2, 7)})
    assert (consistency.lists.refused_but_there, consistency.percent) == (1, 50.0)


def test_a_write_that_a_later_read_does_not_show_is_not_linearizable() -> None:
    stale = [*CALLS, call(SHARED, Verb.READ, answer=0, at=0.8)]
    consistency = judge(stale, {1: held(1, 2)})
    assert consistency.linearizable is False
    assert any("Register" in finding for finding in consistency.findings)


def test_a_register_that_went_back_on_all_nodes_alike_is_not_linearizable() -> None:
    consistency = judge(CALLS, {1: held(1, 2, shared=0), 2: held(1, 2, shared=0)})
    assert (consistency.linearizable, consistency.differing) == (False, 0)


# -- the thresholds --------------------------------------------------------------------------------------


def test_numbers_that_just_reach_the_thresholds_pass() -> None:
    assert missed(Thresholds(), **GOOD_NUMBERS) == []


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ({"availability_percent": 99.89999}, "availability: 99.899 %"),
        ({"interruption_ms": 501.0}, "longest interruption: 501 ms"),
        ({"consistency_percent": 99.99999}, "consistency: 99.999 %"),
        ({"linearizable": False}, "not linearizable"),
        ({"linearizable": None}, "undecided"),
        ({"findings": ["node 1 ended"]}, "1 finding"),
        ({"operations": 0}, "nothing was measured"),
    ],
)
def test_each_number_alone_makes_a_run_fail(number: dict[str, Any], told: str) -> None:
    (reason,) = missed(Thresholds(), **{**GOOD_NUMBERS, **number})
    assert told in reason


def test_lower_thresholds_excuse_numbers_but_no_broken_promise() -> None:
    lax = Thresholds(availability_percent=0, interruption_ms=1e9, consistency_percent=0)
    assert missed(lax, **{**GOOD_NUMBERS, "availability_percent": 1.0, "interruption_ms": 1e6}) == []
    assert missed(lax, **{**GOOD_NUMBERS, "linearizable": False}) != []


def test_percents_are_never_shown_as_more_than_they_are() -> None:
    assert [floored(each) for each in (100.0, 99.99999, 99.9, 0.0)] == ["100", "99.999", "99.9", "0"]


# -- the report ------------------------------------------------------------------------------------------


def report_of(calls: list[Call], seconds: float = 2.0) -> ChaosReport:
    """One of a run that began at 0."""
    record = Record(active=[(0.0, seconds)])
    for each in calls:
        record.add(each)
    fault = Fault(scenario=Scenario.PAUSE, told="node 1 <is> paused", began=0.5, ended=1.0, recovered=1.5)
    setup = Setup(
        target="a cluster", scenarios=["pause"], seed=7, nodes=3, clients=1, rate=10.0, deadline_seconds=2.0,
        machine="2 cores",
    )  # fmt: skip
    consistency = judge(calls, {1: held(1, 2)})
    waits = [0.1] * sum(1 for each in calls if each.outcome == OK)
    return make_report(setup, record, waits, Counter({"UNKNOWN": 2}), [fault], consistency, [], Thresholds())


def test_the_numbers_are_those_of_the_record() -> None:
    report = report_of([*CALLS, call(OWN, Verb.APPEND, 7, at=0.8, outcome=UNKNOWN)])
    assert (report.operations, report.succeeded, report.failed, report.unknown) == (5, 4, 0, 1)
    assert report.availability_percent == 80.0
    # The last success is at 0.7 s, and the load goes on for 1.3 s more.
    assert (report.longest_interruption_ms, report.interrupted_at_seconds) == (1300.0, 0.7)
    assert report.slots_available_percent == 100 * 4 / 20
    assert sum(slot.ok for slot in report.slots) == 4
    assert [slot.failed for slot in report.slots].index(1) in (7, 8)
    assert report.errors == {"UNKNOWN": 2}
    assert (report.p50_ms, report.max_ms) == (100.0, 100.0)
    assert not report.passed
    assert len(report.missed) == 2
    assert report.as_json()["passed"] is False


def test_a_surprising_answer_is_a_finding() -> None:
    record = Record(active=[(0.0, 0.8)], surprises=["GET was answered: WRONGTYPE"])
    for each in CALLS:
        record.add(each)
    setup = Setup(
        target="", scenarios=[], seed=1, nodes=3, clients=1, rate=1.0, deadline_seconds=1.0, machine=""
    )  # fmt: skip
    report = make_report(setup, record, [0.1], Counter(), [], judge(CALLS, {1: held(1, 2)}), [], Thresholds())
    assert report.findings == ["GET was answered: WRONGTYPE"]
    assert not report.passed


def test_the_page_stands_alone_and_shows_what_the_report_says() -> None:
    report = report_of(CALLS)
    page = as_html(report)
    assert not re.search(r"<script|https?://|@import|url\(", page)
    assert "node 1 &lt;is&gt; paused" in page
    assert "prefers-color-scheme: dark" in page
    assert "Not passed" in page
    drawn = ElementTree.fromstring(timeline(report))
    kinds = Counter(rect.get("class") for rect in drawn.iter("rect"))
    assert (kinds["fault"], kinds["gap"], kinds["ok"]) == (1, 1, 4)
    fault = next(rect for rect in drawn.iter("rect") if rect.get("class") == "fault")
    assert float(fault.get("width", "0")) == pytest.approx((960 - 48) * 0.5 / 2, abs=1)


def test_a_page_of_a_run_in_which_nothing_happened_can_be_drawn() -> None:
    ElementTree.fromstring(timeline(replace(report_of(CALLS), slots=[], faults=[], seconds=0.0)))


# -- what is asked for -----------------------------------------------------------------------------------


def test_every_scenario_can_be_done_and_all_means_all() -> None:
    assert set(DOING) == set(Scenario) == set(scenarios_of("all"))
    assert scenarios_of("pause") == (Scenario.PAUSE,)
    with pytest.raises(ValueError, match="fire"):
        scenarios_of("fire")


def test_a_run_that_could_not_be_remembered_is_refused() -> None:
    load = LoadSettings(clients=1, rate=10_000, deadline_seconds=1)
    settings = ChaosSettings(
        scenarios=(Scenario.PAUSE,), seconds=3600, every_seconds=10, seed=1, load=load, thresholds=Thresholds()
    )
    with pytest.raises(ConfigError, match="--rate 111 or less"):
        settings.check()


async def test_nodes_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1: unreachable"):
        async with Target(["127.0.0.1:1"]):
            pass
