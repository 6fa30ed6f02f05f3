"""Messages between nodes in one process and one event loop, over a network that tests can break at will.

It keeps the contract of :mod:`quorate.transport.contract` to the letter, refusals included, and by default carries
what the codec makes of each message: what passes here passes over sockets. It uses nothing of the event loop but
its clock and its timers, so it runs on a loop with virtual time too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from quorate.errors import ConfigError, HandshakeRefused, TransportError
from quorate.transport.codec import Codec
from quorate.transport.contract import (
    Identity,
    LinkState,
    LinkStatus,
    PeerStats,
    Receiver,
    WireMessage,
)
from quorate.transport.delay_line import DelayLine
from quorate.transport.faults import Direction, LinkFaults
from quorate.transport.handshake import (
    VERSIONS,
    check_welcome,
    choose_version,
    hello_from,
    introduce,
    is_ourselves,
    welcome_from,
)
from quorate.transport.memory_network import MemoryNetwork
from quorate.transport.stats import StatsBook

log = logging.getLogger(__name__)


class MemoryTransport:
    """The :class:`~quorate.transport.contract.Transport` inside a :class:`MemoryNetwork`.

    An address is any string that is not empty; it is in use from :meth:`start` to :meth:`stop`.
    """

    def __init__(
        self,
        network: MemoryNetwork,
        identity: Identity,
        codec: Codec,
        *,
        faults: LinkFaults | None = None,
        versions: tuple[int, int] = VERSIONS,
    ) -> None:
        self._network = network
        self._identity = identity
        self._codec = codec
        self._faults = faults
        self._versions = versions
        self._receiver: Receiver | None = None
        self._stopped = False
        self._stats = StatsBook()
        self._links: dict[str, _Link] = {}
        self._routes: dict[int, _Link] = {}

    @property
    def identity(self) -> Identity:
        """Who we say we are."""
        return self._identity

    async def start(self, receiver: Receiver) -> None:
        """Join the network; raises :class:`TransportError` the second time, or if the address is in use."""
        if self._receiver is not None or self._stopped:
            raise TransportError("a transport is started once")
        self._network.join(self)
        self._receiver = receiver

    def dial(self, address: str) -> None:
        """Keep a connection to ``address`` from now on."""
        if not address:
            raise ConfigError("an address cannot be empty")
        if address not in self._links and not self._stopped:
            self._links[address] = _Link(address)
            if self._receiver is not None:
                self._network.changed()

    def hang_up(self, address: str) -> None:
        """Give up the connection to ``address``, with what is in flight on it."""
        if (link := self._links.pop(address, None)) is not None:
            self._take_down(link, "hung up")

    def send(self, peer: int, group: int, messages: Sequence[WireMessage]) -> None:
        """Send ``messages``, or drop and count them."""
        stats = self._stats[peer]
        link = self._routes.get(peer)
        if link is None or link.target is None:
            stats.dropped += len(messages)
            return
        for message in messages:
            body = self._codec.encode(group, message) if self._network.through_codec else None
            arrive = partial(link.target.arrive, self._identity.node_id, group, message, body)
            seconds = self._seconds_to(peer, link.target)
            if seconds is None or not link.line.put(seconds, arrive):
                stats.dropped += 1
            else:
                stats.frames_sent += 1
                stats.bytes_sent += len(body or b"")

    def stats(self) -> Mapping[int, PeerStats]:
        """Counters per peer id. Bytes are those of message bodies, or zero without the codec."""
        return MappingProxyType(self._stats)

    def links(self) -> Mapping[str, LinkStatus]:
        """The dialled addresses."""
        return {address: link.status for address, link in self._links.items()}

    async def stop(self) -> None:
        """Leave the network; what is in flight, in either direction, is lost. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        for address in list(self._links):
            self.hang_up(address)
        self._network.leave(self)
        await asyncio.sleep(0)  # what hanging up has to tell the receiver is told before this returns
        self._receiver = None

    # -- what the network and the other transports ask ---------------------------------------------------

    def break_links(self) -> None:
        """Take down the links whose other end is gone, or parted from us."""
        for link in self._links.values():
            if link.target is None:
                continue
            if self._network.member(link.address) is not link.target:
                self._take_down(link, "closed by the peer")
            elif self._network.parted(self._identity.node_id, link.target.identity.node_id):
                self._take_down(link, "parted from the peer")

    def connect_links(self) -> bool:
        """Bring up the links that can be; whether one was refused, and is worth another attempt."""
        refused = False
        for link in list(self._links.values()):
            target = self._network.member(link.address)
            if target is None or link.target is not None or link.status.state is LinkState.OURSELVES:
                continue
            if not self._network.can_connect(self._identity.node_id, target.identity.node_id):
                continue
            try:
                self._connect(link, target)
            except HandshakeRefused as error:
                refused = True
                link.refused(str(error))
        return refused

    def admit(self, dialler: Identity, versions: tuple[int, int]) -> int:
        """The accepting side of a handshake: the version, or :class:`HandshakeRefused`."""
        hello = hello_from(dialler, versions)
        version = choose_version(self._identity, hello, self._versions)
        if self._receiver is None:
            raise HandshakeRefused("the node is stopping")
        if not is_ourselves(self._identity, hello):
            introduce(self._receiver, self._identity, hello, None)
        return version

    def arrive(self, peer: int, group: int, message: WireMessage, body: bytes | None) -> None:
        """A message came from another transport."""
        if self._receiver is None or self._stopped:
            return
        if body is not None:
            group, message = self._codec.decode(body)
        stats = self._stats[peer]
        stats.frames_received += 1
        stats.bytes_received += len(body or b"")
        self._receiver.received(peer, group, message)

    def incoming_seconds(self, peer: int) -> float | None:
        """How long our own faults hold back a message from ``peer``; ``None`` swallows it."""
        seconds = 0.0 if self._faults is None else self._faults.judge(peer, Direction.INCOMING)
        if seconds is None:
            self._stats[peer].dropped += 1
        return seconds

    def _seconds_to(self, peer: int, target: MemoryTransport) -> float | None:
        network = self._network.seconds_for(self._identity.node_id, peer)
        ours = 0.0 if self._faults is None else self._faults.judge(peer, Direction.OUTGOING)
        if network is None or ours is None:
            return None
        theirs = target.incoming_seconds(self._identity.node_id)
        # What the receiving side swallows has left this one all the same, but no one can tell the difference.
        return None if theirs is None else network + ours + theirs

    def _connect(self, link: _Link, target: MemoryTransport) -> None:
        welcome = welcome_from(target.identity, target.admit(self._identity, self._versions))
        check_welcome(self._identity, welcome, self._versions)
        peer = target.identity.node_id
        if is_ourselves(self._identity, welcome):
            link.status.state, link.status.peer = LinkState.OURSELVES, peer
            return
        if peer in self._routes:
            raise HandshakeRefused(f"node {peer} is already reached at {self._routes[peer].address}")
        if self._receiver is None:
            return
        introduce(self._receiver, self._identity, welcome, link.address)
        link.connected(target)
        self._routes[peer] = link
        self._stats[peer].connected = True
        self._receiver.connected(peer)

    def _take_down(self, link: _Link, reason: str) -> None:
        if link.target is None:
            return
        peer = link.target.identity.node_id
        link.lost(reason)
        del self._routes[peer]
        self._stats[peer].connected = False
        self._stats[peer].last_error = reason
        asyncio.get_running_loop().call_soon(self._tell_disconnected, peer)

    def _tell_disconnected(self, peer: int) -> None:
        if self._receiver is not None:
            self._receiver.disconnected(peer)


class _Link:
    """A dialled address, and the transport found there while the link is up."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.status = LinkStatus(address)
        self.target: MemoryTransport | None = None
        self.line = DelayLine()

    def connected(self, target: MemoryTransport) -> None:
        self.target = target
        self.status.state, self.status.peer = LinkState.CONNECTED, target.identity.node_id
        self.status.last_error = None

    def lost(self, reason: str) -> None:
        self.target = None
        self.line.clear()
        self.status.state, self.status.last_error = LinkState.CONNECTING, reason

    def refused(self, reason: str) -> None:
        if reason != self.status.last_error:
            log.warning("refused by %s: %s", self.address, reason)
        self.status.state, self.status.last_error = LinkState.REFUSED, reason
