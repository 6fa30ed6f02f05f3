"""Which nodes to ask, and what is said of one that gives no status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


STATUS = {"node_id": 1, "address": "a:1", "role": "leader", "term": 1, "commit_index": 1, "applied_index": 1}


@asynccontextmanager
async def answering(body: bytes, status: bytes = b"200 OK") -> AsyncIterator[str]:
    """The address of a server that says nothing else."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_node_that_gives_no_status_is_reported_as_such() -> None:
    async with answering(b"[]") as other:
        gone = f"127.0.0.1:{free_ports(1)[0]}"
        assert await fetch_statuses([gone, other, "no..name:80"]) == [
            {"address": gone, "error": "unreachable"},
            {"address": other, "error": "not a node"},
            {"address": "no..name:80", "error": "unreachable"},
        ]


@pytest.mark.parametrize(
    ("body", "status", "is_node"),
    [
        (json.dumps(STATUS).encode(), b"200 OK", True),
        (json.dumps(STATUS).encode(), b"500 Internal Server Error", False),
        (json.dumps(STATUS | {"term": "x"}).encode(), b"200 OK", False),
        (b'{"node_id": 1}', b"200 OK", False),
        (b"[" * 100_000, b"200 OK", False),
        (b"<html>", b"200 OK", False),
    ],
    ids=["a node", "an error", "another term", "another node_id", "deep", "html"],
)
async def test_only_what_says_what_a_node_says_is_one(body: bytes, status: bytes, is_node: bool) -> None:
    async with answering(body, status) as address:
        (report,) = await fetch_statuses([address])
        assert report == (STATUS if is_node else {"address": address, "error": "not a node"})
