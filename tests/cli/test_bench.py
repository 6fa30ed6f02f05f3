"""What ``quorate bench`` is asked for becomes the loads that run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from quorate.cli import bench
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.operations import Kind
from quorate.ops.bench.suites import SUITE_PRESEED
from quorate.ops.bench.tables import terminal_table
from quorate.ops.bench.workload import Limits, Place, Workload
from quorate.ops.interrupts import Interrupted
from quorate.storage.settings import StorageProfile

from .support import outcome


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[list[Workload], Limits]]:
    """What would have run."""
    runs: list[tuple[list[Workload], Limits]] = []

    async def run(directory: Path, title: str, workloads: Sequence[Workload], limits: Limits, tell: object) -> None:
        runs.append((list(workloads), limits))
        raise LoadFailed("that is enough")

    monkeypatch.setattr(bench, "run_workloads", run)
    monkeypatch.chdir(tmp_path)
    return runs


Asked = list[tuple[list[Workload], Limits]]


def test_a_mixture(capsys: pytest.CaptureFixture[str], asked: Asked) -> None:
    options = "--create 10 --read 70 --update 20 --delete 0 --light-reads count --preseed 7 --connections 2,8"
    more = "--storage-profile balanced --nodes 1 --rate 50 --model full --seconds 2 --operations 9"
    code, _, said = outcome(capsys, "bench", "crud", "--mode", "random", *options.split(), *more.split())
    assert (code, said) == (1, "quorate: that is enough\n")
    ((loads, limits),) = asked
    place = Place(nodes=1, profile=StorageProfile.BALANCED, path="/api/products", preseed=7)
    weights = {Kind.CREATE: 10, Kind.COUNT: 70, Kind.UPDATE: 20}
    assert loads == [
        Workload(name="random", weights=weights, connections=many, rate=50.0, place=place) for many in (2, 8)
    ]
    assert limits == Limits(seconds=2, operations_max=9)


def test_a_suite(capsys: pytest.CaptureFixture[str], asked: Asked) -> None:
    outcome(capsys, "bench", "crud", "--suite", "heavy_vs_light_reads", "--connections", "16", "--preseed", "10")
    ((loads, _),) = asked
    assert [next(iter(load.weights)) for load in loads] == [Kind.LIST, Kind.PAGE, Kind.COUNT, Kind.STATUS]
    assert {load.place.preseed for load in loads} == {10}


def test_reads_and_what_monitors_ask_for(capsys: pytest.CaptureFixture[str], asked: Asked) -> None:
    outcome(capsys, "bench", "reads", "--connections", "5", "--rate", "100")
    outcome(capsys, "bench", "stateless", "--connections", "4,5")
    (reads, _), (stateless, _) = asked
    assert {(load.connections, load.rate, load.place.preseed) for load in reads} == {(5, 100.0, SUITE_PRESEED)}
    assert {Kind.READ, Kind.READ_EVENTUALLY, Kind.COUNT} <= {kind for load in reads for kind in load.weights}
    kinds = [(next(iter(load.weights)), load.connections) for load in stateless]
    assert kinds == [(kind, many) for kind in (Kind.STATUS, Kind.COUNT, Kind.HEALTH) for many in (4, 5)]


@pytest.mark.parametrize(
    ("ended_by", "code", "said"),
    [
        (Interrupted(), 130, "quorate: interrupted\n"),
        (TimeoutError(), 1, "quorate: the cluster had no leader, or a node did not catch up, in time\n"),
    ],
)
def test_what_ends_it_is_one_line_and_nothing_is_left_in_the_directory(
    ended_by: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def run(directory: Path, *more: object) -> None:
        assert directory.parent == tmp_path
        (directory / "node1.log").touch()
        raise ended_by

    monkeypatch.setattr(bench, "run_idle", run)
    assert outcome(capsys, "bench", "idle", "--data-dir", str(tmp_path), "--json") == (code, "", said)
    assert list(tmp_path.iterdir()) == []


def test_a_narrow_terminal_cuts_no_number(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "wide_console", lambda: Console(width=20))
    bench._print(
        terminal_table(("case", "µs each", "fsyncs"), [("a case of some length", "123,456", "7.890")]), "about"
    )
    out = capsys.readouterr().out
    assert "CASE                   µS EACH  FSYNCS" in out
    assert "a case of some length  123,456   7.890" in out
