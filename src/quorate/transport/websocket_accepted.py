"""The accepting end of a WebSocket, which anyone may open: a stranger, until the peers' own handshake is over."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from quorate.errors import FrameError
from quorate.transport.handshake import WEBSOCKET_PATH
from quorate.transport.websocket import LIBRARY_LOG, MESSAGE_BYTES_MAX, WebSocket

HEAD_BYTES_MAX = 64 * 1024
"""The limit on a request's line and headers."""

STRANGER_FRAMES_MAX = 64
"""So many of the WebSocket's frames, pings too, may come before the handshake is over."""

_PIECE_BYTES = 1024
"""So much of a stranger's is parsed at a time: a flood of tiny frames is noticed before it has taken long."""


class AcceptedWebSocket(WebSocket):
    """Answers the request, and takes in what follows. How long that may take is for the protocol above to bound."""

    _protocol: ServerProtocol

    def __init__(self, above: asyncio.Protocol, close_seconds: float) -> None:
        # A browser names the origin of whatever opens a WebSocket, and nothing else does: no page may pose as a node.
        protocol = ServerProtocol(origins=[None], max_size=MESSAGE_BYTES_MAX, logger=LIBRARY_LOG)
        super().__init__(above, protocol, close_seconds)
        self.is_trusted = False
        """Whether the handshake is over."""
        self._head_bytes = self._frames = 0

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data) and self._error is None:
            if self._protocol.state is State.CONNECTING:
                piece = self._line(data, at)
            else:
                piece = data[at:] if self.is_trusted else data[at : at + _PIECE_BYTES]
            at += len(piece)
            super().data_received(piece)

    def _line(self, data: bytes, at: int) -> bytes:
        """As much as may belong to the head: the library must not go on to what is behind it before we answer."""
        line = data[at : data.find(b"\n", at) + 1 or None]
        self._head_bytes += len(line)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(self._protocol.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, ""))
        return line

    def _met(self, event: Request | Response | Frame) -> None:
        if isinstance(event, Request):
            self._asked(event)
            return
        self._frames += 1
        if self.is_trusted or self._frames <= STRANGER_FRAMES_MAX:
            super()._met(event)
        elif self._error is None:
            self._fail(CloseCode.POLICY_VIOLATION, "too many messages before the handshake is over")

    def _asked(self, request: Request) -> None:
        if request.path == WEBSOCKET_PATH:
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(HTTPStatus.NOT_FOUND, f"peers ask for {WEBSOCKET_PATH}\n")
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._protocol.send_response(response)
        else:
            self._refuse(response)

    def _refuse(self, response: Response) -> None:
        self._error = FrameError(f"not a peer: its request was answered with HTTP {response.status_code}")
        self._protocol.send_response(response)
        self._flush()
