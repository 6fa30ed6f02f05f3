"""Attributes of fields where it takes real nodes: what holds across them, and what each has for itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from quorate import App, Model, field
from quorate.config import NodeConfig
from quorate.web.server import NodeServer

from .support import StartCluster, client_of, free_ports, until


class Room(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True)


class Seat(Model, unique_together=[("room_id", "number")]):
    id: UUID = field(primary_key=True)
    room_id: UUID = field(foreign_key=Room, on_delete="cascade")
    number: int
    looked_at: int = field(default=0, replicate=False)
    marked: bool = field(default=False, memory_only=True)


class Price(Model):
    id: int = field(primary_key=True)
    amount: int = field(default=0, consistent_read=True)


class Brief(Model):
    id: int = field(primary_key=True)
    text: str = field(audited=True, retention=timedelta(milliseconds=1))


APP = App(models=[Room, Seat, Price, Brief], read_consistency="eventually")


async def three(start_cluster: StartCluster) -> list[NodeServer]:
    servers = await start_cluster(3, apps=[APP] * 3)
    for server in servers:
        await server.node.wait_for_leader()
    return servers


def table(server: NodeServer, model: str) -> Any:
    assert server._models is not None
    return server._models.tables[model]


async def test_every_node_takes_part_and_unique_holds_across_them(start_cluster: StartCluster) -> None:
    """A2.23, A2.24: objects are created at all nodes at once; of those that collide one is stored."""
    servers = await three(start_cluster)
    clients = [client_of(server, follow_redirects=True, timeout=20) for server in servers]
    rooms = await asyncio.gather(
        *(client.post("/api/rooms", json={"name": f"room {n}"}) for n in range(20) for client in clients)
    )
    codes = [answer.status_code for answer in rooms]
    assert (codes.count(201), codes.count(409)) == (20, 40)
    room = next(answer.json()["id"] for answer in rooms if answer.status_code == 201)
    seats = await asyncio.gather(
        *(client.post("/api/seats", json={"room_id": room, "number": n}) for n in range(10) for client in clients)
    )
    taken = [answer.json()["errors"][0] for answer in seats if answer.status_code == 409]
    assert len(taken) == 20
    assert {(each["field"], each["reason"]) for each in taken} == {("room_id, number", "unique_together")}
    for client in clients:
        count = await client.get("/api/seats/count", params={"consistency": "strong"})
        assert count.json() == {"count": 10}
        await client.aclose()


async def test_references_hold_while_both_sides_change_at_different_nodes(start_cluster: StartCluster) -> None:
    """A2.25: whichever comes first in the log, no seat is left whose room is gone, and nothing else is."""
    servers = await three(start_cluster)
    clients = [client_of(server, follow_redirects=True, timeout=20) for server in servers]
    names = [{"name": f"room {number}"} for number in range(30)]
    rooms = [room["id"] for room in (await clients[0].post("/api/rooms/_bulk", json=names)).json()]

    async def fill(client: httpx.AsyncClient, room: str, number: int) -> int:
        return (await client.post("/api/seats", json={"room_id": room, "number": number})).status_code

    async def clear(client: httpx.AsyncClient, room: str) -> int:
        return (await client.delete(f"/api/rooms/{room}")).status_code

    work = []
    for at, room in enumerate(rooms):
        work += [
            fill(clients[at % 3], room, 1),
            clear(clients[(at + 1) % 3], room),
            fill(clients[(at + 2) % 3], room, 2),
        ]
    codes = await asyncio.gather(*work)
    assert set(codes) <= {201, 204, 409}
    assert codes.count(204) == len(rooms)
    for server, client in zip(servers, clients, strict=True):
        await client.get("/api/rooms/count", params={"consistency": "strong"})
        assert (table(server, "Room").count, table(server, "Seat").count) == (0, 0)
        assert table(server, "Seat").page(10, 0) == []
        await client.aclose()


async def test_values_of_one_node_need_no_leader_and_survive_its_restart(tmp_path: Path) -> None:
    """A1.43, A2.17, A2.19: each node has its own; those on disk are there again, those in memory are not."""
    ports = free_ports(3)

    async def start(number: int) -> NodeServer:
        peers = tuple(f"{n}@127.0.0.1:{p}" for n, p in enumerate(ports, start=1) if n != number)
        config = NodeConfig(node_id=number, port=ports[number - 1], peers=peers, data_dir=tmp_path / str(number))
        server = NodeServer(config, APP)
        await server.start()
        return server

    servers = [await start(number) for number in (1, 2, 3)]
    for server in servers:
        await server.node.wait_for_leader()
    leader = next(server for server in servers if server.node.is_leader)
    follower = next(server for server in servers if server is not leader)
    number = follower.config.node_id
    async with client_of(leader) as client:
        room = (await client.post("/api/rooms", json={"name": "hall"})).json()["id"]
        seat = await client.post("/api/seats", json={"room_id": room, "number": 1, "looked_at": 5})
        path = seat.headers["location"]
        assert seat.json()["looked_at"] == 5
    async with client_of(follower, timeout=20) as client:
        await client.get(path, params={"consistency": "strong"})
        assert (await client.get(path)).json()["looked_at"] == 0
        mixed = await client.patch(path, json={"looked_at": 1, "number": 2})
        assert mixed.status_code == 307, "what is for all nodes is for the leader"
        for server in servers:
            if server is not follower:
                await server.stop()
        changed = await client.patch(path, json={"looked_at": 7, "marked": True})
        assert (changed.status_code, changed.json()["looked_at"]) == (200, 7)
        assert (await client.get(path)).json()["marked"] is True
        assert (await client.patch(path, json={"number": 2})).status_code in (307, 503, 504)
    await follower.stop()
    follower = await start(number)
    async with client_of(follower) as client:
        found = (await client.get(path)).json()
        assert (found["looked_at"], found["marked"]) == (7, False)
    await follower.stop()


async def test_reads_of_an_app_that_is_eventually_consistent(start_cluster: StartCluster) -> None:
    """A1.44: without a quorum only what promises more is unavailable."""
    server, *others = await three(start_cluster)
    async with client_of(server, follow_redirects=True, timeout=20) as client:
        await client.post("/api/rooms", json={"name": "hall"})
        for other in others:
            await other.stop()
        assert len((await client.get("/api/rooms")).json()) == 1
        assert (await client.get("/api/rooms", params={"consistency": "strong"})).status_code == 503
        assert (await client.get("/api/prices")).status_code == 503
        assert (await client.get("/api/prices", params={"consistency": "eventually"})).status_code == 200
        assert (await client.get("/api/prices/count")).status_code == 200


async def test_history_goes_when_its_retention_is_over(start_cluster: StartCluster) -> None:
    """A2.16: on all nodes, without anybody asking for it."""
    servers = await three(start_cluster)
    leader = next(server for server in servers if server.node.is_leader)
    async with client_of(leader) as client:
        await client.post("/api/briefs", json={"id": 1, "text": "a"})
        await client.patch("/api/briefs/1", json={"text": "b"})

    def is_empty(server: NodeServer) -> bool:
        assert server._models is not None
        brief = table(server, "Brief").get(1)
        return brief == (1, "b") and server._models.histories["Brief"].count(1) == 0

    await until(lambda: all(map(is_empty, servers)))
