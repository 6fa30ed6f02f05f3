"""A peer connection inside of a WebSocket (RFC 6455), for nodes that reach each other only through what speaks HTTP.

::

    Dialled ── DialledWebSocket ── socket ~~ proxies ~~ socket ── AcceptedWebSocket ── Accepted

A :class:`WebSocket` stands between a socket and the protocol of a peer connection, which takes it for its transport:
what that writes leaves in binary messages, and what comes in binary messages is given to it. Where a message ends says
nothing: frames are cut out of the stream that the messages carry, as they are over TCP, and so a message can be small
however large a frame is.

This is imported when the first WebSocket is dialled or accepted, for most nodes never see one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from quorate.errors import FrameError

MESSAGE_BYTES = 64 * 1024
"""What is written is cut into messages of at most this size."""

MESSAGE_BYTES_MAX = 256 * 1024
"""The largest message that is accepted, whole or in fragments."""

LIBRARY_LOG = logging.getLogger(f"{__name__}.library")
"""For the library to log to: it tells of every frame otherwise, even of their contents."""
LIBRARY_LOG.setLevel(logging.WARNING)

_PONG = b"\x8a"
"""How a whole pong begins: the final fragment, and its opcode."""


class WebSocket(asyncio.Protocol, asyncio.Transport):
    """The protocol of the socket ``below`` it, and the transport of the protocol ``above``.

    What kind of end it is, client or server, is ``protocol``'s business. The other end has ``close_seconds`` to
    take part in closing. When the connection is lost, the protocol above learns as :class:`FrameError` what was
    wrong with it, if that was the reason.
    """

    def __init__(
        self, above: asyncio.Protocol, protocol: ClientProtocol | ServerProtocol, close_seconds: float
    ) -> None:
        super().__init__()
        self._above = above
        self._protocol = protocol
        self._close_seconds = close_seconds
        self._below: asyncio.Transport
        self._is_closing = self._is_paused = False
        self._error: Exception | None = None
        self._end: asyncio.TimerHandle | None = None

    # -- the protocol of the socket -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast("asyncio.Transport", transport)  # uvloop's are not asyncio's by class

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            self._met(event)
        self._error = self._error or self._mistake()
        self._flush()
        if self._error is not None:
            self._close_soon()
            self._below.close()

    def pause_writing(self) -> None:
        self._is_paused = True
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._above.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closing = True
        if self._end is not None:
            self._end.cancel()
        self._above.connection_lost(self._error or error)

    # -- the transport of the peer connection -------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send ``data``, unless the WebSocket is not open."""
        if self._protocol.state is not State.OPEN:
            return
        view = memoryview(data)
        for at in range(0, len(view), MESSAGE_BYTES):
            self._protocol.send_binary(view[at : at + MESSAGE_BYTES])
        self._flush()

    def close(self) -> None:
        """Close in order once what was written has left, or without it after a while."""
        if self._is_closing:
            return
        self._close_soon()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        else:
            self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self._below.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._below.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)

    # -- for both ends ------------------------------------------------------------------------------------

    def _met(self, event: Request | Response | Frame) -> None:
        """Something arrived. Pings and the end are answered by the library."""
        if not isinstance(event, Frame) or self._error is not None:
            return
        if event.opcode in (Opcode.BINARY, Opcode.CONT):
            self._above.data_received(bytes(event.data))
        elif event.opcode is Opcode.TEXT:
            self._fail(CloseCode.UNSUPPORTED_DATA, "a text message where all are binary")

    def _mistake(self) -> Exception | None:
        """What the library found to be wrong."""
        error = self._protocol.handshake_exc or self._protocol.parser_exc
        return None if error is None else FrameError(f"no WebSocket of a peer: {error}")

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Take nothing more that arrives, and say why."""
        self._error = FrameError(reason)
        self._protocol.fail(code, reason)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._below.is_closing():
                break
            if data == SEND_EOF:
                self._below.close()
            elif not (self._is_paused and data.startswith(_PONG)):  # who reads no answers need not get them
                self._below.write(data)
        if self._protocol.close_expected():
            self._close_soon()

    def _close_soon(self) -> None:
        self._is_closing = True
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(self._close_seconds, self._below.abort)
