"""Of the bugs in ``mutants``, those that nearly every seed should show: the simulator finds them in no time.

``make mutants`` tries all of them, which takes longer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from quorate.testing.simulation.mutation.laboratory import run_trials
from quorate.testing.simulation.mutation.mutant import Mutant, load_mutants
from quorate.testing.simulation.mutation.trial import SEEDS_MIN, Trial, Verdict, trials_of

FOLDER = Path(__file__).parents[2] / "mutants"
PER_PLAN_MAX = 1
"""So many of one plan: more take longer, and say little more of whether the simulator works."""


def plain_mutants() -> list[Mutant]:
    chosen: list[Mutant] = []
    plans: Counter[str] = Counter()
    for mutant in load_mutants(FOLDER):
        if mutant.seeds <= SEEDS_MIN and plans[mutant.plan] < PER_PLAN_MAX:
            plans[mutant.plan] += bool(mutant.plan)
            chosen.append(mutant)
    return chosen


PLAIN = plain_mutants()


def test_there_are_some() -> None:
    assert len(PLAIN) >= 8


@pytest.mark.parametrize("mutant", PLAIN, ids=lambda mutant: mutant.name)
async def test_a_plain_bug_is_found_at_once(mutant: Mutant) -> None:
    trials = trials_of([mutant], control=False)
    ended: list[Trial] = []
    await run_trials(trials, ended.append)
    (trial,) = trials
    assert trial.verdict is Verdict.CAUGHT, f"after {trial.tried} seeds: {trial.found}"
