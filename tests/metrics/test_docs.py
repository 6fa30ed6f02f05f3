"""``docs/metrics.md`` and ``deploy/`` speak of the metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate.metrics.tasks import QUEUES_MAX

from .conftest import Said

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())

ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"\b(?:quorate|process)_[a-z0-9_]+")
SELECTOR = re.compile(r"\b((?:quorate|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")


def test_the_page_has_every_metric_and_no_other(said: Said) -> None:
    documented = {name: (kind, labels, meaning) for name, kind, labels, meaning in ROW.findall(PAGE)}
    there = {}
    for name, family in said.leader.families.items():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        there[name] = (family.type, ", ".join(f"`{label}`" for label in labels), family.documentation)
    assert documented == there
    assert len(ROW.findall(PAGE)) == len(documented)


def test_the_page_names_nothing_else(said: Said) -> None:
    assert set(NAME.findall(PAGE)) <= set(said.leader.families)
    assert f"the {QUEUES_MAX} largest" in PAGE


def known_samples(said: Said) -> dict[str, set[str]]:
    """The labels of each sample that was there."""
    known: dict[str, set[str]] = {}
    for family in said.leader.families.values():
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    # Nobody was sent a snapshot: what has no value yet has no sample.
    return known | {"quorate_snapshot_bytes": set()}


def unknown(expression: str, known: dict[str, set[str]]) -> Iterator[str]:
    """What a query asks for that no node says."""
    for name, matchers in SELECTOR.findall(expression):
        if name not in known:
            yield f"{name} in {expression}"
            continue
        for label in re.findall(r"(\w+)\s*[=!]", matchers or ""):
            if label not in known[name] | {"job", "instance"}:
                yield f"{name}{{{label}}} in {expression}"


def expressions() -> list[str]:
    """Of the alerts and of the dashboard."""
    found = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]

    def look(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == "expr")
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(DASHBOARD)
    return found


def test_dashboards_and_alerts_ask_for_what_is_there(said: Said) -> None:
    asked = expressions()
    assert len(asked) > 60
    known = known_samples(said)
    assert [problem for each in asked for problem in unknown(each, known)] == []


def test_a_name_or_a_label_that_is_not_there_is_found(said: Said) -> None:
    known = known_samples(said)
    assert list(unknown('rate(quorate_no_such_total{job="x"}[1m])', known))
    assert list(unknown('quorate_tasks{job="x", colour="red"}', known))
    assert not list(unknown('quorate_tasks{job="x", state="ready"}', known))


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows[:4] == ["Cluster health", "Leader election", "Log replication", "Performance"]


def test_each_alert_says_what_it_means_and_how_bad_it_is() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == 6
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")], ids=" ".join
)
def test_promtool_finds_rules_and_configuration_right(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    judged: dict[str, set[bool]] = {}
    for case in cases:
        for expected in case["promql_expr_test"]:
            (alert,) = re.findall(r'alertname="(\w+)"', expected["expr"])
            judged.setdefault(alert, set()).add(bool(expected["exp_samples"]))
    assert judged == {rule["alert"]: {True, False} for group in ALERTS["groups"] for rule in group["rules"]}
