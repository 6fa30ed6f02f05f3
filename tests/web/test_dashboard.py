"""``/dashboard``: its files, its live reports, its keys, and who may ask for them from where."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis.asyncio

from quorate.web.dashboard import live
from quorate.web.dashboard.files import DIRECTORY
from quorate.web.dashboard.live import Live
from quorate.web.dashboard.others import OTHERS_MAX, REPORT_BYTES_MAX, NoReports, Others, Reports
from quorate.web.server import NodeServer

from .support import StartCluster, client_of

TOKEN = "a-token-of-24-characters"


async def reports(client: httpx.AsyncClient, path: str = "/dashboard/live", **options: Any) -> AsyncIterator[Any]:
    """Those of the node, and those of others with ``type`` ``other``."""
    async with client.stream("GET", path, timeout=10, **options) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        kind = None
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            if line.startswith("data: "):
                yield {**json.loads(line.removeprefix("data: ")), "type": kind}
                kind = None


def _live_of(server: NodeServer) -> Live:
    site: Any = server._site
    found: Live = site._dashboard._live
    return found


async def test_the_page_and_all_that_it_names_are_served_with_a_strict_policy(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"].split() == ["'self'", f"http://{client.base_url.netloc.decode()}"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    for name in re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page.text):
        file = await client.get(f"/{name}")
        assert file.status_code == 200, name
        again = await client.get(f"/{name}", headers={"if-none-match": file.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.head("/dashboard")).headers["content-length"] == page.headers["content-length"]
    assert (await client.get("/dashboard/")).headers["location"] == "../dashboard"


def test_every_module_that_one_imports_is_there_and_none_puts_data_into_markup() -> None:
    modules = list(DIRECTORY.glob("*.js"))
    assert len(modules) > 5
    for module in modules:
        text = module.read_text()
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert (DIRECTORY / name).is_file(), f"{module.name} imports {name}"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), module.name
        assert not re.search(r"https?://(?!www\.w3\.org)[a-z]", text.replace("http://${", "")), module.name


async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    for path in (
        "none",
        "static/none.js",
        "static/index.html",
        "static/../pages.py",
        "site/dashboard/about",
        "keys/two",
    ):
        answer = await client.get(f"/dashboard/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
    refused = await client.post("/dashboard/about")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert (await client.get("/dashboard/live?after=x")).status_code == 422


async def test_reports_come_every_second_with_what_happened_since_each_event_once(
    start_cluster: StartCluster,
) -> None:
    servers = await start_cluster(3)
    leader = next(server for server in servers if server.node.is_leader)
    async with client_of(leader) as client:
        stream = reports(client)
        first, second = await anext(stream), await anext(stream)
        assert (first["node_id"], first["role"], first["leader"]) == (
            leader.node.node_id,
            "leader",
            leader.node.node_id,
        )
        assert len(first["membership"]["members"]) == 3
        assert first["elections"]["won"] == 1
        assert first["process"]["resident_bytes"] > 0
        assert set(first["lag_seconds"]) == {str(each.node.node_id) for each in servers if each is not leader}
        kinds = [event["kind"] for event in first["events"]]
        assert "leader_elected" in kinds
        numbers = [event["number"] for event in first["events"]]
        assert all(event["number"] > numbers[-1] for event in second["events"])
        async for late in reports(client, f"/dashboard/live?after={numbers[-1]}"):
            assert all(event["number"] > numbers[-1] for event in late["events"])
            break
        await stream.aclose()  # type: ignore[attr-defined]


async def test_who_comes_back_to_a_node_that_was_started_again_hears_all_of_it(client: httpx.AsyncClient) -> None:
    stream = reports(client, "/dashboard/live?after=1000000")
    assert "leader_elected" in [event["kind"] for event in (await anext(stream))["events"]]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_there_are_no_more_streams_than_so_many_and_nothing_is_measured_for_nobody(
    server: NodeServer, client: httpx.AsyncClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr(live, "WATCHERS_MAX", 1)
    stream = reports(client)
    await anext(stream)
    refused = await client.get("/dashboard/live")
    assert refused.status_code == 503
    await stream.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while _live_of(server)._making is not None:  # noqa: ASYNC110 - nothing tells when the client is gone
            await asyncio.sleep(0.01)
    async for report in reports(client):
        assert report["node_id"] == 1
        break


async def test_a_node_tells_what_others_say_to_who_cannot_ask_them(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3)
    async with client_of(servers[0]) as client:
        stream = reports(client, "/dashboard/live?of=1,2,3,9")
        heard: dict[int, list[Any]] = {1: [], 2: [], 3: []}
        while not all(len(each) > 1 for each in heard.values()):
            report = await anext(stream)
            assert report["type"] == (None if report["node_id"] == 1 else "other")
            heard[report["node_id"]].append(report)
        for told in heard.values():
            numbers = [event["number"] for report in told for event in report["events"]]
            assert numbers == sorted(set(numbers)), "each event once"
            assert "leader_elected" in [event["kind"] for event in told[0]["events"]]
        late = reports(client, "/dashboard/live?of=2")
        while (report := await anext(late))["node_id"] != 2:
            pass
        assert report["events"], "who comes later is told of what happened before"
        await late.aclose()  # type: ignore[attr-defined]

        await servers[1].stop()
        others = _live_of(servers[0])._others
        async with asyncio.timeout(10):
            while others._followed[2][0].report is not None:
                await anext(stream)
        again = reports(client, "/dashboard/live?of=2,3")
        assert {(await anext(again))["node_id"] for _ in range(4)} == {1, 3}, "nobody is told what it said last"
        for each in (stream, again):
            await each.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            while others._followed:  # noqa: ASYNC110 - nothing tells when the client is gone
                await asyncio.sleep(0.01)
        assert not others._wanted


async def test_only_so_many_nodes_can_be_asked_for_and_by_their_ids(client: httpx.AsyncClient) -> None:
    many = ",".join(str(number) for number in range(1, 66))
    for wrong in ("x", ",", "1,,2", "0", "-1", "1000000000", "2,2", many):
        answer = await client.get("/dashboard/live", params={"of": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "of"), wrong


async def test_no_more_than_so_many_ids_are_looked_out_for_that_no_member_has(server: NodeServer) -> None:
    others = Others(server.node, lambda: None)
    assert len(others.want(range(100, 100 + OTHERS_MAX))) == OTHERS_MAX
    assert list(others.want([1000, 100])) == [100]
    others.leave([100])
    others.leave(range(100, 100 + OTHERS_MAX))
    assert list(others.want([1000])) == [1000]
    others.leave([1000])


def test_what_is_no_stream_of_reports_is_not_taken_for_one() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    parts = (head[:20], head[20:] + b"retry: 1\n\nid: 1\nda", b'ta: {"node_id":', b"7}\n", b"\nid: 2\n")
    stream = Reports()
    assert [report for part in parts for report in stream.feed(part)] == [{"node_id": 7}]
    for wrong in (
        b"\x00\x01",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        head + b"data: [1]\n\n",
        head + b"data: {\n\n",
        head + b"x" * (REPORT_BYTES_MAX + 1),
    ):
        with pytest.raises(NoReports):
            Reports().feed(wrong)


async def test_a_node_that_stops_ends_its_streams(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server) as client:
        stream = reports(client)
        await anext(stream)
        stopping = asyncio.create_task(server.stop())
        async with asyncio.timeout(10):
            async for _ in stream:
                pass
            await stopping


async def test_pages_of_members_may_ask_and_read_from_elsewhere_and_no_others(start_cluster: StartCluster) -> None:
    servers = await start_cluster(2)
    asked, other = (server.config.address for server in servers)
    async with client_of(servers[0]) as client:
        port = other.rpartition(":")[2]
        for origin, host in ((f"http://{other}", asked), (f"http://localhost:{port}", "localhost:1")):
            for path in (
                "/dashboard/about",
                "/dashboard/site/status",
                "/dashboard/site/api/shelves?consistency=eventually",
            ):
                answer = await client.get(path, headers={"origin": origin, "host": host})
                assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin), path
                assert "origin" in answer.headers["vary"]
            preflight = await client.options("/dashboard/site/cluster/leader", headers={"origin": origin, "host": host})
            assert preflight.status_code == 204
            assert "authorization" in preflight.headers["access-control-allow-headers"]
        for origin in ("http://evil.example", f"http://evil.example:{port}", f"http://localhost:{port}"):
            for method in ("GET", "OPTIONS"):
                answer = await client.request(method, "/dashboard/about", headers={"origin": origin, "host": asked})
                assert not any(name.startswith("access-control") for name in answer.headers)
        stream = reports(client, headers={"origin": f"http://{other}"})
        assert (await anext(stream))["node_id"] == 1
        await stream.aclose()  # type: ignore[attr-defined]


async def test_what_there_is_to_look_at(client: httpx.AsyncClient) -> None:
    about = (await client.get("/dashboard/about")).json()
    assert (about["title"], about["tasks"], about["admin_token"]) == ("Library", "/api/v1", False)
    (shelf, book) = about["models"]
    assert (shelf["resource"], shelf["key"], book["fields"][0]) == ("shelves", "id", "id")
    assert list(shelf["operators"]) == shelf["fields"]
    assert {"eq", "contains"} <= set(shelf["operators"]["name"])


async def test_keys_are_shown_in_pages_and_values_from_their_beginning(
    server: NodeServer, client: httpx.AsyncClient
) -> None:
    host, _, port = server.config.address.rpartition(":")
    async with redis.asyncio.Redis(host=host, port=int(port)) as keys:
        await keys.mset({f"user:{number}": f"Ann {number}" for number in range(120)})
        await keys.set(b"\xff\x00<b>", b"x" * 5000, ex=100)
        await keys.rpush("list", *range(150))
        await keys.hset("hash", mapping={"a": "1"})
        await keys.zadd("ranks", {"m": 1.5})
        await keys.sadd("tags", "one")
    found, after, pages = [], "0", 0
    while after:
        page = (await client.get("/dashboard/keys", params={"match": "user:*", "limit": "50", "after": after})).json()
        found += [entry["key"] for entry in page["keys"]]
        after, pages = page["next"], pages + 1
    assert sorted(found) == sorted(f"user:{number}" for number in range(120))
    assert pages > 2
    assert page["count"] == 125

    async def one(key: bytes) -> Any:
        return (await client.get("/dashboard/keys/one", params={"id": urlsafe_b64encode(key).decode()})).json()

    binary = await one(b"\xff\x00<b>")
    assert (binary["key"], binary["type"], binary["size"]) == ("\\xff\\x00<b>", "string", 5000)
    assert 90 < binary["ttl_seconds"] <= 100
    assert len(binary["rows"][0][0]) < 2100
    numbers = await one(b"list")
    assert (numbers["columns"], numbers["rows"][1], numbers["more"]) == (["index", "element"], ["1", "1"], 50)
    assert (await one(b"hash"))["rows"] == [["a", "1"]]
    assert (await one(b"ranks"))["rows"] == [["1.5", "m"]]
    assert (await one(b"tags"))["rows"] == [["one"]]
    assert (await one(b"none"))["status"] == 404
    for wrong in ("/dashboard/keys?limit=0", "/dashboard/keys?like=x", "/dashboard/keys/one?id=%00"):
        assert (await client.get(wrong)).status_code == 422, wrong


async def test_keys_with_a_password_are_shown_to_who_has_the_admin_right(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, kv_password="secret", admin_token=TOKEN)
    async with client_of(server) as client:
        assert (await client.get("/dashboard/keys")).status_code == 401
        assert (await client.get("/dashboard/keys/one?id=YQ==")).status_code == 401
        shown = await client.get("/dashboard/keys", headers={"authorization": f"Bearer {TOKEN}"})
        assert shown.json()["keys"] == []
        assert (await client.get("/dashboard/about")).json()["keys_are_secret"] is True


async def test_keys_with_a_password_are_shown_to_nobody_where_there_is_no_admin_right(
    start_cluster: StartCluster,
) -> None:
    (server,) = await start_cluster(1, kv_password="secret")
    async with client_of(server) as client:
        refused = await client.get("/dashboard/keys")
        assert refused.status_code == 404
        assert "admin token" in refused.json()["detail"]


async def test_a_snapshot_that_is_asked_for_cuts_the_log(server: NodeServer, client: httpx.AsyncClient) -> None:
    for number in range(20):
        await client.post("/api/shelves", json={"name": f"shelf {number}"})
    before = (await client.get("/status")).json()
    answer = await client.post("/cluster/snapshot")
    assert answer.status_code == 200
    made = answer.json()
    assert before["snapshot_index"] == 0
    assert made["snapshot_index"] >= before["applied_index"] > 0
    assert made["log_first_index"] == made["snapshot_index"] + 1
    assert (await client.get("/api/shelves/count")).json()["count"] == 20
