"""Every command's examples through redis-py, each command of a block at another node of a real cluster."""

from __future__ import annotations

import asyncio
import itertools
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from quorate.config import NodeConfig
from quorate.kv.registry import COMMANDS
from quorate.ops.ports import free_ports
from quorate.web.server import NodeServer
from tests.kv.examples import EXAMPLES
from tests.kv.expected import fits

ON_ONE_CONNECTION = ("MULTI", "WATCH", "CLIENT", "READONLY")
GENERIC = "ERR "
"""redis-py does not repeat this code of an error."""


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[list[int]]:
    """The ports of three servers, with their logs on the disk."""
    ports = free_ports(3)
    async with AsyncExitStack() as stack:
        servers = []
        for number, port in enumerate(ports, start=1):
            peers = tuple(f"{at}@127.0.0.1:{other}" for at, other in enumerate(ports, start=1) if other != port)
            config = NodeConfig(node_id=number, port=port, peers=peers, data_dir=tmp_path / str(number))
            server = NodeServer(config, None)
            await server.start()
            stack.push_async_callback(server.stop)
            servers.append(server)
        for server in servers:
            await server.node.wait_for_leader()
        yield ports


def blocks() -> Iterator[tuple[str, bool, list[tuple[list[str], Any]]]]:
    """The examples: name, whether they need one connection, and lines with what they answer."""
    for name, examples in EXAMPLES.items():
        lines = [(shlex.split(line), expected) for line, expected in examples]
        yield name, any(words[0].upper() in ON_ONE_CONNECTION for words, _ in lines), lines


def check(name: str, words: list[str], reply: Any, expected: Any) -> None:
    """Whether redis-py gave what was expected."""
    wanted = expected.removeprefix(GENERIC) if isinstance(expected, str) else expected
    assert fits(reply, wanted), f"{name}: {words} answered {reply!r} instead of {expected!r}"


def test_every_command_that_clients_share_with_redis_has_examples() -> None:
    ours = {name.decode() for name, spec in COMMANDS.items() if not spec.internal and b"." not in name}
    assert ours <= EXAMPLES.keys() | {"PUBLISH"}


@pytest.mark.parametrize("protocol", [2, 3])
async def test_examples_with_asyncio(ports: list[int], protocol: int) -> None:
    async with AsyncExitStack() as stack:
        clients = []
        for port in ports:
            client = redis.asyncio.Redis(
                port=port, protocol=protocol, retry=None, single_connection_client=True, socket_timeout=60
            )
            client.response_callbacks.clear()
            clients.append(await stack.enter_async_context(client))

        async def ask(client: redis.asyncio.Redis, words: list[str]) -> Any:
            while True:
                try:
                    return await client.execute_command(*words)
                except redis.exceptions.ClusterDownError:
                    await asyncio.sleep(0.01)  # the machine stalled, and another leader is elected: nothing was done
                except redis.ResponseError as error:
                    return error

        turns = itertools.cycle(clients)
        for name, on_one, lines in blocks():
            assert await ask(next(turns), ["FLUSHALL"]) == b"OK"
            client = next(turns)
            for words, expected in lines:
                client = client if on_one else next(turns)
                check(name, words, await ask(client, words), expected)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_examples_without_asyncio(ports: list[int], protocol: int) -> None:
    def ask(client: redis.Redis, words: list[str]) -> Any:
        while True:
            try:
                return client.execute_command(*words)
            except redis.exceptions.ClusterDownError:
                time.sleep(0.01)
            except redis.ResponseError as error:
                return error

    def run() -> None:
        with ExitStack() as stack:
            clients = []
            for port in ports:
                client = redis.Redis(
                    port=port, protocol=protocol, retry=None, single_connection_client=True, socket_timeout=60
                )
                client.response_callbacks.clear()
                clients.append(stack.enter_context(client))
            turns = itertools.cycle(clients)
            for name, on_one, lines in blocks():
                assert ask(next(turns), ["FLUSHALL"]) == b"OK"
                client = next(turns)
                for words, expected in lines:
                    client = client if on_one else next(turns)
                    check(name, words, ask(client, words), expected)

    await asyncio.to_thread(run)
