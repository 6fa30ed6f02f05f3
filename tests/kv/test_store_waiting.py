"""Watches, messages, and taking what is not there yet: on three nodes, and while nodes come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from quorate import ConfigError, KvError, Node, NodeStopped, ReadUnavailable, WatchCompacted
from quorate.kv import history
from quorate.kv.store import messages
from quorate.kv.store.kv import Kv
from quorate.kv.store.listening import KeyChange
from quorate.testing import TestCluster
from tests.kv.clients import Doors
from tests.node.support import until

T = TypeVar("T")


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, kv=True, settings={"proposal_timeout_ms": 3_000}) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
async def kv(cluster: TestCluster) -> Kv:
    return (await cluster.wait_for_leader()).kv


@pytest.fixture
async def follower(cluster: TestCluster, kv: Kv) -> Node:
    return next(node for node in cluster.nodes if node.kv is not kv)


async def take(count: int, stream: AsyncIterator[T]) -> list[T]:
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


# -- watches ---------------------------------------------------------------------------------------------


async def test_a_watch_tells_each_change_in_order_on_every_node(cluster: TestCluster, kv: Kv) -> None:
    watches = [node.kv.watch("a", prefix=["user:", b"order:"]) for node in cluster.nodes]
    await kv.set("a", 1)
    await kv.set("b", "not watched")
    await kv.hset("user:1", "name", "Ann")
    await kv.expire("user:1", 100)
    async with kv.transaction() as tx:
        tx.rpush("order:1", "x")
        tx.delete("a")
    await kv.flushdb()
    told = [await take(6, watch) for watch in watches]
    assert told[0] == told[1] == told[2]
    assert [(change.key, change.events, change.value) for change in told[0]] == [
        (b"a", ("set",), b"1"),
        (b"user:1", ("hset",), None),
        (b"user:1", ("expire",), None),
        (b"order:1", ("rpush",), None),
        (b"a", ("del",), None),
        (b"", ("flushdb",), None),
    ]
    revisions = [change.revision for change in told[0]]
    assert revisions == sorted(set(revisions))


async def test_a_watch_goes_on_where_another_ended_on_another_node(kv: Kv, follower: Node) -> None:
    await kv.set("k", 0)
    (first,) = await take(1, kv.watch("k", after=0))
    versioned = await kv.get_versioned("k")
    assert versioned is not None
    assert versioned.revision == first.revision
    for number in range(1, 2_500):
        await asyncio.gather(kv.incr("k"), kv.incr("another"))
        if number % 500 == 0:
            assert await follower.kv.get("k") == b"%d" % number
    changes = await take(2_499, follower.kv.watch("k", after=first.revision))
    assert [change.value for change in changes] == [b"%d" % number for number in range(1, 2_500)]


async def test_a_watch_from_the_future_waits_for_it(kv: Kv) -> None:
    head = await kv.head()
    watch = kv.watch("k", after=head + 1)
    await kv.set("k", "too early")
    await kv.set("k", "in time")
    (change,) = await take(1, watch)
    assert change == KeyChange(head + 2, b"k", ("set",), b"in time")


async def test_a_watch_that_is_too_slow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "CHANGES_MAX", 100)
    async with TestCluster(1, kv=True) as cluster:
        kv = (await cluster.wait_for_leader()).kv
        slow = kv.watch("k")
        for _ in range(300):
            await kv.incr("k")
        with pytest.raises(WatchCompacted, match="COMPACTED") as refused:
            await anext(slow)
        (change,) = await take(1, kv.watch("k", after=refused.value.first - 1))
        assert change.revision == refused.value.first > 100


async def test_watches_end_with_the_node(cluster: TestCluster, follower: Node) -> None:
    watch = follower.kv.watch("k")
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await cluster.stop(follower.node_id)
    with pytest.raises(ReadUnavailable):
        await waiting
    with pytest.raises(ReadUnavailable):
        follower.kv.watch("k")


async def test_a_watch_tells_what_was_acknowledged_when_the_leader_is_killed(
    cluster: TestCluster, follower: Node
) -> None:
    watch = follower.kv.watch(prefix="k")
    written = [asyncio.create_task(follower.kv.once(f"{number}").set(f"k{number}", number)) for number in range(100)]
    await cluster.wait_until(lambda: any(task.done() for task in written))
    await cluster.stop_leader()
    await asyncio.gather(*written)
    changes = await take(100, watch)
    assert {change.key for change in changes} == {b"k%d" % number for number in range(100)}


async def test_a_snapshot_that_leaves_a_gap_ends_a_watch() -> None:
    settings = {"snapshot_threshold": 10, "snapshot_trailing_entries": 0}
    async with TestCluster(3, kv=True, settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        behind = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_for_convergence()
        watch = behind.kv.watch("k")
        cluster.partition_network([behind.node_id])
        await cluster.wait_until(cluster.has_leader)
        kv = next(node for node in cluster.nodes if node is not behind).kv
        for number in range(200):
            await kv.once(str(number)).incr("k")
        await cluster.wait_until(lambda: leader.status.log_first_index > behind.status.last_index + 1)
        cluster.heal()
        with pytest.raises(WatchCompacted):
            await take(200, watch)
        assert await behind.kv.get("k") == b"200"
        anew = behind.kv.watch("k")
        await kv.incr("k")
        assert [change.value for change in await take(1, anew)] == [b"201"]


# -- messages --------------------------------------------------------------------------------------------


async def test_messages_come_to_subscribers_on_all_nodes(cluster: TestCluster, kv: Kv) -> None:
    subscriptions = [node.kv.subscribe("news", patterns=["n*", "x*"]) for node in cluster.nodes]
    assert await kv.publish("news", "hello") == 2
    assert await kv.publish("none", 1) == 1
    assert await kv.publish("other", 1) == 0
    for subscription in subscriptions:
        got = await take(3, subscription)
        assert [(message.channel, message.data, message.pattern) for message in got] == [
            (b"news", b"hello", None),
            (b"news", b"hello", b"n*"),
            (b"none", b"1", b"n*"),
        ]


async def test_a_pattern_is_bounded(kv: Kv) -> None:
    with pytest.raises(KvError, match="ERR a pattern has at most 1024 bytes"):
        kv.subscribe(patterns=["n" * 1025])


async def test_a_subscriber_that_is_slow_misses_the_oldest(kv: Kv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BUFFERED_MAX", 3)
    async with kv.subscribe("news") as subscription:
        for number in range(5):
            await kv.publish("news", number)
        assert subscription.missed == 2
        assert [message.data for message in await take(3, subscription)] == [b"2", b"3", b"4"]
    assert await kv.publish("news", "to nobody") == 0
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_subscriptions_end_with_the_node(cluster: TestCluster, follower: Node) -> None:
    subscription = follower.kv.subscribe("news")

    async def listen() -> list[bytes]:
        return [message.data async for message in subscription]

    listening = asyncio.create_task(listen())
    await follower.kv.publish("news", "last")
    await cluster.stop(follower.node_id)
    assert await listening == [b"last"]


async def test_programs_and_clients_on_the_network_hear_of_each_other(cluster: TestCluster, follower: Node) -> None:
    doors = Doors(cluster)
    await doors.open(follower)
    try:
        async with doors.client(follower) as client, follower.kv.subscribe("news") as subscription:
            watch = follower.kv.watch("k")
            await client.set("k", "from outside")
            await client.publish("news", "from outside")
            waiting = asyncio.create_task(client.blpop(["jobs"], timeout=20))
            await follower.kv.rpush("jobs", "from inside")
            assert await waiting == (b"jobs", b"from inside")
    finally:
        await doors.close_all()
    assert (await take(1, watch))[0].value == b"from outside"
    assert (await take(1, subscription))[0].data == b"from outside"
    await follower.kv.set("k", "from inside")
    assert (await take(1, watch))[0].value == b"from inside"


# -- taking ----------------------------------------------------------------------------------------------


async def test_who_takes_waits_until_there_is_something(kv: Kv, follower: Node) -> None:
    waiting = asyncio.create_task(follower.kv.blpop("empty", "jobs", timeout=20))
    assert await kv.blpop("jobs", timeout=0.05) is None
    await kv.rpush("jobs", "a")
    assert await waiting == (b"jobs", b"a")
    assert await kv.exists("jobs") == 0
    waiting_score = asyncio.create_task(follower.kv.bzpopmin("board"))
    await asyncio.sleep(0.01)
    await kv.zadd("board", {"x": 1})
    assert await waiting_score == (b"board", b"x", 1.0)


async def test_each_element_is_taken_by_one(cluster: TestCluster, kv: Kv) -> None:
    nodes = cluster.nodes
    taking = [asyncio.create_task(nodes[number % 3].kv.blpop("jobs", timeout=30)) for number in range(60)]
    await asyncio.sleep(0.05)
    for number in range(60):
        await nodes[number % 3].kv.rpush("jobs", number)
    taken = await asyncio.gather(*taking)
    assert sorted(int(found[1]) for found in taken if found is not None) == list(range(60))


async def test_an_element_is_given_to_who_came_first(cluster: TestCluster, kv: Kv) -> None:
    takers = [asyncio.create_task(kv.blpop("jobs", timeout=30)) for _ in range(10)]
    await cluster.wait_until(lambda: len(kv._listening.takers._by_key.get(b"jobs", ())) == 10)
    await kv.rpush("jobs", "a")
    await cluster.wait_until(lambda: any(task.done() for task in takers))
    assert takers[0].result() == (b"jobs", b"a")
    takers[1].cancel()
    await kv.rpush("jobs", *range(9))
    found = await asyncio.gather(*takers[2:])
    assert [each and each[1] for each in found] == [b"%d" % number for number in range(8)]
    assert not kv._listening.takers


async def test_one_that_is_cancelled_just_when_it_tries_leaves_it_to_the_next_or_has_taken_it(kv: Kv) -> None:
    first, second = (asyncio.create_task(kv.blpop("jobs", timeout=30)) for _ in range(2))
    takers = kv._listening.takers
    await until(lambda: len(takers) == 2 and not any(taker.is_trying for taker in takers._all))
    taker = next(iter(takers._all))
    await kv.rpush("jobs", "a", "b")
    await until(lambda: taker.is_trying or taker.is_gone)
    first.cancel()
    assert (await second or ())[1] in (b"a", b"b")
    assert not takers


async def test_takers_of_two_kinds_wait_at_one_key(cluster: TestCluster, kv: Kv) -> None:
    score, element = asyncio.create_task(kv.bzpopmin("k")), asyncio.create_task(kv.blpop("k", "k"))
    await cluster.wait_until(lambda: len(kv._listening.takers._by_key.get(b"k", ())) == 2)
    await kv.rpush("k", "a")
    assert await element == (b"k", b"a")
    await kv.zadd("k", {"b": 1})
    assert await score == (b"k", b"b", 1.0)


async def test_taking_says_what_is_wrong(cluster: TestCluster, kv: Kv, follower: Node) -> None:
    await kv.set("text", "x")
    with pytest.raises(KvError, match="WRONGTYPE"):
        await kv.blpop("text")
    with pytest.raises(KvError, match="timeout is negative"):
        await kv.blpop("jobs", timeout=-1)
    with pytest.raises(ConfigError, match="BLPOP waits"):
        await kv.once("a").blpop("jobs")
    waiting = asyncio.create_task(follower.kv.blpop("jobs"))
    await cluster.wait_until(lambda: bool(follower.kv._listening.takers))
    await cluster.stop(follower.node_id)
    with pytest.raises(NodeStopped):
        await waiting


async def test_in_a_transaction_nobody_waits(kv: Kv) -> None:
    async with kv.transaction() as tx:
        nothing = tx.blpop("jobs")
        tx.rpush("jobs", "a")
        something = tx.blpop("jobs")
    assert await nothing is None
    assert await something == (b"jobs", b"a")
