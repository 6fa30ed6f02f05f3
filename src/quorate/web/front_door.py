"""One port for everything: looks at a connection's first bytes and gives it to whom it is meant for.

A peer opens with :data:`~quorate.transport.handshake.PREFACE`, whose first byte starts no HTTP request. Everything
else is HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quorate.transport.handshake import PREFACE


class FrontDoor(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands peer connections over before a byte of theirs is parsed."""

    def __init__(self, *args: Any, accept_peer: Callable[[], asyncio.Protocol], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accept_peer = accept_peer
        self._is_http = False

    def data_received(self, data: bytes) -> None:
        """Decide by the first byte; after that, HTTP goes straight on."""
        if self._is_http:
            super().data_received(data)
        elif data[:1] == PREFACE[:1]:
            self._hand_over(data)
        else:
            self._is_http = True
            super().data_received(data)

    def _hand_over(self, data: bytes) -> None:
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        protocol = self._accept_peer()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)
