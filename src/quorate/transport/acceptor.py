"""The accepting half: connections that peers dialled, and what they bring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from quorate.errors import FrameError, HandshakeRefused, TransportError
from quorate.transport.codec import LONG_BYTES, Codec
from quorate.transport.contract import Announcement, Identity, Lane, Receiver, RefusalCode
from quorate.transport.delay_line import DelayLine
from quorate.transport.faults import Direction, LinkFaults
from quorate.transport.framing import HEADER_BYTES, FrameSplitter
from quorate.transport.handshake import (
    HANDSHAKE_BYTES_MAX,
    PREFACE,
    WEBSOCKET_FIRST_BYTE,
    Hello,
    Welcome,
    choose_version,
    decode_handshake,
    encode_handshake,
    introduce,
    is_ourselves,
    lane_of,
    refusal,
    welcome_from,
)
from quorate.transport.news import News
from quorate.transport.options import TcpOptions
from quorate.transport.sockets import remote_address, tune
from quorate.transport.stats import StatsBook

if TYPE_CHECKING:
    from quorate.transport.websocket_accepted import AcceptedWebSocket

log = logging.getLogger(__name__)

_CONNECTIONS_PER_PEER_MAX = 16
"""Two lanes to each of a few addresses of ours; whoever opens more loses the oldest."""


class Acceptor:
    """Every accepted connection of a transport.

    At most one per peer, lane and address that was dialled, and all of a peer from one process: a newer connection
    replaces those it contradicts.
    """

    def __init__(
        self,
        identity: Identity,
        codec: Codec,
        options: TcpOptions,
        faults: LinkFaults | None,
        stats: StatsBook,
        heard_from: Callable[[int, str], None],
    ) -> None:
        """``heard_from`` is told the id and the announced address of each node that was let in."""
        self._heard_from = heard_from
        self.identity = identity
        self.codec = codec
        self.options = options
        self.faults = faults
        self.stats = stats
        self.receiver: Receiver | None = None
        self._connections: set[Accepted] = set()
        self._strangers: set[Accepted] = set()
        self._by_peer: dict[int, list[Accepted]] = {}
        self._reported = News()
        self._emptied = asyncio.Event()

    def opened(self, connection: Accepted) -> bool:
        """Take in a new connection; false if there is no room, or no one to receive."""
        self._connections.add(connection)
        if self.receiver is None or len(self._strangers) >= self.options.handshakes_max:
            return False
        self._strangers.add(connection)
        return True

    def admit(self, connection: Accepted, hello: Hello) -> Welcome:
        """How to welcome the sender of ``hello``, unless ``HandshakeRefused`` turns it away."""
        version = choose_version(self.identity, hello, self.options.versions)
        lane = lane_of(hello)
        self._strangers.discard(connection)
        if is_ourselves(self.identity, hello):  # the dialling side of us hangs up when it reads the welcome
            return welcome_from(self.identity, version, Announcement())
        if self.receiver is None:
            raise HandshakeRefused("the node is stopping")
        introduce(self.receiver, self.identity, hello, None, lane)
        self._replace(connection, hello)
        if lane is Lane.PROMPT:
            self._heard_from(hello.node_id, hello.address)
        return welcome_from(self.identity, version, self.receiver.announcement())

    def receiving(self, peer: int) -> None:
        """A part of a long message is here."""
        if self.receiver is not None and (self.faults is None or self.faults.quiet):
            self.receiver.receiving(peer)

    def closed(self, connection: Accepted) -> None:
        self._connections.discard(connection)
        self._strangers.discard(connection)
        self._forget(connection)
        if not self._connections:
            self._emptied.set()

    def _replace(self, connection: Accepted, hello: Hello) -> None:
        """Let nothing come any more out of older connections that may be half-open, or an earlier process's."""
        connection.hello = hello
        older = self._by_peer.get(hello.node_id, [])
        kept = [each for each in older if not _contradict(each.hello, hello)]
        kept = kept[max(0, len(kept) + 1 - _CONNECTIONS_PER_PEER_MAX) :]
        self._by_peer[hello.node_id] = [*kept, connection]
        for each in older:
            if each not in kept:
                each.abort()

    def _forget(self, connection: Accepted) -> None:
        if connection.hello is None:
            return
        others = self._by_peer.get(connection.hello.node_id, [])
        if connection in others:
            others.remove(connection)
        if not others:
            self._by_peer.pop(connection.hello.node_id, None)

    def warn(self, transport: asyncio.BaseTransport, what: str, reason: str) -> None:
        """Log what was done to a connection, once for each origin and reason: peers try again and again."""
        host, port = remote_address(transport)
        if self._reported.is_news((host, what, reason), asyncio.get_running_loop().time()):
            log.warning("%s from %s:%s: %s", what, host, port, reason)

    async def stop(self) -> None:
        """Close all connections and wait until they are; the listeners are closed already."""
        self.receiver = None
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            self._emptied.clear()
            await self._emptied.wait()


