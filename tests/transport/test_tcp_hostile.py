"""A TCP transport against peers that lie, stutter, stall or send garbage: the connection ends, the node lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries
from quorate.records import encode_record
from quorate.testing.transport_suite import Station, heartbeat, until
from quorate.transport import PREFACE, Codec, Identity, LinkState, TcpOptions
from quorate.transport.framing import FrameSplitter, encode_frame
from quorate.transport.handshake import (
    HANDSHAKE_BYTES_MAX,
    Hello,
    Refused,
    Welcome,
    decode_handshake,
    encode_handshake,
    hello_from,
    refusal,
    welcome_from,
)

from .harnesses import TcpHarness

PEER = Identity(cluster_id="suite", node_id=2, address="127.0.0.1:1", incarnation=22, software="raw")
HELLO = PREFACE + encode_handshake(hello_from(PEER))
CODEC = Codec()
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawClient:
    """A dialling peer that can say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def answer(self) -> Welcome | Refused | Hello:
        header = await self._reader.readexactly(8)
        length = struct.unpack(">I", header[:4])[0]
        (body,) = FrameSplitter(HANDSHAKE_BYTES_MAX).feed(header + await self._reader.readexactly(length - 4))
        return decode_handshake(body)

    async def refused(self) -> str:
        """The reason of the refusal, after which the connection must end."""
        answer = await self.answer()
        assert isinstance(answer, Refused)
        await self.closed()
        return answer.reason

    async def closed(self) -> None:
        with contextlib.suppress(ConnectionError):
            assert await self._reader.read() == b""

    def send(self, data: bytes) -> None:
        self._writer.write(data)


