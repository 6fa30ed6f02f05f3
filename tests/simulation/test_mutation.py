"""The mutants themselves are in order, and their runner can tell a catch from a crash. ``make mutants`` runs them."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import msgspec
import pytest

from quorate.testing.simulation.mutation.laboratory import run_trials
from quorate.testing.simulation.mutation.mutant import PACKAGE, Mutant, RottenMutant, load_mutants, replaced
from quorate.testing.simulation.mutation.table import as_json, as_markdown
from quorate.testing.simulation.mutation.trial import SEEDS_MAX, Played, Trial, Verdict, trials_of
from quorate.testing.simulation.swarm import draw

FOLDER = Path(__file__).parents[2] / "mutants"
MUTANTS_MIN = 24

VOTES_TWICE = Mutant(
    name="a_node_votes_twice",
    bug="A vote is given whoever got it before.",
    source="Raft, section 5.2",
    file="raft/election.py",
    before="return hard_state.voted_for in (None, candidate)",
    after="return True",
    seeds=60,
)


def changed(**changes: object) -> Mutant:
    return msgspec.structs.replace(VOTES_TWICE, **changes)


def trial(*failures: str | None, seeds: int = 10) -> Trial:
    played = [Played(seed, failure, 1.0) for seed, failure in enumerate(failures)]
    return Trial(changed(seeds=seeds), range(seeds), played=played)


# -- the mutants -----------------------------------------------------------------------------------------


def test_none_is_rotten_and_there_are_enough() -> None:
    mutants = load_mutants(FOLDER)
    assert len(mutants) >= MUTANTS_MIN
    assert len({(each.file, each.before, each.after) for each in mutants}) == len(mutants)


def test_each_says_what_it_is() -> None:
    for mutant in load_mutants(FOLDER):
        assert len(mutant.name.split("_")) >= 3, f"{mutant.name} is no sentence"
        assert mutant.bug.endswith("."), mutant.name
        assert mutant.source, mutant.name
        assert 0 < mutant.seeds <= SEEDS_MAX, mutant.name


def test_each_plan_is_some_mutants() -> None:
    plans = {path.stem for path in (FOLDER / "plans").glob("*.toml")}
    assert plans == {each.plan for each in load_mutants(FOLDER) if each.plan}


@pytest.mark.parametrize(
    ("mutant", "problem"),
    [
        (changed(before="return hard_state.voted_for in (candidate, None)"), "occurs 0 times"),
        (changed(before="return"), "times in raft/election.py, not once"),
        (changed(after=VOTES_TWICE.before), "changes 0 lines"),
        (changed(after="return True\n\n\n\n    return False"), "changes 5 lines"),
        (changed(after="return return"), "no Python"),
    ],
)
def test_a_rotten_one_is_found_out(mutant: Mutant, problem: str) -> None:
    with pytest.raises(RottenMutant, match=problem):
        mutant.applied_to((PACKAGE / mutant.file).read_text())


@pytest.mark.parametrize(
    ("text", "problem"), [("seeds = 3", "missing required"), ("seeds = ", "odd"), ("other = 1", "odd")]
)
def test_a_file_that_says_something_else_is_found_out(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(RottenMutant, match=problem):
        load_mutants(tmp_path)


def test_a_mutant_of_a_file_or_in_a_plan_that_is_gone_is_found_out(tmp_path: Path) -> None:
    text = (FOLDER / "a_node_votes_twice_in_a_term.toml").read_text()
    odd = tmp_path / "odd.toml"
    odd.write_text(re.sub(r"(?m)^file = .*$", 'file = "raft/gone.py"', text))
    with pytest.raises(RottenMutant, match="no file"):
        load_mutants(tmp_path)
    odd.write_text(text + 'plan = "gone"\n')
    with pytest.raises(RottenMutant, match=r"gone\.toml"):
        load_mutants(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "gone.toml").write_text("fields = 3\n")
    with pytest.raises(RottenMutant, match="fields"):
        load_mutants(tmp_path)


def test_a_plan_leaves_the_rest_to_the_seed() -> None:
    drawn = draw(7)
    plan = replaced(drawn, {"nodes": 9, "faults": ["kill"], "clients": {"count": 99}})
    assert (plan.nodes, plan.faults, plan.clients.count) == (9, ("kill",), 99)
    assert (plan.network, plan.clients.think_seconds) == (drawn.network, drawn.clients.think_seconds)


# -- judging them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judged", "verdict"),
    [
        (trial(None, None, "election safety (§5.2): nodes 1 and 2"), Verdict.CAUGHT),
        (trial("election safety (§5.2): nodes 1 and 2", None), Verdict.CAUGHT),
        (trial(None, None, None), Verdict.SURVIVED),
        (trial(None, None, "election safety (§5.2): nodes 1 and 2", seeds=2), Verdict.SURVIVED),
        (trial(*["liveness: a leader"] * 30), Verdict.USELESS),
        (trial(*["election safety (§5.2): nodes 1 and 2"] * 30), Verdict.CAUGHT),
        (trial(None, "unforeseen: KeyError: 1"), Verdict.CRASHED),
    ],
)
def test_only_a_check_that_fires_is_a_catch(judged: Trial, verdict: Verdict) -> None:
    assert judged.verdict is verdict
    assert judged.good is (verdict is Verdict.CAUGHT)


def test_the_unchanged_code_has_to_pass_all_the_seeds() -> None:
    *_, control, other = trials_of(
        [changed(seeds=7), changed(start=40, seeds=3), changed(plan="x", fixed={"nodes": 1})]
    )
    assert (control.mutant, control.plan, control.seeds) == (None, "", range(43))
    assert (other.mutant, other.plan, other.fixed) == (None, "x", {"nodes": 1})
    control.played = [Played(0, None, 1.0)]
    assert control.good
    control.played.append(Played(1, "liveness: a leader", 1.0))
    assert not control.good


def test_seeds_are_measured_by_more_than_one_failure() -> None:
    assert trial(None, "a", None, "a", None, "a").seeds_needed == 18
    assert trial("a", "a", "a").seeds_needed == 10
    assert trial("a", None).seeds_needed == SEEDS_MAX


def test_tables_say_what_was_found() -> None:
    judged = trial(None, "election safety (§5.2): nodes 1 | 2")
    assert "| election safety (§5.2) | 2 of 10 |" in as_markdown([judged])
    assert '"verdict": "caught"' in as_json([judged])


# -- running them ----------------------------------------------------------------------------------------


def test_a_bug_is_caught_and_nonsense_is_not() -> None:
    nonsense, unreadable = (
        changed(after="return nonsense(candidate)"),
        changed(file="errors.py", before='"""', after=""),
    )
    mutants = [VOTES_TWICE, nonsense]
    trials = trials_of(mutants, control=False)
    asyncio.run(run_trials(trials, lambda _: None))
    assert [each.verdict for each in trials] == [Verdict.CAUGHT, Verdict.CRASHED]
    assert trials[0].found.startswith(("one vote per term", "promises are durable", "election safety"))
    assert "NameError" in trials[1].found
    with pytest.raises(RottenMutant):
        asyncio.run(_run_one(unreadable))


async def _run_one(mutant: Mutant) -> None:
    try:
        await run_trials(trials_of([mutant], control=False), lambda _: None)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def test_code_that_cannot_be_imported_is_no_catch() -> None:
    trials = trials_of([changed(before="class Campaign:", after="class Kampagne:")], control=False)
    asyncio.run(run_trials(trials, lambda _: None))
    assert trials[0].verdict is Verdict.CRASHED
    assert "ImportError" in trials[0].found


async def _make_mutants(*arguments: str) -> tuple[int | None, str]:
    """What ``make mutants`` does: (exit code, output)."""
    command = (sys.executable, "-m", "quorate.testing.simulation.mutation", "--folder", str(FOLDER), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_shows_what_was_found() -> None:
    code, output = await _make_mutants("--only", "a_node_votes_twice", "--no-control")
    assert code == 0
    assert "one vote per term (§5.2)" in output
    assert "1 as they should be, 0 not" in output


async def test_the_command_fails_where_nothing_is_to_be_run() -> None:
    code, output = await _make_mutants("--only", "no mutant is called so")
    assert code == 1
    assert "0 as they should be" in output
