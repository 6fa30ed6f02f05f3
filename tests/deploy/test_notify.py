"""What a node tells the service manager: it is ready when it could serve a strong read, and not before."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from quorate.node.node import Node
from quorate.notify import ServiceManager, in_words, keep_told
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.ports import free_ports

ROOT = Path(__file__).parents[2]
ABSTRACT = f"@quorate-test-{os.getpid()}"


class FakeManager:
    """A socket as systemd has one, and what was told to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self.told: list[str] = []

    def hear(self) -> list[str]:
        """All lines so far."""
        try:
            while True:
                self.told += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return self.told

    async def until(self, line: str) -> None:
        """Return once that was told."""
        async with asyncio.timeout(20):
            while line not in self.hear():  # noqa: ASYNC110 - what comes by a socket that is not waited for
                await asyncio.sleep(0.02)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeManager]:
    """Both kinds of sockets that there are."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux'")
    fake = FakeManager(ABSTRACT if request.param == "abstract" else str(tmp_path / "notify"))
    yield fake
    fake.close()


def test_lines_go_out_as_one_message(manager: FakeManager) -> None:
    ServiceManager({"NOTIFY_SOCKET": manager.name}).tell("READY=1", "STATUS=leads")
    assert manager.hear() == ["READY=1", "STATUS=leads"]


def test_without_a_socket_nothing_is_told() -> None:
    alone = ServiceManager({})
    alone.tell("READY=1")
    assert not alone.listens


def test_a_manager_that_is_gone_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with caplog.at_level(logging.WARNING):
        gone.tell("READY=1")
        gone.tell("READY=1")
        assert not ServiceManager({"NOTIFY_SOCKET": "vsock:2:1234"}).listens
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "cannot tell the service manager",
        "NOTIFY_SOCKET is vsock",
    ]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often_a_sign_of_life_is_expected(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(environment).watchdog_seconds == seconds


class FakeNode:
    """As much of a node as is looked at."""

    node_id = 1
    is_draining = is_leader = is_witness = False
    leader: int | None = None

    async def read_barrier(self, *, timeout: float) -> None:
        """It has caught up."""


def test_what_a_node_does_in_words() -> None:
    fake = FakeNode()
    node = cast("Node", fake)
    assert in_words(node, False) == "waits for the others: there is no leader yet"
    assert in_words(node, True) == "has lost the leader"
    fake.leader = 2
    assert in_words(node, False) == "catches up with node 2"
    assert in_words(node, True) == "follows node 2"
    fake.is_leader = True
    assert in_words(node, True) == "leads"
    fake.is_draining = True
    assert in_words(node, True) == "stopping"


async def test_the_watchdog_is_told_again_and_again_and_a_witness_is_ready_with_its_leader(
    manager: FakeManager,
) -> None:
    fake = FakeNode()
    fake.is_witness = True
    environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "60000"}
    telling = asyncio.create_task(keep_told(cast("Node", fake), ServiceManager(environment)))
    async with asyncio.timeout(10):
        while manager.hear().count("WATCHDOG=1") < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        assert "READY=1" not in manager.told
        fake.leader = 2
        await manager.until("STATUS=follows node 2")
    assert manager.told.count("READY=1") == 1
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


@pytest.mark.e2e
async def test_the_first_of_three_nodes_is_ready_when_the_second_is_and_says_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so it is with the image's health check."""
    ports = free_ports(3)
    peers = ",".join(f"{at}@{HOST}:{port}" for at, port in enumerate(ports, 1))  # of all, itself among them
    nodes = [LocalNode(at, port, tmp_path / f"node{at}", ["--peers", peers]) for at, port in enumerate(ports[:2], 1)]
    managers = [FakeManager(str(tmp_path / f"notify{at}")) for at in (1, 2)]
    try:
        assert await healthy(ports[0]) is False
        monkeypatch.setenv("NOTIFY_SOCKET", managers[0].name)
        nodes[0].start()
        await managers[0].until("STATUS=waits for the others: there is no leader yet")
        assert await healthy(ports[0]) is False
        assert "READY=1" not in managers[0].hear()
        monkeypatch.setenv("NOTIFY_SOCKET", managers[1].name)
        nodes[1].start()
        for each in managers:
            await each.until("READY=1")
        assert await healthy(ports[0]) is True
        nodes[0].terminate()
        await managers[0].until("STOPPING=1")
        assert await nodes[0].wait_ended(20) == 0
    finally:
        for node in nodes:
            node.kill_and_reap()
        for each in managers:
            each.close()


async def healthy(port: int) -> bool:
    """What the command of the Dockerfile's ``HEALTHCHECK`` finds."""
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])$", (ROOT / "deploy" / "Dockerfile").read_text(), re.DOTALL | re.M)
    assert found is not None
    _, *arguments = json.loads(found[1])
    environment = {**os.environ, "QUORATE_PORT": str(port)}
    command = [sys.executable, *arguments]
    ended = await asyncio.to_thread(subprocess.run, command, env=environment, stderr=subprocess.DEVNULL, timeout=30)
    return ended.returncode == 0
