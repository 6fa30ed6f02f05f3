"""Peers that ask for a WebSocket on the port that all share."""

from __future__ import annotations

import asyncio

import pytest

from quorate.transport.handshake import PREFACE
from quorate.web import server as server_module
from quorate.web.server import NodeServer

from .support import StartCluster, client_of
from .test_front_door import GET, HEAD, LAST_GET, connect, say, statuses

REQUEST = (
    b"GET /raft HTTP/1.1\r\nHost: a:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SPOILT = PREFACE + b"\x00\x00\x00\x08rubbish!"
IN_A_MESSAGE = bytes([0x82, 0x80 | len(SPOILT), 0, 0, 0, 0]) + SPOILT


async def test_servers_that_dial_by_websockets_are_a_cluster(start_cluster: StartCluster) -> None:
    servers = await start_cluster(2, peer_transport="websocket")
    async with client_of(servers[0], follow_redirects=True) as client:
        assert (await client.post("/api/books", json={"title": "one"})).status_code == 201
    for server in servers:
        accepted = [each for several in server._transport._acceptor._by_peer.values() for each in several]
        assert accepted
        assert all(each._websocket is not None for each in accepted)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
async def test_a_peers_request_is_handed_over_with_what_follows_it(server: NodeServer, piece_bytes: int) -> None:
    everything = REQUEST + IN_A_MESSAGE
    pieces = [everything[at : at + piece_bytes] for at in range(0, len(everything), piece_bytes)]
    answer = await say(server, *pieces)
    assert statuses(answer) == [101]
    assert b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=" in answer
    assert b"fails its checksum" in answer


async def test_a_proxy_may_have_used_its_connection_for_requests_before(server: NodeServer) -> None:
    reader, writer = await connect(server)
    async with asyncio.timeout(10):
        writer.write(GET)
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b'{"count":0}'))
        (door,) = server._server.server_state.connections  # type: ignore[union-attr]
        writer.write(REQUEST)
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        assert door._idle_timer.cancelled()  # type: ignore[union-attr]
        assert not server._server.server_state.connections  # type: ignore[union-attr]
        writer.write(IN_A_MESSAGE)
        assert b"fails its checksum" in await reader.read()
    writer.close()


async def test_behind_a_request_that_waits_for_its_answer_there_is_no_websocket(server: NodeServer) -> None:
    assert statuses(await say(server, GET + REQUEST.replace(b"Host", b"Connection: close\r\nHost"))) == [200, 404]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(REQUEST.replace(b"/raft", b"/socket"), 404, id="another path"),
        pytest.param(REQUEST.replace(b"/raft", b"/api/books/count"), 200, id="a page"),
        pytest.param(REQUEST.replace(b": websocket", b": h2c"), 404, id="another protocol"),
        pytest.param(REQUEST.replace(b"GET", b"POST"), 404, id="another method"),
        pytest.param(REQUEST.replace(b"13", b"12"), 400, id="another version"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"), 403, id="a browser"),
    ],
)
async def test_other_websockets_are_refused(server: NodeServer, request_: bytes, expected: int) -> None:
    last = request_.replace(b"Connection: Upgrade", b"Connection: Upgrade, close")
    assert statuses(await say(server, last)) == [expected]


async def test_when_no_connection_is_idle_a_peer_is_let_in_and_whoever_looks_like_one_is_not(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "client_connections_max", lambda files: 2)
    (server,) = await start_cluster(1)
    busy = [await connect(server) for _ in range(2)]
    for _, writer in busy:
        writer.write(HEAD + b"content-length: 20\r\n\r\n")
    async with asyncio.timeout(10):
        refused = False
        while not refused:  # until both requests have begun
            refused = statuses(await say(server, LAST_GET)) == [503]
        for stranger in (
            b"GET /raft HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /raft HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
            REQUEST.replace(b": websocket", b": h2c"),
        ):
            assert statuses(await say(server, stranger)) == [503]
        assert b"fails its checksum" in await say(server, REQUEST + IN_A_MESSAGE)
    for _, writer in busy:
        writer.close()
