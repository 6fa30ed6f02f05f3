"""A node with all its faces on one port: what ``quorate node`` runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from quorate.app import App
from quorate.config import NodeConfig
from quorate.kv.machine import MACHINE as KV
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.models.declaring import Declaring
from quorate.models.machine import MACHINE as MODELS
from quorate.models.machine import ModelsMachine
from quorate.models.objects.binding import Binding
from quorate.models.upkeep import Upkeep
from quorate.node.identity import identity_of
from quorate.node.node import DRAIN_SECONDS_MAX, Node, wall_clock_us
from quorate.node.wire import WIRE_CODEC
from quorate.raft.config import MIB
from quorate.tasks.broker import Broker
from quorate.tasks.machine import MACHINE as TASKS
from quorate.tasks.machine import TasksMachine
from quorate.transport.options import TcpOptions
from quorate.transport.tcp import TcpTransport
from quorate.web.front_door import FrontDoor
from quorate.web.held import Held
from quorate.web.listening import listen_on
from quorate.web.open_files import client_connections_max, raise_open_files_max
from quorate.web.redis_door import RedisDoor
from quorate.web.site import Site

if TYPE_CHECKING:
    from quorate.web.injected import InjectedFaults

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.25
"""Connections in use are asked to close with their next answer for this long, before idle ones are closed."""
LAST_WORDS_SECONDS = 1.0
"""Once the node has stopped, everything it was asked has an answer: so long it may take to leave."""
KEEP_ALIVE_SECONDS = 75
BODIES_MAX = 16
"""Bodies on their way to the node, all together, may take as much memory as so many of the largest."""
UNTAKEN_BYTES_MAX = 256 * MIB
"""So much of answers that clients do not take is held for them before long ones are refused."""


def injected_faults() -> InjectedFaults:
    """What a node that may be broken is made with."""
    from quorate.web.injected import InjectedFaults  # a node that is not to be broken does without it

    log.warning("FAULTS MAY BE INJECTED: this node was started with --allow-faults, and is not for production")
    return InjectedFaults()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to whoever runs the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class NodeServer:
    """One node and its port. ``start``, then ``wait_stopped``; ``stop`` ends both sides in order.

    ``stop_at_once`` may be called while ``stop`` takes its time.
    """

    def __init__(self, config: NodeConfig, app: App | None) -> None:
        self.config = config
        self._app = app or App(models=[])
        self._faults = injected_faults() if config.allow_faults else None
        now_us = self._now_us = wall_clock_us if self._faults is None else self._faults.wall_clock_us
        self._admin_token = config.admin_secret
        self._redis = RedisDoor(config, now_us)
        tasks = TasksMachine()
        machines: dict[str, StateMachine | DiskStateMachine] = {KV: self._redis.machine, TASKS: tasks}
        self._models: ModelsMachine | None = None
        if self._app.models:
            self._models = machines[MODELS] = ModelsMachine(self._app.schemas, migrations=self._app.migrations)
        raft_config = config.raft_config()
        rng = Random()
        schema = self._app.schema
        identity = identity_of(raft_config, rng, schema=schema, machines=machines)
        options = TcpOptions(dials=config.peer_transport)
        links = None if self._faults is None else self._faults.links
        self._transport = TcpTransport(identity, WIRE_CODEC, options=options, rng=rng, faults=links)
        self.node = Node(
            raft_config,
            machines=machines,
            transport=self._transport,
            file_system=None if self._faults is None else self._faults.file_system,
            rng=rng,
            wall_clock_us=now_us,
            schema=schema,
        )
        self.broker = Broker.of(self.node, tasks, now_us, self._app.tasks.types, self._app.queues)
        self._declaring = None if self._models is None else Declaring(self._models, schema)
        self._upkeep = None if self._models is None else Upkeep(self._app.schemas, self._models)
        self._binding: Binding | None = None
        if self._models is not None and self._upkeep is not None:
            name = f"node {config.node_id}"
            self._binding = Binding(
                self._app.models, self._models, self.node, name, self._upkeep.local, self._app.read_consistency
            )
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._site: Site | None = None

    async def start(self) -> None:
        """Bind the ports, start the node, serve. Raises :class:`ConfigError` if a port cannot be had."""
        listener = listen_on(self.config.host, self.config.port, "--port")
        try:
            self._redis.bind()
            await self.node.start()
            if self._upkeep is not None:
                self._upkeep.open(self.config.data_dir)
        except BaseException:
            listener.close()
            await self._redis.close()
            await self.node.stop(hand_over=False)
            raise
        if self._upkeep is not None:
            self._upkeep.begin(self.node, lambda: self.node.is_leader, self._now_us)
        if self._declaring is not None:
            self._declaring.begin(self.node)
        if self._binding is not None:
            self._binding.begin()
        self.broker.begin()
        self._app.tasks.gateways.add(self.broker, f"node {self.config.node_id}")
        clients_max = client_connections_max(raise_open_files_max()) // 2
        await self._redis.open(self.node, clients_max)
        outgoing = Held(UNTAKEN_BYTES_MAX)
        site = self._site = Site(
            self.node,
            self._app,
            self._models,
            max_body_bytes=self.config.max_body_bytes,
            forward_writes=self.config.forward_writes,
            local=None if self._upkeep is None else self._upkeep.local,
            admin_sql=self.config.admin_sql,
            faults=self._faults,
            outgoing=outgoing,
            tasks=self.broker,
            resp=self._redis.service,
            keys_are_secret=self.config.kv_password is not None,
            admin_token=self._admin_token,
        )
        self._server = _Server(
            uvicorn.Config(
                cast("Any", site),
                http=cast("Any", self._front_door(site, clients_max, outgoing)),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=2 * int(DRAIN_SECONDS_MAX),
            )
        )
        loop = asyncio.get_running_loop()
        if self.config.statistics_seconds:
            self._telling = loop.create_task(site.statistics.tell(self.config.statistics_seconds))
        self._serving = loop.create_task(self._server.serve(sockets=[listener]))

    def _front_door(self, site: Site, connections_max: int, outgoing: Held) -> partial[FrontDoor]:
        return partial(
            FrontDoor,
            resources=site,
            accept_peer=self._transport.accept_protocol,
            accept_redis=self._redis.accept,
            connections_max=connections_max,
            incoming=Held(BODIES_MAX * self.config.max_body_bytes),
            outgoing=outgoing,
            turned_away=site.requests.turned_away,
        )

    async def wait_stopped(self) -> None:
        """Return when the node has stopped; raise what made it stop if that was a failure."""
        await self.node.wait_stopped()

    async def stop(self) -> None:
        """Hand over, answer what was asked (30 s at most), then stop. Idempotent."""
        if self.node.failure is None:
            deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS_MAX
            await self.node.drain(DRAIN_SECONDS_MAX)
            self._redis.send_away()
            if self._server is not None and self._serving is not None:
                await self._send_clients_away(self._server, self._serving, deadline)
        await self.stop_at_once()

    async def _send_clients_away(self, server: _Server, serving: asyncio.Task[None], deadline: float) -> None:
        """Close the port, then each connection behind the answer that it waits for."""
        if self._site is not None:
            self._site.send_away()
        for listener in getattr(server, "servers", ()):
            listener.close()
        # Who uses a connection all the time learns from an answer that it ends. If it were closed under a request
        # that is on its way, nobody could tell that client whether it was served.
        await asyncio.wait([serving], timeout=LINGER_SECONDS if server.server_state.connections else 0)
        server.should_exit = True
        await asyncio.wait([serving], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))

    async def stop_at_once(self) -> None:
        """Stop without handing over. What clients wait for is answered as far as its outcome is known. Idempotent."""
        self._app.tasks.gateways.remove(self.broker)
        await self.broker.end()
        if self._binding is not None:
            self._binding.end()
        if self._declaring is not None:
            await self._declaring.end()
        if self._telling is not None:
            self._telling.cancel()
        await self.node.stop(hand_over=False)
        await self._redis.close()
        if self._server is not None and self._serving is not None:
            if self._site is not None:
                self._site.send_away()
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=LAST_WORDS_SECONDS)
            self._server.force_exit = True
            await asyncio.wait([self._serving], timeout=LAST_WORDS_SECONDS)
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._upkeep is not None:
            await self._upkeep.end()
