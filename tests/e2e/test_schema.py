"""The app changes under a running cluster: its nodes are restarted one after the other, and writes go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient, RequestFailed

from .support import eventually, show_logs

HEAD = """
from quorate import App, Model, field
from quorate.models.migrations import AddField, RenameField

"""
FIRST = """
class Product(Model):
    id: int = field(primary_key=True)
    title: str = field(unique=True)

app = App(models=[Product])
"""
WIDER = """
class Product(Model):
    id: int = field(primary_key=True)
    title: str = field(unique=True)
    colour: str = field(default="red", indexed=True, audited=True)

class Review(Model):
    id: int = field(primary_key=True)
    product_id: int | None = field(default=None, foreign_key=Product)

app = App(models=[Product, Review])
"""
RENAMED = """
class Product(Model):
    id: int = field(primary_key=True)
    name: str = field(unique=True)
    colour: str = field(default="red", indexed=True, audited=True)
    slug: str

class Review(Model):
    id: int = field(primary_key=True)
    product_id: int | None = field(default=None, foreign_key=Product)

app = App(models=[Product, Review], migrations=[
    RenameField("Product", "title", "name"),
    AddField("Product", "slug", value=lambda product: product["name"].lower()),
])
"""


class Writer:
    """Creates products one after the other, at any node, by the form that it finds in force."""

    def __init__(self, cluster: LocalCluster, client: HttpClient) -> None:
        self._cluster = cluster
        self._client = client
        self.acknowledged: dict[int, str] = {}

    async def run(self) -> None:
        for number in count(1):
            nodes = list(self._cluster.nodes.values())
            node = nodes[number % len(nodes)]
            if not node.is_running:
                node = nodes[(number + 1) % len(nodes)]
            name = f"Tree-{number}"
            for body in ({"id": number, "title": name}, {"id": number, "name": name, "slug": name.lower()}):
                with suppress(RequestFailed):
                    answer = await self._client.post(f"{node.url}/api/products", body)
                    if answer.status == 201:
                        self.acknowledged[number] = name
                    if answer.status != 422:
                        break
            await asyncio.sleep(0.005)


@asynccontextmanager
async def writing(cluster: LocalCluster, client: HttpClient) -> AsyncIterator[Writer]:
    writer = Writer(cluster, client)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Rollout:
    """A cluster that serves the app in a directory, and is given new versions of it."""

    def __init__(self, directory: Path, client: HttpClient) -> None:
        self._app = directory / "app"
        self._app.mkdir()
        self.declare(FIRST)
        self.client = client
        self.cluster = LocalCluster(directory, free_ports(3), app="trees:app", cwd=self._app)

    def declare(self, text: str) -> None:
        (self._app / "trees.py").write_text(HEAD + text)

    async def schemas(self) -> list[dict[str, Any]]:
        return [report["schema"] for report in await self.cluster.statuses()]

    async def roll(self, text: str, writer: Writer) -> None:
        """Restart every node with this version, the leader last. Writes must succeed behind each restart."""
        self.declare(text)
        leader = await self.cluster.leader()
        nodes = [node for node in self.cluster.nodes.values() if node is not leader]
        for node in (*nodes, leader):
            await self.restart(node)
            served = len(writer.acknowledged) + 20

            async def has_served(served: int = served) -> bool:
                self.cluster.check_running()
                return len(writer.acknowledged) >= served

            await eventually(has_served, 30)

        async def is_in_force() -> bool:
            return all(schema["matches"] for schema in await self.schemas())

        await eventually(is_in_force)

    async def restart(self, node: LocalNode) -> None:
        node.terminate()
        await node.wait_ended(20)
        node.start()

        async def is_ready() -> bool:
            node.check_running()
            with suppress(RequestFailed):
                return (await self.client.get(f"{node.url}/health")).status == 200
            return False

        await eventually(is_ready, 30)

    async def products(self, node: LocalNode) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = await self.client.get(f"{node.url}/api/products?limit=1000&offset={len(found)}&consistency=strong")
            assert answer.status == 200, answer.text
            page = answer.json()
            found += page
            if len(page) < 1000:
                return found


@pytest.fixture
async def rollout(tmp_path: Path, http: HttpClient) -> AsyncIterator[Rollout]:
    rollout = Rollout(tmp_path, http)
    try:
        async with rollout.cluster:
            await rollout.cluster.wait_formed()
            yield rollout
    finally:
        show_logs(rollout.cluster)


async def test_fields_models_and_migrations_come_by_restarting_one_node_after_the_other(rollout: Rollout) -> None:
    """No acknowledged write is lost, writes go on behind each restart, and all nodes agree in the end."""
    async with writing(rollout.cluster, rollout.client) as writer:
        await rollout.roll(WIDER, writer)
        assert {schema["version"] for schema in await rollout.schemas()} == {0}
        await rollout.roll(RENAMED, writer)
        assert {schema["cluster_version"] for schema in await rollout.schemas()} == {2}
    await rollout.cluster.wait_caught_up()
    found = [await rollout.products(node) for node in rollout.cluster.nodes.values()]
    assert found[0] == found[1] == found[2]
    stored = {product["id"]: product for product in found[0]}
    for number, name in writer.acknowledged.items():
        assert stored[number] == {"id": number, "name": name, "colour": "red", "slug": name.lower()}


async def test_a_node_that_waits_sends_requests_to_one_that_serves(rollout: Rollout) -> None:
    leader = await rollout.cluster.leader()
    node = next(node for node in rollout.cluster.nodes.values() if node is not leader)
    rollout.declare(WIDER)
    await rollout.restart(node)
    created = await rollout.client.post(f"{node.url}/api/products", {"id": 1, "title": "Oak"})
    assert created.status == 201, created.text
    found = await rollout.client.get(f"{node.url}/api/products/1")
    assert found.json() == {"id": 1, "title": "Oak"}
    (schema,) = [each for each in await rollout.schemas() if each["fingerprint"] != each["cluster_fingerprint"]]
    assert not schema["matches"]
