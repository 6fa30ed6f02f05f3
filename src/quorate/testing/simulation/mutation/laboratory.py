"""Runs mutants: each on a copy of the package with one change in it, in a process of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import msgspec

from quorate.testing.simulation.mutation.mutant import PACKAGE, Mutant, replaced
from quorate.testing.simulation.mutation.trial import Played, Trial
from quorate.testing.simulation.simulation import Simulation
from quorate.testing.simulation.swarm import draw

SILENT_SECONDS_MAX = 120.0
"""No seed takes this long: code that says nothing for so long hangs."""
HOPELESS_SEEDS = 30
"""One of so many must pass, or the mutant does not work at all."""

NONSENSE = (AttributeError, ImportError, NameError, SyntaxError, TypeError)
"""What code raises that was changed into nonsense, not into a bug."""


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


# -- in the process of a mutant ----------------------------------------------------------------------


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
