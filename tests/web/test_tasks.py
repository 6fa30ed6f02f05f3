"""Tasks over HTTP on real nodes: each takes all requests, effects come about once, nobody has to wait at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from quorate import App, ConfigError, Model, field
from quorate.testing import TestCluster
from quorate.web.server import NodeServer
from quorate.web.site import Site

from .support import APP, StartCluster, client_of, until
from .test_watching import lines_until

V1 = "/api/v1"
TASK = {"type": "send", "payload": {"n": 1}}


async def lease(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post(f"{V1}/workers/w/claim", json={"wait": 20}, timeout=30)
    (leased,) = answer.json()["tasks"]
    return dict(leased)


async def test_every_node_takes_every_request_itself(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3)
    follower = next(server for server in servers if not server.node.is_leader)
    async with client_of(servers[0]) as first, client_of(follower, follow_redirects=False) as second:
        created = await second.post(f"{V1}/tasks", json=TASK | {"id": "a"})
        assert (created.status_code, created.json()) == (201, {"task_id": "a", "status": "ready"})
        assert created.headers["location"] == f"{V1}/tasks/a"
        leased = await lease(second)
        done = await second.post(f"{V1}/tasks/a/complete", json={"token": leased["token"], "result": 7})
        assert (done.status_code, done.json()) == (200, {"status": "succeeded"})
        assert (await first.get(f"{V1}/tasks/a")).json()["result"] == 7
        gone = await second.delete(f"{V1}/tasks/a")
        assert (gone.status_code, gone.headers["content-type"]) == (409, "application/problem+json")


async def test_refusals_are_problems(client: httpx.AsyncClient) -> None:
    await client.patch(f"{V1}/queues/mail", json={"pending_max": 1})
    await client.post(f"{V1}/tasks", json=TASK | {"queue": "mail"})
    full = await client.post(f"{V1}/tasks", json=TASK | {"queue": "mail"})
    assert (full.status_code, full.headers["retry-after"]) == (429, "1")
    large = await client.post(f"{V1}/tasks", json=TASK | {"payload": "x" * 70_000})
    for answer, status in (
        (full, 429),
        (large, 413),
        (await client.get(f"{V1}/tasks/nobody"), 404),
        (await client.get(f"{V1}/nothing"), 404),
        (await client.put(f"{V1}/tasks"), 405),
        (await client.post(f"{V1}/tasks", json={"type": "a b"}), 422),
        (await client.post(f"{V1}/tasks", content=b"{"), 415),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert (answer.json()["status"], bool(answer.json()["title"])) == (status, True)
    head = await client.head(f"{V1}/stats")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_payload_of_10_mib_goes_through_by_default(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server, timeout=30) as client:
        payload = "x" * ((10 << 20) - 2)
        created = await client.post(f"{V1}/tasks", json=TASK | {"id": "a", "payload": payload})
        assert created.status_code == 201
        assert (await client.get(f"{V1}/tasks/a")).json()["payload"] == payload
        larger = await client.post(f"{V1}/tasks", json=TASK | {"payload": payload + "x"})
        assert (larger.status_code, larger.json()["errors"][0]["field"]) == (413, "payload")


async def test_a_program_that_declares_tasks_takes_no_others(start_cluster: StartCluster) -> None:
    app = App(title="Mailer", queues=["spare"])

    @app.task(queue="mail", retries=5, timeout="30s")
    async def send(to: str, times: int = 1) -> None: ...

    (server,) = await start_cluster(1, apps=[app])
    async with client_of(server) as client:
        created = await client.post(f"{V1}/tasks", json={"type": "send", "payload": {"to": "ann"}})
        task = (await client.get(created.headers["location"])).json()
        assert (task["queue"], task["max_retries"], task["timeout_ms"]) == ("mail", 5, 30_000)
        spare = await client.post(f"{V1}/tasks", json={"type": "send", "queue": "spare", "payload": {"to": "b"}})
        assert spare.status_code == 201
        before = server.node.status.last_index
        for body, name in (
            ({"type": "other"}, "type"),
            ({"type": "send", "queue": "other", "payload": {"to": "ann"}}, "queue"),
            ({"type": "send", "payload": {}}, "payload"),
            ({"type": "send", "payload": {"to": 7}}, "payload"),
            ({"type": "send", "payload": {"to": "ann", "cc": "bob"}}, "payload"),
        ):
            refused = await client.post(f"{V1}/tasks", json=body)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, name)
        assert server.node.status.last_index == before


# -- effects ---------------------------------------------------------------------------------------------


@pytest.fixture
async def pair(start_cluster: StartCluster) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two nodes of three; the first leads."""
    servers = await start_cluster(3)
    leader = next(server for server in servers if server.node.is_leader)
    follower = next(server for server in servers if server is not leader)
    async with client_of(leader) as first, client_of(follower) as second:
        yield first, second


