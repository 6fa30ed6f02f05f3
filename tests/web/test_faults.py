"""``/admin/faults``: what it sets, what it refuses, and that all of it ends."""

from __future__ import annotations

import time
from contextlib import nullcontext

import httpx
import pytest

from quorate.errors import ConfigError, QuorateError, StorageError
from quorate.ops.chaos.target import Target
from quorate.web.injected import InjectedFaults
from quorate.web.server import NodeServer

from .support import StartCluster, client_of, until

FAULTS = "/admin/faults"


@pytest.fixture
async def frail(start_cluster: StartCluster) -> NodeServer:
    """A cluster of one that lets itself be broken."""
    (server,) = await start_cluster(1, allow_faults=True)
    return server


async def put(client: httpx.AsyncClient, **faults: object) -> httpx.Response:
    """Have these faults, for a minute unless they say otherwise."""
    return await client.put(FAULTS, json={"seconds": 60, **faults})


async def test_without_the_flag_there_is_nothing_but_a_word_about_it(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", FAULTS), ("PUT", FAULTS), ("DELETE", FAULTS), ("POST", f"{FAULTS}/crash")):
        answer = await client.request(method, path, json={"disk": {"full": True}, "seconds": 1})
        assert (answer.status_code, "--allow-faults" in answer.text) == (404, True)
    assert (await client.get("/status")).json()["faults"] is None


async def test_chaos_leaves_alone_what_does_not_let_itself_be_broken(server: NodeServer) -> None:
    with pytest.raises(ConfigError, match="start it with --allow-faults"):
        async with Target([server.config.address]):
            pass


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"disk": {"full": True}}, "seconds"),
        ({"seconds": 601, "disk": {"full": True}}, "seconds"),
        ({"seconds": 0, "disk": {"full": True}}, "seconds"),
        ({"seconds": 1}, ""),
        ({"seconds": 1, "links": [{"peer": 0}]}, "links.0.peer"),
        ({"seconds": 1, "links": [{"drop": 1.1}]}, "links.0.drop"),
        ({"seconds": 1, "links": [{"direction": "up"}]}, "links.0.direction"),
        ({"seconds": 1, "disk": {"delay_ms": -1}}, "disk.delay_ms"),
        ({"seconds": 1, "disk": {"delay_ms": "1"}}, "disk.delay_ms"),
        ({"seconds": 1, "pause_ms": 60_001}, "pause_ms"),
        ({"seconds": 1, "cpu": 1}, "cpu"),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(
    frail: NodeServer, body: dict[str, object], field: str
) -> None:
    async with client_of(frail) as client:
        before = (await put(client, disk={"delay_ms": 1})).json()["active"]["disk"]
        answer = await client.put(FAULTS, json=body)
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]
        assert (await client.get(FAULTS)).json()["active"]["disk"] == before


async def test_a_body_that_is_no_json_or_too_long_is_refused(frail: NodeServer) -> None:
    async with client_of(frail) as client:
        assert (await client.put(FAULTS, content=b"{")).status_code == 400
        assert (await client.put(FAULTS, content=b" " * 70_000)).status_code == 413


async def test_faults_take_the_place_of_those_before_and_are_taken_back(frail: NodeServer) -> None:
    async with client_of(frail) as client:
        await put(client, clock_offset_ms=3_600_000)
        assert frail.node.now_us() > time.time_ns() // 1000 + 3_500_000_000
        answer = await put(client, links=[{"drop": 1.0}])
        assert answer.json()["active"]["links"] == [{"peer": None, "direction": "both", "drop": 1.0, "delay_ms": 0}]
        assert abs(frail.node.now_us() - time.time_ns() // 1000) < 60_000_000
        assert (await client.get("/status")).json()["faults"]["active"] != {}
        assert (await client.delete(FAULTS)).json()["active"] == {}


async def test_faults_end_by_themselves(frail: NodeServer) -> None:
    async with client_of(frail) as client:
        await put(client, clock_offset_ms=3_600_000, seconds=0.05)
        await until(lambda: frail.node.now_us() < time.time_ns() // 1000 + 60_000_000)
        assert (await client.get(FAULTS)).json()["active"] == {}


async def test_cut_links_are_mended(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3, allow_faults=True)
    leader = next(server for server in servers if server.node.is_leader)
    async with client_of(leader) as client:
        await put(client, links=[{"drop": 1.0}])
        await until(lambda: any(server.node.is_leader for server in servers if server is not leader))
        fired = (await client.delete(FAULTS)).json()["fired"]
        assert fired["cut"] > 0
        await until(lambda: leader.node.leader == next(s.node.node_id for s in servers if s.node.is_leader))
        await until(lambda: not leader.node.is_leader)


async def test_a_slow_disk_takes_its_time_and_a_full_one_stops_the_node(frail: NodeServer) -> None:
    async with client_of(frail) as client:
        await put(client, disk={"delay_ms": 150})
        began = time.monotonic()
        assert (await client.post("/api/shelves", json={"name": "slow"})).status_code == 201
        assert time.monotonic() - began >= 0.15
        await put(client, disk={"full": True})
        answer = await client.post("/api/shelves", json={"name": "no room"})
        assert answer.status_code in (500, 503, 504)
        with pytest.raises(StorageError, match="No space left on device"):
            await frail.wait_stopped()


async def test_chaos_wants_enough_voters_to_lose_one(frail: NodeServer) -> None:
    with pytest.raises(ConfigError, match="3 voters or more: here are 1"):
        async with Target([frail.config.address]):
            pass


async def test_with_a_token_the_right_to_administer_is_needed(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1, allow_faults=True, admin_token="open sesame")
    async with client_of(server) as client:
        assert (await put(client, clock_offset_ms=1)).status_code == 401
        assert (await client.post(f"{FAULTS}/crash")).status_code == 401
        for token in (None, "open sesame"):
            target = Target([server.config.address], token)
            target.addresses[1] = server.config.address
            with nullcontext() if token else pytest.raises(QuorateError, match="admin token"):
                await target.clear(1)
            await target.http.aclose()
        client.headers["authorization"] = "Bearer open sesame"
        assert (await put(client, clock_offset_ms=1)).status_code == 200


def test_those_that_paused_the_node_are_waited_for_when_they_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Ended:
        def poll(self) -> int:
            asked.append(self)
            return 0

    monkeypatch.setattr("quorate.web.injected.subprocess.Popen", lambda *arguments, **named: Ended())
    faults = InjectedFaults()
    faults.pause(1)
    faults.pause(1)
    for _ in range(2):
        faults.report()
        assert len(set(asked)) == len(asked) == 2
