"""One client: requests in, replies out, in the order of the requests whatever becomes ready first.

No task and no future is made for a command. Writes and reads are handed to what gathers them for the turn of the
event loop; their replies come back into slots, and what is ready at the front leaves with one ``write``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from quorate.kv.registry import PLAIN_COMMANDS, Spec
from quorate.kv.replies import CommandError, Push
from quorate.kv.resp.bounds import ProtocolError
from quorate.kv.resp.reader import RequestReader
from quorate.kv.resp.writer import encode_2
from quorate.kv.server.gathering import answered
from quorate.kv.server.session import LATER, Session

if TYPE_CHECKING:
    from quorate.kv.server.service import Service

WAITING_MAX = 4096
"""So many requests of one client may be parsed and not begun; then nothing more is read from it."""


class Slot:
    """The place of one reply among a client's replies. ``then`` makes the reply of what came back."""

    __slots__ = ("reply", "then")

    def __init__(self, then: Callable[[Any], Any] | None = None) -> None:
        self.reply: bytes | None = None
        self.then = then


class Connection(asyncio.Protocol):
    """See the module."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = RequestReader(service.bounds)
        self._requests: deque[list[bytes]] = deque()
        self._slots: deque[Slot] = deque()
        self._transport: asyncio.Transport | None = None
        self._writes = 0
        self._reads = 0
        self._is_full = False
        self._is_held = False
        self._paused = False
        self._ending = False
        self._pushes: list[bytes] = []
        self._pushed_bytes = 0
        self.encode = encode_2
        self.session = Session(self, service)

    # -- the transport -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's
        self._transport.set_write_buffer_limits(high=self._service.limits.output_soft_bytes)
        refusal = self._service.admit(self)
        if refusal is not None:
            self._reply_now(refusal)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ending = True
        self._requests.clear()
        self._slots.clear()
        self._pushes.clear()
        self._service.forget(self)

    def pause_writing(self) -> None:
        """The client does not take its replies: begin nothing more for it."""
        self._is_full = True
        self._update_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        self.go_on()
        self._update_reading()
        self._service.watches.resume(self)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        try:
            self._requests.extend(self._reader.feed(data))
        except ProtocolError as error:
            self.go_on()
            self._reply_now(CommandError(f"ERR {error}"))
            self.end()
            return
        self.go_on()
        self._update_reading()

    def end(self) -> None:
        """Close once the replies that are due have left."""
        self._ending = True
        self._requests.clear()
        self._service.waiters.give_up(self, CommandError("UNBLOCKED the connection is closed"))
        self.flush()

    def end_behind_reply(self) -> None:
        """Close once the reply that is being made has left."""
        asyncio.get_running_loop().call_soon(self.end)

    def abort(self) -> None:
        """Close at once."""
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def _update_reading(self) -> None:
        wanted = len(self._requests) > WAITING_MAX or self._is_full
        if self._transport is not None and wanted is not self._paused and not self._transport.is_closing():
            self._paused = wanted
            (self._transport.pause_reading if wanted else self._transport.resume_reading)()

    # -- requests ----------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Begin what can be begun: reads wait for the writes before them, and the other way round."""
        requests = self._requests
        while requests and not self._is_full and not self._is_held and not self._ending:
            request = requests[0]
            spec = PLAIN_COMMANDS.get(request[0]) or PLAIN_COMMANDS.get(request[0].upper())
            if spec is None or self.session.sees_all:
                if self._writes or self._reads:
                    break
                requests.popleft()
                self._perform(request)
            elif self._reads if spec.write else self._writes:
                break
            else:
                requests.popleft()
                self._begin(spec, request)
        self.flush()

    def _begin(self, spec: Spec, request: list[bytes]) -> None:
        request[0] = spec.name
        try:
            spec.check_arguments(request)
            self._service.check(self.session, spec, request)
        except CommandError as error:
            self._reply_now(error)
            return
        if spec.write:
            self.write(request)
        elif self.session.reads_locally:
            self._reply_now(answered(spec, self._service.keyspace, request))
        else:
            self.ask(spec, request)

    def write(
        self, request: list[bytes], then: Callable[[Any], Any] | None = None, request_id: str | None = None
    ) -> None:
        """Have a write applied; its reply, or what ``then`` makes of it, is this client's next.

        With a ``request_id`` it is applied once, and sent again gets the first reply.
        """
        self._slots.append(slot := Slot(then))
        self._writes += 1
        if request_id is None:
            self._service.writes.add(self, slot, request)
        else:
            self._service.writes.add_once(self, slot, request, request_id)

    def ask(self, spec: Spec, request: list[bytes], then: Callable[[Any], Any] | None = None) -> None:
        """The same for a read."""
        self._slots.append(slot := Slot(then))
        self._reads += 1
        self._service.reads.add(self, slot, spec, request)

    def hold(self) -> Slot:
        """Begin nothing more until the reply that is next is there: see :meth:`release`."""
        self._is_held = True
        self._slots.append(slot := Slot())
        return slot

    def release(self, slot: Slot, reply: Any) -> None:
        """It is there."""
        self._is_held = False
        slot.reply = self.encode(reply)
        self.go_on()

    def _perform(self, request: list[bytes]) -> None:
        try:
            reply = self.session.perform(request)
        except CommandError as error:
            reply = error
        if reply is not LATER:
            self._reply_now(reply)

    # -- replies -----------------------------------------------------------------------------------------

    def _reply_now(self, reply: Any) -> None:
        self._slots.append(slot := Slot())
        slot.reply = self.encode(reply)

    def written(self, slot: Slot, reply: Any) -> None:
        """A write has ended."""
        self._writes -= 1
        slot.reply = self.encode(reply if slot.then is None else slot.then(reply))

    def read(self, slot: Slot, reply: Any) -> None:
        """A read has ended."""
        self._reads -= 1
        slot.reply = self.encode(reply if slot.then is None else slot.then(reply))

    @property
    def address(self) -> bytes:
        """Where the client is, as ``host:port``."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}".encode() if name else b""

    @property
    def is_open(self) -> bool:
        """Whether the client is there, and may still ask for something."""
        return self._transport is not None and not self._ending

    @property
    def takes_pushes(self) -> bool:
        """Whether the client takes what it is sent."""
        return not self._is_full and self._pushed_bytes < self._service.limits.output_soft_bytes

    def push(self, data: bytes) -> None:
        """Send a message in between, at the end of this turn. Who leaves too many of them is disconnected."""
        if self._transport is None or self._ending:
            return
        if not self._pushes:
            asyncio.get_running_loop().call_soon(self._send_pushes)
        self._pushes.append(data)
        self._pushed_bytes += len(data)
        if self._pushed_bytes + self._transport.get_write_buffer_size() > self._service.limits.pushed_bytes_max:
            self.abort()

    def push_reply(self, message: Push) -> None:
        """The same for what is not encoded yet."""
        self.push(self.encode(message))

    def _send_pushes(self) -> None:
        self.flush()
        if not self._is_full:
            self._service.watches.resume(self)

    def flush(self) -> None:
        """Send what is ready at the front."""
        slots, transport = self._slots, self._transport
        parts: list[bytes] = []
        if self._pushes:
            parts, self._pushes, self._pushed_bytes = self._pushes, parts, 0
        while slots and (reply := slots[0].reply) is not None:
            parts.append(reply)
            slots.popleft()
        if transport is None:
            return
        if parts:
            transport.write(b"".join(parts))
            if transport.get_write_buffer_size() > self._service.limits.output_hard_bytes:
                transport.abort()
                return
        if self._ending and not slots:
            transport.close()
