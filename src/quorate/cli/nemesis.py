"""``quorate nemesis``: real node processes under real faults and load, checked for every promise."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.errors import ConfigError
from quorate.ops.interrupts import Interrupted, run_interruptible
from quorate.ops.nemesis.disk import Disk, LimitedDisk, SmallDisk
from quorate.ops.nemesis.network import LoopbackNetwork, NamespaceNetwork, Network, isolation
from quorate.ops.nemesis.run import Outcome, Run, Settings
from quorate.ops.nemesis.schedule import Kind, Schedule, make_schedule

SECONDS = 600
ISOLATED = "QUORATE_NEMESIS_ISOLATED"
"""Set for the command that runs itself once more, where the system lets it have networks of its own."""
FINDING_CHARACTERS_MAX = 4000
SMALL_NODE = 2


def nemesis(
    seconds: Annotated[int, typer.Option(min=5, max=4000, help="How long there are faults.")] = SECONDS,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws the faults.", show_default="by chance")] = None,
    nodes: Annotated[int, typer.Option(min=3, max=5, help="How many nodes.")] = 5,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many clients.")] = 8,
    calls_per_second: Annotated[int, typer.Option(min=1, max=1000, help="What the clients try for.")] = 100,
    calls_max: Annotated[int, typer.Option(min=1, max=1_000_000, help="No more than this in all.")] = 200_000,
    only: Annotated[str | None, typer.Option(help="These kinds of faults, by commas.", show_default="all")] = None,
    isolate: Annotated[
        bool, typer.Option(help="Give each node a network namespace, and one a small disk, if the system allows it.")
    ] = True,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where data and logs are.", show_default="a temporary directory, kept on failure"),
    ] = None,
) -> None:
    """Attack a cluster on this machine, and judge all that its clients were told. Exit code 1 if it failed."""
    kinds = _kinds(only)
    isolated = os.environ.pop(ISOLATED, "") == "1"
    if isolate and not isolated and (command := isolation()) is not None:
        os.environ[ISOLATED] = "1"
        sys.stdout.flush()
        os.execvp(command[0], [*command, sys.executable, "-m", "quorate", *sys.argv[1:]])
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    directory = _directory(data_dir)
    settings = Settings(nodes=nodes, clients=clients, calls_max=calls_max, calls_per_second=calls_per_second)
    try:
        outcome = _attack(make_schedule(seed, seconds, kinds), settings, directory, only, isolated=isolated)
    except Interrupted:
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
        raise typer.Exit(130) from None
    if not outcome.good:
        raise typer.Exit(1)
    if data_dir is None:
        shutil.rmtree(directory, ignore_errors=True)


def _directory(wanted: Path | None) -> Path:
    directory = (wanted or Path(tempfile.mkdtemp(prefix="quorate-nemesis-"))).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty: choose another --data-dir")
    except OSError as error:
        raise ConfigError(f"cannot use {directory}: {error.strerror}") from error
    return directory


def _kinds(only: str | None) -> tuple[Kind, ...]:
    try:
        return tuple(Kind(name.strip()) for name in only.split(",")) if only else tuple(Kind)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; there are: {', '.join(Kind)}", param_hint="--only") from None


def _attack(schedule: Schedule, settings: Settings, directory: Path, only: str | None, *, isolated: bool) -> Outcome:
    console = wide_console()
    network: Network = NamespaceNetwork(settings.nodes) if isolated else LoopbackNetwork(settings.nodes)
    disk: Disk = SmallDisk(SMALL_NODE, directory) if isolated else LimitedDisk(SMALL_NODE)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    seconds = sum(each.seconds for each in schedule.rounds)
    tell(f"seed {schedule.seed}: {settings.nodes} nodes, {seconds:.0f} s of faults; data and logs are in {directory}")
    tell(f"network: {network.name}; the disk of node {SMALL_NODE}: {disk.name}; clocks: set inside the processes")
    tell(f"lease reads: {_yes(schedule.lease_reads)}; writes are forwarded: {_yes(schedule.forward_writes)}")
    run = Run(directory, schedule, settings, network, disk, tell)
    try:
        outcome = run_interruptible(run.run(), loop_factory=uvloop.new_event_loop)
        _print(console, outcome)
        kept = None if outcome.good else run.keep()
    finally:
        disk.close()
    if kept is not None:
        tell(f"histories, logs and data are kept in {kept}")
        limit = f" --only '{only}'" if only else ""
        tell(f"again: quorate nemesis --seed {schedule.seed} --seconds {seconds:.0f} --nodes {settings.nodes}{limit}")
    return outcome


# -- printing --------------------------------------------------------------------------------------------


def _print(console: Console, outcome: Outcome) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("seed", str(outcome.seed))
    table.add_row("time", f"{outcome.seconds:.0f} s")
    table.add_row("operations", ", ".join(f"{count:,} {what}" for what, count in outcome.calls.most_common()))
    table.add_row("", f"{outcome.retried:,} tries beyond the first")
    table.add_row("faults", ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.fired.items())) or "none")
    table.add_row("snapshots", f"{outcome.snapshots_installed} installed")
    table.add_row("unavailable", f"{outcome.longest_unavailable_seconds:.1f} s at most, while there were faults")
    table.add_row("healed", f"within {outcome.slowest_settling_seconds:.1f} s")
    if outcome.lists is not None:
        lists = outcome.lists
        told = f"{lists.acknowledged:,} acknowledged, {lists.lost} lost, {lists.duplicated} duplicated, "
        table.add_row("appends", f"{told}{lists.refused_but_there} refused but there, {lists.never_sent} never sent")
    if outcome.never_fired:
        table.add_row("never fired", ", ".join(outcome.never_fired))
    console.print(table, highlight=False)
    for number, finding in enumerate(outcome.findings, start=1):
        text = finding if len(finding) <= FINDING_CHARACTERS_MAX else f"{finding[:FINDING_CHARACTERS_MAX]} …"
        console.print(f"\nfinding {number}: {text}", highlight=False, markup=False, soft_wrap=True)
    console.print("\nverdict: " + ("every promise was kept" if outcome.good else "FAILED"), highlight=False)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
