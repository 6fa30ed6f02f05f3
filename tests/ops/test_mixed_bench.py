"""Mixed loads deal what they should, count what was done, and end with a look at all nodes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from quorate.errors import ConfigError
from quorate.machine.queries import STREAMS_MAX
from quorate.ops.bench import servers, suites, workload, workload_report
from quorate.ops.bench.environment import Environment
from quorate.ops.bench.load import LoadFailed, LoadResult, Operation, run_load
from quorate.ops.bench.mixes import LightReads, Mode, mix
from quorate.ops.bench.operations import WRITES, Deck, Kind
from quorate.ops.bench.suites import Suite
from quorate.ops.bench.workload import (
    Latencies,
    Limits,
    Measurement,
    Place,
    Workload,
    WorkloadsReport,
    run_workloads,
)
from quorate.storage.settings import StorageProfile

MIX = {Kind.CREATE: 20, Kind.READ: 50, Kind.UPDATE: 20, Kind.DELETE: 10}
PATH = "/api/products"


def deck(weights: dict[Kind, int], keys: int = 0) -> Deck:
    """One with so many objects."""
    made = Deck(weights, PATH, "h:1", "a-category", bulk_rows=3, rng=Random(1))
    made.begin_with([b"key-%d" % number for number in range(keys)], keys)
    return made


# -- what is dealt ------------------------------------------------------------------------------------------


def test_operations_are_dealt_by_their_shares() -> None:
    cards = deck(MIX, keys=5000)
    dealt = Counter(cards.deal()[0].kind for _ in range(4000))
    for kind, share in MIX.items():
        assert dealt[kind] == pytest.approx(40 * share, rel=0.2)


def test_what_is_deleted_is_neither_read_nor_updated_nor_deleted_again() -> None:
    cards, deleted, used = deck(MIX, keys=50), Counter[bytes](), set[bytes]()
    for _ in range(3000):
        operation, request, key = cards.deal()
        if operation.kind is Kind.DELETE:
            deleted[key] += 1
        elif operation.kind in (Kind.READ, Kind.UPDATE):
            used.add(request.split(b" ")[1].rpartition(b"/")[2])
        cards.done(operation, key)
    assert len(deleted) > 200
    assert set(deleted.values()) == {1}
    assert not set(deleted) & used
    assert any(not key.startswith(b"key-") for key in used), "new objects are read, too"


def test_how_many_objects_there_are_is_known() -> None:
    cards = deck(MIX, keys=50)
    done = [cards.deal() for _ in range(500)]
    for operation, _, key in [*done, cards.bulk(7)]:
        cards.done(operation, key)
    kinds = Counter(operation.kind for operation, _, _ in done)
    assert cards.objects == 50 + kinds[Kind.CREATE] - kinds[Kind.DELETE] + 7


@pytest.mark.parametrize("kind", [Kind.READ, Kind.UPDATE, Kind.DELETE])
def test_where_there_is_no_object_one_is_created(kind: Kind) -> None:
    assert deck({kind: 1}).deal()[0].kind is Kind.CREATE


@pytest.mark.parametrize("kind", Kind)
def test_requests_are_whole(kind: Kind) -> None:
    operation, request, _ = deck({kind: 1}, keys=4).deal()
    assert operation.kind is kind
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert (int(length[1]) if length else 0) == len(body)
    if body:
        assert json.loads(body)
    assert operation.rows == (3 if kind is Kind.BULK else 1)


@pytest.mark.parametrize(
    ("mode", "light_reads", "kinds"),
    [
        (Mode.SINGLE, None, {Kind.CREATE: 100}),
        (Mode.BULK, None, {Kind.BULK: 100}),
        (Mode.RANDOM, None, {Kind.CREATE: 30, Kind.READ: 70}),
        (Mode.RANDOM, LightReads.OFF, {Kind.CREATE: 30, Kind.LIST: 70}),
        (Mode.RANDOM, LightReads.STATUS, {Kind.CREATE: 30, Kind.STATUS: 70}),
        (Mode.RANDOM, LightReads.COUNT, {Kind.CREATE: 30, Kind.COUNT: 70}),
    ],
)
def test_modes_are_shares(mode: Mode, light_reads: LightReads | None, kinds: dict[Kind, int]) -> None:
    assert mix(mode, create=30, read=70, update=0, delete=0, light_reads=light_reads) == kinds


def test_shares_make_a_hundred_percent() -> None:
    with pytest.raises(ConfigError, match="not 101"):
        mix(Mode.RANDOM, create=31, read=70, update=0, delete=0, light_reads=None)


# -- what is measured ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Suite)
def test_every_suite_has_loads_of_different_names(name: Suite) -> None:
    loads = suites.suite(name, Place(), 64, 500)
    assert len({(each.name, each.connections) for each in loads}) == len(loads) > 1


def test_what_the_suites_are_about() -> None:
    profiles = suites.suite(Suite.DURABILITY_PROFILES, Place(), 64, 500)
    assert {each.place.profile for each in profiles} == set(StorageProfile)
    bulks = suites.suite(Suite.BULK_VS_SINGLE, Place(), 64, 200)
    assert [each.bulk_rows for each in bulks if Kind.BULK in each.weights] == [10, 100, 200, 500, 1000]
    for each in (*suites.suite(Suite.HEAVY_VS_LIGHT_READS, Place(), 64, 500), *suites.reads(Place(), 64, None)):
        assert not WRITES & set(each.weights)
        assert each.place.preseed == suites.SUITE_PRESEED


def measured(rate: float | None, per_second: float, operations: int, turned_away: int = 0) -> WorkloadsReport:
    """The report of one load."""
    load = Latencies(
        kind="create", operations=operations, per_second=per_second, p50_ms=1, p95_ms=2, p99_ms=3, max_ms=4
    )
    item = Measurement(name="single", place="one node", profile=StorageProfile.DURABLE, nodes=1, connections=1,
                       rate=rate, all=load, kinds=[], rows_per_second=per_second, cpu_us=None, fsyncs=0, sent_bytes=0,
                       received_bytes=0, peer_bytes=0, turned_away=turned_away)  # fmt: skip
    machine = Environment(quorate="1", python="3", system="Linux", cores=2, load=0.0, fsync_us=1)
    return WorkloadsReport(title="Loads", environment=machine, measurements=[item], converged=[], repeated=[])


def test_a_rate_that_was_not_kept_is_told() -> None:
    assert "single: 940 of 1,000 requests per second" in workload_report.about(measured(1000, 940, 100))
    assert "of 1,000" not in workload_report.about(measured(1000, 960, 100))


def test_requests_that_were_turned_away_are_told() -> None:
    assert "single, 1: 7 more requests for a whole list were turned away" in workload_report.about(
        measured(None, 99, 100, turned_away=7)
    )
    assert "turned away" not in workload_report.about(measured(None, 99, 100))


def test_no_more_clients_than_nodes_let_ask_for_whole_lists() -> None:
    for nodes in (1, 3):
        heavy, *light = suites.suite(Suite.HEAVY_VS_LIGHT_READS, Place(nodes=nodes), 64, 500)
        assert (heavy.connections, {each.connections for each in light}) == (STREAMS_MAX * nodes, {64})


def test_percentiles_of_few_requests_are_told() -> None:
    told = "Of fewer than 100 requests, p99 is the longest: single, create (99)."
    assert told in workload_report.about(measured(None, 99, 99))
    assert "p99" not in workload_report.about(measured(None, 100, 100))


@pytest.mark.e2e
async def test_workloads_run_on_real_nodes_and_the_nodes_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "QUIET_SECONDS_MAX", 0.2)
    place = Place(preseed=60)
    mixed = Workload(name="mixed", weights=MIX, connections=4, place=place)
    reads = [Workload(name=kind.value, weights={kind: 1}, connections=2, place=place)
             for kind in Kind if kind not in WRITES]  # fmt: skip
    loads = [mixed, replace(mixed, name="open", rate=100.0), *reads]
    told: list[str] = []
    send, failures = run_load, [LoadFailed("no leader")]

    async def fails_once(*arguments: Any, **more: Any) -> LoadResult:
        result = await send(*arguments, **more)
        if failures:
            raise failures.pop()
        return result

    monkeypatch.setattr(workload, "run_load", fails_once)
    report = await run_workloads(tmp_path, "Loads", loads, Limits(seconds=20, operations_max=40), told.append)
    assert [item.name for item in report.measurements] == [each.name for each in loads]
    for item in report.measurements:
        assert item.all.operations == 40
        assert 0 < item.all.p50_ms <= item.all.p95_ms <= item.all.p99_ms <= item.all.max_ms
        assert item.sent_bytes > 40
        assert item.received_bytes > 40
    assert {each.kind for each in report.measurements[0].kinds} <= {kind.value for kind in MIX}
    assert report.measurements[0].fsyncs > 0
    assert report.measurements[0].peer_bytes > 100, "two followers get what is created"
    assert report.repeated == ["mixed: no leader"]
    assert "Done once more because a request failed: mixed: no leader." in workload_report.about(report)
    (converged,) = report.converged
    assert (converged.objects > 40, converged.digest is not None) == (True, True)
    rows = sum(1 + len(item.kinds) for item in report.measurements)
    assert workload_report.as_table(report).row_count == rows
    assert workload_report.as_markdown(report).count("\n|") == rows + 2
    assert json.loads(workload_report.as_json(report))["measurements"][0]["name"] == "mixed"
    assert os.listdir(tmp_path) == []


@pytest.mark.e2e
async def test_nodes_that_hold_other_than_clients_were_told_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Deck.done

    def forgetful(deck: Deck, each: Operation, key: bytes) -> None:
        if each.kind is Kind.BULK:
            count(deck, each, key)

    monkeypatch.setattr(Deck, "done", forgetful)
    place = Place(nodes=1, profile=StorageProfile.BALANCED)
    loads = [Workload(name=kind.value, weights={kind: 1}, connections=2, bulk_rows=20, place=place)
             for kind in (Kind.BULK, Kind.CREATE)]  # fmt: skip
    with pytest.raises(LoadFailed, match=r"every node holds 105 objects, and should hold 100"):
        await run_workloads(tmp_path, "Loads", loads, Limits(seconds=20, operations_max=5), lambda line: None)
