"""What all clients ask at about the same time, gathered: writes into one proposal, reads behind one barrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from quorate.errors import (
    NotApplied,
    OutcomeUnknown,
    ProposalDropped,
    QuorateError,
    ReadUnavailable,
    RequestIdReused,
)
from quorate.kv.registry import Spec
from quorate.kv.replies import CommandError

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace
    from quorate.kv.server.connection import Slot

BATCH_COMMANDS_MAX = 1000
"""So many commands travel as one at most: they are applied without a pause."""
BATCH_BYTES_MAX = 256 * 1024
GATHER_SECONDS_MAX = 0.001
"""So long a batch waits at most for the one before it to end. What comes while that is on its way to the disks comes
along: with many clients that halves the work, and costs them no time, for the disks are busy anyway."""

_encode = msgspec.msgpack.Encoder().encode

Propose = Callable[[bytes, str | None], Coroutine[Any, Any, list[Any]]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


def as_reply(error: QuorateError, request_id: str | None = None) -> CommandError:
    """What a client is told of a command that was not, or may not have been, carried out."""
    if isinstance(error, OutcomeUnknown):
        advice = "" if request_id is None else "; with the same id it may be sent again"
        return CommandError(
            f"UNKNOWN the outcome is unknown, the command may have been or may yet be applied{advice}: {error}"
        )
    if isinstance(error, RequestIdReused):
        return CommandError("IDREUSED this id belongs to another command")
    if isinstance(error, ProposalDropped):
        return CommandError(f"TRYAGAIN not applied: {error}")
    if isinstance(error, (NotApplied, ReadUnavailable)):
        return CommandError(f"CLUSTERDOWN {error}")
    return CommandError(f"ERR {error}")


class Sender(Protocol):
    """Who is told what has become of a write or a read: a connection, or a client that is blocked."""

    def written(self, slot: Slot, reply: Any) -> None:
        """A write has ended."""

    def read(self, slot: Slot, reply: Any) -> None:
        """A read has ended."""

    def go_on(self) -> None:
        """All that ended at once has been told."""


class Batch:
    """Writes that travel as one command, and where their replies go."""

    __slots__ = ("bytes", "request_id", "requests", "senders", "timer")

    def __init__(self, request_id: str | None = None) -> None:
        self.request_id = request_id
        self.requests: list[list[bytes]] = []
        self.senders: list[tuple[Sender, Slot]] = []
        self.bytes = 0
        self.timer: asyncio.Handle | None = None

    def has_room_for(self, size: int) -> bool:
        """Whether a request of so many bytes may come along. A large one travels alone, lest it take others with it."""
        return len(self.requests) < BATCH_COMMANDS_MAX and self.bytes + size <= BATCH_BYTES_MAX


class Writes:
    """Gathers writes. Their order is that of their arrival, in the log as well."""

    def __init__(self, propose: Propose, spawn: Spawn) -> None:
        self._propose = propose
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._batch: Batch | None = None
        self._under_way = 0

    def add(self, connection: Sender, slot: Slot, request: list[bytes]) -> None:
        """One more; it goes into the log at the end of this turn, or when the batch before it has ended."""
        size = sum(map(len, request))
        batch = self._batch
        if batch is None or not batch.has_room_for(size):
            batch = self._begin()
        batch.requests.append(request)
        batch.senders.append((connection, slot))
        batch.bytes += size

    def add_once(self, connection: Sender, slot: Slot, request: list[bytes], request_id: str) -> None:
        """One that travels alone, with an id by which it is applied once; what came before it goes first."""
        self._send()
        batch = self._batch = Batch(request_id)
        batch.requests.append(request)
        batch.senders.append((connection, slot))
        self._send()

    def _begin(self) -> Batch:
        self._send()
        batch = self._batch = Batch()
        if self._under_way:
            batch.timer = self._loop.call_later(GATHER_SECONDS_MAX, self._send)
        else:
            batch.timer = self._loop.call_soon(self._send)
        return batch

    def _send(self) -> None:
        batch = self._batch
        if batch is not None:
            self._batch = None
            if batch.timer is not None:
                batch.timer.cancel()
            self._under_way += 1
            self._spawn(self._run(batch))

    async def apply(self, request: list[bytes]) -> Any:
        """One write of nobody's; returns its reply. Raises what proposing raises."""
        return (await self._propose(_encode([request]), None))[0]

    async def _run(self, batch: Batch) -> None:
        try:
            replies: list[Any] = await self._propose(_encode(batch.requests), batch.request_id)
        except QuorateError as error:
            replies = [as_reply(error, batch.request_id)] * len(batch.requests)
        finally:
            self._under_way -= 1
        for (connection, slot), reply in zip(batch.senders, replies, strict=True):
            connection.written(slot, reply)
        for connection in {connection: None for connection, _ in batch.senders}:
            connection.go_on()
        self._send()


class Reads:
    """Gathers reads: one confirmation serves all that arrived before it was asked for."""

    def __init__(
        self, barrier: Callable[[], Coroutine[Any, Any, None]], keyspace: Callable[[], Keyspace], spawn: Spawn
    ) -> None:
        self._barrier = barrier
        self._keyspace = keyspace
        self._spawn = spawn
        self._waiting: list[tuple[Sender, Slot, Spec, list[bytes]]] = []

    def add(self, connection: Sender, slot: Slot, spec: Spec, request: list[bytes]) -> None:
        """One more."""
        if not self._waiting:
            self._spawn(self._run())
        self._waiting.append((connection, slot, spec, request))

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whatever else came in this turn comes along
        reads, self._waiting = self._waiting, []
        try:
            await self._barrier()
            db = self._keyspace()
        except QuorateError as error:
            reply = as_reply(error)
            for connection, slot, _, _ in reads:
                connection.read(slot, reply)
        else:
            for connection, slot, spec, request in reads:
                connection.read(slot, answered(spec, db, request))
        for connection in {read[0]: None for read in reads}:
            connection.go_on()


def answered(spec: Spec, db: Keyspace, request: list[bytes]) -> Any:
    """A command's reply, be it an error."""
    try:
        return spec.handler(db, request)
    except CommandError as error:
        return error
