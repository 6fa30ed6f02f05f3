"""Three node servers: redirects, forwarding, the lack of a leader, and the port that peers and clients share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quorate import App
from quorate.config import NodeConfig
from quorate.models.errors import SchemaBehind
from quorate.transport.handshake import PREFACE
from quorate.web.server import NodeServer

from .support import APP, Shelf, StartCluster, client_of


def leader_and_followers(servers: list[NodeServer]) -> tuple[NodeServer, list[NodeServer]]:
    """Who leads, and who does not."""
    leader = next(server for server in servers if server.node.is_leader)
    return leader, [server for server in servers if server is not leader]


async def test_a_write_on_a_follower_is_redirected_with_everything_it_carries(start_cluster: StartCluster) -> None:
    leader, (follower, _) = leader_and_followers(await start_cluster(3))
    async with client_of(follower) as client:
        answer = await client.post("/api/books?x=%C3%A9", json={"title": "x"})
        assert answer.status_code == 307
        assert answer.headers["location"] == f"http://{leader.config.address}/api/books?x=%C3%A9"
        assert answer.headers["x-raft-leader"] == str(leader.config.node_id)
        assert answer.headers["content-type"] == "application/problem+json"
    async with client_of(follower, follow_redirects=True) as client:
        created = await client.post("/api/books", json={"title": "x"})
        assert created.status_code == 201
        strong = await client.get(created.headers["location"])
        assert strong.json() == created.json()


async def test_a_follower_forwards_writes_where_that_is_set(start_cluster: StartCluster) -> None:
    _, followers = leader_and_followers(await start_cluster(3, forward_writes=True))
    for number, follower in enumerate(followers):
        async with client_of(follower) as client:
            created = await client.post("/api/books", json={"title": f"book {number}"})
            assert created.status_code == 201
            mine = await client.get(created.headers["location"], params={"consistency": "eventually"})
            assert mine.json() == created.json()  # whoever wrote through a node can read it there at once
            twin = await client.post("/api/books", json={"title": f"book {number}"})
            assert twin.status_code == 409
            changed = await client.patch(created.headers["location"], json={"price": "7"})
            assert changed.json()["price"] == "7"


async def test_without_a_quorum_writes_and_strong_reads_are_unavailable_but_local_ones_are_not(
    start_cluster: StartCluster,
) -> None:
    (server,) = await start_cluster(3, running=1)
    async with client_of(server) as client:
        write = await client.post("/api/books", json={"title": "x"})
        assert (write.status_code, write.json()["outcome"]) == (503, "not_applied")
        assert int(write.headers["retry-after"]) > 0
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/status")).json()["leader"] is None
        local = await client.get("/api/books", params={"consistency": "eventually"})
        assert (local.status_code, local.json()) == (200, [])


async def test_a_leader_that_lost_its_quorum_says_that_the_outcome_is_unknown(start_cluster: StartCluster) -> None:
    servers = await start_cluster(3)
    leader, followers = leader_and_followers(servers)
    await asyncio.gather(*(follower.stop() for follower in followers))
    async with client_of(leader, timeout=15) as client:
        write = await client.post("/api/books", json={"title": "x"})
    assert (write.status_code, write.json()["outcome"]) in {(504, "unknown"), (503, "not_applied")}


@pytest.mark.parametrize(
    "garbage",
    [b"\x00" * 64, b"\xff" * 64, PREFACE, PREFACE + b"\xff" * 64, PREFACE[:3], b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n"],
    ids=repr,
)
async def test_garbage_on_the_port_hurts_only_its_own_connection(start_cluster: StartCluster, garbage: bytes) -> None:
    (server,) = await start_cluster(1)
    reader, writer = await asyncio.open_connection(server.config.host, server.config.port)
    writer.write(garbage)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), timeout=10)
    writer.close()
    await writer.wait_closed()
    async with client_of(server) as client:
        assert (await client.get("/health")).status_code == 200


async def test_a_node_that_does_not_know_what_is_declared_stops_and_says_so(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    first, second = await start_cluster(3, running=2)
    address = next(peer for peer in first.config.peers if peer.startswith("3@"))
    peers = tuple(f"{server.config.node_id}@{server.config.address}" for server in (first, second))
    config = NodeConfig(node_id=3, port=int(address.rpartition(":")[2]), peers=peers, data_dir=tmp_path / "3")
    other = NodeServer(config, App(models=[Shelf]))
    await other.start()
    with pytest.raises(SchemaBehind, match="upgrade this node"):
        await other.wait_stopped()
    await other.stop()
    async with client_of(first, follow_redirects=True) as client:
        assert (await client.post("/api/shelves", json={"name": "a"})).status_code == 201


async def test_a_node_without_models_is_refused_by_its_peers(
    start_cluster: StartCluster, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, other = await start_cluster(3, apps=[APP, APP, App()])
    async with client_of(first, follow_redirects=True) as client, client_of(other) as outsider:
        for number in range(3):
            assert (await client.post("/api/shelves", json={"name": f"{number}"})).status_code == 201
        assert (await outsider.get("/status")).json()["applied_index"] == 0
        assert (await outsider.get("/status")).json()["schema"] is None
        assert (await outsider.get("/health")).status_code == 503
    assert first.node.leader in (first.node.node_id, second.node.node_id)
    assert "all nodes must declare the same models" in caplog.text


async def test_the_status_tells_what_is_declared_and_in_force(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server) as client:
        schema = (await client.get("/status")).json()["schema"]
    fingerprint = APP.schema_fingerprint
    assert schema == {
        "version": 0,
        "fingerprint": fingerprint,
        "cluster_version": 0,
        "cluster_fingerprint": fingerprint,
        "matches": True,
        "differing_rules": [],
        "rules": {f"{schema.name}.{name}": digest for schema in APP.schemas for name, digest in schema.rules.items()},
    }
    assert list(schema["rules"]) == ["Shelf.name", "Book.title", "Book.price"]
