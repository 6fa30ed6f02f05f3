"""What is told of changes, and to whom."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext
from quorate.tasks.commands import Cancel, Completed, New, Report, Submit, encode_command
from quorate.tasks.feed import Change, Feed, Gone
from quorate.tasks.lifecycle import State

from .support import SPEC, Replica

LONG = 30.0


def change(number: int, state: State = State.READY, task_id: str = "a") -> Change:
    return Change(number, number, task_id, "q", "t", state, 0, None)


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


def test_each_change_has_the_next_number_and_says_what_it_was(replica: Replica) -> None:
    """(D: a live stream of updates)"""
    replica.add("a", "b")
    (lease,) = replica.claim(worker="me")
    replica.outcome(Cancel("a"))
    replica.fail(lease, may_retry=False)
    told = [
        (each.number, each.id, each.state, each.attempt, each.worker, each.reason)
        for each in replica.machine.feed.after(0, 10)
    ]
    assert told == [
        (1, "a", State.READY, 0, None, ""),
        (2, "b", State.READY, 0, None, ""),
        (3, "a", State.RUNNING, 1, "me", ""),
        (4, "a", State.DEAD, 1, "me", "rejected"),
    ]
    replica.reopen()
    assert replica.machine.feed.last == 4
    with pytest.raises(Gone):
        replica.machine.feed.after(3, 10)
    replica.do(Cancel("b"))
    assert [each.number for each in replica.machine.feed.after(4, 10)] == [5]


def test_only_the_newest_changes_are_kept() -> None:
    feed = Feed(kept=3)
    feed.publish([change(number) for number in range(1, 6)])
    assert [each.number for each in feed.after(2, 10)] == [3, 4, 5]
    assert [each.number for each in feed.after(2, 1)] == [3]
    assert feed.after(5, 10) == feed.after(9, 10) == []
    with pytest.raises(Gone):
        feed.after(1, 10)


def test_what_was_undone_was_not_told(replica: Replica) -> None:
    replica.add("a")
    replica.state.begin()
    mark = replica.machine.mark()
    command = encode_command(Submit([SPEC], [New(0, "b", b"")]))
    with suppress(CommandFailed), replica.state.savepoint():
        replica.machine.apply(command, ApplyContext(9, 1, replica.time_us))
        raise CommandFailed
    replica.machine.undo(mark)
    feed = replica.machine.feed
    assert (feed.last, [each.id for each in feed.after(0, 10)]) == (1, ["a"])
    replica.add("c")
    assert [(each.number, each.id) for each in feed.after(1, 10)] == [(2, "c")]


async def test_who_waits_for_a_task_is_told_of_its_end(replica: Replica) -> None:
    replica.add("a", "b")
    leases = replica.claim(2)
    feed = replica.machine.feed
    waiting = [asyncio.create_task(feed.until_ended(task_id, LONG)) for task_id in ("a", "a", "b")]
    await asyncio.sleep(0)
    replica.do(Report(completed=[Completed("a", leases[0].token)]))
    await asyncio.wait_for(asyncio.gather(*waiting[:2]), LONG)
    assert not waiting[2].done()
    feed.restart(0)
    await asyncio.wait_for(waiting[2], LONG)
    assert not feed._waiting


async def test_waiting_ends_with_its_time_and_leaves_nothing() -> None:
    feed = Feed()
    await feed.until_ended("a", 0.01)
    await feed.until_changed(0, 0.01)
    gone = asyncio.create_task(feed.until_ended("a", LONG))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert not feed._waiting
    assert not feed._watching


async def test_who_watches_is_told_of_what_comes_and_of_what_came() -> None:
    feed = Feed()
    watching = asyncio.create_task(feed.until_changed(0, LONG))
    await asyncio.sleep(0)
    feed.publish([change(1)])
    await asyncio.wait_for(watching, LONG)
    await feed.until_changed(0, LONG)


def test_workers_are_told_when_something_is_ready() -> None:
    feed, told = Feed(), []
    feed.on_ready = lambda: told.append(feed.last)
    feed.publish([change(1, State.RUNNING), change(2, State.SUCCEEDED)])
    feed.publish([change(3, State.RUNNING), change(4)])
    assert told == [4]
