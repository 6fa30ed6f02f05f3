"""Who gets which task, for how long, and how that ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.tasks.commands import (
    Cancel,
    Completed,
    Configure,
    Dismiss,
    Enlist,
    Failed,
    Heartbeat,
    New,
    Released,
    Report,
    Retry,
    Spec,
    Waive,
)
from quorate.tasks.errors import DoneBefore, NoSuchWorker, StaleToken, WrongState
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import CLAIMED_BYTES_MAX
from quorate.tasks.store.claiming import Lease

from .support import SECOND_US, Replica


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


def spec(**more: object) -> Spec:
    return Spec("mail", "send", **more)  # type: ignore[arg-type]


def ids(leases: list[Lease]) -> list[str]:
    return [lease.id for lease in leases]


# -- order ---------------------------------------------------------------------------------------------------


def test_higher_priorities_go_first_and_within_one_those_that_came_first(replica: Replica) -> None:
    """(C: priority, FIFO within one)"""
    for number, priority in enumerate((0, 255, 7, 255, 0, 7)):
        kind = ("one", "two")[number % 2]
        replica.add(f"{priority}.{number}", spec=Spec(kind, kind, priority=priority))
    assert ids(replica.claim(4)) == ["255.1", "255.3", "7.2", "7.5"], "whatever their lanes"
    assert ids(replica.claim(4)) == ["0.0", "0.4"]


def test_a_claim_that_is_undone_does_not_change_the_order(replica: Replica) -> None:
    for task_id, kind, priority in (("first", "one", 9), ("second", "other", 5), ("third", "one", 1)):
        replica.add(task_id, spec=Spec("mail", kind, priority=priority))
    with pytest.raises(OverflowError):
        replica.claim(2, lease_ms=1 << 62)
    assert ids(replica.claim()) == ["first"]
    replica.add("urgent", spec=Spec("mail", "one", priority=7))
    assert [ids(replica.claim()) for _ in range(4)] == [["urgent"], ["second"], ["third"], []]


def test_tasks_that_do_without_a_capability_keep_their_places(replica: Replica) -> None:
    replica.add("last", spec=spec(priority=1))
    replica.add("first", "third", spec=Spec("mail", "other", priority=5))
    replica.add("second", spec=spec(priority=9, capabilities=("gpu",)))
    assert ids(replica.claim()) == ["first"]
    replica.do(Waive("gpu"))
    assert [ids(replica.claim()) for _ in range(3)] == [["second"], ["third"], ["last"]]


def test_a_task_that_comes_back_has_its_old_place(replica: Replica) -> None:
    replica.add("a", "b", "c")
    (lease,) = replica.claim()
    replica.release(lease)
    assert ids(replica.claim(3)) == ["a", "b", "c"]


def test_a_worker_is_given_only_what_it_can_do(replica: Replica) -> None:
    """(D9: capabilities)"""
    replica.add("plain")
    replica.add("gpu", spec=spec(capabilities=("gpu",)))
    replica.add("both", spec=spec(capabilities=("gpu", "ssd")))
    replica.add("other", spec=Spec("other", "send"))
    replica.add("kind", spec=Spec("mail", "kind"))
    assert ids(replica.claim(9, capabilities=("ssd",), queues=("mail",), types=("send",))) == ["plain"]
    assert ids(replica.claim(9, capabilities=("ssd", "gpu", "arm"), queues=("mail", "x"))) == ["gpu", "both", "kind"]
    assert replica.claim(9, queues=()) == []
    assert replica.claim(9, types=()) == []
    assert ids(replica.claim(9)) == ["other"]


def test_a_paused_queue_gives_nothing_and_takes_tasks_and_reports(replica: Replica) -> None:
    replica.add("a")
    (lease,) = replica.claim()
    replica.do(Configure("mail", paused=True))
    replica.add("b")
    replica.reopen()
    assert replica.claim(9) == []
    assert replica.complete(lease) == "succeeded"
    replica.do(Configure("mail", paused=False))
    assert ids(replica.claim(9)) == ["b"]


def test_a_claim_takes_no_more_bytes_than_go_into_an_answer(replica: Replica) -> None:
    half = b"x" * (CLAIMED_BYTES_MAX * 2 // 5)
    replica.submit(*(New(0, task_id, half) for task_id in "abc"))
    assert ids(replica.claim(9)) == ["a", "b"]
    assert ids(replica.claim(9)) == ["c"]


# -- tokens --------------------------------------------------------------------------------------------------


def test_every_lease_has_a_higher_token_than_any_before(replica: Replica) -> None:
    """(C: fencing tokens)"""
    replica.add("a", "b")
    tokens = []
    for _ in range(4):
        leases = replica.claim(2)
        tokens += [lease.token for lease in leases]
        for lease in leases:
            replica.release(lease)
        replica.reopen()
    assert tokens == sorted(set(tokens))


def test_a_late_report_under_an_old_token_changes_nothing(replica: Replica) -> None:
    """(C: worker leases with heartbeats and fencing tokens)"""
    replica.add("a")
    (old,) = replica.claim(worker="slow")
    replica.later(31)
    replica.settle()
    (new,) = replica.claim(worker="quick")
    before = replica.digest()
    assert [replica.complete(old), replica.fail(old), replica.release(old)] == ["stale"] * 3
    for late in (
        Report(completed=[Completed("a", old.token)], strict=True),
        Report(failed=[Failed("a", old.token, "")], strict=True),
        Report(released=[Released("a", old.token)], strict=True),
        Report(completed=[Completed("none", 1)], strict=True),
    ):
        with pytest.raises(StaleToken):
            replica.do(late)
    assert replica.digest() == before
    assert replica.complete(new) == "succeeded"


def test_a_report_that_comes_again_is_answered_as_it_was(replica: Replica) -> None:
    replica.add("a", "b", "c", "d")
    done, failed, rejected, released = replica.claim(4)
    for _ in range(2):
        assert replica.complete(done, b"1") == "succeeded"
        assert replica.fail(failed) == "failed"
        assert replica.fail(rejected, may_retry=False) == "dead"
    assert replica["a"].result == b"1"
    assert (replica.release(released), replica.release(released)) == ("ready", "stale")


def test_a_completion_with_effects_counts_once(replica: Replica) -> None:
    """(D29: never run twice for one id)"""
    replica.add("a", "b")
    one, two = replica.claim(2)
    report = Report(completed=[Completed("a", one.token)], strict=True)
    assert replica.do(report) == ["succeeded"]
    with pytest.raises(DoneBefore):
        replica.do(report)
    replica.fail(two)
    with pytest.raises(StaleToken):  # what failed was not done: its effects were not recorded
        replica.do(Report(completed=[Completed("b", two.token)], strict=True))
    with pytest.raises(DoneBefore):
        replica.do(Report(failed=[Failed("b", two.token, "")], strict=True))


def test_what_was_taken_away_or_lost_is_not_reported_any_more(replica: Replica) -> None:
    replica.add("a")
    replica.add("b", spec=spec(max_retries=0))
    one, two = replica.claim(2)
    with pytest.raises(WrongState, match="the task a is running: it can only be cancelled with force"):
        replica.do(Cancel("a"))
    replica.do(Cancel("a", force=True))
    replica.later(31)
    replica.settle()
    assert replica.states("ab") == [State.CANCELLED, State.DEAD]
    assert [replica.fail(one), replica.complete(one), replica.fail(two), replica.complete(two)] == ["stale"] * 4


# -- time ----------------------------------------------------------------------------------------------------


def test_a_lease_is_put_off_by_heartbeats_and_lost_without(replica: Replica) -> None:
    replica.add("a", "b")
    leases = replica.claim(2)
    replica.do(Enlist("w", None, None, (), 1))
    for _ in range(5):
        replica.later(20)
        assert replica.do(Heartbeat("w", [(leases[0].id, leases[0].token), ("b", 99), ("none", 1)])) == ["b", "none"]
        replica.settle()
    a, b = replica["a"], replica["b"]
    assert (a.state, a.token, b.state, b.token, b.worker) == (State.RUNNING, leases[0].token, State.READY, None, None)
    replica.later(30.1)
    replica.settle()
    assert replica["a"].state is State.READY


def test_a_lease_ends_at_its_very_moment(replica: Replica) -> None:
    replica.add("a")
    (lease,) = replica.claim()
    replica.time_us = lease.deadline_us - 2
    assert replica.tick() == 0
    assert replica.tick() == 1


def test_lost_leases_use_up_the_attempts(replica: Replica) -> None:
    replica.add("a", spec=spec(max_retries=2))
    for attempt in (1, 2, 3):
        assert len(replica.claim(worker="dying")) == 1
        assert replica["a"].attempt == attempt
        replica.later(31)
        replica.settle()
    dead = replica["a"]
    assert (dead.state, dead.reason) == (State.DEAD, "lease lost")
    assert dead.error == "the worker dying was not heard of until its lease was over"


def test_what_is_given_back_has_not_been_an_attempt(replica: Replica) -> None:
    replica.add("a", spec=spec(max_retries=0))
    for _ in range(5):
        (lease,) = replica.claim()
        assert replica["a"].attempt == 1
        replica.release(lease)
    assert replica["a"].attempt == 0


def test_heartbeats_do_not_put_off_the_end_of_an_attempt_for_ever(replica: Replica) -> None:
    """(C: timeout)"""
    replica.add("a", spec=spec(timeout_ms=60_000))
    replica.do(Enlist("w", None, None, (), 1))
    (lease,) = replica.claim()
    beats = 0
    while not replica.do(Heartbeat("w", [("a", lease.token)])):
        replica.later(10)
        beats += 1
        assert replica["a"].next_us <= lease.deadline_us + 60 * SECOND_US  # type: ignore[operator]
        assert beats < 20
    assert beats == 9, "one lease beyond the time-out, for the worker to stop the attempt itself"
    replica.settle()
    assert replica["a"].state is State.READY
    assert replica.complete(lease) == "stale"


def test_a_worker_that_is_silent_is_taken_for_gone(replica: Replica) -> None:
    replica.do(Enlist("w", None, None, (), 1, 10_000))
    replica.do(Enlist("v", None, None, (), 1, 10_000))
    replica.later(29)
    replica.do(Heartbeat("v", [], 10_000, "the disk is full"))
    replica.later(1)
    replica.settle()
    assert replica.state.connection.execute("SELECT id, health FROM task_worker").fetchall() == [
        ("v", "the disk is full")
    ]
    with pytest.raises(NoSuchWorker, match="there is no worker w: it has to enlist"):
        replica.do(Heartbeat("w", []))
    replica.do(Dismiss("v"))
    replica.do(Dismiss("v"))
    assert replica.count("task_worker") == 0


# -- failures ------------------------------------------------------------------------------------------------


def pauses(replica: Replica, attempts: int) -> list[float]:
    """Seconds between failures and the moments at which the task is to be tried again."""
    found = []
    for _ in range(attempts):
        (lease,) = replica.claim()
        assert replica.fail(lease) == "failed"
        due_us = replica["a"].next_us
        assert due_us is not None
        found.append((due_us - replica.time_us) / SECOND_US)
        replica.time_us = due_us
        replica.settle()
    return found


def test_the_pause_behind_a_failure_doubles_up_to_an_hour(replica: Replica) -> None:
    """(C: retries with exponential back-off)"""
    replica.add("a", spec=spec(max_retries=100))
    found = pauses(replica, 60)
    for number, seconds in enumerate(found):
        least = min(5 * 2**number, 3600)
        assert least <= seconds <= min(least * 1.2, 3600)
    assert len({seconds / 2**number for number, seconds in enumerate(found[:9])}) == 9, "no two alike"


def test_the_jitter_is_the_same_on_all_nodes_and_not_for_all_tasks(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        replica = Replica(tmp_path / name)
        replica.add("a", "b", spec=spec(backoff_ms=1_000_000))
        one, two = replica.claim(2)
        replica.do(Report(failed=[Failed("a", one.token, ""), Failed("b", two.token, "")]))
        found.append([task.next_us for task in replica.all().values()])
    assert found[0] == found[1]
    assert len(set(found[0])) == 2


def test_a_failure_may_say_when_it_wants_to_be_tried_again(replica: Replica) -> None:
    replica.add("a")
    (lease,) = replica.claim()
    replica.fail(lease, delay_ms=1500)
    assert replica["a"].next_us == replica.time_us + 1_500_000


def test_a_task_out_of_attempts_is_a_dead_letter_with_its_reason(replica: Replica) -> None:
    """(C: dead letters)"""
    replica.add("a", "b", spec=spec(max_retries=1, backoff_ms=0))
    first, rejected = replica.claim(2)
    assert replica.fail(rejected, "no such address", may_retry=False) == "dead"
    assert replica.fail(first, "busy") == "failed"
    replica.settle()
    (second,) = replica.claim()
    assert replica.fail(second, "busy still") == "dead"
    assert [(task.reason, task.error) for task in replica.all().values()] == [
        ("failed", "busy still"),
        ("rejected", "no such address"),
    ]
    replica.do(Retry("a"))
    (again,) = replica.claim()
    assert replica["a"].attempt == 1, "from the first attempt on"
    assert again.token > second.token


def test_what_fails_is_not_tried_again_behind_its_expiry(replica: Replica) -> None:
    replica.add("a", spec=spec(ttl_ms=20_000, backoff_ms=3_600_000))
    (lease,) = replica.claim()
    replica.fail(lease, "busy")
    replica.later(21)
    replica.settle()
    dead = replica["a"]
    assert (dead.state, dead.reason, dead.error) == (State.DEAD, "expired", "busy")
