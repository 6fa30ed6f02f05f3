"""Which nodes to ask, and what is said of one that gives no status."""

from __future__ import annotations

import asyncio

import pytest

from quorate.errors import ConfigError
from quorate.ops.cluster_status import fetch_statuses, parse_cluster
from quorate.ops.ports import free_ports


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1:8080", ["127.0.0.1:8080"]),
        ("localhost:8080, 8081 ,3@db.example:90", ["127.0.0.1:8080", "127.0.0.1:8081", "db.example:90"]),
        ("8080,127.0.0.1:8080,", ["127.0.0.1:8080"]),
        ("[::1]:8080", ["[::1]:8080"]),
    ],
)
def test_a_cluster_is_a_list_of_addresses(text: str, addresses: list[str]) -> None:
    assert parse_cluster(text) == addresses


@pytest.mark.parametrize("text", ["", " , ", "host", "host:", "host:0", "host:99999", "http://host:80", "a b:80"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_cluster(text)


async def test_a_node_that_gives_no_status_is_reported_as_such() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        other = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gone = f"127.0.0.1:{free_ports(1)[0]}"
        assert await fetch_statuses([gone, other]) == [
            {"address": gone, "error": "unreachable"},
            {"address": other, "error": "not a node"},
        ]
