"""What a client sees, by redis-py: both protocols, every node, transactions, bounds, and the loss of a leader."""

from __future__ import annotations

import asyncio
import os

import pytest
import redis.exceptions

from quorate.kv.resp.bounds import Bounds
from quorate.kv.server.service import Limits
from quorate.kv.server.transaction_commands import WATCHED_MAX

from .clients import Doors, serving
from .wire import wire


@pytest.mark.parametrize("protocol", [2, 3])
async def test_each_node_takes_writes_and_answers_what_is_true_now(protocol: int) -> None:
    async with serving() as doors:
        for number, node in enumerate(doors.cluster.nodes):
            async with doors.client(node, protocol) as client:
                assert await client.set("greeting", f"hello {number}") is True
            for other in doors.cluster.nodes:
                async with doors.client(other, protocol) as client:
                    assert await client.get("greeting") == b"hello %d" % number


async def test_a_pipeline_is_answered_in_its_order_and_reads_its_own_writes() -> None:
    async with serving() as doors:
        follower = next(node for node in doors.cluster.nodes if not node.is_leader)
        async with doors.client(follower) as client, client.pipeline(transaction=False) as pipe:
            for number in range(50):
                pipe.set("k", number).get("k").incr("n").ping()
            replies = await pipe.execute()
        assert replies == [each for n in range(50) for each in (True, b"%d" % n, n + 1, True)]


async def test_a_transaction_is_one_entry_and_a_watched_key_ends_it() -> None:
    async with serving() as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as one, doors.client(doors.cluster.nodes[1]) as other:
            async with one.pipeline() as pipe:
                assert await pipe.set("a", "1").incr("a").get("a").execute() == [True, 2, b"2"]
            async with one.pipeline() as pipe:
                await pipe.watch("a", "never")
                await other.set("a", "5")
                pipe.multi()
                pipe.set("a", "6")
                with pytest.raises(redis.exceptions.WatchError):
                    await pipe.execute()
            assert await one.get("a") == b"5"
            async with one.pipeline() as pipe:
                pipe.set("a", "7").execute_command("GET")
                with pytest.raises(redis.exceptions.ResponseError, match="wrong number of arguments"):
                    await pipe.execute()
            assert await one.get("a") == b"5"
            async with one.pipeline() as pipe:
                replies = await pipe.set("text", "x").incr("text").set("behind", "y").execute(raise_on_error=False)
                assert isinstance(replies[1], redis.exceptions.ResponseError)
            assert await other.get("behind") == b"y"


async def test_what_waits_for_a_transaction_is_bounded() -> None:
    async with (
        serving(1, bounds=Bounds(request_bytes_max=10_000)) as doors,
        wire(doors.port(doors.cluster.nodes[0])) as client,
    ):
        for _ in range(2):  # each transaction has all the room
            assert await client.ask("MULTI") == b"OK"
            assert await client.ask("SET", "k", "x" * 9000) == b"QUEUED"
            assert str(await client.ask("SET", "k", "x" * 2000)) == "ERR a transaction has at most 10000 bytes"
            assert str(await client.ask("EXEC")).startswith("EXECABORT")
    async with serving(1) as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        keys = [str(number) for number in range(WATCHED_MAX)]
        for some in keys[:9000], keys[1000:]:
            assert await client.ask("WATCH", *some) == b"OK"
        assert str(await client.ask("WATCH", "more")) == "ERR a client watches at most 10000 keys"
        assert await client.ask("UNWATCH") == b"OK"
        assert await client.ask("WATCH", "more") == b"OK"


async def test_a_clients_name_is_bounded() -> None:
    async with serving(1, password="secret") as doors, wire(doors.port(doors.cluster.nodes[0])) as client:
        too_long = "ERR a client's names have at most 1024 bytes each"
        assert str(await client.ask("HELLO", 3, "SETNAME", "x" * 1025)) == too_long
        assert await client.ask("AUTH", "secret") == b"OK"
        assert str(await client.ask("CLIENT", "SETNAME", "x" * 1025)) == too_long
        assert await client.ask("CLIENT", "SETNAME", "x" * 1024) == b"OK"


async def test_mistakes_get_the_usual_errors_and_reach_no_log() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        before = node.status.last_index
        async with doors.client(node) as client:
            for words, error in [
                ("NOPE a b", "unknown command 'NOPE', with args beginning with: 'a' 'b'"),
                ("GET", "wrong number of arguments for 'get' command"),
                ("SET k", "wrong number of arguments for 'set' command"),
                ("EXEC", "EXEC without MULTI"),
                ("SELECT 1", "DB index is out of range"),
                ("QUORATE.EXEC x", "unknown command"),
                ("QUORATE.SWEEP", "unknown command"),
            ]:
                with pytest.raises(redis.exceptions.ResponseError, match=error):
                    await client.execute_command(*words.split())
        assert node.status.last_index == before


