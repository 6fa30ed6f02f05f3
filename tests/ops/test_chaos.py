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
from quorate.ops.chaos import target as target_module
from quorate.ops.chaos.judging import judge
from quorate.ops.chaos.load import LoadSettings
from quorate.ops.chaos.page import as_html, timeline
from quorate.ops.chaos.readback import Held
from quorate.ops.chaos.report import ChaosReport, Setup, Thresholds, floored, make_report, missed
from quorate.ops.chaos.run import ChaosSettings
from quorate.ops.chaos.scenarios import DOING, Fault, Scenario, scenarios_of
from quorate.ops.chaos.target import Target, check_named
from quorate.ops.local_cluster import NoProgress

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
    ("values", "broken"), [((1,), "lost: 2 in own:1:0"), ((1, 2, 2), "twice: 2"), ((1, 2, 9), "never sent: 9")]
)
def test_one_node_that_breaks_a_promise_is_enough(values: tuple[int, ...], broken: str) -> None:
    consistency = judge(CALLS, {1: held(1, 2), 2: held(*values), 3: held(1, 2)})
    assert consistency.percent < 100
    assert consistency.differing == 1
    assert any("node 2" in finding and broken in finding for finding in consistency.findings)


def test_where_nothing_could_be_read_nothing_is_called_lost_and_nothing_is_consistent() -> None:
    consistency = judge(CALLS, {})
    assert (consistency.lists.acknowledged, consistency.lists.lost, consistency.percent) == (2, 0, 0.0)
    assert consistency.linearizable is True, "the answers alone were"


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


def test_an_interruption_that_cannot_be_seen_is_not_asked_for() -> None:
    load = LoadSettings(clients=1, rate=1, deadline_seconds=1)
    settings = ChaosSettings(
        scenarios=(Scenario.PAUSE,), seconds=60, every_seconds=10, seed=1, load=load, thresholds=Thresholds()
    )
    with pytest.raises(ConfigError, match="due every 1000 ms, which is longer than --max-interruption 500 ms"):
        settings.check()


def named(**changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the three nodes of a cluster say of themselves, by their addresses, but for what is ``changed``."""
    members = [{"node_id": at, "address": f"n{at}", "role": "voter"} for at in (1, 2, 3)]
    reports = {
        f"n{at}": {
            "node_id": at, "cluster_id": "quorate", "member_role": "voter", "faults": {},
            "membership": {"configuration_index": 7, "members": members},
        }
        for at in (1, 2, 3)
    }  # fmt: skip
    return {address: {**report, **changed.get(address, {})} for address, report in reports.items()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n2": {"error": "unreachable"}}, "n2: unreachable"),
        ({"n2": {"faults": None}}, "n2 does not let itself be broken"),
        ({"n2": {"node_id": 1}}, "n1 and n2 are the same node"),
        ({"n2": {"cluster_id": "another"}}, "different clusters: another, quorate"),
        ({"n2": {"member_role": None}}, "here are 2"),
        (
            {"n3": {"membership": {"configuration_index": 8, "members": [
                {"node_id": 4, "address": "n4", "role": "learner"}, {"node_id": 5, "address": "n5", "role": "witness"},
            ]}}},
            "node 4, n4, is missing",
        ),
    ],
)  # fmt: skip
def test_what_is_named_must_be_one_whole_cluster(changed: dict[str, dict[str, Any]], told: str) -> None:
    check_named(named())
    with pytest.raises(ConfigError, match=told):
        check_named(named(**changed))


class Ending(Target):
    """A target of which one node is asked again and again how it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *reports: dict[str, Any]) -> None:
        super().__init__(["n1"])
        self.addresses = {1: "n1"}
        self.left = list(reports)

        async def fetch(_: object, address: str) -> dict[str, Any]:
            return self.left.pop(0)

        monkeypatch.setattr(target_module, "fetch_status", fetch)
        monkeypatch.setattr(target_module, "POLL_SECONDS", 0)

    async def _administer(self, method: str, node_id: int, path: str, body: Any = None) -> None:
        """It is told."""


@pytest.mark.parametrize("ended", [{"error": "unreachable"}, {"uptime_seconds": 0.4}])
async def test_a_node_that_is_slow_to_answer_has_not_ended(
    monkeypatch: pytest.MonkeyPatch, ended: dict[str, Any]
) -> None:
    running, slow = {"uptime_seconds": 50.0}, {"error": "no answer"}
    target = Ending(monkeypatch, running, slow, running, slow, ended, {"error": "one too many"})
    await target.restart(1)
    assert target.left == [{"error": "one too many"}]


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({"error": "unreachable"}, r"node 1 \(n1\) is unreachable \(does a supervisor start it again\?\)"),
        ({"error": "no answer"}, "somebody listens there, and does not answer in time"),
        ({"error": "not a node"}, r"something answers there, but with no node's status"),
    ],
)
async def test_a_node_that_does_not_come_back_is_told_of_in_words(
    monkeypatch: pytest.MonkeyPatch, report: dict[str, Any], told: str
) -> None:
    target = Ending(monkeypatch, *[report] * 10_000)
    target.voters = [1]
    with pytest.raises(NoProgress, match=f"the cluster is not whole again: nobody leads; .*{told}"):
        await target.settle(0.01)


async def test_nodes_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1: unreachable"):
        async with Target(["127.0.0.1:1"]):
            pass
