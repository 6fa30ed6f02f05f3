"""The dialling end of a WebSocket, which finds out by pings whether there is still somebody behind the proxies."""

from __future__ import annotations

import asyncio

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from quorate.transport.handshake import WEBSOCKET_PATH
from quorate.transport.options import TcpOptions
from quorate.transport.websocket import LIBRARY_LOG, MESSAGE_BYTES_MAX, WebSocket


class DialledWebSocket(WebSocket):
    """Asks for the WebSocket. What is written before there is one leaves when there is.

    Its pings have two uses: a proxy closes what is silent in one direction for long, as a peer connection is, and to
    a dead peer's proxy the connection may be as good as ever.
    """

    _protocol: ClientProtocol

    def __init__(self, above: asyncio.Protocol, host: str, port: int, options: TcpOptions) -> None:
        uri = WebSocketURI(secure=False, host=host, port=port, path=WEBSOCKET_PATH, query="")
        protocol = ClientProtocol(uri, max_size=MESSAGE_BYTES_MAX, logger=LIBRARY_LOG)
        super().__init__(above, protocol, options.close_seconds)
        self._options = options
        self._waiting: list[bytes] = []
        self._next_ping: asyncio.TimerHandle | None = None
        self._pinged_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._above.connection_made(self)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self._next_ping is not None:
            self._next_ping.cancel()
        super().connection_lost(error)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, now or as soon as the WebSocket is open."""
        if self._protocol.state is State.CONNECTING:
            self._waiting.append(bytes(data))
        else:
            super().write(data)

    def _met(self, event: Request | Response | Frame) -> None:
        if isinstance(event, Response):
            if self._protocol.state is State.OPEN:
                self._opened()
        elif isinstance(event, Frame) and event.opcode is Opcode.PONG:
            self._pinged_at = None
        else:
            super()._met(event)

    def _opened(self) -> None:
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.write(data)
        self._ping()

    def _ping(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pinged_at is not None:
            if loop.time() - self._pinged_at >= self._options.unacknowledged_seconds_max:
                self._error = TimeoutError()
                self.abort()
                return
        elif self._protocol.state is State.OPEN and not self.get_write_buffer_size():
            self._pinged_at = loop.time()
            self._protocol.send_ping(b"")
            self._flush()
        self._next_ping = loop.call_later(self._options.ping_seconds, self._ping)
