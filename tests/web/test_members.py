"""``/cluster``: looking at the members, changing them, through any node; every refusal as a problem."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from quorate.config import NodeConfig
from quorate.errors import RemovedFromCluster
from quorate.web.server import NodeServer

from .support import APP, StartCluster, client_of, free_ports


@pytest.fixture
async def joiner(tmp_path: Path) -> AsyncIterator[NodeServer]:
    """Node 4, which waits to be added."""
    async with AsyncExitStack() as stack:
        config = NodeConfig(node_id=4, port=free_ports(1)[0], data_dir=tmp_path / "4", join=True)
        server = NodeServer(config, APP)
        await server.start()
        stack.push_async_callback(server.stop)
        yield server


def new_member(server: NodeServer, **values: Any) -> dict[str, Any]:
    return {"node_id": server.config.node_id, "address": server.config.address, **values}


def follower_of(servers: list[NodeServer]) -> NodeServer:
    return next(server for server in servers if not server.node.is_leader)


async def member(client: httpx.AsyncClient, node_id: int) -> dict[str, Any]:
    answer = await client.get(f"/cluster/members/{node_id}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def until_role(client: httpx.AsyncClient, node_id: int, role: str) -> None:
    async with asyncio.timeout(10):
        while (await member(client, node_id))["role"] != role:  # noqa: ASYNC110 - nothing tells when it does
            await asyncio.sleep(0.02)


async def test_the_members_are_shown_with_the_configuration_as_etag(
    server: NodeServer, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/cluster/members")
    report = answer.json()
    assert answer.headers["etag"] == f'"{report["configuration_index"]}"'
    assert (report["joint"], report["committed"], report["leader"]) == (False, True, 1)
    assert "warning" not in report
    (only,) = report["members"]
    assert (only["node_id"], only["address"], only["role"]) == (1, server.config.address, "voter")
    assert (only["connected"], only["priority"], only["lag"]) == (True, 1, 0)
    assert (await client.get("/cluster/leader")).json() == {"leader": 1, "leader_address": server.config.address}


async def test_a_node_is_added_through_a_follower_and_becomes_a_voter(
    start_cluster: StartCluster, joiner: NodeServer
) -> None:
    servers = await start_cluster(3)
    async with client_of(follower_of(servers)) as client:
        etag = (await client.get("/cluster/members")).headers["etag"]
        added = await client.post("/cluster/members", json=new_member(joiner), headers={"if-match": etag})
        assert added.status_code == 201, added.text
        assert added.headers["location"] == "/cluster/members/4"
        assert added.headers["etag"] == f'"{added.json()["configuration_index"]}"'
        assert added.json()["configuration_index"] >= added.json()["changed_by"] > 0
        assert added.json()["warning"].startswith("4 voters survive one failure, no more than 3 do")
        await until_role(client, 4, "voter")
        late = await client.delete("/cluster/members/4", headers={"if-match": etag})
        assert (late.status_code, late.headers["content-type"]) == (412, "application/problem+json")
    status = joiner.node.status
    assert status.member_role == "voter"
    assert status.membership is not None
    assert [each.node_id for each in status.membership.members] == [1, 2, 3, 4]


async def test_a_learner_is_changed_promoted_demoted_and_removed(
    start_cluster: StartCluster, joiner: NodeServer
) -> None:
    servers = await start_cluster(3)
    async with client_of(follower_of(servers)) as client:
        added = await client.post("/cluster/members", json=new_member(joiner, role="learner", priority=0))
        assert added.status_code == 201
        assert "warning" not in added.json()
        assert (await member(client, 4))["role"] == "learner"
        assert (await client.patch("/cluster/members/4", json={"priority": 2})).status_code == 200
        assert (await member(client, 4))["priority"] == 2
        assert (await client.post("/cluster/members/4/promote")).status_code == 200
        await until_role(client, 4, "voter")
        assert (await client.post("/cluster/members/4/promote")).status_code == 422  # it is no learner any more
        assert (await client.post("/cluster/members/4/demote")).status_code == 200
        assert (await member(client, 4))["role"] == "learner"
        removed = await client.delete("/cluster/members/4")
        assert removed.status_code == 200
        assert [each["node_id"] for each in removed.json()["members"]] == [1, 2, 3]
        assert (await client.get("/cluster/members/4")).status_code == 404
    with pytest.raises(RemovedFromCluster):
        async with asyncio.timeout(10):
            await joiner.wait_stopped()


async def test_the_leader_is_removed_through_itself_and_answers(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3)
    leader = next(server for server in servers if server.node.is_leader)
    others = [server for server in servers if server is not leader]
    async with client_of(leader, timeout=10) as client:
        removed = await client.delete(f"/cluster/members/{leader.config.node_id}")
    assert removed.status_code == 200, removed.text
    async with client_of(others[0]) as client:
        report = (await client.get("/cluster/members")).json()
    assert [each["node_id"] for each in report["members"]] == [server.config.node_id for server in others]
    with pytest.raises(RemovedFromCluster):
        async with asyncio.timeout(10):
            await leader.wait_stopped()


async def test_the_leadership_is_transferred_to_whom_it_was_asked_for_or_to_the_fittest(
    start_cluster: StartCluster,
) -> None:
    servers = await start_cluster(3)
    target = follower_of(servers)
    async with client_of(target) as client:
        answer = await client.post("/cluster/leader", json={"node_id": target.config.node_id})
        assert answer.json() == {"leader": target.config.node_id, "leader_address": target.config.address}
        assert target.node.is_leader
        fittest = await client.post("/cluster/leader")
        while fittest.status_code == 409:  # a leader of a moment ago has not heard yet who is fit
            fittest = await client.post("/cluster/leader")
        assert fittest.status_code == 200
        assert fittest.json()["leader"] != target.config.node_id
        assert (await client.post("/cluster/leader", json={"node_id": 99})).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "members", b"{", {}, 400),
        ("POST", "members", b"{}", {}, 422),
        ("POST", "members", b'{"node_id": 2, "address": "127.0.0.1:1", "role": "king"}', {}, 422),
        ("POST", "members", b'{"node_id": 2, "address": "127.0.0.1:1", "colour": 1}', {}, 422),
        ("POST", "members", b'{"node_id": 0, "address": "127.0.0.1:1"}', {}, 422),
        ("POST", "members", b'{"node_id": "2", "address": "127.0.0.1:1"}', {}, 422),
        ("POST", "members", b'{"node_id": 2, "address": "nowhere"}', {}, 422),
        ("POST", "members", b'{"node_id": 1, "address": "127.0.0.1:1"}', {}, 422),
        ("POST", "members", b'{"node_id": 2, "address": "127.0.0.1:1", "priority": 101}', {}, 422),
        ("POST", "members", b"x" * 70_000, {}, 413),
        ("POST", "members", b"{}", {"content-type": "text/plain"}, 415),
        ("PATCH", "members/1", b"{}", {}, 422),
        ("PATCH", "members/9", b'{"priority": 1}', {}, 404),
        ("DELETE", "members/9", b"", {}, 404),
        ("DELETE", "members/1", b"", {}, 422),
        ("POST", "members/1/demote", b"", {}, 422),
        ("POST", "members/1/promote", b"", {}, 422),
        ("DELETE", "members/1", b"", {"if-match": "seventeen"}, 400),
        ("DELETE", "members/1", b"", {"if-match": '"999"'}, 412),
        ("POST", "leader", b'{"node_id": 7}', {}, 409),
        ("POST", "leader", b"", {}, 409),
        ("DELETE", "members", b"", {}, 405),
        ("GET", "members/x", b"", {}, 404),
    ],
)
async def test_what_cannot_be_is_a_problem_and_changes_nothing(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = (await client.get("/cluster/members")).json()
    headers = {"content-type": "application/json", **headers}
    answer = await client.request(method, f"/cluster/{path}", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert (await client.get("/cluster/members")).json() == before


async def test_without_a_quorum_nothing_is_changed(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(3, running=1)
    async with client_of(server, timeout=15) as client:
        answer = await client.delete("/cluster/members/3")
        assert (answer.status_code, answer.json()["outcome"]) == (503, "not_applied")
        assert len((await client.get("/cluster/members")).json()["members"]) == 3


async def test_the_description_covers_the_members(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/cluster/members"]) == {"get", "post"}
    assert set(paths["/cluster/members/{id}"]) == {"parameters", "get", "patch", "delete"}
    assert {"/cluster/leader", "/cluster/members/{id}/promote", "/cluster/members/{id}/demote"} <= set(paths)


async def test_the_status_tells_of_the_membership_and_the_log(client: httpx.AsyncClient) -> None:
    status = (await client.get("/status")).json()
    assert (status["member_role"], status["repairing"]) == ("voter", False)
    assert (status["log_first_index"], status["snapshot_index"]) == (1, 0)
    assert status["log_bytes"] > 0
    assert status["membership"]["members"][0]["node_id"] == 1
