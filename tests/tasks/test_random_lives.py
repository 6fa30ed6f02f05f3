"""Whatever comes, the tables say what the contract says, on every node, and whatever was undone in between."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from quorate.tasks.lifecycle import TRANSITIONS, Event, Facts, State
from quorate.tasks.store import claiming, rows, submitting

from .lives import RULES, Lives

SEEDS, STEPS = 24, 110
ROOT = Path(__file__).parents[2]


class Shrinking(RuleBasedStateMachine):
    """The rules one by one, so that a failure is told in as few steps as it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.lives = Lives(Path(self.directory.name))

    @rule(chosen=st.sampled_from(list(RULES)), seed=st.integers(0, 1 << 16))
    def step(self, chosen: object, seed: int) -> None:
        assert callable(chosen)
        chosen(self.lives, Random(seed))

    def teardown(self) -> None:
        self.lives.close()
        self.directory.cleanup()


def test_the_machine_does_what_the_reference_does() -> None:
    run_state_machine_as_test(Shrinking, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))


def test_long_lives_go_through_every_row_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Counter[tuple[State | None, Event, State | None]] = Counter()
    original = rows.after

    def after(before: State | None, event: Event, facts: Facts = Facts()) -> State | None:  # noqa: B008
        found = original(before, event, facts)
        taken[before, event, found] += 1
        return found

    for module in (rows, submitting, claiming):
        monkeypatch.setattr(module, "after", after)
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        (path := tmp_path / str(seed)).mkdir()
        lives, random = Lives(path), Random(seed)
        for chosen in random.choices(list(RULES), list(RULES.values()), k=STEPS):
            chosen(lives, random)
        lives.close()
        seen += lives.seen
    assert [row for row in TRANSITIONS if not taken[row.before, row.event, row.after]] == []
    assert set(seen) >= REFUSALS, "a run that never meets them proves nothing about them"


def test_nothing_depends_on_how_a_process_hashes() -> None:
    program = "from tests.tasks.test_random_lives import digest_of; print(digest_of(7))"
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=True, text=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert all(digests)


def digest_of(seed: int) -> str:
    """Of the state behind a life."""
    with tempfile.TemporaryDirectory() as path:
        lives, random = Lives(Path(path)), Random(seed)
        for chosen in random.choices(list(RULES), list(RULES.values()), k=STEPS):
            chosen(lives, random)
        digest = lives.one.digest()
        lives.close()
    return digest


REFUSALS = {
    "Submit: IdTaken", "Submit: NotUnique", "Submit: UnknownDependency", "Submit: QueueFull", "Cancel: NoSuchTask",
    "Cancel: WrongState", "Retry: NotUnique", "Retry: WrongState", "Report: StaleToken", "Report: DoneBefore",
    "Heartbeat: NoSuchWorker", "Unschedule: NoSuchSchedule", "Purge: InvalidTask",
    "RemoveQueue: NoSuchQueue", "RemoveQueue: QueueInUse",
}  # fmt: skip
