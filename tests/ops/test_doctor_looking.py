"""How the doctor gathers its evidence: two looks, longer while nobody leads, and why there is no answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from quorate.ops.doctor import looking
from quorate.ops.doctor.evidence import Obstacle
from quorate.ops.doctor.looking import look_at_cluster, look_at_directory
from quorate.ops.ports import free_ports

from .clinic import healthy, member

Answers = Callable[[str], tuple[int, dict[str, Any]]]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def handler(answer: Answers) -> Handler:
    """Serve what ``answer`` says of a path."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):  # who asked may have given up
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            status, document = answer(path)
            body = json.dumps(document).encode()
            head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(body))
            writer.write(head + body)
            await writer.drain()

    return handle


@asynccontextmanager
async def serving(answer: Answers) -> AsyncIterator[str]:
    """The address where that is served."""
    async with await asyncio.start_server(handler(answer), "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class FakeNode:
    """Follows nobody until it was asked for its status ``leaderless`` times; then it leads."""

    def __init__(self, leaderless: int = 0, **more: Any) -> None:
        self.asked: Counter[str] = Counter()
        self._leaderless = leaderless
        self._more = more

    def __call__(self, path: str) -> tuple[int, dict[str, Any]]:
        self.asked[path] += 1
        if path == "/health":
            return 503, {"detail": "no leader is known"}
        leads = self.asked[path] > self._leaderless
        role = {"role": "leader" if leads else "follower", "leader": 1 if leads else None}
        return 200, healthy(1) | role | self._more


async def test_a_node_is_asked_twice_and_then_for_its_health() -> None:
    node = FakeNode()
    async with serving(node) as address:
        evidence = await look_at_cluster([address], 0.01)
    assert node.asked == {"/status": 2, "/health": 1}
    assert (evidence.asked, len(evidence.before), len(evidence.looks)) == ((address,), 3, 3), "members are asked, too"
    assert evidence.answers[0].unhealthy == "no leader is known"
    assert evidence.seconds >= 0.01


async def test_an_election_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ELECTION_POLL_SECONDS", 0.0)
    node = FakeNode(leaderless=5)
    async with serving(node) as address:
        evidence = await look_at_cluster([address], 0.0)
    assert evidence.leader is not None
    assert node.asked["/status"] == 6


async def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ELECTION_POLL_SECONDS", 0.0)
    monkeypatch.setattr(looking, "ELECTION_SECONDS_MAX", 0.05)
    node = FakeNode(leaderless=10_000)
    async with serving(node) as address:
        evidence = await look_at_cluster([address], 0.0)
    assert evidence.leader is None
    assert node.asked["/status"] > 2


async def test_whoever_waits_to_be_added_elects_nobody() -> None:
    node = FakeNode(leaderless=10_000, membership={"configuration_index": 0, "members": []})
    async with serving(node) as address:
        await look_at_cluster([address], 0.0)
    assert node.asked["/status"] == 2


async def test_members_that_were_not_named_are_looked_at_but_one_under_two_addresses_only_once() -> None:
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(serving(FakeNode(node_id=2, address="b:2")))
        members = {"configuration_index": 1, "members": [member(1, address="a:1"), member(2, address=second)]}
        first = await stack.enter_async_context(serving(FakeNode(membership=members)))
        evidence = await look_at_cluster([first], 0.0)
    assert [look.address for look in evidence.before] == [first, second]


async def test_why_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ANSWER_SECONDS_MAX", 1.0)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")

    async with AsyncExitStack() as stack:
        servers = [await asyncio.start_server(each, "127.0.0.1", 0) for each in (say_nothing, hang_up)]
        for server in servers:
            await stack.enter_async_context(server)
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        addresses = [f"127.0.0.1:{port}" for port in (*ports, free_ports(1)[0])]
        evidence = await look_at_cluster([*addresses, "no..name:80"], 0.0)
    silent, hung_up, refused, unknown = evidence.looks
    assert [look.error for look in evidence.looks] == ["no answer", "no answer", "unreachable", "unreachable"]
    assert silent.round_trip >= 1.0
    assert hung_up.obstacle is silent.obstacle is None
    assert (refused.obstacle, unknown.obstacle) == (Obstacle.REFUSED, Obstacle.UNKNOWN_NAME)


async def test_nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*args: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(asyncio, "open_connection", connect)
    evidence = await look_at_cluster([f"127.0.0.1:{free_ports(1)[0]}"], 0.0)
    assert evidence.looks[0].obstacle is Obstacle.SILENT


async def test_a_node_that_came_up_meanwhile_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    address, node = f"127.0.0.1:{port}", FakeNode()
    async with AsyncExitStack() as stack:
        connect = asyncio.open_connection

        async def start_first(*args: Any) -> Any:
            monkeypatch.setattr(asyncio, "open_connection", connect)
            server = await asyncio.start_server(handler(node), "127.0.0.1", port)
            await stack.enter_async_context(server)
            return await connect(*args)

        monkeypatch.setattr(asyncio, "open_connection", start_first)
        evidence = await look_at_cluster([address], 0.0)
    assert [look.address for look in evidence.answers] == [address]


def test_a_directory_that_may_not_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert look_at_directory(tmp_path).problem == f"[Errno 13] Permission denied: '{tmp_path}'"
