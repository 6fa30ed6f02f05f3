"""All clients of one node: who is there, what binds them, and the way from them into the log and back."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quorate._version import __version__
from quorate.kv import history
from quorate.kv.feed import Feed
from quorate.kv.gathering import Reads, Writes
from quorate.kv.keyspace import Keyspace
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.registry import Spec
from quorate.kv.replies import CommandError, Reply
from quorate.kv.resp.bounds import Bounds
from quorate.kv.server import (
    blocking_commands,
    client_commands,
    connection_commands,
    introspection_commands,
    once_commands,
    pubsub_commands,
    transaction_commands,
    watch_commands,
)
from quorate.kv.server.audience import Audience
from quorate.kv.server.connection import Connection
from quorate.kv.server.failures import NO_DATA, NO_MEMBER
from quorate.kv.server.info import REDIS_VERSION
from quorate.kv.server.notifications import Notifications
from quorate.kv.server.pubsub import PubSub
from quorate.kv.server.session import Session
from quorate.kv.server.watches import Watches
from quorate.kv.sweeping import sweep_for_ever
from quorate.kv.takers import Takers
from quorate.kv.tasks import Tasks
from quorate.node.node import Node

OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."


SESSION_COMMAND_ROOMS = (
    blocking_commands,
    client_commands,
    connection_commands,
    introspection_commands,
    once_commands,
    pubsub_commands,
    transaction_commands,
    watch_commands,
)
"""Their import declares the commands on connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take up. Bytes are those of replies that a client has not taken yet."""

    clients_max: int = 10_000
    output_soft_bytes: int = 1 << 20
    """Beyond this nothing more is begun for a client."""
    output_hard_bytes: int = 64 << 20
    """One that has left so much, and is due another reply, is disconnected."""
    pushed_bytes_max: int = 32 << 20
    """The same for one that is sent messages of channels."""
    subscriptions_max: int = 10_000
    """So many channels and patterns a client may listen to, and so many keys and prefixes it may watch."""
    history_changes_max: int = history.CHANGES_MAX
    """So many of the latest changes are kept for watches that go on where another ended,"""
    history_bytes_max: int = history.BYTES_MAX
    """in so much memory."""
    memory_bytes_max: int = 0
    """Beyond this, commands that could take more memory are refused; 0: no bound."""


class Service:
    """The Redis side of one node. Its connections are made by :meth:`connect`."""

    def __init__(
        self,
        node: Node,
        machine: KvMachine,
        *,
        password: str | None = None,
        bounds: Bounds | None = None,
        limits: Limits | None = None,
        notify_keyspace_events: str = "",
    ) -> None:
        """``notify_keyspace_events`` are Redis' letters. Raises :class:`CommandError` for others."""
        self.node = node
        self.bounds = bounds or Bounds()
        self.limits = limits or Limits()
        self.password = password
        self.connections: dict[int, Connection] = {}
        self.commands_processed = 0
        self.connections_received = 0
        self.began_at = time.monotonic()
        self._tasks = Tasks()
        self.writes = Writes(self._propose, self._tasks.spawn, self.bounds.request_bytes_max)
        self.reads = Reads(self._barrier, lambda: self.keyspace, self._tasks.spawn)
        self.takers = Takers(lambda: machine.keyspace)
        self.pubsub = PubSub(self.limits.subscriptions_max)
        self.notifications = Notifications(self.pubsub, notify_keyspace_events)
        self._feed = Feed.of(machine, self.limits.history_changes_max, self.limits.history_bytes_max)
        self.watches = Watches(self._feed.history, self.limits.subscriptions_max)
        self._audience = Audience(self.pubsub, self.notifications, self.watches, self.takers)
        self._feed.add(self._audience)
        self._machine = machine
        self._was_member = False

    # -- the clients -------------------------------------------------------------------------------------

    def connect(self) -> asyncio.Protocol:
        """A protocol for a connection that was just accepted."""
        return Connection(self)

    def admit(self, connection: Connection) -> CommandError | None:
        """Take note of a client; returns the error that turns it away."""
        if len(self.connections) >= self.limits.clients_max:
            return CommandError("ERR max number of clients reached")
        self.connections[connection.session.client_id] = connection
        return None

    def forget(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.pop(connection.session.client_id, None)
        self.pubsub.forget(connection)
        self.watches.end(connection)

    def next_client_id(self) -> int:
        """Never used before on this node."""
        self.connections_received += 1
        return self.connections_received

    def is_password(self, password: bytes) -> bool:
        """Whether it is the one."""
        return self.password is not None and hmac.compare_digest(self.password.encode(), password)

    def start(self) -> None:
        """Begin to delete what has expired, while this node leads."""
        node, machine = self.node, self._machine
        self._tasks.spawn(sweep_for_ever(lambda: machine.keyspace, lambda: node.is_leader, _now_us, self.writes.apply))

    def send_away(self) -> None:
        """Close each connection behind the replies that it waits for."""
        for connection in list(self.connections.values()):
            connection.end()

    async def close(self) -> None:
        """Disconnect everyone; what they wait for ends without an answer."""
        self._feed.remove(self._audience)
        for connection in list(self.connections.values()):
            connection.abort()
        self._tasks.cancel()
        await self._tasks.ended()

    # -- commands ----------------------------------------------------------------------------------------

    @property
    def keyspace(self) -> Keyspace:
        """The data as it is on this node now, to be read."""
        return self._machine.readable

    def check(self, session: Session, spec: Spec, request: Sequence[bytes]) -> None:
        """Whether a client that is no stranger may use the command now. Raises :class:`CommandError`."""
        bound = self.limits.memory_bytes_max
        if bound and spec.write and self._memory_bytes > bound and not spec.is_freeing(request):
            raise CommandError(OUT_OF_MEMORY)

    @property
    def _memory_bytes(self) -> int:
        """About what the data takes, and will when what this node's clients write is applied."""
        return self._machine.keyspace.memory_bytes + self.writes.bytes

    def answer_locally(self, spec: Spec, request: Sequence[bytes]) -> Reply:
        """The reply to a read from the data as it is on this node now."""
        try:
            self.check_has_data()
        except CommandError as refusal:
            return refusal.with_traceback(None)
        return spec.answer(self.keyspace, request)

    def check_has_data(self) -> None:
        """Raises ``CLUSTERDOWN`` if this node holds none, or was no member yet."""
        if self.node.is_witness:
            raise CommandError(NO_DATA)
        if not self._was_member:
            self._was_member = self.node.status.member_role is not None
            if not self._was_member:
                raise CommandError(NO_MEMBER)

    async def _propose(self, body: bytes, request_id: str | None) -> list[Any]:
        applied = await self.node.propose(body, machine=MACHINE, request_id=request_id, patient=False)
        replies = applied.result
        assert isinstance(replies, list)
        return replies

    async def _barrier(self) -> None:
        await self.node.read_barrier()

    def greeting(self, session: Session) -> dict[Any, Any]:
        """The reply to ``HELLO``."""
        return {
            b"server": b"redis",
            b"version": REDIS_VERSION.encode(),
            b"quorate": __version__.encode(),
            b"proto": session.version,
            b"id": session.client_id,
            b"mode": b"standalone",
            b"role": b"master" if self.node.is_leader else b"replica",
            b"modules": [],
        }


def _now_us() -> int:
    return time.time_ns() // 1000
