"""What all clients ask in one turn of the event loop, gathered: writes into one proposal, reads behind one barrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.errors import CommandFailed, NotApplied, OutcomeUnknown, ProposalDropped, QuorateError, ReadUnavailable
from quorate.kv.registry import Spec
from quorate.kv.replies import CommandError

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace
    from quorate.kv.server.connection import Connection, Slot

BATCH_COMMANDS_MAX = 1000
"""So many commands travel as one at most: they are applied without a pause."""
BATCH_BYTES_MAX = 256 * 1024

_encode = msgspec.msgpack.Encoder().encode

Propose = Callable[[bytes], Coroutine[Any, Any, list[Any]]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


def as_reply(error: QuorateError) -> CommandError:
    """What a client is told of a command that was not, or may not have been, carried out."""
    if isinstance(error, OutcomeUnknown):
        return CommandError(f"UNKNOWN the outcome is unknown, the command may have been or may yet be applied: {error}")
    if isinstance(error, ProposalDropped):
        return CommandError(f"TRYAGAIN not applied: {error}")
    if isinstance(error, (NotApplied, ReadUnavailable)):
        return CommandError(f"CLUSTERDOWN {error}")
    return CommandError(f"ERR {error}")


class Batch:
    """Writes that travel as one command, and where their replies go."""

    __slots__ = ("bytes", "requests", "senders")

    def __init__(self) -> None:
        self.requests: list[list[bytes]] = []
        self.senders: list[tuple[Connection, Slot]] = []
        self.bytes = 0


class Writes:
    """Gathers writes. Their order is that of their arrival, in the log as well."""

    def __init__(self, propose: Propose, spawn: Spawn) -> None:
        self._propose = propose
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._batch: Batch | None = None

    def add(self, connection: Connection, slot: Slot, request: list[bytes]) -> None:
        """One more; it goes into the log at the end of this turn."""
        batch = self._batch
        if batch is None:
            batch = self._batch = Batch()
            self._loop.call_soon(self._send, batch)
        batch.requests.append(request)
        batch.senders.append((connection, slot))
        batch.bytes += sum(map(len, request))
        if len(batch.requests) >= BATCH_COMMANDS_MAX or batch.bytes >= BATCH_BYTES_MAX:
            self._batch = None
            self._start(batch)

    def _send(self, batch: Batch) -> None:
        if self._batch is batch:
            self._batch = None
            self._start(batch)

    def _start(self, batch: Batch) -> None:
        self._spawn(self._run(batch))

    async def apply(self, request: list[bytes]) -> Any:
        """One write of nobody's; returns its reply. Raises what proposing raises."""
        return (await self._propose(_encode([request])))[0]

    async def _run(self, batch: Batch) -> None:
        try:
            replies: list[Any] = await self._propose(_encode(batch.requests))
        except CommandFailed as refusal:
            replies = [CommandError(f"ERR {refusal}")] * len(batch.requests)
        except QuorateError as error:
            replies = [as_reply(error)] * len(batch.requests)
        for (connection, slot), reply in zip(batch.senders, replies, strict=True):
            connection.written(slot, reply)
        for connection in {connection: None for connection, _ in batch.senders}:
            connection.go_on()


class Reads:
    """Gathers reads: one confirmation serves all that arrived before it was asked for."""

    def __init__(
        self, barrier: Callable[[], Coroutine[Any, Any, None]], keyspace: Callable[[], Keyspace], spawn: Spawn
    ) -> None:
        self._barrier = barrier
        self._keyspace = keyspace
        self._spawn = spawn
        self._waiting: list[tuple[Connection, Slot, Spec, list[bytes]]] = []

    def add(self, connection: Connection, slot: Slot, spec: Spec, request: list[bytes]) -> None:
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
