"""Is the simulator any good? Brings known bugs back, one at a time, and demands that it finds each of them.

``make mutants`` runs it, or ``python -m quorate.testing.simulation.mutation``. A mutant is a small TOML file: a slip
of a line or two in our own code, the bug that this brings back, and within how many seeds a batch has to find it::

    bug = "A vote is given whoever got it before."
    source = "Raft, section 5.2: one vote per term, first come, first served"
    file = "raft/election.py"
    before = "return hard_state.voted_for in (None, candidate)"
    after = "return True"
    seeds = 30

Each runs in a process of its own, on a copy of the package in which nothing else is changed; the unchanged copy has
to pass the same seeds. Not every failure is a catch: code that merely crashes proves nothing about the checks, nor
does code that never works at all.

Some bugs need what few seeds draw: many reads while leaders change, say. Their mutants name a plan, in which that is
not left to chance; everything else still is.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import logging
import os
import re
import shutil
import string
import sys
import textwrap
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from enum import Enum
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

import quorate
from quorate.testing.simulation.simulation import Simulation
from quorate.testing.simulation.swarm import draw

T = TypeVar("T")

PACKAGE = Path(quorate.__file__).parent
SILENT_SECONDS_MAX = 120.0
"""No seed takes this long: code that says nothing for so long hangs."""
HOPELESS_SEEDS = 30
"""One of so many must pass, or the mutant does not work at all."""
MEASURED_FAILURES, MARGIN = 3, 3
"""A measured number of seeds is so many times what it took to fail so many times: failures come by chance, and the
first one alone says little about how often they come."""
SEEDS_MIN, SEEDS_MAX = 10, 500
LINES_MAX = 3
"""A slip changes no more lines than this."""
FINDING_CHARACTERS_MAX = 110

NONSENSE = (AttributeError, ImportError, NameError, SyntaxError, TypeError)
"""What code raises that was changed into nonsense, not into a bug."""


class RottenMutant(Exception):
    """A mutant that cannot be used (any more): the code has changed, or it says nothing that can be run."""


class Mutant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to break the code. ``file`` is below the package, ``before`` is in it exactly once."""

    bug: str
    source: str
    """Where it is known from: a rule of the paper that it breaks, a real system that had it."""
    file: str
    before: str
    after: str
    seeds: int
    """Within so many it has to be found."""
    start: int = 0
    """The first of them."""
    plan: str = ""
    """Which of ``plans/*.toml`` says what is not left to the seed; without one, everything is."""
    name: str = ""
    """That of its file."""
    fixed: dict[str, Any] = {}
    """What its plan says: fields of :class:`~quorate.testing.simulation.swarm.Plan`, or of a part of it."""

    def applied_to(self, text: str) -> str:
        """The text of the file with the bug in it. Raises :class:`RottenMutant`."""
        occurs = text.count(self.before)
        if occurs != 1:
            raise RottenMutant(f"{self.name}: its text occurs {occurs} times in {self.file}, not once")
        changed = text.replace(self.before, self.after)
        pieces = SequenceMatcher(None, text.splitlines(), changed.splitlines(), autojunk=False).get_opcodes()
        lines = sum(max(j - i, n - m) for kind, i, j, m, n in pieces if kind != "equal")
        if not 0 < lines <= LINES_MAX:
            raise RottenMutant(f"{self.name}: it changes {lines} lines; one is best, {LINES_MAX} are the most")
        try:
            ast.parse(changed)
        except SyntaxError as error:
            raise RottenMutant(f"{self.name}: {self.file} is no Python any more: {error}") from error
        return changed


