"""What several end-to-end tests do."""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quorate.cli.main import COMMANDS, main
from quorate.ops.checker import Verdict, judge
from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.shop_client import read_products
from quorate.rest.http_client import HttpClient

StartCluster = Callable[..., Awaitable[LocalCluster]]

LOG_LINES_SHOWN = 40


def show_logs(cluster: LocalCluster) -> None:
    """Print the end of every node's log; pytest shows it if the test failed."""
    for node in cluster.nodes.values():
        lines = node.log_path.read_text(errors="replace").splitlines() if node.log_path.exists() else []
        print(f"--- {node.log_path}", *lines[-LOG_LINES_SHOWN:], sep="\n")


async def leader_and_followers(cluster: LocalCluster) -> tuple[LocalNode, list[LocalNode]]:
    """Who leads, and who does not."""
    leader = await cluster.leader()
    return leader, [node for node in cluster.nodes.values() if node is not leader]


async def verdict_on(cluster: LocalCluster, client: HttpClient, history: History) -> Verdict:
    """Wait until every node has everything, then compare all rows with what clients were told."""
    await cluster.wait_caught_up()
    rows = {
        node.node_id: await read_products(client, node.url, consistency="eventually") for node in cluster.nodes.values()
    }
    verdict = judge(history, rows)
    assert verdict.acknowledged > 0, "a run in which nothing succeeded shows nothing"
    return verdict


async def create_product(client: HttpClient, node: LocalNode, name: str, **values: Any) -> dict[str, Any]:
    """Create a product through ``node``; the stored object."""
    created = await client.post(f"{node.url}/api/products", {"name": name, "price": "1.00", **values})
    assert created.status == 201, created.text
    stored: dict[str, Any] = created.json()
    return stored


class HeldRequest:
    """A request that is sent to a paused node and answered when that goes on."""

    def __init__(self, node: LocalNode, *, warm: bool) -> None:
        """With ``warm`` the node knows the connection before it is paused."""
        self._connection = http.client.HTTPConnection(HOST, node.port, timeout=20)
        if warm:
            self._connection.request("GET", "/status")
            self._connection.getresponse().read()

    def send(self, method: str, path: str, document: Any = None) -> None:
        """Returns when the request is in the node's socket."""
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body, {"content-type": "application/json"})

    async def answer(self) -> tuple[int, Any]:
        """The status and the decoded body."""
        return await asyncio.to_thread(self._answer)

    def _answer(self) -> tuple[int, Any]:
        response = self._connection.getresponse()
        body = json.loads(response.read())
        self._connection.close()
        return response.status, body


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["quorate.cli.main", *COMMANDS.values()])


def quorate(*arguments: str, cwd: Path | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own, which is forked from one that has imported everything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
    with TemporaryDirectory() as directory:
        out, err = Path(directory) / "out", Path(directory) / "err"
        process = FORKS.Process(target=_command, args=(arguments, cwd or Path.cwd(), environment, out, err))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read_text(), err.read_text())


def _command(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: Path, err: Path) -> None:
    """What ``python -m quorate`` does."""
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(cwd)
    sys.path.insert(0, str(cwd))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["quorate", *arguments]
    main()


async def kill_all_and_start_again(cluster: LocalCluster) -> None:
    """``kill -9`` of every node at once; returns when all serve again."""
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        await node.wait_ended(5)
    for node in cluster.nodes.values():
        node.start()
    await cluster.wait_formed()


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)
