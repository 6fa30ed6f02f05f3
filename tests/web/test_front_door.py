"""What clients may do to the port that peers use, too: connections, heads and bodies are bounded."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from contextlib import suppress

import pytest

from quorate.transport.handshake import PREFACE
from quorate.web import front_door
from quorate.web import server as server_module
from quorate.web.front_door import HELD_BYTES_MAX, PIECE_BYTES, FrontDoor
from quorate.web.open_files import client_connections_max, raise_open_files_max
from quorate.web.server import NodeServer

from .support import StartCluster, until

GET = b"GET /api/books/count HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_GET = GET.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n")
HEAD = b"POST /api/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def post(title: str, *headers: bytes) -> bytes:
    body = b'{"title":"%s"}' % title.encode()
    return (
        HEAD + b"".join(header + b"\r\n" for header in (*headers, b"content-length: %d" % len(body))) + b"\r\n" + body
    )


async def connect(server: NodeServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.config.port)


async def connect_deaf(server: NodeServer) -> asyncio.StreamWriter:
    """A connection whose answers are not read; nor does this end's kernel take more than a little of them."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.connect(("127.0.0.1", server.config.port))
    _, writer = await asyncio.open_connection(sock=sock)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    return writer


async def say(server: NodeServer, *pieces: bytes) -> bytes:
    """Everything the server answers on one connection until it closes it."""
    reader, writer = await connect(server)
    answer = b""
    speaking = asyncio.ensure_future(_speak(writer, pieces))
    try:
        async with asyncio.timeout(10):
            while data := await reader.read(65536):
                answer += data
    except ConnectionError:
        pass
    finally:
        speaking.cancel()
        writer.close()
    return answer


async def _speak(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize(
    "rubbish",
    [b"GARBAGE\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
async def test_what_is_no_request_is_a_problem_too(server: NodeServer, rubbish: bytes) -> None:
    answer = await say(server, rubbish)
    assert statuses(answer) == [400]
    assert b"application/problem+json" in answer
    assert server._site is not None
    assert server._site.requests.counts == {("none", "other", 400): 1}


async def test_rubbish_behind_a_request_does_not_take_its_answer_away(server: NodeServer) -> None:
    assert statuses(await say(server, post("kept") + GET + b"GARBAGE\r\n\r\n")) == [201, 200]


async def test_a_broken_body_is_refused_and_not_applied(server: NodeServer) -> None:
    answer = await say(server, HEAD + b'transfer-encoding: chunked\r\n\r\n5\r\n{"tit\r\nZZ\r\n')
    assert statuses(answer) == [400]
    assert b'{"count":0}' in await say(server, LAST_GET)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"GET /status HTTP/1.1\r\nhost: x\r\nlong: ", id="header"),
        pytest.param(b"GET /", id="path"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\ntrailer: ", id="trailer"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n5;", id="chunk extension"),
    ],
)
async def test_what_the_parser_has_to_hold_is_bounded(server: NodeServer, start: bytes) -> None:
    piece = b"x" * HELD_BYTES_MAX
    answer = await say(server, start, *[piece] * 200)
    assert statuses(answer) in ([], [431], [400])  # none: the client was still sending, and the reset took it
    assert statuses(await say(server, LAST_GET)) == [200]


async def test_a_head_just_within_the_bound_is_served(server: NodeServer) -> None:
    head = (
        b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlong: " + b"x" * (HELD_BYTES_MAX - 100) + b"\r\n\r\n"
    )
    assert statuses(await say(server, head)) == [200]


@pytest.mark.parametrize("piece_bytes", [1, 1000])
async def test_a_request_to_change_the_protocol_is_served_in_this_one_with_its_body(
    server: NodeServer, piece_bytes: int
) -> None:
    asked = post("upgraded", b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABk")
    requests = asked + asked.replace(b"upgraded", b"Upgraded") + LAST_GET
    pieces = [requests[at : at + piece_bytes] for at in range(0, len(requests), piece_bytes)]
    answer = await say(server, *pieces)
    assert statuses(answer) == [201, 201, 200]
    assert answer.endswith(b'{"count":2}')


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\r\n", [], id="blank lines"),
        pytest.param(b"GET /sta", [408], id="half a head"),
        pytest.param(HEAD + b"content-length: 20\r\n\r\n", [408], id="no body"),
        pytest.param(HEAD + b"content-length: 20\r\n\r\n{", [408], id="half a body"),
        pytest.param(GET + b"GET /sta", [200, 408], id="half a head behind a request"),
        pytest.param(b"GET /api/films HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", [404], id="answered already"),
    ],
)
async def test_a_request_that_does_not_arrive_is_not_waited_for(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch, sent: bytes, expected: list[int]
) -> None:
    monkeypatch.setattr(front_door, "MESSAGE_SECONDS_MAX", 0.2)
    assert statuses(await say(server, sent)) == expected


