"""Messages over TCP: one connection each way between every two nodes, and a second one for bulk while it is used."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from quorate.errors import TransportError
from quorate.transport.acceptor import Accepted, Acceptor
from quorate.transport.codec import Codec
from quorate.transport.contract import Identity, Lane, LinkStatus, PeerStats, Receiver, WireMessage
from quorate.transport.dialler import Dialler
from quorate.transport.faults import Direction, LinkFaults
from quorate.transport.framing import encode_frame, encode_frame_of
from quorate.transport.listener import Listener, bind
from quorate.transport.options import TcpOptions
from quorate.transport.stats import StatsBook

log = logging.getLogger(__name__)


class TcpTransport:
    """The :class:`~quorate.transport.contract.Transport` over TCP.

    Peers come in through :meth:`listen`, through a port shared with other protocols
    (:meth:`accept_protocol`), or both; each as it likes, in a WebSocket or not. ``rng`` spreads the pauses
    between attempts to connect; ``faults`` are injected into what is sent and received.
    """

    def __init__(
        self,
        identity: Identity,
        codec: Codec,
        *,
        options: TcpOptions | None = None,
        rng: random.Random | None = None,
        faults: LinkFaults | None = None,
    ) -> None:
        self._identity = identity
        self._codec = codec
        self._options = options or TcpOptions()
        self._faults = faults
        self._stats = StatsBook()
        self._dialler = Dialler(identity, self._options, rng or random.Random(), self._stats)
        self._acceptor = Acceptor(identity, codec, self._options, faults, self._stats, self._dialler.heard_from)
        self._listeners: list[Listener] = []
        self._started = self._stopped = False

    @property
    def identity(self) -> Identity:
        """Who we say we are."""
        return self._identity

    async def start(self, receiver: Receiver) -> None:
        """Begin to dial and to accept; raises :class:`TransportError` the second time."""
        if self._started or self._stopped:
            raise TransportError("a transport is started once")
        self._started = True
        self._acceptor.receiver = receiver
        self._dialler.start(receiver)

    async def listen(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> int:
        """Accept peers on an own port, or on a bound socket; the port.

        Connections that arrive before :meth:`start` are closed. Raises :class:`OSError` if the port cannot be had.
        """
        if self._stopped:
            raise TransportError("the transport is stopped")
        sockets = [sock] if sock is not None else await bind(host, port)
        self._listeners += [Listener(each, self.accept_protocol) for each in sockets]
        bound: int = sockets[0].getsockname()[1]
        return bound

    def accept_protocol(self) -> asyncio.Protocol:
        """The protocol for one accepted connection, to be given its transport and every byte since the first.

        A front door that looked at the first bytes and found :data:`~quorate.transport.handshake.PREFACE`, or a
        request for a WebSocket at :data:`~quorate.transport.handshake.WEBSOCKET_PATH`, hands the connection over with
        ``transport.set_protocol(protocol)``, ``protocol.connection_made(transport)`` and
        ``protocol.data_received(first_bytes)``.
        """
        return Accepted(self._acceptor)

    def dial(self, address: str) -> None:
        """Keep a connection to ``address`` (``host:port``) from now on; :class:`ConfigError` if it is none."""
        if not self._stopped:
            self._dialler.dial(address)

    def hang_up(self, address: str) -> None:
        """Give up the link to ``address``; what was sent still has a moment to leave."""
        self._dialler.hang_up(address)

    def send(self, peer: int, group: int, messages: Sequence[WireMessage], *, lane: Lane = Lane.PROMPT) -> None:
        """Send ``messages`` with one write, or drop and count them."""
        stats = self._stats[peer]
        link = self._dialler.route(peer)
        if link is None:
            stats.dropped += len(messages)
            return
        outlet = link.outlet(lane)
        if not outlet.is_open:
            link.wanted(lane)
            stats.dropped += len(messages)
            return
        if self._faults is None or (self._faults.quiet and not outlet.holds):
            outlet.write(*self._frames(peer, group, messages), stats)
            return
        for message in messages:
            pieces, frames = self._frames(peer, group, [message])
            seconds = self._faults.judge(peer, Direction.OUTGOING) if frames else None
            if seconds is None:
                stats.dropped += frames
            else:
                outlet.hold(seconds, b"".join(pieces), stats)

    def backlog_bytes(self, peer: int, lane: Lane) -> int:
        """What was sent to ``peer`` and its socket has not taken."""
        link = self._dialler.route(peer)
        return 0 if link is None else link.outlet(lane).backlog_bytes

    def stats(self) -> Mapping[int, PeerStats]:
        """Counters per peer id."""
        return MappingProxyType(self._stats)

    def links(self) -> Mapping[str, LinkStatus]:
        """The dialled addresses."""
        return self._dialler.statuses()

    async def stop(self) -> None:
        """Close everything; what was sent last has a moment to leave. Idempotent."""
        self._stopped = True
        self._acceptor.receiver = None
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.stop()
        await self._acceptor.stop()
        await self._dialler.stop()

    def _frames(self, peer: int, group: int, messages: Sequence[WireMessage]) -> tuple[list[bytes], int]:
        """The messages as frames, of which long ones are in pieces; and how many frames it are.

        Without those that are too large: these are dropped, counted and logged.
        """
        encode, frame_bytes_max = self._codec.encode_in_pieces, self._options.frame_bytes_max
        pieces: list[bytes] = []
        frames = 0
        for message in messages:
            body = encode(group, message)
            frame = [encode_frame(body)] if isinstance(body, bytes) else encode_frame_of(body)
            size = sum(map(len, frame))
            if size <= frame_bytes_max:
                pieces += frame
                frames += 1
            else:  # the peer would close the connection over it, and lose more than this
                stats = self._stats[peer]
                stats.dropped += 1
                stats.last_error = f"a {type(message).__name__} of {size} bytes is over the frame limit"
                log.error("not sent to node %d: %s", peer, stats.last_error)
        return pieces, frames
