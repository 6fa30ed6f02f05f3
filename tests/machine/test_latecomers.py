"""Machines that join a log which others have been on for long, and commands that came before their machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.errors import CommandFailed, ConfigError, StorageError
from quorate.machine.contract import DiskStateMachine
from quorate.machine.router import Router

from .joints import Account, Stock, together
from .support import entry

A, B, S = "account", "other", "stock"
Open = Callable[..., Router]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    routers = []

    def open_router(*names: str, floor: int = 0, file: str = "state") -> Router:
        made = {name: Stock(name) if name == S else Account(name) for name in names}
        routers.append(router := Router(made))
        router.open(tmp_path / file, floor=floor)
        return router

    yield open_router
    for router in routers:
        router.close()


def total(router: Router, name: str) -> int:
    machine = router.machines[name]
    assert isinstance(machine, Account | Stock)
    return machine.total


def filled(opened: Open, *names: str) -> None:
    """A file of machines that have applied the entries 1 to 3."""
    router = opened(*names)
    for index in (1, 2, 3):
        router.apply(entry(index, b"%d" % index, machine=names[0]))
    router.close()


def test_a_machine_begins_where_the_others_stand_once_the_log_was_cut(opened: Open) -> None:
    filled(opened, A)
    router = opened(B, A, floor=2)
    assert (router.applied, router.applied_by_any, router.is_level) == (3, 3, True)
    assert set(router.latecomers) == {B}
    router.apply(entry(4, b"7", machine=B, time_us=1))
    assert (total(router, A), total(router, B)) == (6, 7)
    assert not router.latecomers
    router.close()
    assert opened(A, B, floor=4).applied == 4


def test_while_the_log_is_whole_it_begins_at_its_beginning(opened: Open) -> None:
    filled(opened, A)
    router = opened(A, B)
    assert (router.applied, router.applied_by_any) == (0, 3)
    router.apply(entry(1, b"5", machine=B))
    assert (total(router, A), total(router, B)) == (6, 5)


def test_it_stays_a_latecomer_until_a_command_comes_for_it(opened: Open) -> None:
    filled(opened, A)
    opened(A, B, floor=2).close()
    router = opened(A, B, floor=3)
    router.apply(entry(4, b"8", machine=A))
    assert set(router.latecomers) == {B}
    router.apply(entry(5, together([(A, b"9"), (B, b"1")])))
    assert not router.latecomers
    router.close()
    assert not opened(A, B, floor=5).latecomers


def test_a_machine_that_answers_from_memory_begins_late_as_well(opened: Open) -> None:
    filled(opened, A)
    router = opened(A, S, floor=3)
    router.apply(entry(4, b"2", machine=S))
    router.close()
    again = opened(A, S, floor=3)
    assert (again.applied_by_any, total(again, S)) == (4, 2)


def test_machines_that_began_together_are_no_latecomers(opened: Open) -> None:
    router = opened(A, B, S)
    router.apply(entry(1, b"1", machine=A))
    router.close()
    assert not opened(A, B, S).latecomers


def test_before_its_first_checkpoint_a_machine_is_no_latecomer_either(opened: Open) -> None:
    router = opened(S, A)
    router.apply(entry(1, b"1", machine=A))
    router.flush()
    router.close(flush=False)
    router = opened(S, A)
    assert (router.applied, router.applied_by_any) == (0, 1)
    assert not router.latecomers


def test_a_machine_is_new_beside_others_that_have_flushed_nothing(opened: Open) -> None:
    opened(A).close(flush=False)
    assert set(opened(A, B).latecomers) == {B}


@pytest.mark.parametrize("floor", [0, 1])
def test_a_machine_goes_on_from_where_its_commands_were_passed_over(opened: Open, floor: int) -> None:
    filled(opened, A)
    router = opened(A)
    for index in (4, 5):
        (outcome,) = router.apply(entry(index, b"1", machine=B))
        assert isinstance(outcome, CommandFailed)
    router.close()
    router = opened(A, B, floor=floor)
    assert (router.applied, router.applied_by_any) == (3, 5)
    router.apply(entry(4, b"1", machine=B, time_us=4_000))
    assert total(router, B) == 1


def test_it_does_not_start_when_they_are_gone_with_the_log(opened: Open) -> None:
    filled(opened, A)
    router = opened(A)
    router.apply(entry(4, b"1", machine=B))
    router.apply(entry(5, b"5", machine=A))
    router.close()
    with pytest.raises(ConfigError, match=r"'other' has applied entry 3, but the log begins behind entry 4"):
        opened(A, B, floor=4)
    assert opened(A, floor=4).applied == 5


def test_a_snapshot_of_older_nodes_lets_a_machine_begin_behind_it(opened: Open, tmp_path: Path) -> None:
    filled(opened, A)
    router = opened(A)
    capture = router.capture()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    newer = opened(A, B, file="newer")
    newer.check_copy(tmp_path / "copy", b"", 3)
    newer.replace_state(lambda: (tmp_path / "copy").rename(tmp_path / "newer"), b"", 3)
    assert (newer.applied, set(newer.latecomers)) == (3, {B})
    newer.apply(entry(4, b"3", machine=B))
    router.apply(entry(4, b"3", machine=B))
    assert (total(newer, A), total(newer, B)) == (6, 3)


def test_a_snapshot_of_a_node_that_passed_over_its_commands_is_not_taken(opened: Open, tmp_path: Path) -> None:
    filled(opened, A)
    router = opened(A)
    router.apply(entry(4, b"1", machine=B))
    router.apply(entry(5, b"1", machine=B))
    capture = router.capture()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    with pytest.raises(StorageError, match=r"'other' is that of entry 3 instead of 5"):
        opened(A, B, file="newer").check_copy(tmp_path / "copy", b"", 5)


def test_what_was_passed_over_is_no_part_of_the_state(opened: Open) -> None:
    filled(opened, A)
    passing, other = opened(A), opened(A, file="other")
    for index in (1, 2, 3):
        other.apply(entry(index, b"%d" % index, machine=A))
    passing.apply(entry(4, b"1", machine="unknown"))
    other.apply(entry(4, b"1", machine="unknown"))
    assert passing.digest() == other.digest()
    assert isinstance(passing.machines[A], DiskStateMachine)


def grown(opened: Open, *names: str, behind: int, to: int) -> None:
    """Commands for ``A`` in entries up to ``to``, done by a program of these machines."""
    router = opened(*names)
    for index in range(behind + 1, to + 1):
        router.apply(entry(index, b"%d" % (100 * index), machine=A))
    router.close()


@pytest.mark.parametrize("used", [False, True])
def test_a_machine_that_was_left_out_for_a_while_comes_back(opened: Open, used: bool) -> None:
    filled(opened, A)
    router = opened(A, B, floor=2)
    router.apply(entry(4, b"7", machine=B if used else A))
    router.close()
    grown(opened, A, behind=4, to=9)
    grown(opened, A, behind=9, to=12)
    router = opened(A, B, floor=11)
    assert (router.applied, router.is_level, set(router.latecomers)) == (12, True, {B})
    router.apply(entry(13, b"5", machine=B))
    assert total(router, B) == (12 if used else 5)
    assert not router.latecomers


def test_it_does_not_come_back_when_something_came_for_it_meanwhile(opened: Open) -> None:
    filled(opened, A, B)
    grown(opened, A, behind=3, to=5)
    router = opened(A)
    router.apply(entry(6, b"1", machine=B))
    router.close()
    grown(opened, A, behind=6, to=9)
    assert opened(A, B, floor=3).applied == 3  # as long as the log has it
    with pytest.raises(ConfigError, match="programs without it ran here meanwhile"):
        opened(A, B, floor=6)


def test_commands_it_had_before_do_not_count_when_they_are_applied_again(opened: Open) -> None:
    router = opened(S, A, B)
    for index in (1, 2, 3):
        router.apply(entry(index, b"%d" % index, machine=B))
    router.flush()
    router.close(flush=False)
    router = opened(S, A)
    assert router.applied == 0  # the last checkpoint of what is in memory
    for index in (1, 2, 3):
        router.apply(entry(index, b"%d" % index, machine=B))
    router.close()
    grown(opened, S, A, behind=3, to=6)
    router = opened(S, A, B, floor=5)
    assert (router.applied, set(router.latecomers), total(router, B)) == (6, {B}, 6)


@pytest.mark.parametrize("takes", [(A,), (A, B)])
@pytest.mark.parametrize("makes", [(A,), (A, B)])
def test_snapshots_between_programs_with_and_without_what_nothing_came_for(
    opened: Open, tmp_path: Path, makes: tuple[str, ...], takes: tuple[str, ...]
) -> None:
    filled(opened, A)
    grown(opened, A, B, behind=3, to=5) if B in takes else opened(A, B, floor=2).close()
    grown(opened, *makes, behind=5, to=7)
    maker = opened(*makes, floor=6)
    capture = maker.capture()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    taker = opened(*takes, file="taker")
    taker.check_copy(tmp_path / "copy", b"", 7)
    taker.replace_state(lambda: (tmp_path / "copy").rename(tmp_path / "taker"), b"", 7)
    assert taker.applied == 7
    taker.close()
    late = opened(A, B, floor=7, file="taker")
    assert (late.applied, set(late.latecomers)) == (7, {B})


def test_who_joins_others_forgets_nothing_of_machines_that_are_not_run_now(opened: Open) -> None:
    filled(opened, A)
    router = opened(B)
    router.joins_others()
    router.close()
    router = opened(A, B)
    assert (router.applied, router.applied_by_any, set(router.latecomers)) == (0, 3, {A, B})