@contextlib.asynccontextmanager
async def raw(station: Station, opening: bytes = b"") -> AsyncIterator[RawClient]:
    host, port = station.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(opening)
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[str]:
    """The address of a peer that answers a connection as ``handler`` does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readexactly(len(PREFACE))
                await handler(reader, writer)
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


async def welcomed(client: RawClient) -> None:
    assert isinstance(await client.answer(), Welcome)


def append(*records: bytes) -> bytes:
    return msgspec.msgpack.encode([3, 0, 1, 1, 0, 0, 0, b"".join(records)])


# A peer that dials us.


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", "does not open with the preface"),
        (b"\x16\x03\x01\x00", "does not open with the preface"),
        (PREFACE[:5] + b"XYZ", "does not open with the preface"),
        (PREFACE + bytes(64), "a frame of 4 bytes; allowed are 8 to 65536"),
        (PREFACE + b"\xff" * 64, "allowed are 8 to 65536"),
        (PREFACE + encode_frame(bytes(70_000)), "a frame of 70008 bytes; allowed are 8 to 65536"),
        (PREFACE + encode_frame(b"garbage"), "not a handshake"),
        (PREFACE + encode_frame(CODEC.encode(0, heartbeat(1))), "not a handshake"),
        (PREFACE + encode_handshake(welcome_from(PEER, 1)), "Welcome where a hello should be"),
        (PREFACE + HELLO[8:-1] + bytes([HELLO[-1] ^ 1]), "fails its checksum"),
        (PREFACE + encode_handshake(hello_from(PEER, (0, 0))), "no common protocol version"),
        (PREFACE + encode_handshake(hello_from(PEER, (2, 9))), "node 1 speaks 1 to 1, node 2 speaks 2 to 9"),
    ],
)
async def test_a_bad_opening_is_refused_with_the_reason(tcp: TcpHarness, opening: bytes, reason: str) -> None:
    a = await tcp.open(1)
    async with raw(a, opening) as client:
        assert reason in await client.refused()
    assert a.recorder.calls == 0
    async with raw(a, HELLO) as client:
        await welcomed(client)


async def test_a_hello_may_come_byte_by_byte_with_messages_behind_it(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with raw(a) as client:
        for byte in HELLO:
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        client.send(encode_frame(CODEC.encode(0, heartbeat(1))))
        await welcomed(client)
        await until(lambda: a.recorder.messages)
    async with raw(a, HELLO + encode_frame(CODEC.encode(0, heartbeat(2)))):
        await until(lambda: len(a.recorder.messages) == 2)
    assert a.recorder.from_peer(2) == [heartbeat(1), heartbeat(2)]


BAD_FRAMES = {
    "checksum": encode_frame(CODEC.encode(0, heartbeat(1)))[:-1] + b"\x7f",
    "over the limit": struct.pack(">II", 64 * 1024 * 1024 + 1, 0),
    "impossible length": bytes(8),
    "unknown kind": encode_frame(msgspec.msgpack.encode([99, 0])),
    "missing field": encode_frame(msgspec.msgpack.encode([5, 0, 1])),
    "gap in entries": encode_frame(append(encode_record(1, 2, 1, b"x"))),
    "damaged entry": encode_frame(append(encode_record(1, 1, 1, b"x")[:-1] + b"y")),
    "a second hello": HELLO[8:],
    "not msgpack": encode_frame(b"\xc1"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
async def test_a_bad_frame_ends_the_connection_and_only_that(
    tcp: TcpHarness, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    a = await tcp.open(1)
    good = encode_frame(CODEC.encode(0, heartbeat(1)))
    with caplog.at_level(logging.WARNING):
        async with raw(a, HELLO) as client:
            await welcomed(client)
            client.send(good + BAD_FRAMES[what] + good)
            await client.closed()
    assert a.recorder.from_peer(2) == [heartbeat(1)]
    assert [record.message.split(" from ")[0] for record in caplog.records] == ["closed the connection of node 2"]
    assert a.transport.stats()[2].last_error
    async with raw(a, HELLO + good):
        await until(lambda: len(a.recorder.messages) == 2)


async def test_no_flipped_bit_of_a_frame_is_ever_delivered(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    entry = Entry(1, 1, EntryKind.COMMANDS, b"payload")
    message = AppendEntries(term=1, session=1, previous_index=0, previous_term=0, commit=0, entries=(entry,))
    frame = encode_frame(CODEC.encode(0, message))
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        async with raw(a, HELLO) as client:
            await welcomed(client)
            client.send(bytes(damaged))
            client.send(frame)
            if bit < 32:  # a length may have become so long that the frame never ends
                client._writer.write_eof()
            await client.closed()
    assert all(message == received for received in a.recorder.from_peer(2))
    assert len(a.recorder.messages) == 0


class Hasty(TcpHarness):
    options = TcpOptions(handshake_seconds=0.5, handshakes_max=3, backoff_seconds_max=0.02)


@pytest.fixture
async def hasty() -> AsyncIterator[Hasty]:
    async with Hasty() as harness:
        yield harness


@pytest.mark.parametrize("size", [0, 5, 8, 11, len(HELLO) - 1])
async def test_half_a_handshake_times_out(hasty: Hasty, size: int) -> None:
    a = await hasty.open(1)
    async with raw(a, HELLO[:size]) as client:
        assert await client.refused() == "the handshake took more than 0.5 s"
    assert a.recorder.calls == 0


async def test_a_finished_handshake_does_not_time_out(hasty: Hasty) -> None:
    a = await hasty.open(1)
    async with raw(a, HELLO) as client, raw(a) as other:
        await welcomed(client)
        assert "took more than" in await other.refused()
        client.send(encode_frame(CODEC.encode(0, heartbeat(1))))
        await until(lambda: a.recorder.messages)


async def test_handshakes_at_once_are_bounded() -> None:
    class Bounded(TcpHarness):
        options = TcpOptions(handshakes_max=3)

    async with Bounded() as harness:
        a = await harness.open(1)
        async with contextlib.AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(raw(a, PREFACE)) for _ in range(3)]
            await until(lambda: len(a.transport._acceptor._strangers) == 3)  # type: ignore[attr-defined]
            async with raw(a, HELLO) as one_too_many:
                await one_too_many.closed()
            idle[0].send(HELLO[8:])
            await welcomed(idle[0])
            async with raw(a, HELLO) as client:
                await welcomed(client)


async def test_a_newer_connection_of_a_peer_replaces_the_older(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with raw(a, HELLO) as older, raw(a) as newer:
        await welcomed(older)
        newer.send(HELLO)
        await welcomed(newer)
        await older.closed()
        newer.send(encode_frame(CODEC.encode(0, heartbeat(1))))
        await until(lambda: a.recorder.messages)


async def test_repeated_refusals_are_logged_once(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    a = await tcp.open(1)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            async with raw(a, b"POST / HTTP/1.1\r\n\r\n") as client:
                await client.refused()
    assert len(caplog.records) == 1


async def test_a_front_door_may_hand_a_connection_over(tcp: TcpHarness) -> None:
    a = await tcp.open(1)

    class FrontDoor(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.first = b""

        def data_received(self, data: bytes) -> None:
            self.first += data
            if self.first.startswith(PREFACE[:1]):
                protocol = a.transport.accept_protocol()  # type: ignore[attr-defined]
                self.transport.set_protocol(protocol)
                protocol.connection_made(self.transport)
                protocol.data_received(self.first)

    server = await asyncio.get_running_loop().create_server(FrontDoor, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    client = RawClient(reader, writer)
    client.send(HELLO[:3])
    await asyncio.sleep(0)
    client.send(HELLO[3:] + encode_frame(CODEC.encode(0, heartbeat(1))))
    await welcomed(client)
    await until(lambda: a.recorder.messages)
    await a.transport.stop()
    await client.closed()
    writer.close()
    server.close()
    await server.wait_closed()


# A peer that we dial.


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def answer_with(data: bytes, *, and_close: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(data)
        if and_close:
            writer.close()

    return handler


@pytest.mark.parametrize(
    ("handler", "state", "error"),
    [
        (never_answer, LinkState.CONNECTING, "no answer in time"),
        (answer_with(b"", and_close=True), LinkState.CONNECTING, "closed by the peer"),
        (answer_with(encode_handshake(refusal("not you"))), LinkState.REFUSED, "not you"),
        (answer_with(encode_handshake(welcome_from(PEER, 7))), LinkState.REFUSED, "chose protocol version 7"),
        (answer_with(HELLO[8:]), LinkState.CONNECTING, "Hello where a welcome should be"),
        (answer_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"), LinkState.CONNECTING, "allowed are 8 to 65536"),
        (answer_with(encode_frame(b"x")), LinkState.CONNECTING, "not a handshake"),
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

    a = await hasty.open(1)
    with caplog.at_level(logging.WARNING):
        async with raw_server(counting) as address:
            a.transport.dial(address)
            await until(lambda: attempts >= 4)
            assert a.link_to(address).state is state
            assert not a.recorder.introductions
            assert not a.recorder.events
            assert error in (a.link_to(address).last_error or "")
            a.transport.hang_up(address)
            await until(lambda: not a.transport._dialler._closing)  # type: ignore[attr-defined]
    assert len(caplog.records) == 1


async def test_a_peer_that_talks_back_is_cut_off(hasty: Hasty) -> None:
    a = await hasty.open(1)
    talkative = encode_handshake(welcome_from(PEER, 1)) + encode_frame(CODEC.encode(0, heartbeat(1)))
    async with raw_server(answer_with(talkative)) as address:
        a.transport.dial(address)
        await until(lambda: ("disconnected", 2) in a.recorder.events)
        assert a.recorder.messages == []
        assert "only we send on" in (a.transport.stats()[2].last_error or "")
        a.transport.hang_up(address)
        await until(lambda: not a.transport._dialler._closing)  # type: ignore[attr-defined]
