"""Shows what became of mutants: a table to watch, one for the documentation, JSON for programs."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Sequence

import msgspec
from rich.table import Table

from quorate.testing.simulation.mutation.trial import Trial, Verdict

FINDING_CHARACTERS_MAX = 110


def _caught_by(trial: Trial) -> str:
    if trial.verdict is Verdict.SURVIVED:
        return "nothing was found"
    check, _, found = re.sub(r"Operation\(.*\)", "an operation", trial.found).partition(": ")
    telling = check.startswith(("workload", "liveness", "a node", *string.ascii_uppercase))  # other names say it all
    caught = textwrap.shorten(f"{check}: {found.partition(';')[0]}" if telling else check, FINDING_CHARACTERS_MAX)
    return caught if trial.verdict is Verdict.CAUGHT else f"{trial.verdict.value.upper()}: {caught}"


def cells(trial: Trial) -> list[str]:
    """A row of the table: the mutant's name, what caught it, at which seed, and how long that took."""
    tried = f"{trial.tried} of {len(trial.seeds)}"
    if not trial.wall_seconds:
        return [trial.name, "…", tried, "", ""]
    return [trial.name, _caught_by(trial), tried, f"{trial.simulated_seconds:,.0f} s", f"{trial.wall_seconds:.1f} s"]


def as_table(trials: Sequence[Trial]) -> Table:
    """Those that have begun."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("mutant", "caught by", "at seed", "simulated", "took"):
        numbers = heading not in ("mutant", "caught by")
        table.add_column(heading, no_wrap=True, overflow="ellipsis", justify="right" if numbers else "left")
    for trial in trials:
        if trial.played or trial.crash:
            style = "dim" if not trial.wall_seconds else "" if trial.good else "bold red"
            table.add_row(*(cell.replace("[", "\\[") for cell in cells(trial)), style=style)
    return table


def as_markdown(trials: Sequence[Trial]) -> str:
    """The table for the documentation, with what each mutant brings back."""
    lines = ["| the bug that is brought back | known from | found by | at seed |", "|---|---|---|--:|"]
    for trial in trials:
        if trial.mutant is not None:
            cells = (trial.wanted, trial.mutant.source, _caught_by(trial)[:120], f"{trial.tried} of {len(trial.seeds)}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_json(trials: Sequence[Trial]) -> str:
    """All that is known of them."""
    found = [
        {
            "mutant": trial.mutant.name if trial.mutant is not None else None,
            "verdict": trial.verdict.value,
            "good": trial.good,
            "found": trial.found,
            "tried": trial.tried,
            "seeds": len(trial.seeds),
            "failed": trial.failed,
            "simulated_seconds": round(trial.simulated_seconds, 1),
            "wall_seconds": round(trial.wall_seconds, 1),
        }
        for trial in trials
    ]
    return msgspec.json.format(msgspec.json.encode(found)).decode()
