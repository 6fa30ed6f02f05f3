"""A node with its HTTP side on one port: what ``quorate node`` runs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, cast

import uvicorn

from quorate.app import App
from quorate.config import NodeConfig
from quorate.errors import ConfigError
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.node.forwarding import WIRE_CODEC
from quorate.node.identity import identity_of
from quorate.node.node import Node
from quorate.transport.tcp import TcpTransport
from quorate.web.front_door import FrontDoor
from quorate.web.open_files import client_connections_max, raise_open_files_max
from quorate.web.site import Site

log = logging.getLogger(__name__)

BACKLOG = 1024
DRAIN_SECONDS = 1
"""Requests may take this long to finish once the node is told to stop; without a quorum they never would."""
SHUTDOWN_SECONDS = 5
KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to whoever runs the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class NodeServer:
    """One node and its port. ``start``, then ``wait_stopped``; ``stop`` ends both sides in order."""

    def __init__(self, config: NodeConfig, app: App | None) -> None:
        self.config = config
        self._app = app or App(models=[])
        machines: dict[str, StateMachine | DiskStateMachine] = {}
        self._models: ModelsMachine | None = None
        if self._app.models:
            self._models = machines[MACHINE] = ModelsMachine(self._app.schemas)
        raft_config = config.raft_config()
        rng = Random()
        schema = self._app.schema_fingerprint
        self._transport = TcpTransport(identity_of(raft_config, rng, schema=schema), WIRE_CODEC, rng=rng)
        self.node = Node(raft_config, machines=machines, transport=self._transport, rng=rng, schema=schema)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind the port, start the node, serve. Raises :class:`ConfigError` if the port cannot be had."""
        listener = self._bind()
        try:
            await self.node.start()
        except BaseException:
            listener.close()
            raise
        site = Site(
            self.node,
            self._app,
            self._models,
            max_body_bytes=self.config.max_body_bytes,
            forward_writes=self.config.forward_writes,
        )
        self._server = _Server(
            uvicorn.Config(
                cast("Any", site),
                http=cast("Any", self._front_door()),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))

    def _front_door(self) -> partial[FrontDoor]:
        connections_max = client_connections_max(raise_open_files_max())
        return partial(FrontDoor, accept_peer=self._transport.accept_protocol, connections_max=connections_max)

    def _bind(self) -> socket.socket:
        host, port = self.config.host, self.config.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
        listener.setblocking(False)
        return listener

    async def wait_stopped(self) -> None:
        """Return when the node has stopped; raise what made it stop if that was a failure."""
        await self.node.wait_stopped()

    async def stop(self) -> None:
        """Stop taking requests, give those under way a moment, then stop the node, which answers the rest."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=DRAIN_SECONDS)
        await self.node.stop()
        if self._serving is not None:
            await self._serving
