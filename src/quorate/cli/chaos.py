"""``quorate chaos``: rehearse the worst day, and be told what it would have cost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.config import admin_token_of
from quorate.config_mistakes import variable
from quorate.errors import ConfigError, QuorateError
from quorate.ops.chaos.load import LoadSettings
from quorate.ops.chaos.page import as_html, numbers
from quorate.ops.chaos.report import ChaosReport, Thresholds
from quorate.ops.chaos.run import ChaosRun, ChaosSettings, Progress
from quorate.ops.chaos.scenarios import ALL, Scenario, scenarios_of
from quorate.ops.chaos.target import BroughtCluster, Target
from quorate.ops.cluster_status import parse_cluster
from quorate.ops.interrupts import Interrupted, run_interruptible
from quorate.ops.ports import free_ports
from quorate.ops.shop import data_directory
from quorate.tasks.durations import microseconds

NODES = 3
SECONDS_MIN, SECONDS_MAX = 5.0, 3600.0
FINDING_CHARACTERS_MAX = 2000
THRESHOLDS = Thresholds()


def _seconds(text: str) -> float:
    try:
        return microseconds(text) / 1e6
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from None


def _duration(text: str) -> float:
    seconds = _seconds(text)
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise typer.BadParameter(f"it takes {SECONDS_MIN:g} s to {SECONDS_MAX:g} s, not {text}")
    return seconds


def _interval(text: str) -> float:
    seconds = _seconds(text)
    if not 0 < seconds <= SECONDS_MAX:
        raise typer.BadParameter(f"should be more than nothing and at most {SECONDS_MAX:g} s, not {text}")
    return seconds


def _scenario(text: str) -> str:
    try:
        scenarios_of(text)
    except ValueError:
        raise typer.BadParameter(f"there is no {text!r}; there are {', '.join(Scenario)} and {ALL}") from None
    return text


def chaos(
    scenario: Annotated[
        str, typer.Option(callback=_scenario, help=f"{', '.join(Scenario)}, or {ALL}, one after the other.")
    ] = Scenario.LEADER_CRASH,
    duration: Annotated[str, typer.Option(help="How long there is load: 300s, 5m.")] = "60s",
    every: Annotated[str, typer.Option(help="From one fault to the next.")] = "10s",
    cluster: Annotated[
        str | None,
        typer.Option(help="All nodes of a running cluster, started with --allow-faults, as host:port, by commas."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=3, max=9, help="Bring so many nodes along instead.", show_default="3")
    ] = None,
    load_test_concurrent: Annotated[int, typer.Option(min=1, max=1000, help="How many clients.")] = 100,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Operations per second, of all of them.")] = 500,
    deadline: Annotated[str, typer.Option(help="An operation fails that takes longer, with all its tries.")] = "2s",
    min_availability: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of the operations that must succeed.")
    ] = THRESHOLDS.availability_percent,
    max_interruption: Annotated[str, typer.Option(help="The longest time without a success of any client.")] = "500ms",
    min_consistency: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of what was acknowledged that must be there.")
    ] = THRESHOLDS.consistency_percent,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws the victims.", show_default="by chance")] = None,
    kv_password: Annotated[
        str | None, typer.Option(envvar="QUORATE_KV_PASSWORD", help="The key-value store's, if it has one.")
    ] = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="Where the cluster's admin token is, if it has one (or QUORATE_ADMIN_TOKEN).")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="For --nodes: where data and logs are.", show_default="a temporary directory, removed"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object on the last line.")] = (
        False
    ),
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page to this file.")] = None,
) -> None:
    """Break a cluster under load, and judge what its clients were told.

    Exit code 0 if the thresholds are reached, 1 if not, 2 if it was called wrongly.
    """
    if cluster is not None and (nodes is not None or data_dir is not None):
        raise typer.BadParameter("--nodes and --data-dir are for a cluster of its own: give them, or --cluster")
    _check_writable(html)
    settings = ChaosSettings(
        scenarios=scenarios_of(scenario),
        seconds=_duration(duration),
        every_seconds=_interval(every),
        seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
        load=LoadSettings(
            clients=load_test_concurrent,
            rate=rate,
            deadline_seconds=_interval(deadline),
            password=None if cluster is None else kv_password,  # the variable may be set for other nodes
        ),
        thresholds=Thresholds(
            availability_percent=min_availability,
            interruption_ms=_seconds(max_interruption) * 1000,
            consistency_percent=min_consistency,
        ),
    )
    try:
        admin_token = admin_token_of(os.environ.get(variable("admin_token")), admin_token_file)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    console = Console(stderr=True) if as_json else wide_console()
    report = _run(settings, cluster, nodes or NODES, data_dir, admin_token, console)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        _print(wide_console(), report)
    if report.findings and cluster is None and data_dir is None:
        console.print("\nwith --data-dir the data and the logs of the nodes are kept", highlight=False)
    if html is not None:
        _write(html, as_html(report))
    if not report.passed:
        raise typer.Exit(1)


def _check_writable(path: Path | None) -> None:
    """Better now than when all is done."""
    if path is not None and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise typer.BadParameter(f"cannot write {path}", param_hint="--html")


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise QuorateError(f"the report could not be written to {path}: {error.strerror}") from None


def _run(
    settings: ChaosSettings,
    cluster: str | None,
    nodes: int,
    data_dir: Path | None,
    admin_token: str | None,
    console: Console,
) -> ChaosReport:
    try:
        if cluster is not None:
            return _attack(settings, Target(parse_cluster(cluster), admin_token), console)
        with data_directory(data_dir, "chaos") as directory:
            if any(directory.iterdir()):
                raise ConfigError(f"{directory} is not empty: choose another --data-dir")
            return _attack(settings, BroughtCluster(directory, free_ports(nodes)), console)
    except Interrupted:
        console.print("what was broken is healed; there is no report", highlight=False)
        raise typer.Abort from None
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def _attack(settings: ChaosSettings, target: Target, console: Console) -> ChaosReport:
    with _progress(console, settings.seconds) as (tell, show):
        tell(f"seed {settings.seed}: {target.name}; {settings.load.clients} clients for {settings.seconds:g} s")
        return run_interruptible(ChaosRun(settings, target, tell, show).run(), loop_factory=uvloop.new_event_loop)


# -- printing --------------------------------------------------------------------------------------------


@contextmanager
def _progress(console: Console, seconds: float) -> Iterator[tuple[Callable[[str], None], Callable[[Progress], None]]]:
    """A bar on a terminal, and above it a line for each fault; elsewhere the lines alone."""

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield tell, lambda progress: None
        return
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("waiting for the cluster", total=seconds)

        def show(progress: Progress) -> None:
            told = f"{progress.operations:,} operations, {progress.failed:,} failed; {progress.doing}"
            bar.update(task, completed=progress.seconds, description=told)

        yield tell, show


def _print(console: Console, report: ChaosReport) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, told in numbers(report):
        table.add_row(name, told)
    table.add_row("faults", str(len(report.faults)))
    table.add_row("machine", report.machine)
    console.print(table, highlight=False)
    for finding in report.findings:
        console.print(f"\nfinding: {finding[:FINDING_CHARACTERS_MAX]}", highlight=False, markup=False, soft_wrap=True)
    if report.passed:
        console.print("\npassed", highlight=False)
        return
    console.print("\nnot passed:", highlight=False)
    for reason in report.missed:
        console.print(f"  {reason}", highlight=False, markup=False)
