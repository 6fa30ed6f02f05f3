"""Tasks that wait for others: told of each end in bounded steps, once, whatever happens to either."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.tasks.commands import Cancel, Configure, New, Purge, Retry, RetryAll, Spec, Submit
from quorate.tasks.errors import UnknownDependency
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import TICK_TASKS_MAX

from .support import SECOND_US, SPEC, Replica

FAN_OUT = 2_000


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


def chain(*ids: str) -> list[New]:
    """Each depends on the one before it."""
    return [
        New(0, task_id, b"", depends_on=(before,) if before else ())
        for before, task_id in zip(("", *ids), ids, strict=False)
    ]


def do_all(replica: Replica) -> list[str]:
    """Claim and complete whatever gets ready, in that order."""
    done = []
    replica.settle()
    while leases := replica.claim():
        for lease in leases:
            replica.complete(lease)
            done.append(lease.id)
        replica.settle()
    return done


def check_nothing_is_left(replica: Replica) -> None:
    assert replica.count("task_dependency") == replica.count("task_news") == 0
    assert replica.machine.tables.numbers.dependencies == 0


def test_a_chain_is_done_in_its_order(replica: Replica) -> None:
    """(C: dependencies)"""
    states = replica.submit(*chain(*"abcde"))
    assert [state for state, _ in states] == [State.READY, *[State.WAITING] * 4]
    assert do_all(replica) == list("abcde")
    check_nothing_is_left(replica)


def test_a_task_waits_for_all_that_it_depends_on(replica: Replica) -> None:
    replica.add("a", "b", "c")
    replica.do(Cancel("c"))
    replica.do(Retry("c"))
    replica.submit(New(0, "last", b"", depends_on=("a", "b", "a", "c")))
    assert replica["last"].blockers == 3
    assert do_all(replica) == ["a", "b", "c", "last"]


def test_what_has_succeeded_is_not_waited_for_and_what_is_gone_is_unknown(replica: Replica) -> None:
    replica.add("a", spec=Spec("mail", "send", retention_ms=0))
    (lease,) = replica.claim()
    replica.complete(lease)
    dependent = New(0, "b", b"", depends_on=("a",))
    assert replica.submit(dependent) == [(State.READY, False)]
    replica.settle()
    assert replica.submit(dependent) == [(State.READY, True)], "known although what it depended on is forgotten"
    with pytest.raises(UnknownDependency, match="there is no task a to depend on"):
        replica.submit(New(0, "c", b"", depends_on=("a",)))


@pytest.mark.parametrize(
    "tasks", [[New(0, "a", b"", depends_on=("a",))], list(reversed(chain("a", "b")))], ids=["itself", "later"]
)
def test_nothing_depends_on_itself_or_on_what_comes_later(replica: Replica, tasks: list[New]) -> None:
    """So there are no cycles."""
    with pytest.raises(UnknownDependency):
        replica.submit(*tasks)
    assert replica.count("task") == 0


def test_two_thousand_dependents_are_told_in_bounded_steps(replica: Replica) -> None:
    replica.add("root")
    for first in range(0, FAN_OUT, 500):
        replica.submit(*(New(0, f"d{number}", b"", depends_on=("root",)) for number in range(first, first + 500)))
    (lease,) = replica.claim()
    replica.complete(lease)
    assert replica.machine.upkeep.next_us == 0
    told = []
    while (done := replica.tick()) == TICK_TASKS_MAX:
        told.append(len(replica.all("state = 2")))
        if len(told) == 3:
            replica.reopen()
    assert (told, done) == ([250 * number for number in range(1, 9)], 1)
    assert [lease.id for lease in replica.claim(3)] == ["d0", "d1", "d2"]
    check_nothing_is_left(replica)


@pytest.mark.parametrize("limit", [1, 3, 250])
def test_a_break_goes_down_the_whole_tree(replica: Replica, limit: int) -> None:
    replica.submit(*chain("root", "a", "b", "c", "d"), New(0, "e", b"", depends_on=("root", "d")))
    replica.add("apart")
    (lease,) = replica.claim()
    assert replica.fail(lease, may_retry=False) == "dead"
    while replica.machine.upkeep.next_us == 0:
        assert replica.tick(limit) <= limit
    reasons = {task.id: task.reason for task in replica.all("state = 6").values()}
    assert reasons == {"root": "rejected", **dict.fromkeys("abcde", "dependency")}
    assert replica["apart"].state is State.READY
    check_nothing_is_left(replica)


def test_what_depends_on_a_broken_task_is_broken_too_and_so_is_what_depends_on_that(replica: Replica) -> None:
    replica.add("a", "other")
    replica.do(Cancel("a"))
    tasks = [
        New(0, "b", b"", depends_on=("a",)),
        New(0, "c", b"", depends_on=("b", "other")),
        New(0, "d", b"", depends_on=("c",)),
    ]
    states = replica.submit(*tasks)
    assert states == [(State.DEAD, False), (State.WAITING, False), (State.WAITING, False)]
    replica.settle()
    assert replica.states("bcd") == [State.DEAD] * 3
    check_nothing_is_left(replica)


def test_who_waits_may_be_for_later_or_expire_or_be_cancelled(replica: Replica) -> None:
    replica.add("a")
    short = Spec("mail", "send", ttl_ms=5_000)
    tasks = [
        New(0, "later", b"", delay_us=60 * SECOND_US, depends_on=("a",)),
        New(1, "expires", b"", depends_on=("a",)),
        New(0, "cancelled", b"", depends_on=("a",)),
    ]
    replica.do(Submit([SPEC, short], tasks))
    replica.do(Cancel("cancelled"))
    replica.later(6)
    assert do_all(replica) == ["a"]
    assert replica.states(["later", "expires", "cancelled"]) == [State.SCHEDULED, State.DEAD, State.CANCELLED]
    replica.later(60)
    assert do_all(replica) == ["later"]
    check_nothing_is_left(replica)


def test_tasks_that_go_leave_nothing_behind_at_those_that_they_waited_for(replica: Replica) -> None:
    replica.add("years ahead")
    for number in range(5):
        replica.submit(New(0, f"d{number}", b"", depends_on=("years ahead",)))
        replica.do(Purge((int(State.WAITING),)))
        replica.settle()
    assert list(replica.all()) == ["years ahead"]
    check_nothing_is_left(replica)


def test_a_task_that_is_tried_again_is_waited_for_by_who_has_not_heard_of_its_end(replica: Replica) -> None:
    replica.add("a")
    replica.submit(*(New(0, f"d{number}", b"", depends_on=("a",)) for number in range(4)))
    (lease,) = replica.claim()
    replica.fail(lease, may_retry=False)
    replica.tick(2)
    replica.do(Retry("a"))
    replica.settle()
    assert replica.states(["d0", "d1", "d2", "d3"]) == [State.DEAD, State.DEAD, State.WAITING, State.WAITING]
    assert do_all(replica) == ["a", "d2", "d3"]
    assert replica.do(RetryAll()) == 2
    assert do_all(replica) == ["d0", "d1"]
    check_nothing_is_left(replica)


@pytest.mark.parametrize("state", [State.READY, State.DEAD])
def test_what_is_purged_is_told_first(replica: Replica, state: State) -> None:
    replica.add("a")
    replica.submit(New(0, "b", b"", depends_on=("a",)))
    if state is State.DEAD:
        (lease,) = replica.claim()
        replica.fail(lease, may_retry=False)
    assert replica.do(Purge((int(state),))) == 1
    assert "a" in replica.all()
    replica.settle()
    assert {task.id: task.state for task in replica.all().values()} == {"b": State.DEAD}
    check_nothing_is_left(replica)


def test_a_batch_that_does_not_fit_leaves_no_dependencies(replica: Replica) -> None:
    replica.add("a")
    replica.do(Configure("mail", pending_max=2))
    replica.outcome(Submit([SPEC], [New(0, "b", b"", depends_on=("a",)), New(0, "c", b"", depends_on=("b",))]))
    check_nothing_is_left(replica)
