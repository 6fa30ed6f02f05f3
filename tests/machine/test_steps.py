"""Commands that take long: between their steps everything is as if they had not begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType

import apsw
import pytest

from quorate.errors import CommandFailed, StorageFailed
from quorate.machine.commands import Command
from quorate.machine.router import EntrySteps, Router
from quorate.raft.entry import Entry

from .long_commands import NEXT, Rebuilder
from .support import entry

Open = Callable[[], tuple[Router, Rebuilder]]
REBUILD = entry(2, b"rebuild 5")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    """Opens the file; whoever had it open before has crashed."""
    routers: list[Router] = []

    def open_router() -> tuple[Router, Rebuilder]:
        for router in routers:
            router.close(flush=False)
        machine = Rebuilder()
        routers.append(Router({"default": machine}))
        routers[-1].open(path)
        return routers[-1], machine

    yield open_router
    for router in routers:
        router.close(flush=False)


def began(router: Router, long: Entry) -> EntrySteps:
    steps = router.begin(long)
    assert isinstance(steps, GeneratorType)
    next(steps)
    return steps


def finished(steps: EntrySteps) -> list[object]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcomes: list[object] = end.value
            return outcomes


def digest_of(path: Path, *entries: Entry) -> str:
    """Of a state in which nothing was interrupted."""
    router = Router({"default": Rebuilder()})
    router.open(path)
    try:
        for each in entries:
            router.apply(each)
        return router.digest()
    finally:
        router.close()


def test_between_its_steps_nothing_of_it_is_there(opened: Open, path: Path, tmp_path: Path) -> None:
    router, machine = opened()
    router.apply(entry(1, b"3"))
    before = router.digest()
    steps = began(router, REBUILD)
    next(steps)
    router.flush()
    assert (router.applied, machine.total, router.digest()) == (1, 3, before)
    capture = router.capture()
    assert capture.index == 1
    capture.close()
    other = apsw.Connection(str(path))
    assert other.execute(f"SELECT count(*) FROM {NEXT}").get == 0  # which is there to see, and no part of the state
    other.close()
    assert finished(steps) == [6]
    assert (router.applied, machine.total, machine.steps) == (2, 6, 5)
    assert router.digest() == digest_of(tmp_path / "other", entry(1, b"3"), REBUILD)


@pytest.mark.parametrize("flushed", [False, True])
def test_behind_a_crash_it_begins_anew(opened: Open, tmp_path: Path, flushed: bool) -> None:
    router, _ = opened()
    router.apply(entry(1, b"3", time_us=5_000))
    router.flush()
    early = entry(2, b"rebuild 5", time_us=1_000)  # the leader's clock was set back: time in the log is not
    steps = began(router, early)
    if flushed:
        router.flush()
    router, machine = opened()
    assert (router.applied, machine.total) == (1, 3)
    assert machine.has_leftovers is flushed
    assert router.apply(early) == [6]
    assert machine.times == [5_001]
    assert router.digest() == digest_of(tmp_path / "other", entry(1, b"3", time_us=5_000), early)
    steps.close()


def test_what_it_leaves_behind_is_removed_before_anything_else_is_applied(opened: Open) -> None:
    router, machine = opened()
    router.apply(entry(1, b"3"))
    router.apply(REBUILD)
    assert machine.has_leftovers
    digest = router.digest()
    router.flush()
    assert router.digest() == digest
    steps = began(router, entry(3, b"10"))
    assert (router.applied, machine.removed) == (2, 1)
    assert finished(steps) == [16]  # the machine itself checks that there is nothing left
    assert router.begin(entry(4, b"20")) == [36]


def test_it_may_be_refused_at_its_end(opened: Open) -> None:
    router, machine = opened()
    router.apply(entry(1, b"3"))
    (refused,) = finished(began(router, entry(2, b"rebuild 2 refuse")))
    assert isinstance(refused, CommandFailed)
    assert (router.applied, machine.total) == (2, 3)
    assert router.apply(entry(3, b"4")) == [7]
    assert machine.removed == 1


def test_with_others_in_one_entry_it_is_one_step(opened: Open) -> None:
    """Half of an entry must not be flushed: it would be applied again."""
    router, machine = opened()
    assert router.begin(entry(1, b"3", b"rebuild 5", b"4")) == [3, 6, 10]
    assert machine.steps == 5


def test_its_outcome_is_remembered(opened: Open) -> None:
    router, _ = opened()
    router.apply(entry(1, b"3"))
    command = Command("default", b"rebuild 5", "asked once")
    assert finished(began(router, entry(2, command))) == [6]
    assert router.apply(entry(3, command)) == [6]
    assert router.apply(entry(4, b"1")) == [7]


def test_when_it_cannot_go_on_the_node_must_stop(opened: Open) -> None:
    router, _ = opened()
    router.apply(entry(1, b"3"))
    with pytest.raises(StorageFailed, match="entry 2"):
        finished(began(router, entry(2, b"rebuild 2 disk")))
    with pytest.raises(StorageFailed):
        router.flush()


def test_it_may_be_left(opened: Open) -> None:
    router, machine = opened()
    router.apply(entry(1, b"3"))
    began(router, REBUILD).close()
    router.flush()
    assert (router.applied, machine.total) == (1, 3)
    router.close()
    router, machine = opened()
    assert router.apply(REBUILD) == [6]


def test_a_node_that_becomes_a_witness_leaves_it(opened: Open) -> None:
    router, machine = opened()
    router.apply(entry(1, b"3"))
    steps = began(router, REBUILD)
    router.become_witness()
    finished(steps)
    assert (router.applied, machine.total, machine.steps) == (2, 3, 1)
