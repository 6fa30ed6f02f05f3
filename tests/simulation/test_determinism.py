"""One seed, one history: whatever the process, whatever the hashes of its strings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quorate.testing.simulation import draw, run_seed
from quorate.testing.simulation.swarm import PROFILES

PROGRAM = """
import sys
from quorate.testing.simulation import run_seed
print(*[run_seed(int(seed)).digest for seed in sys.argv[1:]])
"""
SEEDS = ("3", "31", "11", "21")


def digests(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PROGRAM, *SEEDS]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=110).stdout


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    first = digests("1")
    assert len(set(first.split())) == len(SEEDS)
    assert digests("2") == first


@pytest.mark.parametrize("seed", [5, 9])
def test_reading_the_trace_changes_nothing_that_happens(seed: int) -> None:
    lines: list[str] = []
    told, untold = run_seed(seed, lines.append), run_seed(seed)
    assert told.counts == untold.counts
    assert told.operations == untold.operations
    assert told.fired == untold.fired
    assert len(lines) > 100


def test_seeds_differ() -> None:
    plans = [draw(seed) for seed in range(200)]
    assert draw(7) == plans[7]
    assert {plan.nodes for plan in plans} == {1, 2, 3, 4, 5}
    assert len({plan.faults for plan in plans}) > 150
    assert any(plan.lease_reads for plan in plans)
    assert {plan.profile for plan in plans} == set(PROFILES)
