from __future__ import annotations

import asyncio
import logging

import pytest

from quorate.node.events import Subscription
from quorate.tasks.daemon import EventsMissed, LeaderElected, LeaderLost, LogCompacted
from quorate.tasks.daemon.events import Events

ELECTED = LeaderElected(leader_id=1, term=2)
LOST = LeaderLost(leader_id=1, term=2)


def test_names_are_those_of_the_field() -> None:
    assert (ELECTED.name, LOST.name) == ("consensus:leader_elected", "consensus:leader_lost")
    assert LogCompacted(index=5, entries_removed=3).name == "log:compacted"


async def test_callbacks_get_the_kind_that_they_want_until_they_want_it_no_more() -> None:
    events = Events()
    elected: list[LeaderElected] = []
    lost: list[LeaderLost] = []
    off = events.on(LeaderElected, elected.append)
    events.on(LeaderLost, lost.append)
    events.publish(ELECTED)
    events.publish(LOST)
    off()
    off()
    events.publish(ELECTED)
    assert (elected, lost) == ([ELECTED], [LOST])


async def test_async_callbacks_run_beside() -> None:
    events, done = Events(), asyncio.Event()
    seen: list[LeaderElected] = []

    async def later(event: LeaderElected) -> None:
        await asyncio.sleep(0)
        seen.append(event)
        done.set()

    events.on(LeaderElected, later)
    events.publish(ELECTED)
    assert seen == []
    await asyncio.wait_for(done.wait(), 5)
    assert seen == [ELECTED]
    await events.close()


async def test_what_a_callback_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    seen: list[LeaderElected] = []

    def bad(event: LeaderElected) -> None:
        raise RuntimeError("bad")

    async def worse(event: LeaderElected) -> None:
        raise RuntimeError("worse")

    follower = events.follow()
    events.on(LeaderElected, bad)
    events.on(LeaderElected, worse)
    events.on(LeaderElected, seen.append)
    with caplog.at_level(logging.ERROR):
        events.publish(ELECTED)
        await asyncio.sleep(0)
        await events.close()
    assert seen == [ELECTED]
    assert [event async for event in follower] == [ELECTED]
    assert [str(record.exc_info and record.exc_info[1]) for record in caplog.records] == ["bad", "worse"]


async def test_callbacks_that_never_end_are_bounded_and_end_with_the_manager(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Events, "RUNNING_MAX", 3)
    events = Events()
    begun: list[LeaderElected] = []

    async def forever(event: LeaderElected) -> None:
        begun.append(event)
        await asyncio.Event().wait()

    events.on(LeaderElected, forever)
    for _ in range(5):
        events.publish(ELECTED)
    await asyncio.sleep(0)
    assert len(begun) == 3
    assert "left out" in caplog.text
    await events.close()


async def test_a_callback_may_close_the_events() -> None:
    events, done = Events(), asyncio.Event()

    async def close(event: LeaderElected) -> None:
        await events.close()
        done.set()

    events.on(LeaderElected, close)
    events.publish(ELECTED)
    await asyncio.wait_for(done.wait(), 5)


async def test_a_slow_follower_is_told_how_much_it_missed() -> None:
    events = Events()
    follower = events.follow()
    for term in range(Subscription.BUFFERED_MAX + 7):
        events.publish(LeaderElected(leader_id=1, term=term))
    await events.close()
    found = [event async for event in follower]
    assert found[0] == EventsMissed(count=7)
    assert found[1] == LeaderElected(leader_id=1, term=7)
    assert len(found) == Subscription.BUFFERED_MAX + 1


async def test_who_follows_what_has_ended_is_told_nothing() -> None:
    events = Events()
    await events.close()
    assert [event async for event in events.follow()] == []
