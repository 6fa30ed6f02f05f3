"""``make mutants``: bring known bugs back, one at a time, and see whether the simulator finds each of them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from quorate.testing.simulation.mutation.laboratory import run_trials
from quorate.testing.simulation.mutation.mutant import RottenMutant, load_mutants
from quorate.testing.simulation.mutation.table import as_json, as_markdown, as_table, cells
from quorate.testing.simulation.mutation.trial import MEASURED_FAILURES, SEEDS_MAX, Trial, trials_of


def _trials(folder: Path, only: list[str] | None, *, control: bool, measure: bool) -> list[Trial]:
    try:
        mutants = [
            each
            for each in load_mutants(folder)
            if not only or any(part in each.name or part in each.plan for part in only)
        ]
    except RottenMutant as error:
        typer.echo(f"rotten mutant: {error}", err=True)
        raise typer.Exit(1) from None
    if measure:
        mutants = [msgspec.structs.replace(mutant, seeds=SEEDS_MAX) for mutant in mutants]
    trials = trials_of(mutants, control=control)
    if measure:
        for trial in trials:
            trial.failures = MEASURED_FAILURES
    return trials


def _run(trials: Sequence[Trial], workers: int, console: Console) -> None:
    """Run them while the table is to be seen; where it cannot change, a line for each that has ended."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            asyncio.run(run_trials(trials, lambda _: live.update(as_table(trials), refresh=True), workers=workers))
        return

    def tell(trial: Trial) -> None:
        if trial.wall_seconds:
            print("  ".join(cells(trial)), file=sys.stderr, flush=True)

    asyncio.run(run_trials(trials, tell, workers=workers))


def _sum_up(trials: Sequence[Trial], seconds: float, console: Console) -> None:
    if not console.is_terminal:  # there it is to be seen already
        console.print(as_table(trials))
    good = sum(trial.good for trial in trials)
    console.print(f"\n{good} as they should be, {len(trials) - good} not, in {seconds:.0f} s", highlight=False)


def _write_seeds(folder: Path, trials: Sequence[Trial]) -> None:
    for trial in trials:
        if trial.mutant is not None and trial.failed:
            path = folder / f"{trial.name}.toml"
            path.write_text(re.sub(r"(?m)^seeds = \d+$", f"seeds = {trial.seeds_needed}", path.read_text()))


def main(
    folder: Annotated[Path, typer.Option(help="Where the mutants are.")] = Path("mutants"),
    only: Annotated[list[str] | None, typer.Option(help="Run those with this in their names or their plans'.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many run at the same time.")] = 2,
    control: Annotated[bool, typer.Option(help="Run the unchanged code, too.")] = True,
    measure: Annotated[bool, typer.Option("--measure", help="Write into each how many seeds it should get.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and no table.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write a table to this file, too.")] = None,
) -> None:
    """Bring known bugs back, one at a time, and see whether the simulator finds each of them."""
    trials = _trials(folder, only, control=control, measure=measure)
    console = Console() if sys.stdout.isatty() else Console(width=180)
    began = perf_counter()
    _run(trials, workers, console)
    if measure:
        _write_seeds(folder, trials)
    if markdown is not None:
        markdown.write_text(as_markdown(trials))
    if json:
        typer.echo(as_json(trials))
    else:
        _sum_up(trials, perf_counter() - began, console)
    if not trials or not all(trial.good for trial in trials):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
