"""All dialled addresses of a transport, and which of them reaches which node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from quorate.errors import HandshakeRefused
from quorate.transport.contract import Identity, LinkStatus, Receiver
from quorate.transport.handshake import Welcome, introduce
from quorate.transport.link import Link
from quorate.transport.options import TcpOptions
from quorate.transport.stats import StatsBook


class Dialler:
    """One link per wanted address, at most one of them up for each node."""

    def __init__(self, identity: Identity, options: TcpOptions, rng: random.Random, stats: StatsBook) -> None:
        self._identity = identity
        self._options = options
        self._rng = rng
        self._stats = stats
        self._receiver: Receiver | None = None
        self._links: dict[str, Link] = {}
        self._routes: dict[int, Link] = {}
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
        if link.status.peer is not None and self._routes.get(link.status.peer) is link:
            self._unroute(link.status.peer)
        if (task := link.stop()) is not None:
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def heard_from(self, node_id: int, address: str) -> None:
        """That node has just connected to us, so it will answer: dial it without waiting any longer."""
        for link in self._links.values():
            if node_id == link.status.peer or address == link.status.address:
                link.dial_soon()

    def route(self, peer: int) -> Link | None:
        """The link that is up to ``peer``."""
        return self._routes.get(peer)

    def statuses(self) -> Mapping[str, LinkStatus]:
        return {address: link.status for address, link in self._links.items()}

    async def stop(self) -> None:
        """Hang up everywhere and wait until all is closed."""
        for address in list(self._links):
            self.hang_up(address)
        if self._closing:
            await asyncio.wait(self._closing)

    # -- what links report (see LinkOwner) ---------------------------------------------------------------

    def reached(self, link: Link, welcome: Welcome) -> None:
        """Ask the receiver, and refuse a second way to one node."""
        other = self._routes.get(welcome.node_id)
        if other is not None:
            raise HandshakeRefused(
                f"node {welcome.node_id} is already reached at {other.status.address}: "
                f"{link.status.address} is another address of it, or another node with its id"
            )
        assert self._receiver is not None
        introduce(self._receiver, self._identity, welcome, link.status.address)

    def up(self, link: Link, peer: int) -> None:
        """Route messages for ``peer`` over ``link``."""
        assert self._receiver is not None
        self._routes[peer] = link
        self._stats[peer].connected = True
        self._receiver.connected(peer)

    def down(self, link: Link, peer: int, reason: str) -> None:
        """Stop routing over ``link``."""
        assert self._receiver is not None
        if self._routes.get(peer) is link:
            self._unroute(peer)
        self._stats[peer].last_error = reason
        self._receiver.disconnected(peer)

    def _unroute(self, peer: int) -> None:
        del self._routes[peer]
        self._stats[peer].connected = False
