"""Redis clients on a node's ports."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from pydantic import ValidationError
from redis.exceptions import AuthenticationError, OutOfMemoryError, ResponseError

from quorate.config import NodeConfig
from quorate.errors import ConfigError
from quorate.web.server import NodeServer

from .support import StartCluster, client_of, free_ports


def redis_of(server: NodeServer, **settings: Any) -> redis.asyncio.Redis:
    """A client of the port that a server shares with HTTP; it does not try again by itself."""
    return redis.asyncio.Redis(**{"port": server.config.port, "retry": None, **settings})


@pytest.mark.parametrize("protocol", [2, 3])
async def test_every_node_serves_keys_on_its_one_port_beside_its_models(
    start_cluster: StartCluster, protocol: int
) -> None:
    servers = await start_cluster(3)
    for server in servers:
        async with redis_of(server, protocol=protocol) as writer:
            assert await writer.set(f"key {server.config.node_id}", "value")
    for server in servers:
        async with redis_of(server, protocol=protocol) as reader, client_of(server) as client:
            assert await reader.mget("key 1", "key 2", "key 3", "key 4") == [b"value"] * 3 + [None]
            assert (await client.get("/health")).status_code == 200


async def test_inline_commands_are_understood_on_both_ports(start_cluster: StartCluster) -> None:
    (port,) = free_ports(1)
    (server,) = await start_cluster(1, resp_port=port)
    for each in (port, server.config.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", each)
        writer.write(b"set greeting hello\r\nGET greeting\r\nQUIT\r\n")
        assert await reader.read() == b"+OK\r\n$5\r\nhello\r\n+OK\r\n"
        writer.close()
    async with redis_of(server, port=port) as client:
        assert await client.get("greeting") == b"hello"
    with pytest.raises(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(f"http://127.0.0.1:{port}/health")


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port, resp_port = free_ports(2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", resp_port))
        taken.listen()
        server = NodeServer(NodeConfig(node_id=1, port=port, resp_port=resp_port, data_dir=tmp_path), None)
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1:{resp_port}: .*; choose another --resp-port"
        ):
            await server.start()
    socket.create_server(("127.0.0.1", port)).close()  # nobody holds it any more


async def test_a_password_is_asked_for(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, kv_password="secret")
    assert "secret" not in repr(server.config)
    async with redis_of(server) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.get("key")
    async with redis_of(server, password="wrong") as impostor:
        with pytest.raises(AuthenticationError):
            await impostor.get("key")
    async with redis_of(server, password="secret") as friend:
        assert await friend.get("key") is None


async def test_beyond_maxmemory_commands_that_need_more_are_refused(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, maxmemory="20kb")
    async with redis_of(server) as client:
        await client.set("large", b"x" * 30_000)
        with pytest.raises(OutOfMemoryError):
            await client.set("small", b"x")
        assert await client.delete("large") == 1
        assert await client.set("small", b"x")
        assert (await client.config_get("maxmemory"))["maxmemory"] == "20000"


async def test_subscribers_are_told_of_changes_if_the_node_was_asked_to(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    (server,) = await start_cluster(1, notify_keyspace_events="K$")
    async with redis_of(server) as client:
        assert (await client.config_get("notify*"))["notify-keyspace-events"] == "$K"
        assert "notify-keyspace-events" not in await client.config_get("maxmemory")
    with pytest.raises(ValidationError, match="notify_keyspace_events"):
        NodeConfig(node_id=1, data_dir=tmp_path, notify_keyspace_events="K!")


async def test_a_value_that_is_too_large_for_the_log_is_refused_and_its_neighbours_are_not(
    start_cluster: StartCluster,
) -> None:
    (server,) = await start_cluster(1)
    bytes_max = server.node.config.max_command_bytes
    async with redis_of(server) as one, redis_of(server) as other:
        writes = [other.set(f"key {number}", b"x" * 1000) for number in range(20)]
        large = one.set("large", b"x" * (bytes_max - 100))
        refused, *stored = await asyncio.gather(large, *writes, return_exceptions=True)
        assert isinstance(refused, ResponseError) or refused is True
        assert stored == [True] * 20
        with pytest.raises(redis.RedisError):
            await one.set("larger", b"x" * (bytes_max + 1))
        assert await other.get("key 0") == b"x" * 1000


async def test_who_stops_answers_what_it_was_asked(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3)
    server = servers[0]
    async with redis_of(server) as client:
        await client.set("counter", 0)
        replies = asyncio.gather(*(client.incr("counter") for _ in range(50)), return_exceptions=True)
        await asyncio.sleep(0)
        await server.stop()
        acknowledged = [reply for reply in await replies if isinstance(reply, int)]
    async with redis_of(servers[1]) as other:
        assert len(acknowledged) <= int(await other.get("counter") or 0) <= 50
        assert sorted(acknowledged) == sorted(set(acknowledged))