def load_mutants(folder: Path, package: Path = PACKAGE) -> list[Mutant]:
    """All mutants in ``folder``, each of which applies to ``package``. Raises :class:`RottenMutant`."""
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        try:
            mutant = msgspec.toml.decode(path.read_bytes(), type=Mutant)
            plan = folder / "plans" / f"{mutant.plan}.toml"
            fixed = msgspec.toml.decode(plan.read_bytes(), type=dict[str, Any]) if mutant.plan else {}
            replaced(draw(0), fixed)
        except (msgspec.MsgspecError, OSError, TypeError, AttributeError) as error:
            raise RottenMutant(f"{path.stem}: {error}") from error
        mutant = msgspec.structs.replace(mutant, name=path.stem, fixed=fixed)
        if not (package / mutant.file).is_file():
            raise RottenMutant(f"{mutant.name}: there is no file {mutant.file}")
        mutant.applied_to((package / mutant.file).read_text())
        mutants.append(mutant)
    return mutants


# -- what became of one ----------------------------------------------------------------------------------


class Played(msgspec.Struct, frozen=True):
    """What became of one seed."""

    seed: int
    failure: str | None
    simulated_seconds: float
    nonsense: str = ""
    """What was raised that no bug raises."""


class Verdict(Enum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    CRASHED = "crashed"
    """The changed code is nonsense, or hangs: no check had a bug to find."""
    USELESS = "useless"
    """Nothing ever works with it: any test at all would find it."""


@dataclass(slots=True)
class Trial:
    """A mutant, and what its seeds say so far; without a mutant, the unchanged code."""

    mutant: Mutant | None
    seeds: range
    plan: str = ""
    fixed: dict[str, Any] = field(default_factory=dict)
    failures: int = 1
    """After so many it ends."""
    played: list[Played] = field(default_factory=list)
    crash: str = ""
    wall_seconds: float = 0.0
    """0 until it has ended."""

    @property
    def name(self) -> str:
        """The mutant's."""
        if self.mutant is not None:
            return self.mutant.name
        return f"(the code as it is{', in ' * bool(self.plan)}{self.plan})"

    @property
    def failed(self) -> list[int]:
        """How many seeds it took to the first failure, to the second, and so on."""
        return [number for number, each in enumerate(self.played, start=1) if each.failure is not None]

    @property
    def tried(self) -> int:
        """How many seeds it took to the first failure; without one, all of them."""
        return self.failed[0] if self.failed else len(self.played)

    @property
    def found(self) -> str:
        """The first failure in one line: the check that fired, and what it says. Empty if there was none."""
        first = self.played[self.tried - 1] if self.failed else Played(0, "", 0.0)
        return " ".join((self.crash or first.nonsense or first.failure or "").split())

    @property
    def simulated_seconds(self) -> float:
        """How long its clusters lived, in their own time, up to the first failure."""
        return sum(each.simulated_seconds for each in self.played[: self.tried])

    @property
    def verdict(self) -> Verdict:
        """The judgement, once it has ended."""
        nonsense = any(each.nonsense for each in self.played[: self.tried])
        if self.crash or nonsense or self.found.startswith("unforeseen"):
            return Verdict.CRASHED
        if not self.found or self.tried > len(self.seeds):
            return Verdict.SURVIVED
        hopeless = len(self.failed) == len(self.played) and self.found.startswith(("a node", "liveness", "nothing"))
        return Verdict.USELESS if hopeless else Verdict.CAUGHT

    @property
    def good(self) -> bool:
        """Whether it ended as it should: caught, or, for the unchanged code, without a failure."""
        return self.verdict is (Verdict.CAUGHT if self.mutant is not None else Verdict.SURVIVED)

    @property
    def seeds_needed(self) -> int:
        """How many seeds it should be given, from how often it failed."""
        enough = self.failed[MEASURED_FAILURES - 1] if len(self.failed) >= MEASURED_FAILURES else SEEDS_MAX
        return min(max(enough * MARGIN, SEEDS_MIN), SEEDS_MAX)

    @property
    def wanted(self) -> str:
        """What was to be seen, in a line."""
        return " ".join(self.mutant.bug.split()) if self.mutant is not None else "Nothing."


def play(start: int, seeds: int, failures: int, fixed: dict[str, Any]) -> None:
    """Run seeds until so many have failed, and tell of each in a line: what a process on changed code is for.

    It goes on until one has passed, if all have failed.
    """
    listener = _Listener()
    gc.disable()  # a run makes little garbage in cycles
    found, passed = 0, False
    for seed in count(start):
        gc.collect()
        listener.heard = ""
        report = Simulation(replaced(draw(seed), fixed)).run()
        played = Played(seed, report.failure, report.simulated_seconds, listener.heard)
        print(msgspec.json.encode(played).decode(), flush=True)
        found += report.failure is not None
        passed = passed or report.failure is None
        done = seed + 1 - start
        if (found >= failures or done >= seeds) and (passed or done >= HOPELESS_SEEDS):
            return


class _Listener(logging.Handler):
    """Hears why nodes stop, and nothing else of what they log."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.heard = ""
        logger = logging.getLogger("quorate")
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.CRITICAL)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, NONSENSE):
            self.heard = f"{type(error).__name__}: {error}"


def replaced(drawn: T, changes: dict[str, Any]) -> T:
    """A plan, or a part of one, with other values in it, given as TOML has them."""
    values = {}
    for name, value in changes.items():
        if isinstance(value, dict):
            value = replaced(getattr(drawn, name), value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return replace(drawn, **values)  # type: ignore[type-var]


# -- running them ----------------------------------------------------------------------------------------


class Laboratory:
    """Copies of the package with one change in each, and the processes that run them."""

    def __init__(self, room: Path, package: Path, workers: int) -> None:
        """``room`` is an empty directory. All copies are made of one copy: the original may change meanwhile."""
        self._room = room
        self._original = room / "original" / package.name
        shutil.copytree(package, self._original)
        self._places = asyncio.Semaphore(workers)

    async def run(self, trial: Trial, show: Callable[[Trial], None]) -> None:
        """Run a trial to its end, when its turn has come; ``show`` is called as it gets on."""
        async with self._places:
            began = perf_counter()
            with TemporaryDirectory(dir=self._room) as place:
                self._prepare(Path(place), trial.mutant)
                async with _process(place, trial) as process:
                    await _listen(process, trial, show)
            trial.wall_seconds = perf_counter() - began
            show(trial)

    def _prepare(self, place: Path, mutant: Mutant | None) -> None:
        copy = place / self._original.name
        shutil.copytree(self._original, copy)
        if mutant is not None:
            path = copy / mutant.file
            path.write_text(mutant.applied_to(path.read_text()))


@asynccontextmanager
async def _process(place: str, trial: Trial) -> AsyncIterator[Process]:
    arguments = f"{trial.seeds.start}, {len(trial.seeds)}, {trial.failures}, {trial.fixed}"
    code = f"from {__spec__.name} import play; play({arguments})"
    environment = {**os.environ, "PYTHONPATH": place}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=place, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listen(process: Process, trial: Trial, show: Callable[[Trial], None]) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    complaining = asyncio.create_task(process.stderr.read())
    try:
        while True:
            async with asyncio.timeout(SILENT_SECONDS_MAX):
                line = await process.stdout.readline()
            if not line:
                break
            trial.played.append(msgspec.json.decode(line, type=Played))
            show(trial)
    except TimeoutError:
        trial.crash = f"no seed ended for {SILENT_SECONDS_MAX:.0f} s"
        process.kill()
    complaints = (await complaining).decode(errors="replace").split("\n")
    if await process.wait() and not trial.crash:
        trial.crash = next((line for line in reversed(complaints) if line), f"it ended with {process.returncode}")


async def run_trials(
    trials: Sequence[Trial], show: Callable[[Trial], None], *, workers: int = 1, package: Path = PACKAGE
) -> None:
    """Run all of them, ``workers`` at a time; ``show`` is told of those with something new to see."""
    with TemporaryDirectory(prefix="quorate-mutants-") as room:
        laboratory = Laboratory(Path(room), package, workers)
        async with asyncio.TaskGroup() as group:
            for trial in trials:
                group.create_task(laboratory.run(trial, show))


def trials_of(mutants: Sequence[Mutant], *, control: bool = True) -> list[Trial]:
    """A trial for each mutant; and one of the unchanged code, with all the seeds, for each plan that they use."""
    trials = [
        Trial(mutant, range(mutant.start, mutant.start + mutant.seeds), plan=mutant.plan, fixed=mutant.fixed)
        for mutant in mutants
    ]
    controls: list[Trial] = []
    for trial in trials if control else ():
        same = next((each for each in controls if each.plan == trial.plan), None)
        if same is None:
            controls.append(Trial(None, trial.seeds, plan=trial.plan, fixed=trial.fixed))
        else:
            low, high = min(same.seeds.start, trial.seeds.start), max(same.seeds.stop, trial.seeds.stop)
            same.seeds = range(low, high)
    return [*trials, *controls]


# -- showing them ----------------------------------------------------------------------------------------


def _caught_by(trial: Trial) -> str:
    if trial.verdict is Verdict.SURVIVED:
        return "nothing was found"
    check, _, found = re.sub(r"Operation\(.*\)", "an operation", trial.found).partition(": ")
    telling = check.startswith(("workload", "liveness", "a node", *string.ascii_uppercase))  # other names say it all
    caught = textwrap.shorten(f"{check}: {found.partition(';')[0]}" if telling else check, FINDING_CHARACTERS_MAX)
    return caught if trial.verdict is Verdict.CAUGHT else f"{trial.verdict.value.upper()}: {caught}"


def _cells(trial: Trial) -> list[str]:
    """A row of the table: its name, what caught it, at which seed, and how long that took."""
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
            table.add_row(*(cell.replace("[", "\\[") for cell in _cells(trial)), style=style)
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


def _run(trials: Sequence[Trial], workers: int, console: Console) -> None:
    """Run them while the table is to be seen; where it cannot change, a line for each that has ended."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            asyncio.run(run_trials(trials, lambda _: live.update(as_table(trials), refresh=True), workers=workers))
        return

    def tell(trial: Trial) -> None:
        if trial.wall_seconds:
            print("  ".join(_cells(trial)), file=sys.stderr, flush=True)

    asyncio.run(run_trials(trials, tell, workers=workers))


def _write_seeds(folder: Path, trials: Sequence[Trial]) -> None:
    for trial in trials:
        if trial.mutant is not None and trial.failed:
            path = folder / f"{trial.name}.toml"
            path.write_text(re.sub(r"(?m)^seeds = \d+$", f"seeds = {trial.seeds_needed}", path.read_text()))


def main(
    folder: Annotated[Path, typer.Option(help="Where the mutants are.")] = Path("mutants"),
    only: Annotated[list[str] | None, typer.Option(help="Run those with this in their names, and no others.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many run at the same time.")] = 2,
    control: Annotated[bool, typer.Option(help="Run the unchanged code, too.")] = True,
    measure: Annotated[bool, typer.Option("--measure", help="Write into each how many seeds it should get.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and no table.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write a table to this file, too.")] = None,
) -> None:
    """Bring known bugs back, one at a time, and see whether the simulator finds each of them."""
    try:
        mutants = [each for each in load_mutants(folder) if not only or any(part in each.name for part in only)]
    except RottenMutant as error:
        typer.echo(f"rotten mutant: {error}", err=True)
        raise typer.Exit(1) from None
    if measure:
        mutants = [msgspec.structs.replace(mutant, seeds=SEEDS_MAX) for mutant in mutants]
    trials = trials_of(mutants, control=control)
    if measure:
        for trial in trials:
            trial.failures = MEASURED_FAILURES
    console = Console() if sys.stdout.isatty() else Console(width=180)
    began = perf_counter()
    _run(trials, workers, console)
    if measure:
        _write_seeds(folder, trials)
    if markdown is not None:
        markdown.write_text(as_markdown(trials))
    if json:
        typer.echo(as_json(trials))
    elif not console.is_terminal:
        console.print(as_table(trials))
    bad = [trial.name for trial in trials if not trial.good]
    if not json:
        good = len(trials) - len(bad)
        console.print(f"\n{good} as they should be, {len(bad)} not, in {perf_counter() - began:.0f} s", highlight=False)
    if bad or not trials:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
