"""``quorate simulate``: try the engine in simulated clusters where everything goes wrong that can."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.testing.simulation import Report, Summary, run_seed, run_seeds

WORKERS_MAX = 64
FAILURE_CHARACTERS_MAX = 600


def simulate(
    seeds: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many seeds to run.")] = 200,
    start: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=WORKERS_MAX, help="How many processes run them.")] = 2,
    seed: Annotated[int | None, typer.Option(min=0, help="Run this one only.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: print everything that happens.")] = False,
) -> None:
    """Run clusters in virtual time, each from one number that draws its faults; check that nothing is violated.

    A failure is repeated exactly by running its seed again.
    """
    if trace and seed is None:
        raise typer.BadParameter("--trace takes one --seed.")
    console = wide_console()
    summary = Summary()
    interrupted = False
    try:
        if seed is None:
            _run(console, summary, range(start, start + seeds), workers)
        else:
            report = run_seed(seed, tell=print if trace else None)
            summary.add(report)
            console.print(f"seed {seed}: trace {report.digest}", highlight=False, markup=False)
    except KeyboardInterrupt:
        interrupted = True
    _print(console, summary)
    if interrupted:
        raise typer.Exit(130)
    if not summary.good:
        raise typer.Exit(1)


def _run(console: Console, summary: Summary, seeds: range, workers: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("seeds", total=len(seeds))

        def show(report: Report) -> None:
            summary.add(report)
            progress.advance(task)
            if report.failure is not None:
                progress.console.print(f"seed {report.seed} failed", style="red", highlight=False)

        run_seeds(seeds, show, workers=workers)


def _print(console: Console, summary: Summary) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("faults", _listed(summary.fired))
    table.add_row("operations", _listed(summary.operations))
    table.add_row("cluster", _listed(summary.counts))
    table.add_row(
        "time",
        f"{summary.simulated_seconds:,.0f} s simulated in {summary.worked_seconds:,.1f} s of work: "
        f"{summary.speed:,.0f} times as fast",
    )
    console.print(table, highlight=False)
    for seed, failure in sorted(summary.failures.items()):
        text = failure if len(failure) <= FAILURE_CHARACTERS_MAX else f"{failure[:FAILURE_CHARACTERS_MAX]} …"
        console.print(f"\nseed {seed}: {text}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  replay: quorate simulate --seed {seed} --trace", highlight=False, markup=False)
    if summary.never_fired:
        console.print(f"\nnever fired: {', '.join(summary.never_fired)}", highlight=False, markup=False)
    console.print(f"\n{summary.passed} passed, {len(summary.failures)} failed", highlight=False, markup=False)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count) or "none"
