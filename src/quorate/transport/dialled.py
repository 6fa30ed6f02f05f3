"""One connection that we dialled, inside of a WebSocket or not: hello out, welcome in, then frames one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from quorate.errors import FrameError, HandshakeRefused, TransportError
from quorate.transport.framing import FrameSplitter
from quorate.transport.handshake import (
    HANDSHAKE_BYTES_MAX,
    PREFACE,
    Hello,
    Refused,
    Welcome,
    decode_handshake,
    encode_handshake,
)
from quorate.transport.options import TcpOptions
from quorate.transport.sockets import tune


@asynccontextmanager
async def dialled(
    host: str, port: int, hello: Callable[[], Hello], options: TcpOptions
) -> AsyncIterator[tuple[Dialled, Welcome]]:
    """A connection that was welcomed, closed at the end of the block; raises what came instead of a welcome.

    ``hello`` is called when there is a connection, for what it says to be no older than that.
    """
    connection: Dialled | None = None
    try:
        async with asyncio.timeout(options.handshake_seconds):
            connection = await _connected(host, port, options)
            connection.greet(hello())
            welcome = await connection.until_answered()
        yield connection, welcome
    finally:
        if connection is not None:
            await connection.finish(options.close_seconds)


async def _connected(host: str, port: int, options: TcpOptions) -> Dialled:
    connection = Dialled(options)
    of_socket = connection if options.dials == "tcp" else _in_websocket(connection, host, port, options)
    await asyncio.get_running_loop().create_connection(lambda: of_socket, host, port)
    return connection


def _in_websocket(connection: Dialled, host: str, port: int, options: TcpOptions) -> asyncio.Protocol:
    from quorate.transport.websocket_dialled import DialledWebSocket

    return DialledWebSocket(connection, host, port, options)


class Dialled(asyncio.Protocol):
    """The protocol of a dialled connection; its loop's ``create_connection`` is given it."""

    def __init__(self, options: TcpOptions) -> None:
        loop = asyncio.get_running_loop()
        # Both end in a value, never in an exception: no one has to fetch what nobody waits for.
        self._answer: asyncio.Future[Welcome | Exception] = loop.create_future()
        self._lost: asyncio.Future[Exception] = loop.create_future()
        self._options = options
        self._error: Exception | None = None
        self._splitter = FrameSplitter(HANDSHAKE_BYTES_MAX)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not asyncio's by class
        tune(transport, self._options.unacknowledged_seconds_max)

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return
        try:
            for body in self._splitter.feed(data):
                self._answered(body)
        except TransportError as error:
            self._error = error
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        reason = self._error or error or ConnectionResetError("closed by the peer")
        if not self._answer.done():
            self._answer.set_result(reason)
        if not self._lost.done():
            self._lost.set_result(reason)

    @property
    def unsent_bytes(self) -> int:
        """What was written and the socket has not taken."""
        return self._transport.get_write_buffer_size()

    def greet(self, hello: Hello) -> None:
        """Open the conversation."""
        self.write(PREFACE + encode_handshake(hello))

    def write(self, data: bytes) -> bool:
        """Queue ``data``, unless the connection is going down: then false."""
        if self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    async def until_answered(self) -> Welcome:
        """The peer's welcome; raises what came instead."""
        await asyncio.wait([self._answer])
        answer = self._answer.result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def until_lost(self) -> Exception:
        """Why the connection ended, once it has."""
        await asyncio.wait([self._lost])
        return self._lost.result()

    async def lost_within(self, seconds: float) -> Exception | None:
        """Why the connection ended, or ``None`` if it has not after ``seconds``."""
        await asyncio.wait([self._lost], timeout=seconds)
        return self._lost.result() if self._lost.done() else None

    async def finish(self, seconds_max: float) -> None:
        """Close once all that was written has left, or after ``seconds_max``; return when it is closed."""
        self._transport.close()
        try:
            await asyncio.wait([self._lost], timeout=seconds_max)
        finally:  # even if cancelled here, as by a receiver that hangs up when it is refused
            if not self._lost.done():
                self._transport.abort()
                await asyncio.wait([self._lost])

    def _answered(self, body: bytes) -> None:
        if self._answer.done():
            raise FrameError("the peer sent a frame on a connection that only we send on")
        answer = decode_handshake(body)
        if isinstance(answer, Refused):
            raise HandshakeRefused(answer.reason, answer.code)
        if not isinstance(answer, Welcome):
            raise FrameError(f"{type(answer).__name__} where a welcome should be")
        self._answer.set_result(answer)
