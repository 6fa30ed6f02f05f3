"""The example of users and messages, on three nodes, with its statistics (A2.7-A2.12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient

from .support import eventually, show_logs

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    arguments = ("--forward-writes", "--statistics-seconds", "0.2")
    cluster = LocalCluster(tmp_path, free_ports(3), app="examples.chat:app", cwd=ROOT, arguments=arguments)
    try:
        async with cluster:
            await cluster.wait_formed()
            yield cluster
    finally:
        show_logs(cluster)


async def create(http: HttpClient, node: LocalNode, resource: str, **values: object) -> str:
    answer = await http.post(f"{node.url}/api/{resource}", values)
    assert answer.status == 201, answer.text
    return str(answer.json()["id"])


async def test_each_node_counts_what_was_created_there_and_what_there_is(chat: LocalCluster, http: HttpClient) -> None:
    """A2.7 users and messages."""
    nodes = list(chat.nodes.values())
    for number in range(6):  # two users and one message each, at every node
        node = nodes[number % 3]
        user = await create(http, node, "users", name=f"user {number}", email=f"{number}@example.org")
        if number < 3:
            await create(http, node, "messages", user_id=user, text="hello")
    await chat.wait_caught_up()
    leader = await chat.leader()
    for node in nodes:
        counted = (await http.get(f"{node.url}/status")).json()["statistics"]
        assert counted["users_created"] == 2  # A2.9
        assert counted["messages_created"] == 1  # A2.10
        if node is leader:
            assert counted["replications_sent"] >= 2 * 9  # A2.12
        else:
            assert counted["replications_received"] >= 9  # A2.11
    for node in nodes:  # A2.8 the block
        block = [f"=== Node {node.node_id} Statistics ===", "Users: 2 local, 6 total", "Messages: 1 local, 3 total"]

        async def is_told(node: LocalNode = node, block: list[str] = block) -> bool:
            lines = node.log_path.read_text().splitlines()
            starts = [at for at, line in enumerate(lines) if line == block[0]]
            return any(lines[at : at + 3] == block and lines[at + 4 : at + 5] == ["=" * 30] for at in starts)

        await eventually(is_told)
    await the_rules_hold(chat, http)
    node = next(node for node in nodes if node is not leader)
    node.terminate()
    assert await node.wait_ended(10) == 0
    node.start()
    await chat.wait_formed()
    counted = (await http.get(f"{node.url}/status")).json()["statistics"]
    assert counted["users_created"] >= 2, "what was created before the restart is counted, too"


async def the_rules_hold(chat: LocalCluster, http: HttpClient) -> None:
    """Of users and messages."""
    first, second, _ = chat.nodes.values()
    user = await create(http, first, "users", name="ann", email="ann@example.org")
    again = await http.post(f"{second.url}/api/users", {"name": "ann", "email": "other@example.org"})
    assert again.status == 409
    ghost = {"user_id": "018bcfe5-6800-7000-8000-000000000000", "text": "boo"}
    assert (await http.post(f"{second.url}/api/messages", ghost)).status == 409
    assert (await http.post(f"{second.url}/api/users", {"name": "bob", "email": "nowhere"})).status == 422
    await create(http, second, "messages", user_id=user, text="hello")
