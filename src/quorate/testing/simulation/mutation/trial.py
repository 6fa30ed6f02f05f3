"""What became of a mutant, seed by seed, and what that says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from quorate.testing.simulation.mutation.mutant import Mutant

MEASURED_FAILURES, MARGIN = 3, 3
"""A measured number of seeds is so many times what it took to fail so many times: failures come by chance, and the
first one alone says little about how often they come."""
SEEDS_MIN, SEEDS_MAX = 10, 500


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
