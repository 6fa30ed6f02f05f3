"""One client: its requests are begun in their order, and their replies leave in that order.

No task and no future is made for a command. Writes and reads are handed to what gathers them for the turn of the
event loop, and their replies come back into slots: see :mod:`quorate.kv.server.outgoing`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from quorate.errors import QuorateError
from quorate.kv.gathering import SLICE_SECONDS, UNDER_WAY_BYTES_MAX
from quorate.kv.registry import PLAIN_COMMANDS, Spec
from quorate.kv.replies import CommandError, Reply
from quorate.kv.resp.bounds import Bounds, ProtocolError
from quorate.kv.resp.careful import CarefulParser
from quorate.kv.resp.reader import RequestReader
from quorate.kv.server.failures import as_reply
from quorate.kv.server.outgoing import Outgoing, Slot
from quorate.kv.server.session import LATER, NO_AUTH, Session

if TYPE_CHECKING:
    from quorate.kv.server.service import Service
    from quorate.kv.takers import Taker

WAITING_MAX = 4096
"""So many requests of one client may be parsed and not begun; then nothing more is read from it. What waits for a heavy
write may be heavy as well: nothing is read behind the first."""
READS_UNDER_WAY_MAX = 4096
"""So many reads of one client are begun at most before they are answered."""
STRANGER = Bounds(arguments_max=10, bulk_bytes_max=16 << 10, request_bytes_max=16 << 10, inline_bytes_max=16 << 10)
"""What one may send that has not said the password: enough to say it."""


class Connection(Outgoing):
    """See the module. It is the :class:`~quorate.kv.gathering.Sender` of its requests, at their slots."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._writes = service.writes
        self._reader = RequestReader(service.bounds)
        self._requests: deque[list[bytes]] = deque()
        self._under_way = 0
        self._is_writing = False
        """Whether what is under way are writes."""
        self._is_heavy = False
        """Whether the last of them is so heavy that nothing more is begun before it has ended."""
        self._is_resting = False
        """Whether it goes on with its requests in the loop's next turn only."""
        self._stranger: CarefulParser | None = None
        """What reads a client that has not said the password yet."""
        self._taker: Taker | None = None
        self._paused = False
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
        self._forget_all()
        if self._taker is not None:
            self._service.takers.forget(self._taker)
        self._service.forget(self)

    def pause_writing(self) -> None:
        """The client does not take its replies: begin nothing more for it."""
        self._is_full = True
        self._update_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        self.go_on()
        self._update_reading()
        self.takes_more()

    def takes_more(self) -> None:
        self._service.watches.resume(self)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        try:
            if (self._stranger is None) is not self.session.is_authenticated:
                data = self._change_parser() + data
            if self._stranger is not None:
                data = self._meet(self._stranger, data)
            if data:
                self._requests.extend(self._reader.feed(data))
        except ProtocolError as error:
            self.go_on()
            self._reply_now(CommandError(f"ERR {error}"))
            self.end()
            return
        self.go_on()
        self._update_reading()

    def _change_parser(self) -> bytes:
        """Who was let in, or is a stranger, since the last data came, is read as such; returns what is not read yet."""
        if self._stranger is None:
            unread, self._reader = self._reader.take_rest(), RequestReader(self._service.bounds)
            self._stranger = CarefulParser(STRANGER, beyond="unauthenticated")
        else:
            unread, self._stranger = self._stranger.rest, None
        return unread

    def _meet(self, stranger: CarefulParser, data: bytes) -> bytes:
        """Begin what comes until one says the password; returns what is behind that."""
        for request in stranger.feed(data):
            self._requests.append(request)
            self.go_on()
            if self._ending:
                return b""
            if self.session.is_authenticated:
                return self._change_parser()
        return b""

    def end(self) -> None:
        """Close once the replies that are due have left."""
        self._ending = True
        self._requests.clear()
        self.unblock(CommandError("UNBLOCKED the connection is closed"))
        self.flush()

    def end_behind_reply(self) -> None:
        """Close once the reply that is being made has left, and begin nothing more."""
        self._ending = True
        self._requests.clear()

    def _update_reading(self) -> None:
        wanted = self._is_full or len(self._requests) > WAITING_MAX
        if self._is_heavy or self._writes.bytes > UNDER_WAY_BYTES_MAX:
            wanted = wanted or self._is_behind()
        if self._transport is not None and wanted is not self._paused and not self._transport.is_closing():
            self._paused = wanted
            (self._transport.pause_reading if wanted else self._transport.resume_reading)()

    def _is_behind(self) -> bool:
        """Whether more writes would only wait: behind a heavy one, or all that this node's clients have under way."""
        if not self._under_way:
            return False
        return (self._is_heavy and bool(self._requests)) or self._writes.bytes > UNDER_WAY_BYTES_MAX

    # -- requests ----------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Begin what can be begun: reads wait for the writes before them, and the other way round."""
        requests, ends = self._requests, monotonic() + SLICE_SECONDS
        while requests and not (self._is_full or self._taker is not None or self._ending or self._is_resting):
            if self._ready_bytes > self._soft_bytes:
                self.flush()
                if self._is_full or self._ready_bytes > self._soft_bytes:
                    break
            request = requests[0]
            spec = PLAIN_COMMANDS.get(request[0]) or PLAIN_COMMANDS.get(request[0].upper())
            if spec is None or self.session.sees_all:
                if self._under_way:
                    break
                requests.popleft()
                self._service.commands_processed += 1
                self._perform(request)
            elif self._under_way and self._has_to_wait(spec):
                break
            else:
                requests.popleft()
                self._service.commands_processed += 1
                self._begin(spec, request)
            if monotonic() >= ends:
                self._rest()
        self.flush()
        if self._paused:
            self._update_reading()

    def _has_to_wait(self, spec: Spec) -> bool:
        """Whether a command has to, for some of what is under way."""
        if self._is_writing is not spec.write or self._is_heavy:
            return True
        return self._under_way >= READS_UNDER_WAY_MAX and not spec.write

    def _rest(self) -> None:
        """Let others have the event loop in between."""
        self._is_resting = True
        asyncio.get_running_loop().call_soon(self._rested)

    def _rested(self) -> None:
        self._is_resting = False
        self.go_on()

    def _begin(self, spec: Spec, request: list[bytes]) -> None:
        request[0] = spec.name
        try:
            if not self.session.is_authenticated:
                raise CommandError(NO_AUTH)
            spec.check_arguments(request)
            self._service.check(self.session, spec, request)
        except CommandError as error:
            self._reply_now(error)
            return
        if spec.write:
            copied = 0 if spec.weigh is None else spec.weigh(self._service.keyspace, request)
            self.write(request, None, copied)
        elif self.session.reads_locally:
            self._reply_now(self._service.answer_locally(spec, request))
        else:
            self.ask(spec, request)

    def write(self, request: list[bytes], request_id: str | None = None, copied: int = 0) -> None:
        """Have a write applied that copies so many bytes; its reply is this client's next.

        With a ``request_id`` it is applied once, and sent again gets the first reply.
        """
        slot = self._begin_slot(None)
        self._is_writing = True
        writes = self._writes
        if request_id is None:
            self._is_heavy = writes.add(self, slot, request, copied)
        else:
            self._is_heavy = writes.add_once(self, slot, request, request_id, copied)

    def ask(self, spec: Spec, request: list[bytes], then: Callable[[Any], Any] | None = None) -> None:
        """The same for a read."""
        slot = self._begin_slot(then)
        self._is_writing = self._is_heavy = False
        self._service.reads.add(self, slot, spec, request)

    def take(self, request: list[bytes]) -> None:
        """Have the client wait for what it takes: nothing more is begun for it until then."""
        slot = self._begin_slot(self._taken)
        service = self._service
        self._taker = service.takers.begin(self, slot, request, service.writes, service.reads)

    def _taken(self, reply: Reply) -> Reply:
        self._taker = None
        return reply

    def unblock(self, reply: Reply) -> bool:
        """Have a client that waits be told ``reply``, unless it gets something yet; returns whether it waited."""
        return self._taker is not None and self._service.takers.give_up(self._taker, reply)

    def _begin_slot(self, then: Callable[[Any], Any] | None) -> Slot:
        self._slots.append(slot := Slot(then))
        self._under_way += 1
        return slot

    def _perform(self, request: list[bytes]) -> None:
        try:
            reply = self.session.perform(request)
        except CommandError as error:
            reply = error
        if reply is not LATER:
            self._reply_now(reply)

    # -- replies -----------------------------------------------------------------------------------------

    def answered(self, slot: Slot, reply: Reply) -> None:
        """A write or a read was carried out, or refused."""
        self._under_way -= 1
        if slot.then is not None:
            reply = slot.then(reply)
        if self._is_full or self.is_gone or self._ready_bytes > self._soft_bytes:
            self._fill(slot, reply)
        else:  # the same, for what is usual
            slot.reply = encoded = self.encode(reply)
            self._ready_bytes += len(encoded)

    def failed(self, slot: Slot, error: QuorateError, request_id: str | None) -> None:
        """One was not carried out, or may not have been."""
        self.answered(slot, as_reply(error, request_id))
