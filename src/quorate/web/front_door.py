"""One port for everything: looks at a connection's first bytes and gives it to whom it is meant for.

A peer opens with :data:`~quorate.transport.handshake.PREFACE`, whose first byte starts no HTTP request, and a client
of the Redis protocol with an array or a command's name. Everything else is HTTP, even a peer that asks for a
WebSocket at :data:`~quorate.transport.handshake.WEBSOCKET_PATH`.

As clients and peers share the node's port and its open files, clients must not use either up. So a message that is
not complete is bounded in time, what the parser holds of it is bounded in bytes, and where connections are too
many, those without a request give way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from itertools import islice
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from quorate.rest.http import Response, Stream
from quorate.transport.handshake import PREFACE, WEBSOCKET_PATH
from quorate.transport.sockets import tune
from quorate.web.direct import Exchange, Resources
from quorate.web.held import Held
from quorate.web.problems import NOT_APPLIED, Problem
from quorate.web.redis_door import is_redis
from quorate.web.whole_response import whole_response

HELD_BYTES_MAX = 64 * 1024
"""What the parser may hold of a head, of trailers or of a chunk's extensions when more of it arrives."""
PIECE_BYTES = 4096
"""The parser gets so much at a time. No more is parsed, or read, while requests wait for an answer before theirs."""
MESSAGE_SECONDS_MAX = 30.0
"""How long a connection may be without a request at first, and how long a request may take to arrive whole."""
UNACKNOWLEDGED_SECONDS_MAX = 60.0
"""A connection whose client takes no more of its answer for this long is given up (where the system can do that)."""
SURPLUS_MAX = 64
"""Connections above the limit that may show whether they are a peer's."""
_VICTIMS_MAX = 32

_BAD_REQUEST = Problem(400, "this is no HTTP/1.1 request")
_TOO_LARGE = Problem(431, f"the request's line and headers take more than {HELD_BYTES_MAX} bytes")
_TOO_SLOW = Problem(408, f"the request did not arrive within {MESSAGE_SECONDS_MAX:g} s")
_TOO_MUCH = Problem(
    503, "more is on its way to the node than it can hold", members=NOT_APPLIED, headers=[(b"retry-after", b"1")]
)
_TOO_MANY = Problem(503, "the node has too many connections", members=NOT_APPLIED)
_UPGRADE_HEADERS = (b"upgrade", b"http2-settings")
_PEERS_URL = WEBSOCKET_PATH.encode()
_PEERS_REQUEST = b"GET %s " % _PEERS_URL


