"""Clients that wait for elements: each gets one, in their order, over all nodes and through the loss of a leader."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.exceptions

from quorate.kv.server.service import Service
from tests.node.support import until

from .clients import Doors, serving
from .wire import Wire, wire


async def blocked(service: Service, count: int) -> None:
    """So many clients of a node wait, and none of them is trying to get something."""
    takers = service.takers
    await until(lambda: len(takers) == count and not any(each.is_trying for each in takers._all))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_is_there_is_taken_at_once_and_what_is_not_is_waited_for(protocol: int) -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        other = next(node for node in doors.cluster.nodes if node is not leader)
        async with doors.client(leader, protocol) as pusher, doors.client(other, protocol) as client:
            await pusher.rpush("l", "a", "b", "c")
            await pusher.zadd("z", {"m": 1, "n": 2, "o": 3})
            assert await client.blpop(["none", "l"], 0) == ([b"l", b"a"] if protocol == 3 else (b"l", b"a"))
            assert list(await client.brpop(["l"], 0)) == [b"l", b"c"]
            assert await client.blmove("l", "m", 0) == b"b"
            assert await client.brpoplpush("m", "n", 0) == b"b"
            assert list(await client.bzpopmin(["z"], 0)) == [b"z", b"m", 1.0]
            assert list(await client.bzpopmax(["z"], 0)) == [b"z", b"o", 3.0]
            assert (await client.bzmpop(0, 1, ["z"], min=True))[0] == b"z"
            assert await client.blmpop(0, 1, "n", direction="LEFT") == [b"n", [b"b"]]
            for words, push, got in [
                (("BLPOP", "x", "l", 0), ("RPUSH", "l", "1"), [b"l", b"1"]),
                (("BRPOP", "l", 0), ("RPUSH", "l", "1", "2"), [b"l", b"2"]),
                (("BLMOVE", "s", "t", "LEFT", "RIGHT", 0), ("RPUSH", "s", "1"), b"1"),
                (("BRPOPLPUSH", "s", "t", 0), ("LPUSH", "s", "2"), b"2"),
                (("BLMPOP", 0, 2, "p", "q", "LEFT", "COUNT", 2), ("RPUSH", "q", "1", "2", "3"), [b"q", [b"1", b"2"]]),
                (("BZPOPMAX", "y", 0), ("ZADD", "y", "1", "a"), [b"y", b"a", 1.0 if protocol == 3 else b"1"]),
            ]:
                waiting = asyncio.create_task(client.connection_pool.get_connection())
                connection = await waiting
                await connection.send_command(*words)
                await blocked(doors.service(other), 1)
                await pusher.execute_command(*push)
                assert await connection.read_response() == got, words
                await client.connection_pool.release(connection)
            assert await pusher.lrange("t", 0, -1) == [b"2", b"1"]


async def test_time_over_is_null_and_mistakes_are_errors_that_reach_no_log() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client:
            for words in (
                ("BLPOP", "k", "0.02"), ("BLMOVE", "a", "b", "LEFT", "LEFT", "0.02"), ("BRPOPLPUSH", "a", "b", "0.02"),
                ("BLMPOP", "0.02", 1, "a", "LEFT"), ("BZPOPMIN", "z", "0.02"), ("BZMPOP", "0.02", 1, "z", "MIN"),
            ):  # fmt: skip
                assert await client.ask(*words) is None
            await client.ask("SET", "text", "x")
            before = node.status.last_index
            for line, error in [
                ("BLPOP k x", "ERR timeout is not a float or out of range"),
                ("BLPOP k nan", "ERR timeout is not a float or out of range"),
                ("BLPOP k -1", "ERR timeout is negative"),
                ("BLPOP k 1e300", "ERR timeout is out of range"),
                ("BLPOP k", "ERR wrong number of arguments for 'blpop' command"),
                ("BLMOVE a b LEFT x 1", "ERR syntax error"),
                ("BLMPOP x 1 a LEFT", "ERR timeout is not a float or out of range"),
                ("BLMPOP 0 0 a LEFT", "ERR numkeys should be greater than 0"),
                ("BLMPOP 0 1 a LEFT COUNT 0", "ERR count should be greater than 0"),
                ("BZMPOP 1 1 a LEFT", "ERR syntax error"),
            ]:
                assert str(await client.ask(*line.split())) == error
            assert node.status.last_index == before
            assert str(await client.ask("BLPOP", "text", 0)).startswith("WRONGTYPE")
            assert await client.ask("GET", "text") == b"x"


async def test_in_a_transaction_nobody_waits() -> None:
    async with serving(1) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        await client.ask("MULTI")
        for line in ("BLPOP k 0", "RPUSH k a", "BLPOP k 0", "BLMOVE a b LEFT LEFT 0", "BZPOPMIN z 0", "BLPOP k"):
            client.send(*line.split())
        assert [str(await client.next())[:20] for _ in range(6)][-1] == "ERR wrong number of "
        await client.ask("DISCARD")
        await client.ask("MULTI")
        for line in ("BLPOP k 0", "RPUSH k a", "BLPOP k 0", "BLMOVE a b LEFT LEFT 0", "BZPOPMIN z 0"):
            assert await client.ask(*line.split()) == b"QUEUED"
        assert await client.ask("EXEC") == [None, 1, [b"k", b"a"], None, None]


async def test_requests_behind_one_that_waits_wait_as_well() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client, doors.client(node) as other:
            client.send("BLPOP", "l", 0)
            client.send("SET", "k", "behind")
            client.send("GET", "k")
            client.send("PING")
            await blocked(doors.service(node), 1)
            assert await client.comes_nothing()
            assert await other.get("k") is None
            await other.rpush("l", "a")
            assert [await client.next() for _ in range(4)] == [[b"l", b"a"], b"OK", b"behind", b"PONG"]


async def waiting_in_order(doors: Doors, stack: AsyncExitStack, port: int, count: int, *words: Any) -> list[Wire]:
    """So many clients that wait, begun one after the other."""
    clients = []
    service = next(service for service, _, its_port in doors._open.values() if its_port == port)
    for number in range(count):
        client = await stack.enter_async_context(wire(port))
        client.send(*words)
        await blocked(service, number + 1)
        clients.append(client)
    return clients


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_came_first_is_served_first(at_once: bool) -> None:
    async with serving() as doors, AsyncExitStack() as stack:
        follower = next(node for node in doors.cluster.nodes if not node.is_leader)
        leader = await doors.cluster.wait_for_leader()
        clients = await waiting_in_order(doors, stack, doors.port(follower), 8, "BLPOP", "q", "r", 0)
        async with doors.client(leader) as pusher:
            if at_once:
                await pusher.rpush("q", *range(8))
            else:
                for number in range(8):
                    await pusher.rpush("qr"[number % 2], number)
                    assert (await clients[number].next())[1] == b"%d" % number
                return
        assert [(await client.next())[1] for client in clients] == [b"%d" % number for number in range(8)]


async def test_as_many_try_as_there_are_elements_and_no_more() -> None:
    async with serving(1) as doors, AsyncExitStack() as stack:
        node = doors.cluster.nodes[0]
        await waiting_in_order(doors, stack, doors.port(node), 20, "BLPOP", "q", 0)
        service = doors.service(node)
        tried: list[Any] = []
        try_ = service.takers._try
        service.takers._try = lambda taker: (tried.append(taker), try_(taker))[1]  # type: ignore[method-assign]
        async with doors.client(node) as pusher:
            await pusher.rpush("q", "a", "b", "c")
            await blocked(service, 17)
            assert len(tried) == 3
            await pusher.set("elsewhere", "x")
            await pusher.rpush("q2", "x")
            await blocked(service, 17)
            assert len(tried) == 3


async def test_another_type_at_the_key_is_waited_through() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client, doors.client(node) as other:
            client.send("BLPOP", "l", 0)
            await blocked(doors.service(node), 1)
            await other.set("l", "text")
            await other.delete("l")
            await other.zadd("l", {"m": 1})
            await other.delete("l")
            assert await client.comes_nothing()
            await other.rpush("l", "a")
            assert await client.next() == [b"l", b"a"]
            client.send("BLMOVE", "l", "text", "LEFT", "LEFT", 0)
            await blocked(doors.service(node), 1)
            await other.set("text", "x")
            await other.rpush("l", "a")
            assert str(await client.next()).startswith("WRONGTYPE")
            assert await other.lrange("l", 0, -1) == [b"a"]


async def test_who_goes_while_it_waits_takes_nothing() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        service = doors.service(node)
        async with wire(doors.port(node)) as stays, doors.client(node) as other:
            async with wire(doors.port(node)) as goes:
                goes.send("BLPOP", "l", 0)
                await blocked(service, 1)
                stays.send("BLPOP", "l", 0)
                await blocked(service, 2)
            await blocked(service, 1)
            await other.rpush("l", "a")
            assert await stays.next() == [b"l", b"a"]
            assert service.takers._by_key == {}


async def test_a_client_can_be_unblocked() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as client, wire(doors.port(node)) as other:
            number = await client.ask("CLIENT", "ID")
            assert await other.ask("CLIENT", "UNBLOCK", number) == 0
            for reason, reply in [((), None), (("TIMEOUT",), None), (("ERROR",), "UNBLOCKED client unblocked via")]:
                client.send("BLPOP", "l", 0)
                await blocked(doors.service(node), 1)
                assert await other.ask("CLIENT", "UNBLOCK", number, *reason) == 1
                got = await client.next()
                assert got is None if reply is None else str(got).startswith(reply)
            assert "TIMEOUT or ERROR" in str(await other.ask("CLIENT", "UNBLOCK", number, "NOW"))
            assert "not an integer" in str(await other.ask("CLIENT", "UNBLOCK", "x"))


async def test_a_node_that_sends_its_clients_away_lets_nobody_wait() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        service = doors.service(node)
        async with wire(doors.port(node)) as client:
            client.send("BLPOP", "l", 0)
            await blocked(service, 1)
            service.send_away()
            assert str(await client.next()).startswith("UNBLOCKED ")
            with pytest.raises(EOFError):
                await client.next()


async def test_without_a_quorum_a_new_client_is_told() -> None:
    async with serving() as doors:
        survivor, *others = doors.cluster.nodes
        async with wire(doors.port(survivor)) as waits, wire(doors.port(survivor)) as comes:
            waits.send("BLPOP", "l", 0)
            await blocked(doors.service(survivor), 1)
            for node in others:
                await doors.close(node.node_id)
                await doors.cluster.kill(node.node_id)
            assert str(await comes.ask("BLPOP", "l", 0)).startswith("CLUSTERDOWN")
            assert str(await comes.ask("BLPOP", "other", 0)).split()[0] in ("CLUSTERDOWN", "UNKNOWN")
            assert await waits.comes_nothing()


async def test_what_a_snapshot_brings_is_taken() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        service = doors.service(node)
        async with wire(doors.port(node)) as client:
            client.send("BLPOP", "l", 0)
            await blocked(service, 1)
            on_change, service.keyspace.on_change = service.keyspace.on_change, None
            async with doors.client(node) as other:
                await other.rpush("l", "a")  # nobody here hears of it
            assert await client.comes_nothing()
            service.keyspace.on_change = on_change
            assert service._machine.after_open is not None
            service._machine.after_open()
            assert await client.next() == [b"l", b"a"]


async def test_workers_on_all_nodes_get_each_element_once_also_when_the_leader_is_lost() -> None:
    async with serving() as doors:
        pushed: list[bytes] = []
        unknown_pushes: set[bytes] = set()
        popped: Counter[bytes] = Counter()
        unknown_pops = 0
        stopping = False

        async def push(name: int) -> None:
            for number in range(150):
                element = b"%d.%d" % (name, number)
                while not stopping:
                    node = doors.cluster.nodes[(name + number) % len(doors.cluster.nodes)]
                    try:
                        async with doors.client(node) as client:
                            await client.rpush("q", element)
                    except (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError, KeyError):
                        await asyncio.sleep(0.01)  # certainly not pushed
                    except (redis.exceptions.RedisError, OSError):
                        unknown_pushes.add(element)
                        break
                    else:
                        pushed.append(element)
                        break

        async def work(number: int) -> None:
            nonlocal unknown_pops
            while not stopping:
                nodes = doors.cluster.nodes
                try:
                    async with doors.client(nodes[number % len(nodes)]) as client:
                        while not stopping:
                            if got := await client.blpop(["q"], 0.2):
                                popped[got[1]] += 1
                except (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError, KeyError):
                    await asyncio.sleep(0.01)
                except (redis.exceptions.RedisError, OSError):
                    unknown_pops += 1
                    await asyncio.sleep(0.01)

        workers = [asyncio.create_task(work(number)) for number in range(9)]
        pushers = [asyncio.create_task(push(name)) for name in range(4)]
        await until(lambda: sum(popped.values()) > 100, 30)
        leader = await doors.cluster.wait_for_leader()
        await doors.close(leader.node_id)
        await doors.cluster.kill(leader.node_id)
        await asyncio.gather(*pushers)
        survivor = await doors.cluster.wait_for_leader()
        async with doors.client(survivor) as client:
            async with asyncio.timeout(20):
                while await client.llen("q"):  # noqa: ASYNC110 - nothing here tells of it
                    await asyncio.sleep(0.02)
        stopping = True
        await asyncio.gather(*workers)
        assert len(pushed) > 400
        assert max(popped.values()) == 1
        assert set(popped) <= set(pushed) | unknown_pushes
        assert len(set(pushed) - set(popped)) <= unknown_pops
