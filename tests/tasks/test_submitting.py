"""How tasks come into being: all of a batch or none, each id once, and no more than there is room for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from quorate.errors import CommandFailed, StorageFailed
from quorate.machine.contract import ApplyContext
from quorate.tasks.commands import (
    Claim,
    Claims,
    Completed,
    Configure,
    Failed,
    New,
    Purge,
    Report,
    Spec,
    Submit,
    encode_command,
)
from quorate.tasks.errors import IdTaken, NotUnique, QueueFull, TooMany, UnknownDependency
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import PAYLOAD_BYTES_MAX, QUEUES_MAX

from .support import FIRST_US, SECOND_US, SPEC, Replica

READY = (State.READY, False)


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


def refused(replica: Replica, *tasks: New, spec: Spec = SPEC) -> CommandFailed:
    """The refusal, which leaves everything as it was."""
    before = (replica.memory(), replica.digest())
    outcome = replica.outcome(Submit([spec], list(tasks)))
    assert isinstance(outcome, CommandFailed)
    assert (replica.memory(), replica.digest()) == before
    return outcome


# -- ids -----------------------------------------------------------------------------------------------------


def test_a_task_that_is_submitted_again_is_the_same_task(replica: Replica) -> None:
    """(C7, D23: idempotent by id)"""
    assert replica.submit(New(0, "a", b"1"), New(0, "b", b"2")) == [READY, READY]
    (lease,) = replica.claim()
    replica.complete(lease)
    replica.time_us += SECOND_US
    assert replica.submit(New(0, "b", b"2"), New(0, "a", b"1"), New(0, "c", b"")) == [
        (State.READY, True),
        (State.SUCCEEDED, True),
        READY,
    ]
    assert [task.sequence for task in replica.all().values()] == [1, 2, 3]


def test_a_task_that_comes_twice_in_a_batch_is_one(replica: Replica) -> None:
    assert replica.submit(New(0, "a", b"1"), New(0, "a", b"1")) == [READY, READY]
    assert replica.count("task") == 1


@pytest.mark.parametrize(
    ("other", "spec"),
    [
        (New(0, "a", b"2"), SPEC),
        (New(0, "a", b"1"), Spec("mail", "other")),
        (New(0, "a", b"1"), Spec("other", "send")),
    ],
)
def test_an_id_does_not_stand_for_two_tasks(replica: Replica, other: New, spec: Spec) -> None:
    replica.submit(New(0, "a", b"1"))
    assert refused(replica, New(0, "b", b""), other, spec=spec).args == ("a", 1)
    assert isinstance(refused(replica, other, spec=spec), IdTaken)


def test_an_id_does_not_stand_for_two_tasks_of_a_batch(replica: Replica) -> None:
    assert isinstance(refused(replica, New(0, "a", b"1"), New(0, "a", b"2")), IdTaken)


@pytest.mark.parametrize("task_id", ["", "\0", "a\0b", "é" * 128, "'; --"])
def test_any_text_is_an_id(replica: Replica, task_id: str) -> None:
    replica.submit(New(0, task_id, b"", unique_key=task_id))
    replica.submit(New(0, f"{task_id}\0", b"", unique_key=f"{task_id}\0", depends_on=(task_id,)))
    assert replica.submit(New(0, task_id, b"", unique_key=task_id)) == [(State.READY, True)]
    (lease,) = replica.claim(worker=task_id)
    replica.reopen()
    assert (lease.id, replica[task_id].worker) == (task_id, task_id)
    assert replica.complete(lease) == "succeeded"


# -- what cannot be stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task",
    [
        New(0, "\ud800", b""),
        New(0, "a", b"", unique_key="\udfff"),
        New(0, "a", b"", delay_us=1 << 64),
        New(0, "a", "text"),  # type: ignore[arg-type]
        New(0, "a", b"", delay_us=0.5),  # type: ignore[arg-type]
        New(0, None, b""),  # type: ignore[arg-type]
        New(0, object(), b""),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_read_again_does_not_get_into_the_log(task: New) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        encode_command(Submit([SPEC], [task]))


@pytest.mark.parametrize(
    ("task", "spec"),
    [
        (New(0, "a", b"", run_at_us=(1 << 64) - 1), SPEC),
        (New(0, "a", b"", delay_us=(1 << 63) - 1), SPEC),
        (New(0, "a", b""), Spec("new", "new", ttl_ms=1 << 62)),
        (New(0, "a", b""), Spec("new", "new", priority=1 << 63)),
        (New(1, "a", b""), Spec("new", "new")),
    ],
)
def test_what_is_beyond_all_bounds_is_refused_and_leaves_nothing(replica: Replica, task: New, spec: Spec) -> None:
    replica.add("there")
    before = (replica.memory(), replica.digest())
    with pytest.raises((OverflowError, IndexError)):
        replica.submit(New(0, "b", b""), task, spec=spec)
    assert (replica.memory(), replica.digest()) == before
    replica.reopen()
    assert replica.memory() == before[0]


def test_a_command_of_a_later_version_is_no_refusal(replica: Replica) -> None:
    with pytest.raises(StorageFailed, match="entry 7 is no command"):
        replica.machine.apply(msgspec.msgpack.encode(["fly", 1]), ApplyContext(7, 1, FIRST_US))


# -- batches, room and keys ----------------------------------------------------------------------------------


def test_a_batch_is_added_as_a_whole_or_not_at_all(replica: Replica) -> None:
    """(C: batching)"""
    replica.submit(New(0, "a", b"1", unique_key="k"))
    assert isinstance(refused(replica, New(0, "b", b""), New(0, "c", b"", unique_key="k")), NotUnique)
    assert isinstance(refused(replica, New(0, "b", b""), New(0, "c", b"", depends_on=("d",))), UnknownDependency)
    assert isinstance(refused(replica, New(0, "b", b""), New(0, "a", b"2")), IdTaken)
    replica.do(Configure("mail", pending_max=2))
    assert isinstance(refused(replica, New(0, "b", b""), New(0, "c", b"")), QueueFull)
    assert list(replica.all()) == ["a"]


def test_a_refused_batch_leaves_neither_queues_nor_lanes(replica: Replica) -> None:
    replica.add("a")
    specs = [Spec("new", "one"), Spec("mail", "two"), SPEC]
    before = (replica.memory(), replica.digest())
    assert isinstance(replica.outcome(Submit(specs, [New(0, "b", b""), New(2, "a", b"other")])), IdTaken)
    assert (replica.memory(), replica.digest()) == before


def test_a_full_queue_refuses_new_tasks_and_knows_the_old_ones(replica: Replica) -> None:
    """(D: back-pressure)"""
    replica.add("a", "b")
    replica.do(Configure("mail", pending_max=2))
    with pytest.raises(QueueFull, match="the queue mail is full: 2 tasks wait in it, the most that may"):
        replica.add("c")
    assert replica.submit(New(0, "a", b"{}")) == [(State.READY, True)]
    replica.do(Configure("mail", pending_max=1))
    assert replica.submit(New(0, "a", b"{}")) == [(State.READY, True)], "also with fewer places than tasks"
    assert replica.submit(New(0, "c", b""), spec=Spec("other", "send")) == [READY], "each queue by itself"
    replica.claim(2, queues=("mail",))
    replica.add("d")
    assert list(replica.all()) == ["a", "b", "c", "d"]


def test_there_are_only_so_many_queues(replica: Replica) -> None:
    for number in range(QUEUES_MAX):
        replica.do(Configure(f"q{number}", paused=True))
    with pytest.raises(TooMany, match="1000 queues"):
        replica.do(Configure("one more"))
    assert isinstance(refused(replica, New(0, "a", b"")), TooMany)
    replica.do(Configure("q7", paused=False))
    replica.add("a")


def test_a_unique_key_is_held_until_the_task_has_ended(replica: Replica) -> None:
    keyed = [New(0, task_id, b"", unique_key="k") for task_id in "abc"]
    replica.submit(keyed[0])
    for _ in (State.READY, State.RUNNING, State.FAILED):
        with pytest.raises(NotUnique, match="the task a has the unique key 'k'"):
            replica.submit(keyed[1])
        replica.fail(lease[0]) if (lease := replica.claim()) else None
    assert replica.submit(keyed[1], spec=Spec("other", "send")) == [READY], "a key counts within its queue"
    replica.later(10)
    replica.settle()
    (lease_on_a,) = replica.claim(queues=("mail",))
    replica.complete(lease_on_a)
    assert replica.submit(keyed[2]) == [READY]
    assert isinstance(refused(replica, *(New(0, task_id, b"", unique_key="l") for task_id in "xy")), NotUnique)


def test_a_key_with_a_colon_is_not_that_of_another_queue(replica: Replica) -> None:
    replica.submit(New(0, "a", b""), spec=Spec("zero", "t"))
    replica.submit(New(0, "b", b"", unique_key="0:k"), spec=Spec("one", "t"))
    assert replica.submit(New(0, "c", b"", unique_key="k"), spec=Spec("zero", "t")) == [READY]


def test_a_long_payload_is_stored_beside_its_task_and_goes_with_it(replica: Replica) -> None:
    for task_id, size in (("short", 1024), ("long", 1025), ("longest", PAYLOAD_BYTES_MAX)):
        replica.submit(New(0, task_id, b"x" * size))
    assert replica.count("task_payload") == 2
    assert [len(task.payload or b"") for task in replica.all().values()] == [1024, 1025, PAYLOAD_BYTES_MAX]
    assert replica.submit(New(0, "longest", b"x" * PAYLOAD_BYTES_MAX)) == [(State.READY, True)]
    with pytest.raises(IdTaken):
        replica.submit(New(0, "long", b"x" * 1026))
    replica.do(Purge((int(State.READY),)))
    replica.settle()
    assert replica.count("task") == replica.count("task_payload") == 0


def test_half_a_report_is_undone_in_the_file_and_in_memory(replica: Replica) -> None:
    """What no bound of ours catches must not leave one node with a half that another has not."""
    replica.add("a", "b", "c", "d")
    one, two = replica.claim(2)
    before = (replica.memory(), replica.digest())
    report = Report(completed=[Completed("a", one.token)], failed=[Failed("b", two.token, "no", True, 1 << 62)])
    with pytest.raises(OverflowError):
        replica.do(report)
    with pytest.raises(OverflowError):
        replica.do(Configure("mail", True, 1 << 63))
    with pytest.raises(OverflowError):
        replica.do(Claims([Claim("w", 1), Claim("w", 1, lease_ms=1 << 62)]))
    assert (replica.memory(), replica.digest()) == before
    assert replica.complete(one) == "succeeded"
    assert [lease.id for lease in replica.claim(9)] == ["c", "d"]
