"""What is asked at about the same time, gathered: writes into one proposal, reads behind one barrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from quorate.errors import OutcomeUnknown, QuorateError
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Spec
from quorate.kv.replies import Reply
from quorate.kv.server.gathering import BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, GATHER_SECONDS_MAX, answered

HEADER_BYTES = 5
"""What msgpack puts before bytes and lists, at most."""

_encode = msgspec.msgpack.Encoder().encode

Propose = Callable[[bytes], Coroutine[Any, Any, list[Reply]]]
Waiting = asyncio.Future[Reply]


class Tasks:
    """The tasks of one store."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something that ends by itself, or with the node."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def ended(self) -> None:
        """Return when all have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)


class Batch:
    """Writes that travel as one command, and who waits for their replies."""

    __slots__ = ("bytes", "timer", "writes")

    def __init__(self) -> None:
        self.writes: list[tuple[list[bytes], Waiting]] = []
        self.bytes = 0
        self.timer: asyncio.Handle | None = None


class Writes:
    """Gathers writes, as :class:`quorate.kv.server.gathering.Writes` does those of clients on the network."""

    def __init__(self, propose: Propose, tasks: Tasks, command_bytes_max: int) -> None:
        """A command of several writes has no more than ``command_bytes_max``: then none is refused for its company."""
        self._propose = propose
        self._bytes_max = min(BATCH_BYTES_MAX, command_bytes_max - HEADER_BYTES)
        self._tasks = tasks
        self._batch: Batch | None = None
        self._under_way = 0

    async def add(self, request: list[bytes]) -> Reply:
        """One more, and its reply. Raises what proposing raises."""
        loop = asyncio.get_running_loop()
        future: Waiting = loop.create_future()
        size = sum(map(len, request)) + HEADER_BYTES * (len(request) + 1)
        batch = self._batch
        if batch is None or len(batch.writes) >= BATCH_COMMANDS_MAX or batch.bytes + size > self._bytes_max:
            batch = self._begin(loop)
        batch.writes.append((request, future))
        batch.bytes += size
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> Batch:
        self._send()
        batch = self._batch = Batch()
        if self._under_way:
            batch.timer = loop.call_later(GATHER_SECONDS_MAX, self._send)
        else:
            batch.timer = loop.call_soon(self._send)
        return batch

    def _send(self) -> None:
        batch = self._batch
        if batch is None:
            return
        self._batch = None
        if batch.timer is not None:
            batch.timer.cancel()
        writes = [write for write in batch.writes if not write[1].done()]  # others were cancelled before they left
        if writes:
            self._under_way += 1
            self._tasks.spawn(self._run(writes))

    async def _run(self, writes: list[tuple[list[bytes], Waiting]]) -> None:
        futures = [future for _, future in writes]
        try:
            replies = await self._propose(_encode([request for request, _ in writes]))
        except QuorateError as error:
            _fail(futures, error)
        except BaseException:
            _fail(futures, OutcomeUnknown("the proposal was broken off"))
            raise
        else:
            for future, reply in zip(futures, replies, strict=True):
                _answer(future, reply)
        finally:
            self._under_way -= 1
            self._send()


class Reads:
    """Gathers reads: one confirmation serves all that arrived before it was asked for."""

    def __init__(
        self, barrier: Callable[[], Coroutine[Any, Any, None]], keyspace: Callable[[], Keyspace], tasks: Tasks
    ) -> None:
        self._barrier = barrier
        self._keyspace = keyspace
        self._tasks = tasks
        self._waiting: list[tuple[Spec, list[bytes], Waiting]] = []

    async def add(self, spec: Spec, request: list[bytes]) -> Reply:
        """One more, and its reply. Raises :class:`~quorate.errors.ReadUnavailable`."""
        future: Waiting = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._tasks.spawn(self._run())
        self._waiting.append((spec, request, future))
        return await future

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whatever else came in this turn comes along
        reads, self._waiting = self._waiting, []
        try:
            await self._barrier()
        except QuorateError as error:
            _fail([future for _, _, future in reads], error)
        else:
            db = self._keyspace()
            for spec, request, future in reads:
                try:
                    _answer(future, answered(spec, db, request))
                except Exception as error:  # one that fails is no reason to leave the others waiting
                    _fail([future], error)


def _answer(future: Waiting, reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _fail(futures: list[Waiting], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
