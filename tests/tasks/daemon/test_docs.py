"""``docs/daemon.md`` says what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from quorate.tasks.daemon import HIGH_THROUGHPUT, LOW_LATENCY, ClusterEvent, ConsensusSettings, ConsensusState
from quorate.tasks.daemon.operations import TRANSITIONS, Placement, Scope
from quorate.tasks.daemon.partitions import PartitionState

PAGE = (Path(__file__).parents[3] / "docs" / "daemon.md").read_text()


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def test_the_table_of_events_has_them_all_with_their_payloads() -> None:
    section = PAGE.partition("## Events")[2].partition("## Settings")[0]
    rows = [cells(row) for row in re.findall(r"^\| `[A-Z].*$", section, flags=re.MULTILINE)]
    found = {name.strip("`"): (wire.strip("`"), re.findall(r"`(\w+)`", payload)) for name, wire, payload in rows}
    kinds = {kind.__name__: (kind.name, [field.name for field in fields(kind)]) for kind in get_args(ClusterEvent)}
    assert found == kinds


def test_the_presets_are_those_of_the_table() -> None:
    section = PAGE.partition("## Settings")[2].partition("## What it was")[0]
    rows = [cells(row) for row in re.findall(r"^\| `\w+`.*$", section, flags=re.MULTILINE)[1:]]
    found = {re.findall(r"`(\w+)`", row[0])[0]: [int(cell) for cell in row[1:]] for row in rows}
    wanted = {
        field.name: [getattr(each, field.name) for each in (ConsensusSettings(), LOW_LATENCY, HIGH_THROUGHPUT)]
        for field in fields(ConsensusSettings)
    }
    assert found == wanted


def test_states_scopes_and_placements_are_named() -> None:
    for name in (*PartitionState, *Scope, *Placement):
        assert f"`{name.value}`" in PAGE
    for field in fields(ConsensusState):
        assert f"`{field.name}`" in PAGE or field.name == "node_id"
    drawn = PAGE.partition("```\nPENDING")[2].partition("```")[0]
    for transition in TRANSITIONS:
        assert transition.event.value in drawn or transition.before is None