async def redis(server_port: int, *arguments: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server_port)
    writer.write(
        f"*{len(arguments)}\r\n".encode() + b"".join(b"$%d\r\n%b\r\n" % (len(a), a.encode()) for a in arguments)
    )
    head = await reader.readline()
    body = await reader.readline() if head.startswith(b"$") and head != b"$-1\r\n" else b""
    writer.close()
    return (body or head).strip()


def port_of(client: httpx.AsyncClient) -> int:
    return int(str(client.base_url).rpartition(":")[2].strip("/"))


async def test_a_task_ends_together_with_its_effects_once(pair: tuple[httpx.AsyncClient, httpx.AsyncClient]) -> None:
    first, second = pair
    created = await second.post(f"{V1}/tasks", json=TASK | {"id": "a", "exactly_once": True})
    assert created.status_code == 201
    leased = await lease(second)
    effects = {
        "models": [{"op": "create", "resource": "shelves", "body": {"name": "done"}}],
        "keys": [["SET", "last", "a"], ["incrby", "count", 2], ["INCRBYFLOAT", "sum", 0.5]],
    }
    body = {"token": leased["token"], "result": "ok", "effects": effects}
    for client in (second, first, second):  # the answer may have been lost
        answer = await client.post(f"{V1}/tasks/a/complete", json=body)
        assert (answer.status_code, answer.json()) == (200, {"status": "succeeded"})
    assert [shelf["name"] for shelf in (await first.get("/api/shelves")).json()] == ["done"]
    assert await redis(port_of(second), "GET", "count") == b"2"
    assert await redis(port_of(second), "GET", "last") == b"a"
    assert await redis(port_of(first), "GET", "sum") == b"0.5"
    assert (await first.get(f"{V1}/tasks/a")).json()["result"] == "ok"


