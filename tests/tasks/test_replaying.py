"""Behind a crash, or on another node's file: the same commands lead to the same state."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from quorate.errors import CommandFailed
from quorate.machine.outcome import decode_outcome, encode_outcome
from quorate.machine.sqlite import SqliteState
from quorate.tasks import errors
from quorate.tasks.commands import Command, Configure, New

from .lives import RULES, Lives
from .support import SPEC, Replica

Applied = tuple[int, int, Command]


def a_life(path: Path, seed: int) -> tuple[Lives, list[Applied]]:
    """A life, and the index and the time of each of its commands."""
    lives, random = Lives(path), Random(seed)
    applied: list[Applied] = []
    do = lives.one.do

    def note(command: Command) -> object:
        applied.append((lives.one.index, lives.one.time_us, command))
        return do(command)

    lives.one.do = note  # type: ignore[method-assign]
    for chosen in random.choices(list(RULES), list(RULES.values()), k=100):
        chosen(lives, random)
    return lives, applied


def again(replica: Replica, applied: list[Applied]) -> None:
    for replica.index, replica.time_us, command in applied:
        replica.outcome(command)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_not_flushed_before_a_crash_is_applied_again(tmp_path: Path, seed: int) -> None:
    lives, applied = a_life(tmp_path, seed)
    replica = Replica(tmp_path / "crashing")
    flushed, reached = sorted(Random(seed).sample(range(len(applied)), 2))
    again(replica, applied[:flushed])
    replica.state.commit()
    again(replica, applied[flushed:reached])
    replica.machine.close()
    replica.state.close()  # forgets what was not committed
    replica.open()
    again(replica, applied[flushed:])
    assert (replica.memory(), replica.digest()) == (lives.one.memory(), lives.one.digest())
    lives.close()


def test_a_machine_that_gets_the_file_of_another_node_has_nothing_of_its_own_left(tmp_path: Path) -> None:
    own, other = Replica(tmp_path / "own"), Replica(tmp_path / "other")
    own.add("a", "b", spec=SPEC)
    own.do(Configure("mail", paused=True))
    own.submit(New(0, "c", b"", depends_on=("a",)))
    other.add("x")
    other.close()
    own.state.commit()
    own.machine.close()
    own.state.close()
    own.state = SqliteState(other.path)
    own.machine.open(own.state)
    other.open()
    assert own.memory() == other.memory()
    assert own.machine.feed.after(own.machine.feed.last, 10) == []
    assert [lease.id for lease in own.claim(9)] == ["x"]


REFUSALS = [
    errors.InvalidTask("delay", "range", "is negative", 3),
    errors.InvalidTask("", "batch", "is empty"),
    errors.NoSuchTask("a"),
    errors.NoSuchQueue("q"),
    errors.NoSuchWorker("w"),
    errors.NoSuchSchedule("s"),
    errors.IdTaken("a", 1),
    errors.NotUnique("k", "a", 2),
    errors.UnknownDependency("a", 1),
    errors.WrongState("a", "running", "cancel"),
    errors.StaleToken("a", 7),
    errors.DoneBefore("a", 7),
    errors.QueueInUse("q", 3),
    errors.QueueFull("q", 10),
    errors.TooMany("queues", 1000),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_a_retried_request_gets_the_same_refusal(refusal: CommandFailed) -> None:
    found = decode_outcome(encode_outcome(refusal))
    assert type(found) is type(refusal)
    assert vars(found) == vars(refusal)
    assert str(found) == str(refusal)


def test_all_refusals_are_listed_here() -> None:
    known = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TaskRefusal)}
    assert known - {errors.TaskRefusal} == {type(refusal) for refusal in REFUSALS}
