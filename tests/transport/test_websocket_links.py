"""Links over WebSockets as the dialling node sees them: bad answers, silence, slow peers, a proxy in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from hashlib import sha1

import pytest

from quorate.testing.transport_suite import Recorder, chunk, heartbeat, open_bulk, until
from quorate.transport import Codec, Identity, Lane, LinkState, TcpOptions, TcpTransport
from quorate.transport.handshake import encode_handshake, refusal, welcome_from
from quorate.transport.websocket_dialled import DialledWebSocket

from .harnesses import TcpHarness, WebSocketHarness, link_of
from .test_tcp_hostile import PEER
from .websocket_support import BINARY, CLOSE, PING, PONG, TEXT, message

WELCOME = encode_handshake(welcome_from(PEER, 1))
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hasty(WebSocketHarness):
    options = replace(WebSocketHarness.options, handshake_seconds=0.5, backoff_seconds_max=0.02, close_seconds=0.05)


@pytest.fixture
async def hasty() -> AsyncIterator[Hasty]:
    async with Hasty() as harness:
        yield harness


def accepting(head: bytes) -> bytes:
    """The answer that accepts the request in ``head`` (RFC 6455, section 4.2.2)."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", head)
    assert found is not None
    accept = b64encode(sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The address of a server that treats each connection as ``handler`` does, and then closes it."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answer_with(answer: bytes | Callable[[bytes], bytes]) -> Handler:
    """Answers the request, and then reads to the end."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer if isinstance(answer, bytes) else answer(head))
        await reader.read()

    return handler


def saying(*messages: bytes) -> Handler:
    """Accepts the request, and says that."""
    return answer_with(lambda head: accepting(head) + b"".join(messages))


def ours(data: bytes, opcode: int = BINARY) -> bytes:
    return message(data, opcode, masked=False)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "state", "error"),
    [
        pytest.param(answer_with(b""), LinkState.CONNECTING, "no answer in time", id="silence"),
        pytest.param(saying(), LinkState.CONNECTING, "no answer in time", id="silence afterwards"),
        pytest.param(hang_up, LinkState.CONNECTING, "closed by the peer", id="the end"),
        pytest.param(answer_with(b"\n" * 99_999), LinkState.CONNECTING, "did not receive a valid HTTP", id="rubbish"),
        pytest.param(
            answer_with(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
            LinkState.CONNECTING,
            "HTTP 502",
            id="a proxy's refusal",
        ),
        pytest.param(
            answer_with(accepting(b"Sec-WebSocket-Key: AAAA\r\n")),
            LinkState.CONNECTING,
            "Sec-WebSocket-Accept",
            id="an answer to another request",
        ),
        pytest.param(saying(message(WELCOME)), LinkState.CONNECTING, "masking", id="masked"),
        pytest.param(saying(ours(b"hello", TEXT)), LinkState.CONNECTING, "a text message", id="text"),
        pytest.param(saying(ours(b"rubbish!" * 9)), LinkState.CONNECTING, "allowed are 8 to 65536", id="no frames"),
        pytest.param(saying(ours(b"", CLOSE)), LinkState.CONNECTING, "closed by the peer", id="closing at once"),
        pytest.param(
            saying(ours(encode_handshake(refusal("not you"))) + ours(b"\x03\xe8", CLOSE)),
            LinkState.REFUSED,
            "not you",
            id="a refusal",
        ),
    ],
)
async def test_a_bad_answer_is_retried_and_logged_once(
    hasty: Hasty, handler: Handler, state: LinkState, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        await handler(reader, writer)

    seconds = 0.1 if error == "no answer in time" else 30.0  # so that no stall is taken for one
    hasty.options = replace(hasty.options, handshake_seconds=seconds)
    a = await hasty.open(1)
    with caplog.at_level(logging.WARNING):
        async with serving(counting) as address:
            a.transport.dial(address)
            await until(lambda: attempts >= 3)
            assert a.link_to(address).state is state
            assert error in (a.link_to(address).last_error or "")
            assert not a.recorder.introductions
            assert not a.recorder.events
            a.transport.hang_up(address)
            await until(lambda: not a.transport._dialler._closing)  # type: ignore[attr-defined]
    assert len(caplog.records) == 1


async def test_what_the_answer_brings_along_is_taken_in(hasty: Hasty) -> None:
    a = await hasty.open(1)
    async with serving(saying(ours(WELCOME[:9]), ours(b"x", PING), ours(WELCOME[9:]))) as address:
        a.transport.dial(address)
        await until(lambda: a.connected_to(2))
        assert a.link_to(address).state is LinkState.CONNECTED


async def test_a_websocket_that_is_lost_is_dialled_again(websockets: WebSocketHarness) -> None:
    a, b = await websockets.pair()
    for _ in range(3):
        before = len(b.recorder.introductions)
        (accepted,) = b.transport._acceptor._by_peer[1]  # type: ignore[attr-defined]
        accepted.abort()
        await until(lambda before=before: len(b.recorder.introductions) > before and a.connected_to(2))  # type: ignore[misc]
    a.transport.send(2, 0, [heartbeat(1)])
    await until(lambda: b.recorder.messages)


async def test_what_was_sent_before_stop_still_arrives(websockets: WebSocketHarness) -> None:
    a, b = await websockets.pair()
    await open_bulk(a, b)
    a.transport.send(2, 0, [chunk(n, 300_000) for n in range(5)], lane=Lane.BULK)
    a.transport.send(2, 0, [chunk(1, 500_000), heartbeat(1)])
    await a.transport.stop()
    await until(lambda: len(b.recorder.messages) == 7)


async def test_closing_takes_no_longer_than_the_other_end_and_leaves_nothing(
    websockets: WebSocketHarness,
) -> None:
    websockets.options = replace(websockets.options, close_seconds=60)
    a, b = await websockets.pair()
    await open_bulk(a, b)
    ends = [link_of(a, 2).outlet(lane)._connection._transport for lane in Lane]  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        await a.transport.stop()
    for end in ends:
        assert isinstance(end, DialledWebSocket)
        assert end._next_ping is not None
        assert end._next_ping.cancelled()
        assert end._end is not None
        assert end._end.cancelled()
    await until(lambda: not b.transport._acceptor._connections)  # type: ignore[attr-defined]


async def test_what_is_sent_to_a_peer_that_is_closing_counts_as_dropped(websockets: WebSocketHarness) -> None:
    a = await websockets.open(1)
    async with serving(saying(ours(WELCOME), ours(b"", CLOSE))) as address:
        a.transport.dial(address)
        await until(lambda: a.connected_to(2))
        a.transport.send(2, 0, [heartbeat(1)])
        stats = a.transport.stats()[2]
        assert (stats.connected, stats.frames_sent, stats.dropped) == (True, 0, 1)
        await until(lambda: not a.connected_to(2))


async def test_a_peer_that_does_not_read_costs_bounded_memory_and_does_not_keep_us() -> None:
    class Small(WebSocketHarness):
        options = replace(WebSocketHarness.options, queue_bytes_max=1024 * 1024, close_seconds=0.05)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(accepting(head) + ours(WELCOME))
        await asyncio.sleep(60)

    async with serving(deaf) as address, Small() as harness:
        a = await harness.open(1)
        a.transport.dial(address)
        await until(lambda: a.connected_to(2))
        for n in range(500):
            a.transport.send(2, 0, [chunk(n, 64 * 1024)])
            await asyncio.sleep(0)
        stats = a.transport.stats()[2]
        assert stats.dropped > 0
        assert stats.dropped + stats.frames_sent == 500
        assert 1024 * 1024 < a.transport.backlog_bytes(2, Lane.PROMPT) < 1024 * 1024 + 66_000
        async with asyncio.timeout(20):
            await a.transport.stop()


# Somebody behind the proxies.


class Watchful(WebSocketHarness):
    options = TcpOptions(dials="websocket", backoff_seconds_max=60, ping_seconds=0.02, unacknowledged_seconds_max=0.2)


async def test_who_answers_no_pings_is_given_up() -> None:
    async with Watchful() as harness, serving(saying(ours(WELCOME))) as address:
        a = await harness.open(1)
        a.transport.dial(address)
        await until(lambda: ("disconnected", 2) in a.recorder.events)
        assert a.transport.stats()[2].last_error == "no answer in time"


async def test_who_answers_pings_is_kept_and_our_pings_are_what_keeps_the_other_direction_awake() -> None:
    pings = 0

    async def ponging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        writer.write(accepting(await reader.readuntil(b"\r\n\r\n")) + ours(WELCOME))
        while True:
            first, second, *_ = await reader.readexactly(6)
            await reader.readexactly(second & 0x7F)
            if first & 0x0F == PING:
                pings += 1
                writer.write(ours(b"", PONG))

    class Patient(WebSocketHarness):
        options = replace(Watchful.options, ping_seconds=0.05, unacknowledged_seconds_max=1.0)

    async with Patient() as harness, serving(ponging) as address:
        a = await harness.open(1)
        a.transport.dial(address)
        await until(lambda: pings >= 40)  # of which twenty would have been too many without an answer
        assert a.recorder.events == [("connected", 2)]


# A proxy that reads the heads of requests and answers, and passes on what belongs to no other protocol than HTTP.


@contextlib.asynccontextmanager
async def proxy_to(address: str) -> AsyncIterator[str]:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request, *lines = head.decode("ascii").split("\r\n")[:-2]
        headers = dict(line.lower().split(": ", 1) for line in lines)
        key = re.search(r"Sec-WebSocket-Key: (\S+)", head.decode())
        assert request == "GET /raft HTTP/1.1"
        assert (headers["upgrade"], headers["connection"]) == ("websocket", "upgrade")
        assert headers["sec-websocket-version"] == "13"
        assert key is not None
        assert len(b64decode(key[1], validate=True)) == 16
        host, port = address.split(":")
        assert headers["host"].startswith("127.0.0.1:")
        below_reader, below_writer = await asyncio.open_connection(host, int(port))
        try:
            below_writer.write(head)
            answer = await below_reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            writer.write(answer)
            await asyncio.gather(pump(reader, below_writer), pump(below_reader, writer))
        finally:
            below_writer.close()

    async with serving(handle) as front:
        yield front


async def test_a_cluster_behind_proxies_is_reached_by_websockets_only(
    tcp: TcpHarness, websockets: WebSocketHarness
) -> None:
    dialler, other, b = await websockets.open(1), await tcp.open(3), await websockets.open(2)
    async with proxy_to(b.address) as front:
        other.transport.dial(front)
        dialler.transport.dial(front)
        await until(lambda: dialler.connected_to(2))
        assert dialler.link_to(front).peer == 2
        await open_bulk(dialler, b)
        sent = [chunk(n, 700_000) for n in range(4)]
        dialler.transport.send(2, 0, sent, lane=Lane.BULK)
        dialler.transport.send(2, 0, [heartbeat(1)])
        await until(lambda: len(b.recorder.messages) == 5)
        assert [each for each in b.recorder.from_peer(1) if each != heartbeat(1)] == sent
        assert other.link_to(front).state is LinkState.CONNECTING
        assert other.recorder.events == []
        for each in (dialler, other):
            await each.transport.stop()


async def test_a_name_and_a_port_are_said_to_the_proxy(websockets: WebSocketHarness) -> None:
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    a = await websockets.open(1)
    async with serving(note) as address:
        a.transport.dial(address.replace("127.0.0.1", "localhost"))
        await until(lambda: heads)
        await a.transport.stop()
    assert heads[0].startswith(b"GET /raft HTTP/1.1\r\n")
    assert b"Host: localhost:" + address.rpartition(":")[2].encode() + b"\r\n" in heads[0]
    assert b"Origin" not in heads[0]


async def test_every_node_accepts_both(websockets: WebSocketHarness) -> None:
    a, b = await websockets.open(1), await websockets.open(2)
    identity = Identity(cluster_id="suite", node_id=3, address="127.0.0.1:1", incarnation=99)
    by_tcp = TcpTransport(identity, Codec())
    await by_tcp.start(Recorder())
    by_tcp.dial(b.address)
    a.transport.dial(b.address)
    await until(lambda: a.connected_to(2) and by_tcp.stats().get(2) and by_tcp.stats()[2].connected)
    a.transport.send(2, 0, [heartbeat(1)])
    by_tcp.send(2, 0, [heartbeat(3)])
    await until(lambda: len(b.recorder.messages) == 2)
    assert (b.recorder.from_peer(1), b.recorder.from_peer(3)) == ([heartbeat(1)], [heartbeat(3)])
    kinds = {peer: accepted._websocket is not None for peer, (accepted,) in b.transport._acceptor._by_peer.items()}  # type: ignore[attr-defined]
    assert kinds == {1: True, 3: False}
    await by_tcp.stop()
