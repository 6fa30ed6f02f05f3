"""The Redis protocol of a node: on the port that it shares with all else, and on one of its own if it has one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from quorate.config import NodeConfig
from quorate.kv.machine import KvMachine
from quorate.kv.resp.bounds import Bounds
from quorate.kv.server.service import Limits, Service
from quorate.kv.server.session import is_command
from quorate.node.node import Node
from quorate.transport.sockets import tune
from quorate.web.listening import listen_on

UNACKNOWLEDGED_SECONDS_MAX = 60.0
"""A client that takes no more of its replies for this long is given up (where the system can do that)."""


def is_redis(data: bytes) -> bool:
    """Whether a connection begins as a Redis client's: with an array, or with a command that somebody types.

    No request of HTTP begins with an array, and the first line of each names HTTP.
    """
    if data[:1] == b"*":
        return True
    line, newline, _ = data.partition(b"\n")
    words = line.split()
    return bool(newline and words) and b" HTTP/" not in line and is_command(words[0].upper())


class RedisDoor:
    """Clients of the Redis protocol. :meth:`bind`, then :meth:`open`; :meth:`close` may come at any time."""

    def __init__(self, config: NodeConfig, wall_clock_us: Callable[[], int]) -> None:
        self.machine = KvMachine(wall_clock_us)
        self._config = config
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._service: Service | None = None

    def bind(self) -> None:
        """Take the port of its own. Raises :class:`ConfigError` if it cannot be had."""
        if self._config.resp_port is not None:
            self._listener = listen_on(self._config.host, self._config.resp_port, "--resp-port")
            tune(self._listener, UNACKNOWLEDGED_SECONDS_MAX)

    async def open(self, node: Node, clients_max: int) -> None:
        """Serve the clients of a node that runs."""
        config, bytes_max = self._config, node.config.max_command_bytes
        self._service = Service(
            node,
            self.machine,
            password=config.kv_password.get_secret_value() if config.kv_password else None,
            bounds=Bounds(bulk_bytes_max=bytes_max, request_bytes_max=bytes_max),
            limits=Limits(clients_max=clients_max, memory_bytes_max=config.maxmemory),
            notify_keyspace_events=config.notify_keyspace_events,
        )
        self._service.start()
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._service.connect, sock=self._listener)

    @property
    def service(self) -> Service:
        """What serves them, once it is open."""
        assert self._service is not None, "not open"
        return self._service

    def accept(self) -> asyncio.Protocol:
        """The protocol for a connection that turned out to be a Redis client's."""
        return self.service.connect()

    def send_away(self) -> None:
        """Take no more clients, and close each connection behind the replies that it waits for."""
        if self._server is not None:
            self._server.close()
        if self._service is not None:
            self._service.send_away()

    async def close(self) -> None:
        """Disconnect everyone. Idempotent."""
        self.send_away()
        if self._listener is not None:
            self._listener.close()
        if self._service is not None:
            await self._service.close()
