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


def site_client(site: Site) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=site), base_url="http://here", timeout=30)  # type: ignore[arg-type]


def lettered(*, later: bool) -> App:
    """The later version has another field in front, and the secret where the text was."""

    class Letter(Model):
        id: int = field(primary_key=True)
        if later:
            stamp: str = ""
            secret: str = field(default="", expose=False)
            text: str = ""
        else:
            text: str = ""
            secret: str = field(default="", expose=False)

    return App(models=[Letter])


async def test_a_node_that_waits_for_its_app_serves_nothing_where_it_cannot_send_clients_elsewhere() -> None:
    """Its tables are not those of its models: to be read by them, hidden fields would stand where others do."""
    async with TestCluster(3, app=lettered(later=False)) as cluster:
        leader = await cluster.wait_for_leader()
        behind = next(node.node_id for node in cluster.nodes if node is not leader)
        async with site_client(Site.of(leader)) as client:
            created = await client.post("/api/letters", json={"id": 1, "text": "dear", "secret": "hush"})
            assert created.status_code == 201, created.text
        await cluster.stop(behind)
        cluster._app = lettered(later=True)
        node = await cluster.start(behind)
        await cluster.wait_until(lambda: node.leader is not None and node.applied_index >= leader.applied_index)
        async with site_client(Site.of(node)) as client:
            for method, path in (("GET", "letters"), ("GET", "letters/1"), ("POST", "letters"), ("GET", "_events")):
                answer = await client.request(method, f"/api/{path}", json={"id": 2} if method == "POST" else None)
                assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text
                assert "hush" not in answer.text
            for other in [other.node_id for other in cluster.nodes if other is not node]:
                await cluster.stop(other)
                await cluster.start(other)
            await cluster.wait_until(lambda: node.models is not None and node.models.declarations.are_served)
            assert (await client.get("/api/letters/1")).json() == {"id": 1, "stamp": "", "text": "dear"}