@pytest.mark.parametrize("request_", [pytest.param(GET, id="get"), pytest.param(post(""), id="post")])
async def test_requests_that_wait_for_others_are_not_taken_in_beyond_a_bound(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    waiting = 0

    def note_waiting(door: FrontDoor) -> None:
        nonlocal waiting
        waiting = max(waiting, len(door.pipeline))
        answered(door)

    answered = FrontDoor.on_response_complete
    monkeypatch.setattr(FrontDoor, "on_response_complete", note_waiting)
    requests = 5000
    answer = await say(server, request_ * requests + LAST_GET)
    assert len(statuses(answer)) == requests + 1
    assert 1 < waiting <= PIECE_BYTES // len(request_) + 1


@pytest.mark.parametrize("encoding", ["content-length: %d", "transfer-encoding: chunked\r\n\r\n%x"])
async def test_what_is_held_of_bodies_on_their_way_is_bounded(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(server_module, "BODIES_MAX", 1)
    (server,) = await start_cluster(1)
    size = server.config.max_body_bytes
    start = HEAD + encoding.encode() % size + (b"\r\n" if "chunked" in encoding else b"\r\n\r\n")
    reader, writer = await connect(server)
    writer.write(start + b" " * (size - 1))
    await writer.drain()
    door = next(iter(server._server.server_state.connections))  # type: ignore[union-attr]
    assert isinstance(door, FrontDoor)
    await until(lambda: door._incoming.bytes == size - 1)
    assert statuses(await say(server, start + b"{" * 10)) in ([503], [])  # the reset may take it
    assert statuses(await say(server, post("small") + LAST_GET)) == [201, 200]
    writer.write(b" \r\n0\r\n\r\n")  # what follows the last byte is part of a chunk, or rubbish
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400")  # nothing but spaces
    writer.close()
    await until(lambda: door._incoming.bytes == 0)


async def test_what_is_held_of_answers_that_nobody_takes_is_bounded(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "UNTAKEN_BYTES_MAX", 12_000_000)
    (server,) = await start_cluster(1)
    for number in range(8):  # twice what the server's kernel takes of an answer
        assert statuses(await say(server, post(f"{number}" * 1_000_000), LAST_GET)) == [201, 200]
    everything = LAST_GET.replace(b"/count", b"")
    assert statuses(await say(server, everything)) == [200]
    assert server._site is not None
    held, deaf = server._site._outgoing, []
    while not held.is_too_much:
        writer = await connect_deaf(server)
        writer.write(everything)
        deaf.append(writer)
        before = held.bytes
        await until(lambda before=before: held.bytes > before)
    assert len(deaf) >= 2
    assert statuses(await say(server, everything)) == [503]
    assert statuses(await say(server, post("short") + LAST_GET)) == [201, 200]
    for writer in deaf:
        writer.transport.abort()
    await until(lambda: held.bytes == 0)
    assert statuses(await say(server, everything)) == [200]


async def test_idle_connections_give_way(start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "client_connections_max", lambda files: 5)
    (server,) = await start_cluster(1)
    idle = [await connect(server) for _ in range(20)]
    answer = await say(server, LAST_GET)
    assert statuses(answer) == [200]
    async with asyncio.timeout(5):
        for reader, _ in idle[:10]:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
    for _, writer in idle:
        writer.close()


async def test_when_no_connection_is_idle_a_peer_is_let_in_and_a_client_is_not(
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
        peer_reader, peer_writer = await connect(server)
        peer_writer.write(PREFACE + b"\x00\x00\x00\x08rubbish!")
        assert b"checksum" in await peer_reader.read()  # the acceptor of peers has read it
    for writer in (peer_writer, *(writer for _, writer in busy)):
        writer.close()


def test_some_of_the_open_files_are_kept_from_clients() -> None:
    assert client_connections_max(1024) == 640
    assert client_connections_max(200) == 50


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
        assert raise_open_files_max() == min(hard, 65_536) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raise_open_files_max() == min(hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
