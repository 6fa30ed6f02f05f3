"""``QUORATE.ONCE``: what is sent again with the same id is applied once, whichever node it is sent to."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from quorate.kv.server.service import Limits
from quorate.testing import TestCluster
from tests.kv.clients import Doors, serving


async def once(client: redis.asyncio.Redis, request_id: str, *words: str) -> Any:
    return await client.execute_command("QUORATE.ONCE", request_id, *words)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_same_id_gets_the_first_reply_on_every_node(protocol: int) -> None:
    popped = [b"a", b"1.5", b"b", b"2"] if protocol == 2 else [[b"a", 1.5], [b"b", 2.0]]
    async with serving() as doors:
        for node in doors.cluster.nodes:
            async with doors.client(node, protocol) as client:
                assert await once(client, "order:1", "incrby", "n", "7") == 7
                assert await once(client, "order:2", "SADD", "s", "a", "b") == 2
                assert await once(client, "order:3", "ZADD", "z", "1.5", "a", "2", "b") == 2
                assert await once(client, "order:4", "ZPOPMIN", "z", "2") == popped
                with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
                    await once(client, "order:5", "LPUSH", "n", "x")
                assert await client.get("n") == b"7"
                with pytest.raises(redis.exceptions.ResponseError, match="IDREUSED this id belongs to another command"):
                    await once(client, "order:1", "INCRBY", "n", "8")
                assert await client.get("n") == b"7"


async def lose_the_leader(doors: Doors) -> None:
    leader = await doors.cluster.wait_for_leader()
    await doors.close(leader.node_id)
    await doors.cluster.kill(leader.node_id)
    await doors.cluster.wait_for_leader()
    for node in doors.cluster.nodes:
        await node.wait_for_leader()


async def test_a_reply_that_was_lost_with_the_leader_is_given_by_another_node_and_after_a_restart() -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        async with doors.client(leader) as client:
            assert await once(client, "pay", "INCR", "paid") == 1
            assert await client.incr("paid") == 2
        await lose_the_leader(doors)
        for node in doors.cluster.nodes:
            async with doors.client(node) as client:
                assert await once(client, "pay", "INCR", "paid") == 1
        await doors.open(await doors.cluster.start(leader.node_id))
        await doors.cluster.node(leader.node_id).wait_for_leader()
        async with doors.client(doors.cluster.node(leader.node_id)) as client:
            assert await once(client, "pay", "INCR", "paid") == 1
            assert await client.get("paid") == b"2"


async def test_an_unknown_outcome_is_settled_by_sending_the_same_to_another_node() -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        others = [node for node in doors.cluster.nodes if node is not leader]
        doors.cluster.partition_network([leader.node_id], [node.node_id for node in others])
        async with doors.client(leader) as cut_off:
            with pytest.raises(
                redis.exceptions.ResponseError, match=r"^UNKNOWN .* with the same id it may be sent again"
            ):
                await once(cut_off, "pay", "INCR", "paid")
        await doors.cluster.wait_until(lambda: any(node.is_leader for node in others), 10)
        async with doors.client(others[0]) as client:
            assert await settled(doors.cluster, client) == 1
        doors.cluster.heal()
        await doors.cluster.wait_for_convergence()
        for node in doors.cluster.nodes:
            async with doors.client(node) as client:
                assert await once(client, "pay", "INCR", "paid") == 1
                assert await client.get("paid") == b"1"


async def settled(cluster: TestCluster, client: redis.asyncio.Redis) -> int:
    """The reply as soon as there is one, as a client with some patience gets it."""
    replies: list[int] = []

    async def is_answered() -> bool:
        try:
            replies.append(await once(client, "pay", "INCR", "paid"))
        except redis.exceptions.RedisError as error:
            if not str(error).startswith(("UNKNOWN", "CLUSTERDOWN", "TRYAGAIN")):
                raise
        return bool(replies)

    await cluster.wait_until(is_answered, 20)
    return replies[0]


async def test_commands_of_one_connection_keep_their_order() -> None:
    async with serving() as doors:
        follower = next(node for node in doors.cluster.nodes if not node.is_leader)
        async with doors.client(follower) as client, client.pipeline(transaction=False) as pipe:
            for number in range(30):
                pipe.set("k", "a").execute_command("QUORATE.ONCE", number, "APPEND", "k", "b")
                pipe.append("k", "c").get("k")
            assert await pipe.execute() == [True, 2, 3, b"abc"] * 30


async def test_a_transaction_is_applied_once() -> None:
    async with serving() as doors:
        replies: list[Any] = []
        for node in doors.cluster.nodes:
            async with doors.client(node) as client:
                for line in (["MULTI"], ["INCR", "n"], ["GET", "n"], ["INCR", "text"]):
                    assert await client.execute_command(*line) in (True, b"OK", b"QUEUED")
                replies.append(await once(client, "tx", "exec"))
                await client.set("text", "x")
                with pytest.raises(redis.exceptions.ResponseError, match="EXEC without MULTI"):
                    await once(client, "tx", "EXEC")
        assert replies == [[1, b"1", 1]] * 3


async def test_a_transaction_with_an_id_takes_no_watch_and_nothing_else_takes_an_id_inside_one() -> None:
    async with serving(1) as doors, doors.client(doors.cluster.nodes[0]) as client:
        await client.execute_command("WATCH", "a")
        await client.execute_command("MULTI")
        await client.execute_command("SET", "a", "1")
        with pytest.raises(redis.exceptions.ResponseError, match="there is no WATCH"):
            await once(client, "tx", "EXEC")
        await client.execute_command("MULTI")
        with pytest.raises(redis.exceptions.ResponseError, match="not allowed inside a transaction"):
            await once(client, "tx", "SET", "a", "1")
        with pytest.raises(redis.exceptions.RedisError, match="discarded"):
            await client.execute_command("EXEC")
        assert await client.exists("a") == 0
        assert await once(client, "tx", "SET", "a", "1") == b"OK"


async def test_bad_requests_reach_no_log() -> None:
    async with serving(1, limits=Limits(memory_bytes_max=1000)) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client:
            await client.set("k", "x" * 1000)
            before = node.status.last_index
            for words, error in [
                (["x"], "wrong number of arguments for 'quorate.once' command"),
                (["", "SET", "a", "1"], "an id has 1 to 200 bytes"),
                (["x" * 201, "SET", "a", "1"], "an id has 1 to 200 bytes"),
                (["x", "GET", "a"], "QUORATE.ONCE is for writes, and 'GET' is none"),
                (["x", "PING"], "QUORATE.ONCE is for writes, and 'PING' is none"),
                (["x", "QUORATE.EXEC", "a"], "QUORATE.ONCE is for writes, and 'QUORATE.EXEC' is none"),
                (["x", "QUORATE.ONCE", "y", "DEL", "a"], "QUORATE.ONCE is for writes, and 'QUORATE.ONCE' is none"),
                (["x", "BLPOP", "l", "0"], "BLPOP may wait, and so cannot be applied once by an id"),
                (["x", "SET", "a"], "wrong number of arguments for 'set' command"),
                (["x", "SET", "a", "1", "PX", "0"], "invalid expire time in 'set' command"),
                (["x", "SET", "a", "1"], "command not allowed when used memory > 'maxmemory'"),
            ]:
                with pytest.raises(redis.exceptions.ResponseError, match=error):
                    await client.execute_command("QUORATE.ONCE", *words)
            assert node.status.last_index == before
            assert await once(client, "x", "DEL", "k") == 1
            assert await once(client, "\xff" * 100, "SET", "a", "1") == b"OK"


async def test_who_does_not_say_the_password_applies_nothing() -> None:
    async with serving(1, password="secret") as doors, doors.client(doors.cluster.nodes[0]) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await once(client, "x", "SET", "a", "1")
        assert doors.service(doors.cluster.nodes[0]).keyspace.revision == 0


async def test_large_replies_have_no_ids_of_others_forgotten() -> None:
    async with serving(1) as doors:
        (node,) = doors.cluster.nodes
        async with doors.client(node) as client:
            await client.set("large", b"x" * 1_000_000)
            assert await once(client, "order", "INCRBY", "stock", "-1") == -1
            for number in range(70):
                assert len(await once(client, f"large:{number}", "GETEX", "large")) == 1_000_000
            assert await once(client, "order", "INCRBY", "stock", "-1") == -1
            assert await client.get("stock") == b"-1"
            with pytest.raises(redis.exceptions.ResponseError, match="applied before; its answer was too large"):
                await once(client, "large:0", "GETEX", "large")
