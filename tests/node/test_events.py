"""The stream of events: from the call on, bounded, and ending with the node."""

from __future__ import annotations

import asyncio
import gc

import pytest

from quorate.node.events import EventsMissed, EventStream, PeerConnected, Subscription


async def test_followers_see_events_from_the_call_on() -> None:
    stream = EventStream()
    stream.publish(PeerConnected(1))
    one, two = stream.follow(), stream.follow()
    stream.publish(PeerConnected(2))
    stream.close()
    assert [event async for event in one] == [PeerConnected(2)]
    assert [event async for event in two] == [PeerConnected(2)]


async def test_a_stream_that_has_ended_ends_at_once() -> None:
    stream = EventStream()
    stream.close()
    assert [event async for event in stream.follow()] == []


async def test_a_waiting_follower_is_woken_by_an_event_and_by_the_end() -> None:
    stream = EventStream()
    follower = stream.follow()
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    stream.publish(PeerConnected(1))
    assert await waiting == PeerConnected(1)
    ending = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await ending


async def test_a_slow_follower_is_told_how_much_it_missed() -> None:
    stream = EventStream()
    follower = stream.follow()
    for peer in range(Subscription.BUFFERED_MAX + 3):
        stream.publish(PeerConnected(peer))
    assert await anext(follower) == EventsMissed(3)
    assert await anext(follower) == PeerConnected(3)


async def test_a_follower_that_went_away_is_forgotten() -> None:
    stream = EventStream()
    follower = stream.follow()
    assert len(stream._subscriptions) == 1
    del follower
    gc.collect()
    assert len(stream._subscriptions) == 0
