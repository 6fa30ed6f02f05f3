"""A capability that tasks need is waived: who could have done them is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.tasks.commands import Cancel, New, Spec, Tick, Waive
from quorate.tasks.feed import Change
from quorate.tasks.lifecycle import State
from tests.tasks.support import Replica

PLACED = Spec("operations", "import", ("gpu", "placed:3"), retention_ms=60_000)
OTHER = Spec("operations", "import", ("gpu", "placed:2"))


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "state")
    yield replica
    replica.close()


def claimable(replica: Replica, *capabilities: str) -> list[str]:
    return [lease.id for lease in replica.claim(100, capabilities=capabilities)]


def test_those_who_offer_the_rest_get_them_in_the_order_of_their_submission(replica: Replica) -> None:
    replica.add("a", spec=PLACED)
    replica.add("b", spec=Spec("operations", "import", ("gpu",)))
    replica.add("c", spec=PLACED)
    replica.add("d", spec=OTHER)
    assert replica.do(Waive("placed:3")) == 2
    assert claimable(replica) == []
    assert claimable(replica, "gpu") == ["a", "b", "c"]
    assert claimable(replica, "gpu", "placed:2") == ["d"]


def test_all_that_is_pending_is_meant_and_nothing_else(replica: Replica) -> None:
    replica.add("first", "running", "cancelled", spec=PLACED)
    replica.do(Cancel("cancelled"))
    replica.submit(
        New(0, "later", b"{}", delay_us=60_000_000), New(0, "waiting", b"{}", depends_on=("first",)), spec=PLACED
    )
    failing, running = replica.claim(2, capabilities=("gpu", "placed:3"))
    replica.fail(failing)
    states = {"first": State.FAILED, "later": State.SCHEDULED, "waiting": State.WAITING}
    assert replica.do(Waive("placed:3", "operations")) == len(states)
    tasks = replica.all()
    assert {task_id: tasks[task_id].state for task_id in states} == states, "they are what they were"
    assert (tasks["running"].state, tasks["running"].token) == (State.RUNNING, running.token)
    lanes = {lane.key: lane.counts for lane in replica.machine.tables.lanes.values()}
    left = lanes["operations", "import", ("gpu", "placed:3")]
    assert (left[State.RUNNING], left[State.CANCELLED], sum(left)) == (1, 1, 2)
    assert replica.complete(running) == "succeeded", "its lease is as good as before"
    replica.later(61)
    replica.settle()
    assert claimable(replica, "gpu") == ["first", "later"]


def test_one_that_ran_and_comes_back_is_waived_the_next_time(replica: Replica) -> None:
    replica.add("a", spec=PLACED)
    (lease,) = replica.claim(capabilities=("gpu", "placed:3"))
    assert replica.do(Waive("placed:3")) == 0
    replica.release(lease)
    assert claimable(replica, "gpu") == []
    assert replica.do(Waive("placed:3")) == 1
    assert claimable(replica, "gpu") == ["a"]


def test_other_queues_are_left_alone_and_the_limit_is_kept(replica: Replica) -> None:
    replica.add(*(f"a{number}" for number in range(5)), spec=PLACED)
    replica.add("mail", spec=Spec("mail", "send", ("placed:3",)))
    assert replica.do(Waive("placed:3", "operations", 3)) == 3
    assert claimable(replica, "gpu") == ["a0", "a1", "a2"]
    assert replica.do(Waive("placed:3", "operations", 3)) == 2
    assert replica.do(Waive("placed:3", "operations", 3)) == 0
    assert replica.do(Waive("nobody")) == 0
    assert claimable(replica) == []


def test_those_who_wait_for_work_are_told(replica: Replica) -> None:
    replica.add("a", spec=PLACED)
    told: list[None] = []
    replica.machine.feed.on_ready = lambda: told.append(None)
    before = replica.machine.feed.last
    replica.do(Waive("placed:3"))
    assert told == [None]
    (change,) = replica.machine.feed.after(before, 10)
    assert isinstance(change, Change)
    assert (change.id, change.state, change.reason) == ("a", State.READY, "waived")


def test_memory_and_file_agree_behind_it_and_behind_a_restart(replica: Replica) -> None:
    replica.add("a", "b", spec=PLACED)
    replica.do(Waive("placed:3", None, 1))
    before = replica.memory(), replica.digest()
    replica.reopen()
    assert (replica.memory(), replica.digest()) == before
    replica.do(Tick())
