"""What time does, and what operators do: in bounded steps, and of each slot of a schedule once."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.tasks.commands import (
    Cancel,
    Configure,
    New,
    Purge,
    Retry,
    RetryAll,
    Schedule,
    Slot,
    Spec,
    Tick,
    Unschedule,
)
from quorate.tasks.errors import InvalidTask, NoSuchSchedule, NoSuchTask, NotUnique, WrongState
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import FORGOTTEN_BYTES_MAX, TICK_TASKS_MAX

from .support import FIRST_US, SECOND_US, SPEC, Replica

HOUR_US = 3_600 * SECOND_US


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


# -- time ----------------------------------------------------------------------------------------------------


def test_a_task_for_later_waits_for_its_time(replica: Replica) -> None:
    """(C: schedule time)"""
    at = FIRST_US + 60 * SECOND_US
    tasks = [New(0, "at", b"", run_at_us=at), New(0, "in", b"", delay_us=SECOND_US), New(0, "past", b"", run_at_us=1)]
    assert [State(state) for state, _ in replica.submit(*tasks)] == [State.SCHEDULED, State.SCHEDULED, State.READY]
    assert replica.machine.upkeep.next_us == replica.time_us + SECOND_US
    replica.time_us = at - 2
    replica.tick()
    assert replica.states(["at", "in"]) == [State.SCHEDULED, State.READY]
    replica.tick()
    assert replica["at"].state is State.READY
    assert replica.machine.upkeep.next_us is None


def test_a_task_expires_when_it_was_not_begun_in_time(replica: Replica) -> None:
    """(D66: operation TTL)"""
    short = Spec("mail", "send", ttl_ms=1_000)
    replica.submit(New(0, "now", b""), New(0, "later", b"", delay_us=10 * SECOND_US), New(0, "begun", b""), spec=short)
    replica.do(Cancel("now"))
    replica.do(Retry("now"))
    replica.later(0.9)
    replica.submit(New(0, "other", b""), spec=short)
    (_, begun) = replica.claim(2)
    replica.later(0.2)
    assert [lease.id for lease in replica.claim(9)] == ["other"], "what has expired is not given out before a tick"
    replica.settle()
    assert replica.complete(begun) == "succeeded", "what was begun in time may end later"
    replica.later(10)
    replica.settle()
    later = replica["later"]
    assert (later.state, later.reason) == (State.DEAD, "expired"), "its time to live begins with its time"


def test_a_task_expires_at_its_very_moment(replica: Replica) -> None:
    replica.add("a", spec=Spec("mail", "send", ttl_ms=1_000))
    expires_us = replica.time_us + SECOND_US
    replica.time_us = expires_us - 2
    assert replica.tick() == 0
    assert replica.claim(0) == []
    assert replica.time_us == expires_us
    assert replica.claim() == []
    replica.time_us = expires_us - 1
    assert replica.tick() == 1
    assert replica["a"].reason == "expired"


def test_what_has_expired_is_stepped_over_before_a_tick_comes(replica: Replica) -> None:
    replica.add("a", "b", spec=Spec("mail", "send", ttl_ms=1_000, priority=9))
    replica.add("c")
    replica.later(2)
    assert [lease.id for lease in replica.claim(9)] == ["c"]


def test_results_are_kept_as_long_as_was_asked_for_and_dead_letters_for_a_month(replica: Replica) -> None:
    replica.add("kept", spec=Spec("mail", "send", retention_ms=60_000))
    replica.add("not kept", spec=Spec("mail", "send", retention_ms=0))
    replica.add("dead", spec=Spec("mail", "send", retention_ms=0))
    kept, not_kept, dead = replica.claim(3)
    replica.complete(kept, b"1")
    replica.complete(not_kept)
    replica.fail(dead, may_retry=False)
    replica.settle()
    assert list(replica.all()) == ["kept", "dead"]
    replica.later(60)
    replica.settle()
    assert list(replica.all()) == ["dead"]
    replica.later(30 * 86_400)
    replica.settle()
    assert replica.count("task") == 0
    assert replica.machine.upkeep.next_us is None


def test_a_tick_does_no_more_than_its_share(replica: Replica) -> None:
    replica.submit(*(New(0, f"t{number}", b"", delay_us=SECOND_US) for number in range(600)))
    replica.later(1)
    assert [replica.tick() for _ in range(4)] == [TICK_TASKS_MAX, TICK_TASKS_MAX, 100, 0]
    replica.later(31)
    assert replica.tick(0) == replica.tick(-1) == 0


# -- operators -----------------------------------------------------------------------------------------------


def test_a_cancelled_task_is_not_done(replica: Replica) -> None:
    replica.add("a")
    replica.do(Cancel("a"))
    assert replica.claim() == []
    with pytest.raises(WrongState, match="the task a was cancelled, so it cannot be cancelled"):
        replica.do(Cancel("a"))
    with pytest.raises(NoSuchTask, match="there is no task b"):
        replica.do(Cancel("b"))


def test_what_succeeded_is_not_done_again(replica: Replica) -> None:
    replica.add("a")
    (lease,) = replica.claim()
    replica.complete(lease)
    with pytest.raises(WrongState):
        replica.do(Retry("a"))


def dead_letters(replica: Replica, count: int, spec: Spec = SPEC, key: str | None = None) -> list[str]:
    ids = [f"{spec.queue}{replica.time_us}.{number}" for number in range(count)]
    for task_id in ids:
        replica.submit(New(0, task_id, b"", unique_key=key), spec=spec)
        (lease,) = replica.claim(queues=(spec.queue,))
        replica.fail(lease, may_retry=False)
    return ids


def test_dead_letters_are_tried_again_in_bounded_steps(replica: Replica) -> None:
    """(C: dead letters)"""
    dead_letters(replica, 5)
    others = dead_letters(replica, 2, Spec("other", "send"))
    assert [replica.do(RetryAll("mail", 3)) for _ in range(3)] == [3, 2, 0]
    assert replica.states(others) == [State.DEAD] * 2
    assert replica.do(RetryAll()) == 2
    assert replica.do(RetryAll("unknown")) == 0


def test_a_task_that_is_tried_again_has_its_unique_key_again(replica: Replica) -> None:
    first, second = dead_letters(replica, 2, key="k")
    replica.submit(New(0, "third", b"", unique_key="k"))
    with pytest.raises(NotUnique, match="the task third has the unique key 'k'"):
        replica.do(Retry(first))
    assert replica.do(RetryAll()) == 0
    (lease,) = replica.claim()
    replica.complete(lease)
    assert [replica.do(RetryAll(limit=2)) for _ in range(2)] == [2, 0], "one of the two has the key now"
    assert replica.states([first, second]) == [State.READY, State.DEAD]
    with pytest.raises(NotUnique):
        replica.submit(New(0, "fourth", b"", unique_key="k"))
    replica.do(Cancel(first))
    replica.do(Retry(second))


def test_purging_takes_what_is_asked_for_and_no_more(replica: Replica) -> None:
    dead_letters(replica, 3)
    dead_letters(replica, 2, Spec("other", "send"))
    replica.add("running", "ready")
    replica.claim()
    states = (int(State.DEAD), int(State.DEAD), int(State.READY))
    assert [replica.do(Purge(states, "mail", 2)) for _ in range(3)] == [2, 2, 0]
    replica.settle()
    assert replica.do(Purge((int(State.CANCELLED),))) == 0
    assert len(replica.all("state = 6")) == 2
    assert len(replica.all("state = 3")) == 1
    with pytest.raises(InvalidTask, match="cancel them with force"):
        replica.do(Purge((int(State.READY), int(State.RUNNING))))
    replica.do(Purge((int(State.DEAD),)))
    replica.reopen()
    assert list(replica.all()) == ["running"]


def test_large_tasks_are_forgotten_a_few_at_a_time(replica: Replica) -> None:
    large = b'"' + b"x" * (FORGOTTEN_BYTES_MAX // 4) + b'"'
    replica.submit(*(New(0, f"t{number}", large) for number in range(8)))
    for lease in replica.claim(1) + replica.claim(7):
        replica.complete(lease)
    while leases := replica.claim(8):
        for lease in leases:
            replica.complete(lease)
    purge = Purge((int(State.SUCCEEDED),))
    assert replica.do(purge) == 8
    left = len(replica.all())
    assert 4 <= left < 8
    assert replica.do(purge) == 0, "the rest counts as gone"
    assert replica.tick() > 0
    assert 0 < len(replica.all()) < left
    replica.settle()
    assert replica.all() == {}
    assert replica.state.connection.execute("SELECT count(*) FROM task_payload").get == 0


def test_what_others_have_yet_to_hear_of_is_purged_once(replica: Replica) -> None:
    replica.add("first")
    replica.submit(New(0, "second", b"", depends_on=("first",)))
    replica.do(Cancel("first"))
    purge = Purge((int(State.CANCELLED),), None, 1)
    assert [replica.do(purge) for _ in range(2)] == [1, 0]
    replica.settle()
    assert {task.id: task.state for task in replica.all().values()} == {"second": State.DEAD}


# -- schedules -----------------------------------------------------------------------------------------------


def schedule(cron: str = "0 * * * *", payload: bytes = b"{}", first_us: int = FIRST_US + HOUR_US) -> Schedule:
    return Schedule("hourly", cron, "UTC", SPEC, payload, first_us)


def turn(number: int) -> Slot:
    return Slot("hourly", FIRST_US + number * HOUR_US, FIRST_US + (number + 1) * HOUR_US)


def test_each_slot_is_taken_once_whoever_leads(replica: Replica) -> None:
    """(C: schedule time) A leader that was succeeded comes with a slot that another one has taken."""
    replica.do(schedule())
    assert [row.name for row in replica.machine.schedules.due_by(FIRST_US + HOUR_US, 10)] == ["hourly"]
    for slots in ([turn(1)], [turn(1)], [turn(2), turn(2)], [turn(1), turn(2), turn(3)], [turn(5)], [turn(0)]):
        replica.later(1)
        replica.do(Tick(slots=slots))
        replica.reopen()
    assert list(replica.all()) == [
        "hourly@2023-11-14T23:13:20Z",
        "hourly@2023-11-15T00:13:20Z",
        "hourly@2023-11-15T01:13:20Z",
    ]
    row = replica.machine.schedules.get("hourly")
    assert (row.last_us, row.next_us, row.last_task) == (turn(3).slot_us, turn(4).slot_us, [*replica.all()][-1])


def test_a_program_that_declares_its_schedules_again_changes_no_slot(replica: Replica) -> None:
    replica.do(schedule())
    replica.do(Tick(slots=[turn(1)]))
    replica.do(schedule(payload=b"[]"))
    assert replica.machine.schedules.get("hourly").next_us == turn(2).slot_us
    replica.do(schedule("30 * * * *", first_us=FIRST_US))
    assert replica.machine.schedules.get("hourly").next_us == FIRST_US


def test_a_slot_that_finds_the_queue_full_is_left_out(replica: Replica) -> None:
    replica.do(schedule())
    replica.do(Configure("mail", pending_max=0))
    assert replica.do(Tick(slots=[turn(1)])) == 1
    replica.do(Configure("mail", pending_max=1))
    assert replica.do(Tick(slots=[turn(1)])) == 0
    assert (replica.count("task"), replica.machine.schedules.get("hourly").last_task) == (0, None)
    assert replica.do(Tick(slots=[turn(2)])) == 1
    assert replica.count("task") == 1


def test_a_schedule_that_makes_no_sense_holds_up_nothing_else(replica: Replica) -> None:
    replica.submit(New(0, "a", b"", delay_us=1))
    replica.do(Schedule("hourly", "0 * * * *", "UTC", Spec("mail", "send", ttl_ms=1 << 62), b"", FIRST_US + HOUR_US))
    assert replica.do(Tick(slots=[turn(1)])) == 2
    assert replica.states(["a"]) == [State.READY]
    assert replica.machine.schedules.get("hourly").next_us == turn(2).slot_us


def test_a_schedule_that_is_gone_has_no_slots(replica: Replica) -> None:
    replica.do(schedule())
    replica.do(Unschedule("hourly"))
    replica.do(Tick(slots=[turn(1)]))
    assert replica.count("task") == 0
    with pytest.raises(NoSuchSchedule, match="there is no schedule hourly"):
        replica.do(Unschedule("hourly"))
