"""A WebSocket spoken by hand, to say what no library would."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator

from quorate.testing.transport_suite import Station
from quorate.transport.framing import FrameSplitter
from quorate.transport.handshake import Hello, Refused, Welcome, decode_handshake

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
REQUEST = (
    b"GET /raft HTTP/1.1\r\nHost: a:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + b64encode(bytes(16)) + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def message(data: bytes, opcode: int = BINARY, *, final: bool = True, masked: bool = True, length: int = -1) -> bytes:
    """One frame of a WebSocket; ``length`` is what it says of itself, if that is not the truth."""
    length = len(data) if length < 0 else length
    head = bytes([opcode | (0x80 if final else 0)])
    flag = 0x80 if masked else 0
    if length < 126:
        head += bytes([flag | length])
    elif length < 65536:
        head += bytes([flag | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + length.to_bytes(8, "big")
    mask = b"\x01\x02\x03\x04"
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data)) if masked else head + data


class RawWebSocket:
    """The client's end of a connection, whatever it is used for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def status(self) -> int:
        """Of the answer to the request, whose head is read."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def receive(self) -> tuple[int, bytes]:
        """The next frame's opcode and data."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "our messages are whole"
        assert second < 127, "and not so large here"
        length = int.from_bytes(await self.reader.readexactly(2), "big") if second == 126 else second
        return first & 0x0F, await self.reader.readexactly(length)

    async def answer(self) -> Hello | Welcome | Refused:
        """What the acceptor says to the hello."""
        opcode, data = await self.receive()
        assert opcode == BINARY
        (body,) = FrameSplitter().feed(data)
        return decode_handshake(body)

    async def closing_code(self) -> int:
        """What the next frame, by which the other end closes, gives as the reason."""
        opcode, data = await self.receive()
        assert opcode == CLOSE
        return int.from_bytes(data[:2], "big")

    async def closed(self) -> bytes:
        """What comes until the connection ends."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


@contextlib.asynccontextmanager
async def websocket(station: Station, opening: bytes = b"") -> AsyncIterator[RawWebSocket]:
    """A connection to a node on which ``opening`` was said."""
    host, port = station.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(opening)
        async with asyncio.timeout(30):
            yield RawWebSocket(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