def _contradict(older: Hello | None, newer: Hello) -> bool:
    """Whether a node that says ``newer`` cannot have a living connection that began with ``older``."""
    if older is None or older.incarnation != newer.incarnation:
        return True
    return (older.lane, older.dialled) == (newer.lane, newer.dialled)


class Accepted(asyncio.Protocol):
    """One accepted connection, inside of a WebSocket or not: preface and hello in, welcome out, frames one way."""

    def __init__(self, acceptor: Acceptor) -> None:
        self.peer: int | None = None
        self.hello: Hello | None = None
        self._acceptor = acceptor
        self._transport: asyncio.Transport | None = None
        self._websocket: AcceptedWebSocket | None = None
        self._open = False
        self._deadline: asyncio.TimerHandle | None = None
        self._preface = b""
        self._splitter = FrameSplitter(HANDSHAKE_BYTES_MAX)
        self._held = DelayLine()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not asyncio's by class
        self._open = self._acceptor.opened(self)
        if not self._open:
            self._transport.abort()
            return
        options = self._acceptor.options
        tune(transport, options.unacknowledged_seconds_max)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(options.handshake_seconds, self._out_of_time)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            return
        if self._websocket is None and not self._preface and data[:1] == WEBSOCKET_FIRST_BYTE:
            self._upgrade(data)
            return
        try:
            if len(self._preface) < len(PREFACE):
                data = self._read_preface(data)
            for body in self._splitter.feed(data):
                if self.peer is None:
                    self._present(body)
                else:
                    self._deliver(self.peer, body)
                if not self._open:  # what the frame set off may have closed us
                    return
            if self.peer is not None and self._splitter.partial_bytes > LONG_BYTES:
                self._acceptor.receiving(self.peer)
        except HandshakeRefused as error:
            self._refuse(str(error), error.code)
        except TransportError as error:
            if self.peer is None:
                self._refuse(str(error))
            else:
                self._give_up(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, TransportError):
            self._report(str(error))
        self._shut()
        self._acceptor.closed(self)

    def abort(self) -> None:
        """Close the connection; nothing it brought is delivered any more."""
        self._shut()
        if self._transport is not None:
            self._transport.abort()

    def _upgrade(self, data: bytes) -> None:
        """Have a WebSocket between the socket and us. It is for the peer that dials to choose."""
        from quorate.transport.websocket_accepted import AcceptedWebSocket

        assert self._transport is not None
        self._websocket = AcceptedWebSocket(self, self._acceptor.options.close_seconds)
        self._transport.set_protocol(self._websocket)
        self._websocket.connection_made(self._transport)
        self._transport = self._websocket
        self._websocket.data_received(data)

    def _read_preface(self, data: bytes) -> bytes:
        missing = len(PREFACE) - len(self._preface)
        self._preface += bytes(data[:missing])
        if not PREFACE.startswith(self._preface):
            raise FrameError("not a peer: the connection does not open with the preface")
        return data[missing:]

    def _present(self, body: bytes) -> None:
        hello = decode_handshake(body)
        if not isinstance(hello, Hello):
            raise FrameError(f"{type(hello).__name__} where a hello should be")
        welcome = self._acceptor.admit(self, hello)
        if not self._open or self._transport is None:
            return
        self.peer = hello.node_id
        self._splitter.frame_bytes_max = self._acceptor.options.frame_bytes_max
        if self._websocket is not None:
            self._websocket.is_trusted = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport.write(encode_handshake(welcome))

    def _deliver(self, peer: int, body: bytes) -> None:
        acceptor = self._acceptor
        group, message = acceptor.codec.decode(body)
        stats = acceptor.stats[peer]
        stats.frames_received += 1
        stats.bytes_received += HEADER_BYTES + len(body)
        receiver, faults = acceptor.receiver, acceptor.faults
        if receiver is None:
            return
        if faults is None or (faults.quiet and not self._held):
            receiver.received(peer, group, message)
            return
        seconds = faults.judge(peer, Direction.INCOMING)
        if seconds is None or not self._held.put(seconds, partial(receiver.received, peer, group, message)):
            stats.dropped += 1

    def _out_of_time(self) -> None:
        self._refuse(f"the handshake took more than {self._acceptor.options.handshake_seconds:g} s")

    def _refuse(self, reason: str, code: int = RefusalCode.OTHER) -> None:
        self._shut()
        if self._transport is not None:
            self._report(reason)
            self._transport.write(encode_handshake(refusal(reason, code)))
            self._transport.close()

    def _give_up(self, reason: str) -> None:
        self._report(reason)
        self.abort()

    def _report(self, reason: str) -> None:
        """Tell of what ended the connection."""
        what = "refused a connection"
        if self.peer is not None:
            what = f"closed the connection of node {self.peer}"
            self._acceptor.stats[self.peer].last_error = reason
        if self._transport is not None:
            self._acceptor.warn(self._transport, what, reason)

    def _shut(self) -> None:
        self._open = False
        self._held.clear()
        if self._deadline is not None:
            self._deadline.cancel()
