"""A server that is told to stop: it answers what is under way and sends clients away; a second word ends it at once."""

from __future__ import annotations

import asyncio
import time

import httpx

from quorate.web.server import NodeServer

from .support import StartCluster, client_of, until


async def test_who_has_a_connection_is_told_that_it_ends_and_the_next_one_is_refused(
    start_cluster: StartCluster,
) -> None:
    servers = await start_cluster(3)
    leader = next(server for server in servers if server.node.is_leader)
    answers: list[httpx.Response] = []

    async def ask_on() -> None:
        async with client_of(leader) as client:
            while True:
                answers.append(await client.get("/status"))

    asking = asyncio.ensure_future(ask_on())
    await until(lambda: bool(answers))
    await leader.stop()
    ended = (await asyncio.gather(asking, return_exceptions=True))[0]
    assert isinstance(ended, httpx.ConnectError)  # and not a connection that broke under a request
    assert answers[0].headers.get("connection") is None
    assert answers[-1].headers["connection"] == "close"
    assert {answer.status_code for answer in answers} == {200}
    others = [server for server in servers if server is not leader]
    assert any(server.node.is_leader for server in others)


async def test_a_write_under_way_is_answered_before_the_server_stops(start_cluster: StartCluster) -> None:
    (server,) = await start_cluster(1)
    async with client_of(server) as client:
        writes = [asyncio.ensure_future(client.post("/api/books", json={"title": f"{n}"})) for n in range(20)]
        await until(lambda: server.node.status.applied_index >= 3)
        await server.stop()
        ended = await asyncio.gather(*writes, return_exceptions=True)
    answered = [answer.status_code for answer in ended if isinstance(answer, httpx.Response)]
    assert 201 in answered
    assert set(answered) <= {201, 503}
    assert all(isinstance(answer, httpx.Response | httpx.ConnectError) for answer in ended), ended


async def test_a_request_that_does_not_arrive_is_not_waited_for_if_that_is_not_wanted(server: NodeServer) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(b"POST /api/books HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{")
    await writer.drain()
    async with client_of(server) as client:
        assert (await client.get("/status")).status_code == 200
    stopping = asyncio.ensure_future(server.stop())
    await asyncio.sleep(0.6)
    assert not stopping.done()
    began = time.monotonic()
    await server.stop_at_once()
    assert time.monotonic() - began < 3
    await asyncio.wait_for(stopping, 3)
    writer.close()
