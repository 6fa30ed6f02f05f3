"""Messages between nodes in one process and one event loop, over a network that tests can break at will.

It keeps the contract of :mod:`quorate.transport.contract` to the letter, refusals included, and by default carries
what the codec makes of each message: what passes here passes over sockets. It uses nothing of the event loop but
its clock and its timers, so it runs on a loop with virtual time too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from quorate.errors import ConfigError, HandshakeRefused, TransportError
from quorate.raft.entry import Entry
from quorate.transport.codec import Codec
from quorate.transport.contract import (
    Announcement,
    Identity,
    Lane,
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
    Hello,
    Welcome,
    check_welcome,
    choose_version,
    hello_from,
    introduce,
    is_ourselves,
    refusal_in,
    welcome_from,
)
from quorate.transport.memory_network import MemoryNetwork
from quorate.transport.routes import Routes
from quorate.transport.stats import StatsBook

log = logging.getLogger(__name__)


class MemoryTransport:
    """The :class:`~quorate.transport.contract.Transport` inside a :class:`MemoryNetwork`.

    An address is any string that is not empty; it is in use from :meth:`start` to :meth:`stop`. Both lanes of a link
    are there when it is up; what is sent on the bulk lane arrives one message per turn of the loop.
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
        self._routes = Routes[_Link](self._stats)
        self._told: set[int] = set()
        """The peers that the receiver takes for connected."""

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
        """Give up the link to ``address``, with what is in flight on it."""
        if (link := self._links.pop(address, None)) is not None:
            self._take_down(link, "hung up")

    def send(self, peer: int, group: int, messages: Sequence[WireMessage], *, lane: Lane = Lane.PROMPT) -> None:
        """Send ``messages``, or drop and count them."""
        stats = self._stats[peer]
        link = self._routes.to(peer)
        if link is None or link.target is None:
            stats.dropped += len(messages)
            return
        for message in messages:
            body = self._codec.encode(group, message) if self._network.through_codec else None
            arrive = partial(link.target.arrive, self._identity.node_id, group, message, body)
            seconds = self._seconds_to(peer, link.target, lane)
            size = _payload_bytes(message) if body is None else len(body)
            if seconds is None or not link.lanes[lane].put(seconds, arrive, size):
                stats.dropped += 1
            else:
                stats.frames_sent += 1
                stats.bytes_sent += len(body or b"")

    def backlog_bytes(self, peer: int, lane: Lane) -> int:
        """What was sent to ``peer`` and has not arrived; without the codec, only its binary fields count."""
        link = self._routes.to(peer)
        return 0 if link is None else link.lanes[lane].backlog_bytes

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
            if not self._wanted(link) or not self._network.can_connect(self._identity.node_id, target.identity.node_id):
                continue
            try:
                self._connect(link, target)
            except HandshakeRefused as error:
                refused = True
                link.refused(str(error))
        return refused

    def admit(self, hello: Hello) -> Welcome:
        """The accepting side of a handshake: the welcome, or :class:`HandshakeRefused`."""
        version = choose_version(self._identity, hello, self._versions)
        if self._receiver is None:
            raise HandshakeRefused("the node is stopping")
        if is_ourselves(self._identity, hello):
            return welcome_from(self._identity, version, Announcement())
        introduce(self._receiver, self._identity, hello, None)
        return welcome_from(self._identity, version, self._receiver.announcement())

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

    def _seconds_to(self, peer: int, target: MemoryTransport, lane: Lane) -> float | None:
        network = self._network.seconds_for(self._identity.node_id, peer, lane)
        ours = 0.0 if self._faults is None else self._faults.judge(peer, Direction.OUTGOING)
        if network is None or ours is None:
            return None
        theirs = target.incoming_seconds(self._identity.node_id)
        # What the receiving side swallows has left this one all the same, but no one can tell the difference.
        return None if theirs is None else network + ours + theirs

    def _connect(self, link: _Link, target: MemoryTransport) -> None:
        if self._receiver is None:
            return
        hello = hello_from(self._identity, self._versions, self._receiver.announcement(), dialled=link.address)
        try:
            welcome = target.admit(hello)
        except HandshakeRefused as error:
            self._receiver.refused(link.address, refusal_in(error))
            raise
        check_welcome(self._identity, welcome, self._versions)
        peer = target.identity.node_id
        if is_ourselves(self._identity, welcome):
            link.status.state, link.status.peer = LinkState.OURSELVES, peer
            return
        introduce(self._receiver, self._identity, welcome, link.address)
        # What the receivers did meanwhile may have made an end of it.
        if not self._wanted(link) or self._network.member(link.address) is not target:
            return
        link.connected(target)
        self._routes.add(peer, link)
        if peer not in self._told:
            self._told.add(peer)
            self._receiver.connected(peer)

    def _wanted(self, link: _Link) -> bool:
        return self._links.get(link.address) is link

    def _take_down(self, link: _Link, reason: str) -> None:
        if link.target is None:
            return
        peer = link.target.identity.node_id
        link.lost(reason)
        self._routes.remove(peer, link)
        self._stats[peer].last_error = reason
        asyncio.get_running_loop().call_soon(self._tell_disconnected, peer)

    def _tell_disconnected(self, peer: int) -> None:
        if self._receiver is not None and peer not in self._routes and peer in self._told:
            self._told.discard(peer)
            self._receiver.disconnected(peer)


def _payload_bytes(message: WireMessage) -> int:
    """About what a message would weigh if it were encoded: its binaries, and those of its entries."""
    values = [getattr(message, name) for name in message.__dataclass_fields__]
    binaries = [value for value in values if isinstance(value, bytes)]
    entries = (entry for value in values if isinstance(value, tuple) for entry in value if isinstance(entry, Entry))
    return sum(map(len, binaries)) + sum(len(entry.payload) for entry in entries)


class _Flight:
    """What is on its way on one lane of a link."""

    def __init__(self, items_per_turn: int | None = None) -> None:
        self.backlog_bytes = 0
        self._line = DelayLine(items_per_turn=items_per_turn)

    def put(self, seconds: float, arrive: Callable[[], None], size_bytes: int) -> bool:
        if not self._line.put(seconds, partial(self._land, arrive, size_bytes)):
            return False
        self.backlog_bytes += size_bytes
        return True

    def clear(self) -> None:
        self._line.clear()
        self.backlog_bytes = 0

    def _land(self, arrive: Callable[[], None], size_bytes: int) -> None:
        self.backlog_bytes -= size_bytes
        arrive()


class _Link:
    """A dialled address, and the transport found there while the link is up."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.status = LinkStatus(address)
        self.target: MemoryTransport | None = None
        self.lanes = {Lane.PROMPT: _Flight(), Lane.BULK: _Flight(items_per_turn=1)}

    def connected(self, target: MemoryTransport) -> None:
        self.target = target
        self.status.state, self.status.peer = LinkState.CONNECTED, target.identity.node_id
        self.status.last_error = None

    def lost(self, reason: str) -> None:
        self.target = None
        for flight in self.lanes.values():
            flight.clear()
        self.status.state, self.status.last_error = LinkState.CONNECTING, reason

    def refused(self, reason: str) -> None:
        if reason != self.status.last_error:
            log.warning("refused by %s: %s", self.address, reason)
        self.status.state, self.status.last_error = LinkState.REFUSED, reason