class _Flow(FlowControl):
    """Reads no more while requests wait: who wants the rest of a body does not know of them."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class FrontDoor(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands others' connections over before a byte of theirs is parsed."""

    cycle: Any
    """Of the last request: uvicorn's, or an :class:`Exchange` in its place; ``None`` before the first."""

    def __init__(
        self,
        *args: Any,
        resources: Resources,
        accept_peer: Callable[[], asyncio.Protocol],
        accept_redis: Callable[[], asyncio.Protocol],
        connections_max: int,
        incoming: Held,
        outgoing: Held,
        turned_away: Callable[[int], None],
        **kwargs: Any,
    ) -> None:
        """``incoming``: bodies that are not complete; ``outgoing``: answers that their clients have not taken.

        ``turned_away`` is told with which status what came was refused before it was for anybody.
        """
        super().__init__(*args, **kwargs)
        self._resources = resources
        self._accept_peer = accept_peer
        self._accept_redis = accept_redis
        self._connections_max = connections_max
        self._incoming = incoming
        self._outgoing = outgoing
        self._turned_away = turned_away
        self._is_http = False
        self._is_surplus = False
        self._is_refused = False
        self._in_message = False
        self._in_body = False
        self._upgrade_asked = False
        self._held_bytes = 0
        self._body_bytes = self._untaken_bytes = 0
        self._unparsed = b""
        self._answering: RequestResponseCycle | Exchange | None = None
        self._heard_at = self._answered_at = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- the connection -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room if it takes that."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        tune(transport, UNACKNOWLEDGED_SECONDS_MAX)
        self._heard_at = self.loop.time()
        self._set_deadline()
        surplus = len(self.connections) - self._connections_max
        if surplus > 0 and not self._make_room():
            self._is_surplus = True
            if surplus > SURPLUS_MAX:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget_body()
        self._forget_untaken()
        self._cancel_deadline()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        answering = self._answering
        if answering is not None:  # uvicorn tells only the last, which may wait for this one
            answering.disconnected = True
            answering.message_event.set()
            if isinstance(answering, Exchange) and self._resources.may_be_left(answering.method, answering.path):
                answering.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decide by the first bytes; after that, HTTP goes straight on."""
        if not self._is_http:
            if data[:1] == PREFACE[:1]:
                self._hand_over(data, self._accept_peer())
                return
            if is_redis(data):
                self._hand_over(data, self._accept_redis())
                return
            self._is_http = True
            if self._is_surplus and not data.startswith(_PEERS_REQUEST):
                self._refuse(_TOO_MANY)
        if self._is_refused:
            return
        self._heard_at = self.loop.time()
        self._parse(self._unparsed + data)

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _hand_over(self, data: bytes, protocol: asyncio.Protocol) -> None:
        self.connections.discard(self)
        self._cancel_deadline()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def _make_room(self) -> bool:
        """Close a connection without a request, of some the one that was silent longest; false if all have one."""
        doors = (each for each in self.connections if isinstance(each, FrontDoor))
        idle = (each for each in doors if each is not self and each._is_idle)
        victim = min(islice(idle, _VICTIMS_MAX), key=lambda each: each._heard_at, default=None)
        if victim is None:
            return False
        self.connections.discard(victim)
        victim.transport.abort()
        return True

    # -- time ---------------------------------------------------------------------------------------------

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(MESSAGE_SECONDS_MAX, self._out_of_time)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _out_of_time(self) -> None:
        self._deadline = None
        if self._in_message:
            self._refuse(_TOO_SLOW)
        elif self._is_idle:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one. One timer of the connection, not of each answer, ends that."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._answered_at = self.loop.time()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if not self.pipeline and (self._unparsed or self._in_message):
            self._parse(self._unparsed)
        self.flow.resume_reading()
        if self._is_idle and self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self._in_message or not self._is_idle:
            return  # the timer begins anew with the answer
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.transport.close()

    # -- the message --------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Parse it as far as no request has to wait for others; the rest is kept as it is."""
        at = 0
        while at < len(data) and not (self.pipeline or self._is_refused):
            if self._held_bytes > HELD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
                break
            piece = data[at : at + PIECE_BYTES]
            at += len(piece)
            self._held_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                behind = piece[upgrade.args[0] :] + data[at:]
                if self._is_of_peer():
                    self._hand_over(self._head(self.headers) + behind, self._accept_peer())
                    return
                data, at = self._without_upgrade() + behind, 0
            except HttpParserError:
                self._refuse(_TOO_MANY if self._is_surplus else _BAD_REQUEST)
            if self._in_body and self._incoming.is_too_much and not self._is_refused:
                self._refuse(_TOO_MUCH)
        self._unparsed = b"" if self._is_refused else data[at:]
        if self.pipeline:
            self._cancel_deadline()  # it is not the client that is late
        elif self._deadline is None and not self._is_refused and (self._in_message or self._is_idle):
            self._set_deadline()

    def _without_upgrade(self) -> bytes:
        """The head of a request that asked for another protocol, as if it had not (RFC 9110 §7.8 leaves it to us).

        The parser took its body for that protocol, so a new one starts over.
        """
        self._upgrade_asked = False
        head = self._head([(name, value) for name, value in self.headers if name not in _UPGRADE_HEADERS])
        self.parser = HttpRequestParser(self)
        return head

    def _is_of_peer(self) -> bool:
        """Whether the request for another protocol is a peer's, with no answer due before it."""
        if (self.parser.get_method(), self.url) != (b"GET", _PEERS_URL) or not self._is_idle:
            return False
        return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)

    def _head(self, headers: Collection[tuple[bytes, bytes]]) -> bytes:
        """The request's head, with these headers."""
        request = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return b"\r\n".join([request, *(b"%s: %s" % header for header in headers), b"", b""])

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_message = True
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of it."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._held_bytes = 0
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("a node is no proxy")  # the parser makes an HttpParserError of it
        if self.parser.should_upgrade():
            self._upgrade_asked = True
            return
        if self._is_surplus:
            raise ValueError("there is room for peers only")
        exchange = self._direct_exchange()
        if exchange is not None:
            self.cycle = self._answering = exchange
        else:
            self._begin_by_asgi()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._held_bytes = 0
        if not self.cycle.response_complete:
            self._body_bytes += len(body)
            self._incoming.bytes += len(body)
        if isinstance(self.cycle, Exchange):
            self.cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is complete."""
        if self._upgrade_asked:
            return
        self._in_message = self._in_body = False
        self._held_bytes = 0
        self._forget_body()
        self._cancel_deadline()
        if isinstance(self.cycle, Exchange):
            self.cycle.answering = self.loop.create_task(self._answer(self.cycle))
        else:
            super().on_message_complete()

    def _forget_body(self) -> None:
        self._incoming.bytes -= self._body_bytes
        self._body_bytes = 0

    def _begin_by_asgi(self) -> None:
        """Have uvicorn meet the head as if it came only now."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """The client does not take its answer: it is held for it."""
        self._untaken_bytes = self.transport.get_write_buffer_size()
        self._outgoing.bytes += self._untaken_bytes
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has taken nearly all of it."""
        self._forget_untaken()
        super().resume_writing()

    def _forget_untaken(self) -> None:
        self._outgoing.bytes -= self._untaken_bytes
        self._untaken_bytes = 0

    # -- without ASGI -------------------------------------------------------------------------------------

    def _direct_exchange(self) -> Exchange | None:
        """One for the request, unless it has to wait for others, is the connection's last, or needs ASGI."""
        parser = self.parser
        if not (self._is_idle and self._resources.serves(self.url)):
            return None
        if not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return None
        return Exchange.of(parser.get_method(), self.url, self.headers, self._resources.max_body_bytes)

    async def _answer(self, exchange: Exchange) -> None:
        answer = await self._resources.answer(
            exchange.method, exchange.path, exchange.query, exchange.headers, exchange.read
        )
        if isinstance(answer, Stream):
            await self._stream(exchange, answer)
            return
        if self.flow.write_paused and not exchange.disconnected:
            await self.flow.drain()
        if not exchange.disconnected:
            self._write(exchange, answer)

    def _write(self, exchange: Exchange, answer: Response) -> None:
        exchange.response_started = exchange.response_complete = True
        status, headers, body = answer
        defaults, keep_alive = self.server_state.default_headers, exchange.keep_alive
        self.transport.write(whole_response(status, defaults, headers, body, keep_alive=keep_alive))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    async def _stream(self, exchange: Exchange, stream: Stream) -> None:
        """What comes bit by bit has a channel to the client again, by which it learns that nobody listens."""
        cycle = RequestResponseCycle(
            scope={"type": "http", "method": exchange.method, "path": exchange.path},  # type: ignore[typeddict-item]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=exchange.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.disconnected = exchange.disconnected
        self._answering = cycle
        if self.cycle is exchange:
            self.cycle = cycle
        await cycle.run_asgi(partial(self._resources.stream, stream))

    def _refuse(self, problem: Problem) -> None:
        """Take nothing more from this connection. Requests that are complete are answered, in their order."""
        self._is_refused = True
        self._cancel_deadline()
        if self._in_body:
            if self._is_idle or self.cycle.response_started or self.pipeline:  # no other answer may follow, or not yet
                self.transport.close()
                return
        elif not self._is_idle:
            self.cycle.keep_alive = False  # uvicorn closes behind its answer
            return
        self._turned_away(problem.status)
        self.transport.write(problem.http_response())
        self.transport.close()
