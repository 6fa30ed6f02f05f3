"""The models' API in a server of one's own, and models in Python where ``quorate node`` runs the app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from quorate import App, ConfigError, Model, NodeStopped, event, field
from quorate.testing import TestCluster
from quorate.web.server import NodeServer
from quorate.web.site import Site

from .support import APP


class Note(Model):
    id: UUID = field(primary_key=True)
    text: str = field(min_length=1)

    @event
    def extended(self, text: str) -> None:
        self.text += text


notes = App(models=[Note])


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, app=notes) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.mark.parametrize("prefix", ["/api", "/shop/v1"])
async def test_a_site_is_mounted_below_any_path(cluster: TestCluster, prefix: str) -> None:
    leader = await cluster.wait_for_leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    api = FastAPI()
    api.mount(prefix, Site.of(follower, prefix=prefix))
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        created = await client.post(f"{prefix}/notes", json={"text": "a"})
        assert created.status_code == 201, created.text
        path = created.headers["location"]
        assert path.startswith(f"{prefix}/notes/")
        extended = await client.post(f"{path}/extended", json={"text": "b"})
        assert (extended.status_code, extended.json()["text"]) == (200, "ab")
        operations = [{"op": "delete", "resource": "notes", "id": created.json()["id"], "version": 1}]
        refused = await client.post(f"{prefix}/_transaction", json={"operations": operations})
        assert (refused.status_code, refused.json()["errors"][0]["operation"]) == (412, 0)
        assert (await client.get(f"{prefix}/nothings")).status_code == 404


async def test_clients_are_not_sent_to_where_only_peers_are(cluster: TestCluster) -> None:
    await cluster.wait_for_leader()
    site = Site.of(cluster.node(1))
    cluster.partition_network({1})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=site), base_url="http://here") as client:  # type: ignore[arg-type]
        answer = await client.post("/api/notes", json={"text": "a"}, timeout=30)
    assert answer.status_code in (503, 504)
    assert "location" not in answer.headers


async def test_a_node_without_an_app_has_no_site() -> None:
    async with TestCluster(1, kv=True) as cluster:
        with pytest.raises(ConfigError, match="has no models"):
            Site.of(cluster.node(1))


async def test_what_quorate_node_runs_is_there_for_the_program(server: NodeServer) -> None:
    """A1.21: the app's code in the node's process asks that node."""
    model = APP.models[0]
    count = await model.filter().count()
    assert await model.filter().limit(10) == []
    assert count == 0
    await server.stop()
    with pytest.raises(NodeStopped):
        await model.filter().count()
