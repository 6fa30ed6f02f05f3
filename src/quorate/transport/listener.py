"""A listener whose end is certain: once it is stopped, every connection it accepted has met its protocol.

An :class:`asyncio.Server` cannot promise that: a connection that is being accepted while the server closes is lost
between the two, its socket left open (cpython#109564).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

_BACKLOG = 128
_PAUSE_SECONDS = 1.0
"""How long not to accept when the system cannot give another connection, as when files run out."""


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of ``host``, all to one port (a free one for 0).

    Raises :class:`OSError` if the name is unknown or the port is taken.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            port = sock.getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class Listener:
    """Accepts the connections of one bound socket, which it owns, and gives each a protocol."""

    def __init__(self, sock: socket.socket, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._new_protocol = new_protocol
        self._paused: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._resume()

    async def stop(self) -> None:
        """Accept no more, and return when all that were accepted have met their protocols."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._opening:
            await asyncio.wait(self._opening)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("cannot accept a connection: %s; next attempt in %g s", error, _PAUSE_SECONDS)
                self._loop.remove_reader(self._sock)
                self._paused = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._new_protocol, connection)
        except OSError as error:
            log.info("a connection ended as it began: %s", error)
            connection.close()
