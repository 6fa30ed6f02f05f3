"""A node against WebSockets that lie, stutter, stall or send garbage: the connection ends, the node lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries
from quorate.testing.transport_suite import Station, heartbeat, until
from quorate.transport import TcpOptions
from quorate.transport.framing import encode_frame
from quorate.transport.handshake import Refused, Welcome
from quorate.transport.websocket import MESSAGE_BYTES_MAX
from quorate.transport.websocket_accepted import HEAD_BYTES_MAX, STRANGER_FRAMES_MAX, AcceptedWebSocket

from .harnesses import TcpHarness
from .test_tcp_hostile import CODEC, HELLO
from .websocket_support import CLOSE, CONT, PING, PONG, REQUEST, TEXT, RawWebSocket, message, websocket

GOOD = encode_frame(CODEC.encode(0, heartbeat(1)))


class Hasty(TcpHarness):
    options = TcpOptions(handshake_seconds=0.15, close_seconds=0.05)


@pytest.fixture
async def hasty() -> AsyncIterator[Hasty]:
    async with Hasty() as harness:
        yield harness


class Patient(TcpHarness):
    """With it a test that waits for the other end to close, and for no more than that, ends in time."""

    options = TcpOptions(close_seconds=60)


@pytest.fixture
async def patient() -> AsyncIterator[Patient]:
    async with Patient() as harness:
        yield harness


async def welcomed(client: RawWebSocket) -> None:
    assert await client.status() == 101
    assert isinstance(await client.answer(), Welcome)


async def serves(a: Station) -> None:
    """Whether it still lets in who behaves."""
    before = len(a.recorder.messages)
    async with websocket(a, REQUEST + message(HELLO + GOOD)) as client:
        await welcomed(client)
        await until(lambda: len(a.recorder.messages) > before)


# Streams of bytes in messages.


async def test_requests_and_messages_may_come_byte_by_byte(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with websocket(a) as client:
        for byte in REQUEST + message(HELLO) + message(GOOD):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        await welcomed(client)
        await until(lambda: a.recorder.messages)
    assert a.recorder.from_peer(2) == [heartbeat(1)]


async def test_where_a_message_or_a_fragment_ends_says_nothing(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with websocket(a, REQUEST) as client:
        stream = HELLO + GOOD
        client.send(message(stream[:5]) + message(b"") + message(stream[5:9], final=False))
        client.send(message(b"are you there?", PING))
        client.send(message(stream[9:11], CONT, final=False) + message(stream[11:], CONT))
        assert await client.status() == 101
        assert await client.receive() == (PONG, b"are you there?")
        assert isinstance(await client.answer(), Welcome)
        for byte in GOOD * 10:  # more than a stranger may
            client.send(message(bytes([byte])))
        await until(lambda: len(a.recorder.messages) == 11)


async def test_who_closes_is_answered(patient: Patient) -> None:
    a = await patient.open(1)
    async with websocket(a, REQUEST + message(HELLO)) as client:
        await welcomed(client)
        client.send(message((1001).to_bytes(2, "big") + b"bye", CLOSE))
        assert await client.receive() == (CLOSE, (1001).to_bytes(2, "big") + b"bye")
        assert await client.closed() == b""


async def test_a_refusal_comes_before_the_close_and_the_close_is_not_waited_for_long(hasty: Hasty) -> None:
    a = await hasty.open(1)
    async with websocket(a, REQUEST + message(HELLO[:8] + encode_frame(b"rubbish"))) as client:
        assert await client.status() == 101
        answer = await client.answer()
        assert isinstance(answer, Refused)
        assert "not a handshake" in answer.reason
        assert await client.closing_code() == 1000
        assert await client.closed() == b""
    assert a.recorder.calls == 0


# Requests.


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(REQUEST.replace(b"/raft", b"/"), 404, id="another path"),
        pytest.param(REQUEST.replace(b"/raft", b"/raft?x=1"), 404, id="a query"),
        pytest.param(b"GET /raft HTTP/1.1\r\nHost: a\r\n\r\n", 426, id="no upgrade"),
        pytest.param(REQUEST.replace(b": websocket", b": h2c"), 426, id="another protocol"),
        pytest.param(REQUEST.replace(b"Connection", b"X"), 426, id="no connection header"),
        pytest.param(REQUEST.replace(b"-Key", b"-Kex"), 400, id="no key"),
        pytest.param(REQUEST.replace(b"13", b"8"), 400, id="another version"),
        pytest.param(REQUEST.replace(b"1.1", b"1.0"), None, id="HTTP/1.0"),
        pytest.param(REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: http://a:1\r\n\r\n"), 403, id="a browser"),
        pytest.param(b"GET /raft HTTP/1.1\r\nx: " + bytes(10_000), None, id="a long header"),
        pytest.param(b"GET /raft HTTP/1.1\r\n" + b"x: y\r\n" * 1000, None, id="many headers"),
        pytest.param(b"GARBAGE\r\n\r\n", None, id="garbage"),
        pytest.param(b"GET /raft HTTP/1.1\r\n\xff\xfe\r\n\r\n", None, id="garbage in a header"),
    ],
)
async def test_a_request_that_is_no_peers_is_refused(
    patient: Patient, request_: bytes, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    a = await patient.open(1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            async with websocket(a, request_) as client:
                answer = await client.closed()
            if status is not None:
                assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"HTTP/1.1 101" not in answer
    assert [record.message.split(" from ")[0] for record in caplog.records] == ["refused a connection"]
    assert a.recorder.calls == 0
    await serves(a)


async def test_a_head_is_bounded(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    header = b"x: " + b"y" * 8000 + b"\r\n"
    fitting = REQUEST[:-2] + header * (HEAD_BYTES_MAX // len(header) - 1)
    async with websocket(a, fitting + b"\r\n") as client:
        assert await client.status() == 101
    async with websocket(a, fitting + header * 2 + b"\r\n" + message(HELLO)) as client:
        assert b"HTTP/1.1 101" not in await client.closed()
    await serves(a)


# Frames.


BAD = {
    "unmasked": (message(GOOD, masked=False), 1002),
    "text": (message(b"hello", TEXT), 1003),
    "too large": (message(b"", length=MESSAGE_BYTES_MAX + 1), 1009),
    "too large in fragments": (
        message(encode_frame(bytes(MESSAGE_BYTES_MAX))[: MESSAGE_BYTES_MAX // 2], final=False)
        + message(b"", CONT, length=MESSAGE_BYTES_MAX // 2 + 1),
        1009,
    ),
    "absurdly large": (message(b"", length=2**63), 1009),
    "reserved bits": (bytes([0x40 | message(GOOD)[0]]) + message(GOOD)[1:], 1002),
    "unknown opcode": (message(GOOD, 3), 1002),
    "continues nothing": (message(GOOD, CONT), 1002),
    "long ping": (message(bytes(126), PING), 1002),
    "half a close": (message(b"\x03", CLOSE), 1002),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_message_ends_the_connection_and_only_that(
    tcp: TcpHarness, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    a = await tcp.open(1)
    bad, code = BAD[what]
    with caplog.at_level(logging.WARNING):
        async with websocket(a, REQUEST + message(HELLO)) as client:
            await welcomed(client)
            client.send(message(GOOD))
            await until(lambda: a.recorder.messages)
            client.send(bad + message(GOOD))
            assert await client.closing_code() == code
            assert await client.closed() == b""
        await until(lambda: caplog.records)
    assert a.recorder.from_peer(2) == [heartbeat(1)]
    assert [record.message.split(" from ")[0] for record in caplog.records] == ["closed the connection of node 2"]
    assert a.transport.stats()[2].last_error
    await serves(a)


async def test_a_bad_frame_in_a_message_ends_the_connection(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    a = await tcp.open(1)
    async with websocket(a, REQUEST + message(HELLO)) as client:
        await welcomed(client)
        client.send(message(GOOD + encode_frame(b"\xc1") + GOOD) + message(GOOD) + message(b"", PING) * 20)
        assert await client.closed() == b""
    assert a.recorder.from_peer(2) == [heartbeat(1)]
    assert len(caplog.records) == 1
    await serves(a)


async def test_the_preface_is_due_in_a_websocket_too(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    for rubbish in (b"\x00", REQUEST):  # no WebSocket in a WebSocket
        async with websocket(a, REQUEST + message(rubbish)) as client:
            assert await client.status() == 101
            answer = await client.answer()
            assert isinstance(answer, Refused)
            assert "does not open with the preface" in answer.reason


async def test_what_looks_like_a_request_within_a_stream_is_none(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    entry = Entry(1, 1, EntryKind.COMMANDS, REQUEST)
    sent = AppendEntries(term=1, session=1, previous_index=0, previous_term=0, commit=0, entries=(entry,))
    before, found, behind = encode_frame(CODEC.encode(0, sent)).partition(REQUEST)
    assert found
    async with websocket(a, HELLO) as client:  # though it is by TCP
        client.send(before)
        await until(lambda: a.transport._acceptor._by_peer)  # type: ignore[attr-defined]
        (accepted,) = a.transport._acceptor._by_peer[2]  # type: ignore[attr-defined]
        await until(lambda: accepted._splitter.partial_bytes == len(before))
        client.send(REQUEST + behind)
        await until(lambda: a.recorder.messages)
    assert a.recorder.from_peer(2) == [sent]


# Time, and amounts.


@pytest.mark.parametrize("size", [1, 20, len(REQUEST) - 1, len(REQUEST), len(REQUEST) + 10])
async def test_half_an_opening_times_out(hasty: Hasty, size: int) -> None:
    a = await hasty.open(1)
    async with websocket(a, (REQUEST + message(HELLO))[:size]) as client, asyncio.timeout(20):
        await client.closed()
    await until(lambda: not a.transport._acceptor._connections)  # type: ignore[attr-defined]
    assert a.recorder.calls == 0


async def test_a_slow_opening_times_out_however_steady_it_is(hasty: Hasty) -> None:
    a = await hasty.open(1)

    async def drip(client: RawWebSocket) -> None:
        for byte in REQUEST + message(b"\xf5") + message(b"", PING) * 10_000:
            client.send(bytes([byte]))
            await asyncio.sleep(0.005)

    async with websocket(a) as client, asyncio.timeout(20):
        dripping = asyncio.ensure_future(drip(client))
        await client.closed()
        dripping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dripping


async def test_openings_at_once_are_bounded() -> None:
    class Bounded(TcpHarness):
        options = TcpOptions(handshakes_max=3)

    async with Bounded() as harness:
        a = await harness.open(1)
        async with contextlib.AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(websocket(a, REQUEST)) for _ in range(3)]
            for client in idle:
                assert await client.status() == 101
            async with websocket(a, REQUEST) as one_too_many:
                assert await one_too_many.closed() == b""
            idle[0].send(message(HELLO))
            assert isinstance(await idle[0].answer(), Welcome)
            await serves(a)


async def test_a_stranger_may_send_few_frames(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    a = await tcp.open(1)
    async with websocket(a, REQUEST + message(b"", PING) * STRANGER_FRAMES_MAX + message(HELLO)) as client:
        assert await client.status() == 101
        for _ in range(STRANGER_FRAMES_MAX):
            assert await client.receive() == (PONG, b"")
        assert await client.closing_code() == 1008
    await until(lambda: "too many messages before the handshake is over" in caplog.text)
    await serves(a)


async def test_a_flood_is_noticed_before_it_is_parsed() -> None:
    class Socket(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written = b""
            self.closed = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.written += data

        def is_closing(self) -> bool:
            return self.closed

        def close(self) -> None:
            self.closed = True

    socket, end = Socket(), AcceptedWebSocket(asyncio.Protocol(), 1.0)
    end.connection_made(socket)
    end.data_received(REQUEST)
    end.data_received(message(b"", PING) * 40_000)
    assert socket.closed
    assert STRANGER_FRAMES_MAX < socket.written.count(bytes([0x80 | PONG, 0])) < 5 * STRANGER_FRAMES_MAX
    end.connection_lost(None)


async def test_who_reads_no_pongs_costs_bounded_memory(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with websocket(a, REQUEST + message(HELLO)) as client:
        await welcomed(client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: a.transport._acceptor._by_peer)  # type: ignore[attr-defined]
        (accepted,) = a.transport._acceptor._by_peer[2]  # type: ignore[attr-defined]
        pings = message(bytes(125), PING) * 500
        for _ in range(100):
            client.send(pings)
            await client.writer.drain()
        client.send(message(GOOD))
        await until(lambda: a.recorder.messages)  # all of them have been read
        assert 0 < accepted._websocket.get_write_buffer_size() < 1_000_000
