"""All dialled addresses of a transport, and which of them reaches which node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from quorate.errors import HandshakeRefused
from quorate.transport.contract import Identity, Lane, LinkStatus, Receiver
from quorate.transport.handshake import Hello, Welcome, hello_from, introduce, refusal_in
from quorate.transport.link import Link
from quorate.transport.options import TcpOptions
from quorate.transport.routes import Routes
from quorate.transport.stats import StatsBook


class Dialler:
    """One link per wanted address; of those that are up to one node, the newest is the way to it."""

    def __init__(self, identity: Identity, options: TcpOptions, rng: random.Random, stats: StatsBook) -> None:
        self._identity = identity
        self._options = options
        self._rng = rng
        self._stats = stats
        self._receiver: Receiver | None = None
        self._links: dict[str, Link] = {}
        self._routes = Routes[Link](stats)
        self._told: set[int] = set()
        """The peers that the receiver takes for connected."""
        self._closing: set[asyncio.Task[None]] = set()

    def start(self, receiver: Receiver) -> None:
        """Begin to dial."""
        self._receiver = receiver
        for link in self._links.values():
            link.start()

    def dial(self, address: str) -> None:
        """Want a connection to ``address``."""
        if address not in self._links:
            link = self._links[address] = Link(address, self._identity, self._options, self._rng, self)
            if self._receiver is not None:
                link.start()

    def hang_up(self, address: str) -> None:
        """No longer want it."""
        link = self._links.pop(address, None)
        if link is None:
            return
        if link.status.peer is not None:
            self._routes.remove(link.status.peer, link)
        for task in link.stop():
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def heard_from(self, node_id: int, address: str) -> None:
        """That node has just connected to us, so it will answer: dial it without waiting any longer."""
        for link in self._links.values():
            if node_id == link.status.peer or address == link.status.address:
                link.dial_soon()

    def route(self, peer: int) -> Link | None:
        """The link to send to ``peer`` over."""
        return self._routes.to(peer)

    def statuses(self) -> Mapping[str, LinkStatus]:
        return {address: link.status for address, link in self._links.items()}

    async def stop(self) -> None:
        """Hang up everywhere and wait until all is closed."""
        for address in list(self._links):
            self.hang_up(address)
        if self._closing:
            await asyncio.wait(self._closing)

    # -- what links report (see LinkOwner) ---------------------------------------------------------------

    def hello(self, link: Link, lane: Lane) -> Hello:
        """How to present ourselves, with what the receiver announces at this moment."""
        assert self._receiver is not None
        announcement = self._receiver.announcement()
        return hello_from(self._identity, self._options.versions, announcement, lane=lane, dialled=link.status.address)

    def reached(self, link: Link, welcome: Welcome, lane: Lane) -> None:
        """Ask the receiver."""
        assert self._receiver is not None
        introduce(self._receiver, self._identity, welcome, link.status.address, lane)
        if self._links.get(link.status.address) is not link:  # the receiver may hang up rather than refuse
            raise HandshakeRefused("hung up")

    def refused(self, link: Link, error: HandshakeRefused) -> None:
        """Tell the receiver, unless the address was hung up meanwhile."""
        assert self._receiver is not None
        if self._links.get(link.status.address) is link:
            self._receiver.refused(link.status.address, refusal_in(error))

    def up(self, link: Link, peer: int) -> None:
        """Route messages for ``peer`` over ``link``."""
        assert self._receiver is not None
        self._routes.add(peer, link)
        if peer not in self._told:
            self._told.add(peer)
            self._receiver.connected(peer)

    def down(self, link: Link, peer: int, reason: str) -> None:
        """Stop routing over ``link``."""
        assert self._receiver is not None
        self._routes.remove(peer, link)
        self._stats[peer].last_error = reason
        if peer not in self._routes and peer in self._told:
            self._told.discard(peer)
            self._receiver.disconnected(peer)
