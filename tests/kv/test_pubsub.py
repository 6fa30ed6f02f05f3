"""Messages on channels: to the subscribers of every node, in one order, by redis-py and on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
import redis
import redis.exceptions

from quorate.kv.arguments import glob
from quorate.kv.replies import Push
from quorate.kv.server import pubsub as pubsub_room
from quorate.kv.server.service import Limits
from tests.node.support import until

from .clients import Doors, serving
from .wire import wire


async def messages(pubsub: Any, count: int) -> list[bytes]:
    """The data of so many messages."""
    got: list[bytes] = []
    async with asyncio.timeout(10):
        while len(got) < count:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
            if message is not None:
                got.append(message["data"])
    return got


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_is_published_on_one_node_comes_to_the_subscribers_of_another(protocol: int) -> None:
    async with serving() as doors:
        first, _, third = doors.cluster.nodes
        async with doors.client(first, protocol) as publisher, doors.client(third, protocol) as client:
            pubsub = client.pubsub()
            await pubsub.subscribe("news")
            await pubsub.psubscribe("n?ws", "other.*")
            while doors.service(third).pubsub.patterns.by_name.keys() != {b"n?ws", b"other.*"}:
                await pubsub.get_message(timeout=1)
            assert await publisher.publish("news", "hello") == 0  # nobody listens there
            assert await publisher.publish("elsewhere", "x") == 0
            got = []
            while len(got) < 2:
                if message := await pubsub.get_message(ignore_subscribe_messages=True, timeout=10):
                    got.append((message["type"], message["pattern"], message["channel"], message["data"]))
            assert got == [("message", None, b"news", b"hello"), ("pmessage", b"n?ws", b"news", b"hello")]
            async with doors.client(third, protocol) as other:
                assert await other.publish("news", "again") == 2
                assert await other.pubsub_channels() == [b"news"]
                assert await other.pubsub_numsub("news", "none") == [(b"news", 1), (b"none", 0)]
                assert await other.pubsub_numpat() == 2
            await pubsub.aclose()
            await until(lambda: not doors.service(third).pubsub.channels.by_name)


async def test_each_pattern_is_read_once_and_forgotten_with_its_last_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(pubsub_room, "glob", lambda pattern: read.append(pattern) or glob(pattern))
    async with serving(1) as doors:
        (node,) = doors.cluster.nodes
        patterns = [b"n?ws%d" % number for number in range(1000)]  # more than are remembered elsewhere
        async with wire(doors.port(node)) as one, wire(doors.port(node)) as other, wire(doors.port(node)) as publisher:
            for client in (one, other):
                client.send("PSUBSCRIBE", *patterns)
                assert [(await client.next())[1] for _ in patterns] == patterns
            for _ in range(2):
                assert await publisher.ask("PUBLISH", "news7", "x") == 2
            assert read == patterns
            assert await one.ask("RESET") == [b"pmessage", b"n?ws7", b"news7", b"x"]
            assert (await one.next(), await one.next()) == ([b"pmessage", b"n?ws7", b"news7", b"x"], b"RESET")
            assert await publisher.ask("PUBLISH", "news7", "x") == 1
            too_long = await publisher.ask("PSUBSCRIBE", "fine", b"x" * 1025)
            assert str(too_long) == "ERR a pattern has at most 1024 bytes"
        await until(lambda: not doors.service(node).pubsub.patterns.like(b"news7"))


async def test_all_subscribers_get_all_messages_in_one_order() -> None:
    async with serving() as doors:
        subscribers = []
        for node in doors.cluster.nodes:
            client = redis.asyncio.Redis(port=doors.port(node), protocol=3)
            pubsub = client.pubsub()
            await pubsub.subscribe("all")
            assert (await pubsub.get_message(timeout=10))["type"] == "subscribe"
            subscribers.append((client, pubsub))

        async def publish(node: Any, name: int) -> None:
            async with doors.client(node) as client:
                for number in range(50):
                    await client.publish("all", f"{name}.{number}")

        publishing = [publish(node, name) for name, node in enumerate(doors.cluster.nodes)]
        orders, *_ = await asyncio.gather(
            asyncio.gather(*[messages(pubsub, 150) for _, pubsub in subscribers]), *publishing
        )
        assert orders[0] == orders[1] == orders[2]
        assert sorted(orders[0]) == sorted(f"{name}.{n}".encode() for name in range(3) for n in range(50))
        for client, pubsub in subscribers:
            await pubsub.aclose()
            await client.aclose()


async def test_a_transaction_publishes_where_it_stands_or_not_at_all() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node)) as listener:
            await listener.ask("SUBSCRIBE", "c")
            async with client.pipeline() as pipe:
                assert await pipe.set("k", "1").publish("c", "in").incr("k").execute() == [True, 1, 2]
            async with client.pipeline() as pipe:
                await pipe.watch("k")
                await client.set("k", "5")
                pipe.multi()
                pipe.publish("c", "never")
                with pytest.raises(redis.exceptions.WatchError):
                    await pipe.execute()
            await client.publish("c", "behind")
            assert await listener.next() == [b"message", b"c", b"in"]
            assert await listener.next() == [b"message", b"c", b"behind"]


async def test_resp2_allows_little_while_subscribed_and_resp3_everything() -> None:
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as old:
            old.send("SUBSCRIBE", "a", "b", "a")
            assert [await old.next() for _ in range(3)] == [
                [b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]
            ]  # fmt: skip
            assert await old.ask("PSUBSCRIBE", "x*") == [b"psubscribe", b"x*", 3]
            assert await old.ask("PING") == [b"pong", b""]
            assert await old.ask("PING", "hi") == [b"pong", b"hi"]
            for refused in ("GET", "MULTI", "BLPOP", "NONSENSE"):
                assert str(await old.ask(refused, "k", 0)).startswith(
                    f"ERR Can't execute '{refused.lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING"
                )
            assert await old.ask("UNSUBSCRIBE", "a") == [b"unsubscribe", b"a", 2]
            assert await old.ask("UNSUBSCRIBE") == [b"unsubscribe", b"b", 1]
            assert await old.ask("PUNSUBSCRIBE") == [b"punsubscribe", b"x*", 0]
            assert await old.ask("PUNSUBSCRIBE") == [b"punsubscribe", None, 0]
            assert await old.ask("SET", "k", "v") == b"OK"
            await old.ask("SUBSCRIBE", "a")
            assert await old.ask("RESET") == b"RESET"
            assert await old.ask("GET", "k") == b"v"
        async with wire(port, 3) as new:
            assert await new.ask("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
            new.send("PUBLISH", "a", "x")
            assert sorted([await new.next(), await new.next()], key=str) == [1, [b"message", b"a", b"x"]]
            assert await new.ask("GET", "k") == b"v"
            assert await new.ask("HELLO", 2)
            assert "Can't execute 'get'" in str(await new.ask("GET", "k"))
            assert Push([b"unsubscribe", b"a", 0]) == await new.ask("UNSUBSCRIBE")
            assert await new.ask("GET", "k") == b"v"


async def test_a_subscription_hears_of_all_that_is_published_behind_it_and_nothing_that_was_before() -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        follower = next(node for node in doors.cluster.nodes if node is not leader)
        async with doors.client(leader) as publisher, wire(doors.port(follower)) as listener:
            for number in range(30):
                await publisher.publish("c", f"before {number}")
                await listener.ask("SUBSCRIBE", "c")
                await publisher.publish("c", f"behind {number}")
                assert await listener.next() == [b"message", b"c", b"behind %d" % number]
                assert await listener.ask("UNSUBSCRIBE", "c") == [b"unsubscribe", b"c", 0]


async def test_who_does_not_take_its_messages_is_disconnected_and_the_others_go_on() -> None:
    limits = Limits(pushed_bytes_max=200_000, output_soft_bytes=20_000)
    async with serving(1, limits=limits) as doors:
        node = doors.cluster.nodes[0]
        service = doors.service(node)
        async with (
            wire(doors.port(node), limit=1000) as lazy,
            wire(doors.port(node)) as eager,
            doors.client(node) as client,
        ):
            await lazy.ask("SUBSCRIBE", "c")
            await eager.ask("SUBSCRIBE", "c")
            text, sent = "x" * 10_000, 0
            while len(service.pubsub.channels.by_name[b"c"]) == 2:
                sent += 1
                await client.publish("c", text)
                assert await eager.next() == [b"message", b"c", text.encode()]
                assert sent < 5000
            assert sent > 20
            got = 0
            with contextlib.suppress(EOFError):
                while await lazy.next():
                    got += 1
            assert got < sent
            assert await client.publish("c", "on") == 1


async def test_subscriptions_are_bounded_and_end_with_the_connection() -> None:
    async with serving(1, limits=Limits(subscriptions_max=3)) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client:
            assert str(await client.ask("SUBSCRIBE", *"abcd")) == "ERR a client has at most 3 subscriptions"
            client.send("SUBSCRIBE", *"ab")
            assert [(await client.next())[2] for _ in range(2)] == [1, 2]
            assert str(await client.ask("PSUBSCRIBE", *"xy")) == "ERR a client has at most 3 subscriptions"
            assert await client.ask("PSUBSCRIBE", "x") == [b"psubscribe", b"x", 3]
        pubsub = doors.service(node).pubsub
        await until(lambda: not pubsub.channels.by_name and not pubsub.patterns.by_name)


async def test_without_a_quorum_nothing_is_published_and_nobody_is_told_that_they_listen() -> None:
    async with serving() as doors:
        survivor, *others = doors.cluster.nodes
        for node in others:
            await doors.close(node.node_id)
            await doors.cluster.kill(node.node_id)
        async with wire(doors.port(survivor)) as client, wire(doors.port(survivor)) as local:
            assert str(await client.ask("SUBSCRIBE", "c")).startswith("CLUSTERDOWN")
            await local.ask("READONLY")
            assert await local.ask("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
            assert str(await client.ask("PUBLISH", "c", "x")).split()[0] in ("CLUSTERDOWN", "UNKNOWN")
            assert await local.comes_nothing()


async def test_a_restarted_node_repeats_no_message() -> None:
    async with serving() as doors:
        node = next(node for node in doors.cluster.nodes if not node.is_leader)
        leader = await doors.cluster.wait_for_leader()
        async with doors.client(leader) as publisher:
            for number in range(20):
                await publisher.publish("c", str(number))
            await doors.close(node.node_id)
            await doors.cluster.kill(node.node_id)
            node = await doors.cluster.start(node.node_id)
            await doors.open(node)
            async with wire(doors.port(node)) as listener:
                assert await listener.ask("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
                await publisher.publish("c", "new")
                assert await listener.next() == [b"message", b"c", b"new"]


async def test_the_blocking_library_with_its_own_thread() -> None:
    async with serving(1) as doors:
        await asyncio.to_thread(_use_threads, doors)


def _use_threads(doors: Doors) -> None:
    port = doors.port(doors.cluster.nodes[0])
    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol)
        heard: list[bytes] = []
        all_heard = threading.Event()

        def handle(message: Any, heard: list[bytes] = heard, all_heard: threading.Event = all_heard) -> None:
            heard.append(message["data"])
            if len(heard) == 10:
                all_heard.set()

        with client.pubsub() as pubsub:
            pubsub.subscribe(c=handle)
            assert pubsub.get_message(timeout=10) is not None
            thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
            for number in range(10):
                assert client.publish("c", str(number)) == 1
            assert all_heard.wait(10)
            thread.stop()
            thread.join(10)
        assert heard == [b"%d" % number for number in range(10)]
        client.close()


async def test_clients_can_be_listed_and_killed() -> None:
    async with serving(1) as doors:
        port = doors.port(doors.cluster.nodes[0])
        async with wire(port) as one, wire(port) as two, wire(port) as three:
            number, other = await two.ask("CLIENT", "ID"), await three.ask("CLIENT", "ID")
            await two.ask("SUBSCRIBE", "a")
            lines = (await one.ask("CLIENT", "LIST")).splitlines()
            (line,) = [line for line in lines if line.startswith(b"id=%d " % number)]
            fields = dict(field.split(b"=", 1) for field in line.split())
            assert (fields[b"sub"], fields[b"psub"], fields[b"watch"]) == (b"1", b"0", b"0")
            assert str(await one.ask("CLIENT", "KILL", "1.2.3.4:5")) == "ERR No such client"
            assert str(await one.ask("CLIENT", "KILL", "LADDR", "x")) == "ERR syntax error"
            assert await one.ask("CLIENT", "KILL", "ID", 99999) == 0
            assert await one.ask("CLIENT", "KILL", "ID", number) == 1
            with pytest.raises(EOFError):
                await two.next()
            lines = (await one.ask("CLIENT", "LIST")).splitlines()
            (line,) = [line for line in lines if line.startswith(b"id=%d " % other)]
            address = dict(field.split(b"=", 1) for field in line.split())[b"addr"]
            assert await one.ask("CLIENT", "KILL", address) == b"OK"
            with pytest.raises(EOFError):
                await three.next()
            me = await one.ask("CLIENT", "ID")
            assert await one.ask("CLIENT", "KILL", "ID", me) == 0
            assert await one.ask("CLIENT", "KILL", "ID", me, "SKIPME", "no") == 1
            with pytest.raises(EOFError):
                await one.next()
