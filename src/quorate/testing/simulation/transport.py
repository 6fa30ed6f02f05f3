"""A node's end of the simulated network: connections that are made, break, and pretend to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from quorate.errors import ConfigError, HandshakeRefused, TransportError
from quorate.testing.simulation.loop import SimulatedHandle, SimulatedLoop
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.transport.contract import Identity, Lane, LinkState, LinkStatus, PeerStats, Receiver, WireMessage
from quorate.transport.framing import FrameSplitter
from quorate.transport.handshake import (
    VERSIONS,
    Hello,
    Refused,
    Welcome,
    check_welcome,
    choose_version,
    decode_handshake,
    encode_handshake,
    hello_from,
    introduce,
    is_ourselves,
    refusal,
    refusal_in,
    welcome_from,
)
from quorate.transport.stats import StatsBook

RETRY_SECONDS = 0.1
HANDSHAKE_SECONDS_MAX = 1.0
KEEPALIVE_SECONDS = 2.0
"""A machine that lost its power cannot say that a connection is gone; it is noticed so much later on average."""


class Connection:
    """One way from a transport to another one."""

    __slots__ = ("backlog_bytes", "breaking", "bulk", "link", "path", "source", "target")

    def __init__(self, source: SimulatedTransport, target: SimulatedTransport, link: _Link) -> None:
        self.source = source
        self.target = target
        self.link = link
        self.path = source.network.path(source.node_id, target.node_id)
        self.breaking = False
        """Whether the source is about to learn that it is gone."""
        self.bulk: bool | None = None
        """Whether the bulk lane is open; ``None`` while nobody wants it."""
        self.backlog_bytes = {Lane.PROMPT: 0, Lane.BULK: 0}


class _Link:
    """An address that is dialled."""

    def __init__(self, address: str) -> None:
        self.status = LinkStatus(address)
        self.connection: Connection | None = None
        self.attempt = 0
        self.timer: SimulatedHandle | None = None


class SimulatedTransport:
    """The :class:`~quorate.transport.contract.Transport` of one process on ``loop``."""

    def __init__(self, network: SimulatedNetwork, identity: Identity, loop: SimulatedLoop) -> None:
        self.network = network
        self.loop = loop
        self.node_id = identity.node_id
        self.stopped = False
        self._identity = identity
        self._receiver: Receiver | None = None
        self._links: dict[str, _Link] = {}
        self._routes: dict[int, Connection] = {}
        self._incoming: dict[Connection, None] = {}
        self._stats = StatsBook()

    @property
    def identity(self) -> Identity:
        """Who we say we are."""
        return self._identity

    # -- the port ----------------------------------------------------------------------------------------

    async def start(self, receiver: Receiver) -> None:
        """Be found by the others, and begin to dial."""
        if self._receiver is not None or self.stopped:
            raise TransportError("a transport is started once")
        self._receiver = receiver
        self.network.running[self._identity.address] = self
        for link in self._links.values():
            self._dial_later(link, 0.0)

    def dial(self, address: str) -> None:
        """Keep a connection to ``address`` from now on."""
        if not address:
            raise ConfigError("an address cannot be empty")
        if address not in self._links and not self.stopped:
            link = self._links[address] = _Link(address)
            if self._receiver is not None:
                self._dial_later(link, 0.0)

    def hang_up(self, address: str) -> None:
        """Give up the connection to ``address``."""
        link = self._links.pop(address, None)
        if link is not None:
            self._forget(link)
            if link.connection is not None:
                self._drop(link.connection, "hung up")
                self.loop.call_soon(self._tell_disconnected, link.connection.target.node_id)

    def send(self, peer: int, group: int, messages: Sequence[WireMessage], *, lane: Lane = Lane.PROMPT) -> None:
        """Send ``messages``, or drop and count them. What opens the bulk lane is dropped."""
        stats = self._stats[peer]
        connection = self._routes.get(peer)
        if self.stopped or connection is None or (lane is Lane.BULK and not self._has_bulk_lane(connection)):
            stats.dropped += len(messages)
            return
        network = self.network
        for message in messages:
            network.observe(self.node_id, peer, message)
            stats.frames_sent += 1
            network.send(connection, group, message, lane)
        if connection.target.stopped:
            self._notice_absence(connection)

    def backlog_bytes(self, peer: int, lane: Lane) -> int:
        """What was sent to ``peer`` and is still under way."""
        connection = self._routes.get(peer)
        return connection.backlog_bytes[lane] if connection is not None else 0

    def _has_bulk_lane(self, connection: Connection) -> bool:
        """Whether the bulk lane is there; if not, it will be in a moment."""
        if connection.bulk is not None:
            return connection.bulk
        connection.bulk = False
        network, target = self.network, connection.target
        delay = network.seconds(self.node_id, target.node_id) + network.seconds(target.node_id, self.node_id)
        network.scheduler.after(delay, self.loop, self._bulk_lane_answered, connection)
        return False

    def _bulk_lane_answered(self, connection: Connection) -> None:
        open_now = not connection.target.stopped and self.network.is_open(self.node_id, connection.target.node_id)
        connection.bulk = True if open_now else None

    def stats(self) -> Mapping[int, PeerStats]:
        """Counters per peer id, without bytes."""
        return MappingProxyType(self._stats)

    def links(self) -> Mapping[str, LinkStatus]:
        """The dialled addresses."""
        return {address: link.status for address, link in self._links.items()}

    async def stop(self) -> None:
        """Close everything in good order; the peers learn it."""
        if self.stopped:
            return
        self.vanish(told=True)
        await asyncio.sleep(0)
        self._receiver = None

    # -- what the harness and the network do -------------------------------------------------------------

    def vanish(self, *, told: bool) -> None:
        """The process is gone. ``told``: its machine closes the connections in its place."""
        if self.stopped:
            return
        self.stopped = True
        if self.network.running.get(self._identity.address) is self:
            del self.network.running[self._identity.address]
        for link in self._links.values():
            self._forget(link)
        for connection in self._routes.values():
            connection.target._incoming.pop(connection, None)
        self._routes.clear()
        for connection in list(self._incoming):
            if told:
                self._notice_absence(connection)

    def connection_to(self, peer: int) -> Connection | None:
        """The connection to a peer, as long as it is believed in."""
        return self._routes.get(peer)

    def receive(self, peer: int, group: int, message: WireMessage) -> None:
        """A message arrived."""
        if self._receiver is not None and not self.stopped:
            self._stats[peer].frames_received += 1
            self._receiver.received(peer, group, message)

    def refuse(self, connection: Connection) -> None:
        """What arrives on a connection is no frame of ours: close it."""
        self.break_incoming(connection)

    def break_incoming(self, connection: Connection) -> None:
        """Close a connection from its accepting end; the dialler learns it if packets reach it."""
        if connection in self._incoming and self.network.is_open(connection.source.node_id, self.node_id):
            connection.source._break_soon(connection, 0.0)

    def break_all(self, peer: int) -> None:
        """Reset the connection to a peer, as a firewall in between does."""
        connection = self._routes.get(peer)
        if connection is not None:
            self._break_soon(connection, 0.0)

    # -- dialling ----------------------------------------------------------------------------------------

    def _dial_later(self, link: _Link, seconds: float) -> None:
        self._forget(link)
        link.timer = self.network.scheduler.after(seconds, self.loop, self._attempt, link)

    def _forget(self, link: _Link) -> None:
        if link.timer is not None:
            link.timer.cancel()
            link.timer = None

    def _attempt(self, link: _Link) -> None:
        if self.stopped or link.connection is not None or link.status.state is LinkState.OURSELVES:
            return
        network = self.network
        target = network.running.get(link.status.address)
        link.attempt += 1
        if target is None or not network.is_open(self.node_id, target.node_id):
            self._dial_later(link, RETRY_SECONDS * (0.5 + network.rng.random()))
            return
        self._dial_later(link, HANDSHAKE_SECONDS_MAX)
        assert self._receiver is not None
        announcement = self._receiver.announcement()
        hello = encode_handshake(hello_from(self._identity, VERSIONS, announcement, dialled=link.status.address))
        delay = network.seconds(self.node_id, target.node_id)
        network.scheduler.after(delay, target.loop, target._accept, self, link, link.attempt, hello)

    def _accept(self, dialler: SimulatedTransport, link: _Link, attempt: int, data: bytes) -> None:
        if self.stopped or not self.network.is_open(dialler.node_id, self.node_id):
            return
        answer: Welcome | Refused
        try:
            hello = _decoded(data)
            assert isinstance(hello, Hello)
            version = choose_version(self._identity, hello)
            if self._receiver is None:
                raise HandshakeRefused("the node is stopping")
            if is_ourselves(self._identity, hello):
                answer = welcome_from(self._identity, version)
            else:
                introduce(self._receiver, self._identity, hello, None)
                answer = welcome_from(self._identity, version, self._receiver.announcement())
        except HandshakeRefused as error:
            answer = refusal(str(error), error.code)
        delay = self.network.seconds(self.node_id, dialler.node_id)
        reply = encode_handshake(answer)
        self.network.scheduler.after(delay, dialler.loop, dialler._finish, link, attempt, self, reply)

    def _finish(self, link: _Link, attempt: int, target: SimulatedTransport, data: bytes) -> None:
        if self.stopped or self._receiver is None or link.attempt != attempt or link.connection is not None:
            return
        if self._links.get(link.status.address) is not link:
            return
        answer = _decoded(data)
        peer = target.node_id
        try:
            if isinstance(answer, Refused):
                told = HandshakeRefused(answer.reason, answer.code)
                self._receiver.refused(link.status.address, refusal_in(told))
                raise told
            assert isinstance(answer, Welcome)
            check_welcome(self._identity, answer)
            if is_ourselves(self._identity, answer):
                link.status.state, link.status.peer = LinkState.OURSELVES, peer
                return
            if peer in self._routes:
                raise HandshakeRefused(f"node {peer} is already reached elsewhere")
            introduce(self._receiver, self._identity, answer, link.status.address)
        except HandshakeRefused as error:
            link.status.state, link.status.last_error = LinkState.REFUSED, str(error)
            if self._links.get(link.status.address) is link:
                self._dial_later(link, RETRY_SECONDS * 2)
            return
        if self._links.get(link.status.address) is not link:
            return  # what the node learned made it hang up
        self._forget(link)
        link.status.state, link.status.peer, link.status.last_error = LinkState.CONNECTED, peer, None
        connection = link.connection = self._routes[peer] = Connection(self, target, link)
        target._incoming[connection] = None
        self._stats[peer].connected = True
        self.network.trace.event(self.node_id, f"connected to {peer}")
        self._receiver.connected(peer)

    # -- losing ------------------------------------------------------------------------------------------

    def _notice_absence(self, connection: Connection) -> None:
        """The other end is gone: its machine says so, if it is on and can be reached; otherwise time does."""
        source, network = connection.source, self.network
        if connection.breaking:
            return
        target_id = connection.target.node_id
        if connection.path.half_open:
            network.fired["half-open connections kept"] += 1
            source._break_soon(connection, KEEPALIVE_SECONDS * (0.5 + network.rng.random()))
        elif target_id in network.powered and network.is_open(source.node_id, target_id):
            source._break_soon(connection, network.seconds(target_id, source.node_id))
        else:
            source._break_soon(connection, KEEPALIVE_SECONDS * (0.5 + network.rng.random()))

    def _break_soon(self, connection: Connection, seconds: float) -> None:
        if not connection.breaking:
            connection.breaking = True
            self.network.scheduler.after(seconds, self.loop, self._lost, connection, "closed by the peer")

    def _lost(self, connection: Connection, reason: str) -> None:
        peer = connection.target.node_id
        if self.stopped or self._routes.get(peer) is not connection:
            return
        link = connection.link
        self._drop(connection, reason)
        link.connection = None
        self._tell_disconnected(peer)
        if self._links.get(link.status.address) is link:
            self._dial_later(link, RETRY_SECONDS * self.network.rng.random())

    def _drop(self, connection: Connection, reason: str) -> None:
        peer, status = connection.target.node_id, connection.link.status
        del self._routes[peer]
        connection.target._incoming.pop(connection, None)
        status.state, status.last_error = LinkState.CONNECTING, reason
        self._stats[peer].connected = False
        self._stats[peer].last_error = reason
        self.network.trace.event(self.node_id, f"lost the connection to {peer}")

    def _tell_disconnected(self, peer: int) -> None:
        if self._receiver is not None and not self.stopped:
            self._receiver.disconnected(peer)


def _decoded(data: bytes) -> Hello | Welcome | Refused:
    (body,) = FrameSplitter().feed(data)
    return decode_handshake(body)