async def test_who_does_not_say_the_password_gets_nothing() -> None:
    async with serving(1, password="secret") as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.get("k")
        async with doors.client(node, password="wrong") as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.get("k")
        for protocol in (2, 3):
            async with doors.client(node, protocol, password="secret") as client:
                assert await client.get("k") is None


async def test_without_a_quorum_nothing_is_ok() -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        async with doors.client(leader) as client:
            await client.set("k", "1")
            for node in list(doors.cluster.nodes):
                if node is not leader:
                    await doors.close(node.node_id)
                    await doors.cluster.kill(node.node_id)
            with pytest.raises(redis.exceptions.ResponseError, match=r"UNKNOWN|CLUSTERDOWN"):
                await client.set("k", "2")
            with pytest.raises(redis.exceptions.ClusterDownError):
                await client.get("k")
            await client.execute_command("READONLY")
            assert await client.get("k") in (b"1", b"2")


async def test_no_acknowledged_key_is_lost_with_the_leader() -> None:
    async with serving() as doors:
        acknowledged: list[str] = []

        async def write(name: int, doors: Doors) -> None:
            for number in range(400):
                key = f"{name}:{number}"
                for node in doors.cluster.nodes:
                    try:
                        async with doors.client(node) as client:
                            if await client.set(key, key):
                                acknowledged.append(key)
                                break
                    except (redis.exceptions.RedisError, OSError, KeyError):
                        await asyncio.sleep(0.01)

        writers = [asyncio.create_task(write(name, doors)) for name in range(4)]
        await doors.cluster.wait_until(lambda: len(acknowledged) > 100, 20)
        leader = await doors.cluster.wait_for_leader()
        await doors.close(leader.node_id)
        await doors.cluster.kill(leader.node_id)
        await asyncio.gather(*writers)
        assert len(acknowledged) > 1000
        survivor = await doors.cluster.wait_for_leader()
        async with doors.client(survivor) as client:
            values = await client.mget(acknowledged)
        assert [value.decode() if value else None for value in values] == acknowledged


async def test_a_key_goes_when_its_time_is_over_on_every_node() -> None:
    async with serving() as doors:
        async with doors.client(doors.cluster.nodes[0]) as client:
            await client.set("short", "x", px=60)
            await client.set("long", "x", ex=100)
        keyspaces = [doors.service(node).keyspace for node in doors.cluster.nodes]
        await doors.cluster.wait_until(lambda: all(list(each.items) == [b"long"] for each in keyspaces), 10)


async def test_clients_beyond_a_bound_are_told_and_the_node_lives() -> None:
    limits = Limits(clients_max=2, output_hard_bytes=64 * 1024, output_soft_bytes=16 * 1024)
    async with serving(1, limits=limits, bounds=Bounds(request_bytes_max=100_000, bulk_bytes_max=90_000)) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as one, doors.client(node) as two, doors.client(node) as three:
            await one.set("k", "x" * 1000)
            await two.ping()
            with pytest.raises(redis.exceptions.ConnectionError):
                await three.ping()
            with pytest.raises(redis.exceptions.RedisError):
                await two.set("k", "x" * 200_000)
            assert await one.get("k") == b"x" * 1000


async def test_no_more_memory_is_an_error_and_what_frees_it_goes_on() -> None:
    async with (
        serving(1, limits=Limits(memory_bytes_max=3000)) as doors,
        doors.client(doors.cluster.nodes[0]) as client,
    ):
        for number in range(3):
            await client.set(f"k{number}", "x" * 1000)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await client.set("k3", "x" * 1000)
        assert await client.delete("k0", "k1") == 2
        assert await client.set("k3", "x")


async def test_time_left_goes_on_while_nothing_is_written() -> None:
    async with serving(3) as doors:
        for node in doors.cluster.nodes:
            async with doors.client(node) as client:
                await client.set("key", "value", px=60_000)
                first = await client.pttl("key")
                while (left := await client.pttl("key")) >= first - 20:
                    assert left <= first
                assert left > 0


async def test_tools_find_what_they_look_for_and_recipes_with_scripts_are_told_what_to_use() -> None:
    async with serving(1) as doors:
        (node,) = doors.cluster.nodes
        async with doors.client(node) as client:
            found = await client.info()
            assert found["used_memory"] > 1 << 20
            assert found["total_connections_received"] >= 1
            assert found["uptime_in_seconds"] >= 0
            assert found["process_id"] == os.getpid()
            with pytest.raises(redis.exceptions.ResponseError, match="there are no scripts here; see MULTI"):
                await client.eval("return 1", 0)