@pytest.mark.parametrize(
    ("effects", "status", "field"),
    [
        ({"models": [{"op": "create", "resource": "shelves", "body": {"name": "taken"}}]}, 409, "name"),
        ({"keys": [["SET", "new", "1"], ["INCR", "text"]]}, 409, None),
        ({"keys": [["GET", "new"]]}, 422, "effects.keys"),
        ({"keys": [["SET", "new"]]}, 422, "effects.keys"),
        ({"keys": [[]]}, 422, "effects.keys"),
        ({"keys": [["NOSUCH", "new"]]}, 422, "effects.keys"),
        ({"keys": [["QUORATE.EXEC", "new"]]}, 422, "effects.keys"),
        ({"keys": [["FLUSHALL"]]}, 422, "effects.keys"),
        ({"keys": [["SET", "new", True]]}, 422, "keys[0][2]"),
        ({"models": [{"op": "create", "resource": "films", "body": {}}]}, 404, "resource"),
        ({"models": [{"op": "create", "resource": "shelves", "body": {"name": ""}}]}, 422, "name"),
        ({"models": []}, 422, "operations"),
        ({"files": []}, 422, ""),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
async def test_effects_that_are_refused_leave_the_task_as_it_was(
    server: NodeServer, client: httpx.AsyncClient, effects: dict[str, Any], status: int, field: str | None
) -> None:
    await client.post("/api/shelves", json={"name": "taken"})
    await redis(server.config.port, "SET", "text", "x")
    await client.post(f"{V1}/tasks", json=TASK | {"id": "a"})
    leased = await lease(client)
    before = server.node.status.last_index
    mixed = {"keys": [["SET", "new", "1"]], **effects}
    refused = await client.post(f"{V1}/tasks/a/complete", json={"token": leased["token"], "effects": mixed})
    assert refused.status_code == status, refused.text
    if field is not None:
        assert refused.json()["errors"][0]["field"] == field
    assert (server.node.status.last_index == before) == (status != 409)
    assert (await client.get(f"{V1}/tasks/a")).json()["status"] == "running"
    assert await redis(server.config.port, "GET", "new") == b"$-1"
    assert (await client.get("/api/shelves/count")).json() == {"count": 1}
    done = await client.post(f"{V1}/tasks/a/complete", json={"token": leased["token"]})
    assert done.status_code == 200


async def test_effects_under_a_lease_that_is_over_do_not_come_about(
    server: NodeServer, client: httpx.AsyncClient
) -> None:
    await client.post(f"{V1}/tasks", json=TASK | {"id": "a"})
    leased = await lease(client)
    await client.delete(f"{V1}/tasks/a", params={"force": "true"})
    effects = {
        "keys": [["SET", "new", "1"]],
        "models": [{"op": "create", "resource": "shelves", "body": {"name": "x"}}],
    }
    late = await client.post(f"{V1}/tasks/a/complete", json={"token": leased["token"], "effects": effects})
    assert (late.status_code, late.json()["errors"][0]["reason"]) == (409, "stale")
    assert await redis(server.config.port, "GET", "new") == b"$-1"
    assert (await client.get("/api/shelves/count")).json() == {"count": 0}


# -- who waits -------------------------------------------------------------------------------------------


async def test_the_stream_of_changes(server: NodeServer, client: httpx.AsyncClient) -> None:
    async with client.stream("GET", f"{V1}/tasks/_watch") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = answer.aiter_lines()
        assert await lines_until(lines, "id") == ["retry: 1000", "id: 0"]
        await client.post(f"{V1}/tasks", json=TASK | {"id": "a"})
        *named, data = await lines_until(lines, "data")
        assert named == ["", "id: 1", "event: ready"]
        assert json.loads(data.removeprefix("data: "))["task_id"] == "a"
    assert server._site is not None
    tasks = server._site._tasks
    assert tasks is not None
    await until(lambda: tasks.watching.count == 0)


@pytest.mark.parametrize("head", ["", "connection: close\r\n"], ids=["directly", "by ASGI"])
async def test_a_worker_that_dies_while_it_waits_takes_no_task(
    server: NodeServer, client: httpx.AsyncClient, head: str
) -> None:
    waiting = server.broker._dispatching._waiting
    _, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    lines = f"POST {V1}/workers/dead/claim HTTP/1.1\r\nhost: x\r\n{head}content-type: application/json\r\n"
    writer.write(f"{lines}content-length: 11\r\n\r\n".encode() + b'{"wait":30}')
    await until(lambda: len(waiting) == 1)
    writer.transport.abort()
    await until(lambda: not waiting)
    await client.post(f"{V1}/tasks", json=TASK | {"id": "a"})
    assert (await lease(client))["attempt"] == 1


async def test_a_node_that_stops_answers_who_waits_there(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server, timeout=30) as client:
        await client.post(f"{V1}/tasks", json=TASK | {"id": "a", "delay": 60})
        waiting = server.broker._dispatching._waiting
        reading = asyncio.ensure_future(client.get(f"{V1}/tasks/a", params={"wait": 60}))
        claiming = asyncio.ensure_future(client.post(f"{V1}/workers/w/claim", json={"wait": 30}))
        async with client.stream("GET", f"{V1}/tasks/_watch") as watching:
            await until(lambda: len(waiting) == 1)
            began = asyncio.get_running_loop().time()
            await server.stop()
            assert asyncio.get_running_loop().time() - began < 10
            assert (await reading).json()["status"] == "scheduled"
            assert (await claiming).json() == {"tasks": []}
            assert "id: " in (await watching.aread()).decode()


# -- nodes of one's own ----------------------------------------------------------------------------------


async def test_a_site_of_an_embedded_node_serves_its_tasks_below_its_prefix() -> None:
    app = App(title="Mailer")

    @app.task()
    async def send(n: int) -> int:
        return n

    async with TestCluster(3, app=app) as cluster:
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        api = FastAPI()
        api.mount("/jobs", Site.of(follower, prefix="/jobs"))
        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            created = await client.post("/jobs/v1/tasks", json=TASK)
            assert (created.status_code, created.headers["location"][:15]) == (201, "/jobs/v1/tasks/")
            assert (await client.get(created.headers["location"], params={"wait": 0.01})).json()["status"] == "ready"
            claimed = await client.post("/jobs/v1/workers/w/claim", json={"wait": 5})
            (leased,) = claimed.json()["tasks"]
            body = {"token": leased["token"], "effects": {"keys": [["SET", "a", "1"]]}}
            refused = await client.post(f"{created.headers['location']}/complete", json=body)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "effects.keys")


async def test_a_node_without_tasks_says_that_there_are_none() -> None:
    async with TestCluster(1, app=APP) as cluster:
        node = await cluster.wait_for_leader()
        transport = httpx.ASGITransport(app=Site.of(node))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            assert (await client.get(f"{V1}/stats")).status_code == 404
            assert f"{V1}/stats" not in (await client.get("/openapi.json")).json()["paths"]


async def test_a_model_cannot_be_where_the_tasks_are() -> None:
    class Version(Model, resource="v1"):
        id: int = field(primary_key=True)

    async with TestCluster(1, app=App(models=[Version]), tasks=True) as cluster:
        node = await cluster.wait_for_leader()
        with pytest.raises(ConfigError, match="v1"):
            Site.of(node)
