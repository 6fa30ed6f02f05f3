"""``node.kv``: the commands of the store as methods, carried out through the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import random
from typing import TypeVar

from quorate.errors import ConfigError
from quorate.kv.arguments import checked_pattern
from quorate.kv.gathering import Reads, Writes
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.registry import Spec
from quorate.kv.replies import CommandError, Reply
from quorate.kv.store.callers import CALLERS, Waiting
from quorate.kv.store.calls import Call
from quorate.kv.store.encoding import Key, Seconds, encoded
from quorate.kv.store.errors import TransactionConflict, as_error
from quorate.kv.store.fencing import Fenced
from quorate.kv.store.holding import Lease, Lock
from quorate.kv.store.listening import KeyChange, Listening
from quorate.kv.store.messages import Subscription
from quorate.kv.store.scanning import Scanning
from quorate.kv.store.shapes import Shape
from quorate.kv.store.transaction import Transaction
from quorate.kv.tasks import Tasks
from quorate.kv.transactions import Transaction as Atomic
from quorate.kv.transactions import as_request, checked_weight
from quorate.node.node import Node
from quorate.node.reads import Consistency

T = TypeVar("T")

RETRY_SECONDS_MAX = 0.05
"""A transaction that met with a conflict waits for up to so long before it is tried again."""


@dataclass(frozen=True, slots=True)
class View:
    """How calls are carried out. A ``timeout`` of ``None`` is the node's own."""

    consistency: Consistency = "strong"
    timeout: float | None = None
    request_id: str | None = None


class Kv(Scanning):
    """The keys that all nodes share.

    Values come back as ``bytes``; text, numbers and bytes go in. Reads see everything that was acknowledged anywhere
    before the call (see :attr:`local`). Awaited writes are durable on a majority; those that are made at the same time
    share a proposal where they can, and may take effect in any order.

    A call raises :class:`~quorate.kv.store.errors.KvError` if it is refused, :class:`~quorate.errors.NotApplied` if it
    certainly had no effect, :class:`~quorate.errors.OutcomeUnknown` if it may have one (see :meth:`once`),
    :class:`~quorate.errors.ReadUnavailable` if it could not be read. Text with half a surrogate pair, and arguments of
    other types, are a :class:`ValueError` and a :class:`TypeError`.
    """

    def __init__(
        self, node: Node, machine: KvMachine, listening: Listening, tasks: Tasks, view: View | None = None
    ) -> None:
        self._node = node
        self._machine = machine
        self._listening = listening
        self._tasks = tasks
        self._view = view or View()
        self._writes = Writes(self._propose, tasks.spawn, node.config.max_command_bytes)
        self._reads = Reads(self._barrier, lambda: machine.readable, tasks.spawn)

    # -- other ways to ask -------------------------------------------------------------------------------

    @cached_property
    def local(self) -> Kv:
        """The same keys as this node has them, at once and however old. Writes are the same as ever."""
        return self.with_options(consistency="eventually")

    def with_options(self, *, consistency: Consistency | None = None, timeout: float | None = None) -> Kv:
        """The same keys, read with another ``consistency``, or with a ``timeout`` in seconds for each call."""
        return self._viewed(
            replace(
                self._view,
                consistency=consistency or self._view.consistency,
                timeout=self._view.timeout if timeout is None else timeout,
            )
        )

    def once(self, request_id: str) -> Kv:
        """For one write, or one transaction: a retry with the same id, on any node, is applied once.

        ``await node.kv.once(request_id).incr("visits")`` may be tried again when its outcome was unknown, and gets the
        first answer. Another command with the same id is refused (:class:`~quorate.errors.RequestIdReused`). The newest
        100,000 ids are remembered.
        """
        return self._viewed(replace(self._view, request_id=request_id))

    @property
    def _repeatable(self) -> Kv:
        """For more than one write."""
        return self if self._view.request_id is None else self._viewed(replace(self._view, request_id=None))

    def _viewed(self, view: View) -> Kv:
        return Kv(self._node, self._machine, self._listening, self._tasks, view)

    # -- carrying out ------------------------------------------------------------------------------------

    def perform(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> Call[T]:
        return Call((self._take if spec.blocking else self._run)(spec, request, shape))

    async def _run(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> T:
        if spec.write:
            copied = spec.weigh(self._machine.keyspace, request) if spec.weigh is not None else 0
            reply = await self.apply(request, copied)
        else:
            reply = await self._read(spec, request)
        if isinstance(reply, CommandError):
            raise as_error(reply)
        return shape(reply)

    async def _take(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> T:
        if self._view.request_id is not None:
            raise ConfigError(f"{spec.name.decode()} waits, and so cannot be applied once by its id")
        future, takers = Waiting(), self._listening.takers
        taker = takers.begin(CALLERS, future, request, self._writes, self._reads)
        try:
            reply = await future
        finally:
            takers.forget(taker)
        if isinstance(reply, CommandError):
            raise as_error(reply)
        return shape(reply)

    async def _read(self, spec: Spec, request: list[bytes]) -> Reply:
        if self._view.consistency == "strong":
            self._reads.add(CALLERS, future := Waiting(), spec, request)
            return await future
        await self._barrier()
        return spec.answer(self._machine.readable, request)

    async def apply(self, request: list[bytes], copied: int = 0) -> Reply:
        """The reply to one write that is well formed and copies so many bytes. Raises what ``Node.propose`` raises."""
        future, request_id = Waiting(), self._view.request_id
        if request_id is not None:
            self._writes.add_once(CALLERS, future, request, request_id, copied)
        else:
            self._writes.add(CALLERS, future, request, copied)
        try:
            return await future
        except asyncio.CancelledError:
            self._writes.withdraw(CALLERS, future)
            raise

    async def _propose(self, command: bytes, request_id: str | None) -> list[Reply]:
        applied = await self._node.propose(command, machine=MACHINE, request_id=request_id, timeout=self._view.timeout)
        replies = applied.result
        assert isinstance(replies, list)
        return replies

    async def _barrier(self) -> None:
        await self._node.read_barrier(consistency=self._view.consistency, timeout=self._view.timeout)

    # -- transactions ------------------------------------------------------------------------------------

    def transaction(self, *, watch: Sequence[Key] = ()) -> Transaction:
        """``async with node.kv.transaction() as tx``: what is asked of ``tx`` is applied at the end, as one.

        Nobody sees a part of it. If a key in ``watch`` has changed since the block was entered, nothing is applied, and
        :class:`~quorate.kv.store.errors.TransactionConflict` is raised.
        """
        if self._view.request_id is not None and watch:
            raise ConfigError("a transaction that is applied once watches nothing: a retry would see other revisions")
        return Transaction(self._execute, self.revisions, watch)

    async def transact(
        self, work: Callable[[Transaction], Awaitable[T]], *, watch: Sequence[Key], attempts: int = 20
    ) -> T:
        """Run ``work(tx)`` in a transaction, and again while there is a conflict; returns what it returned.

        ``work`` reads from the store and asks ``tx`` to write. After so many ``attempts`` the last
        :class:`~quorate.kv.store.errors.TransactionConflict` is raised.
        """
        for attempt in range(attempts):
            try:
                async with self.transaction(watch=watch) as tx:
                    result = await work(tx)
            except TransactionConflict:
                if attempt + 1 == attempts:
                    raise
                await asyncio.sleep(RETRY_SECONDS_MAX * random())
            else:
                return result
        raise ValueError("a transaction is attempted once at least")

    async def _execute(self, transaction: Atomic) -> Reply:
        try:
            copied = checked_weight(self._machine.keyspace, transaction)
        except CommandError as refusal:
            return refusal
        return await self.apply(as_request(transaction), copied)

    # -- locks and leases --------------------------------------------------------------------------------

    def lock(self, name: Key, *, ttl: Seconds, timeout: float | None = None) -> Lock:
        """``async with node.kv.lock("job", ttl=10) as lock``: nobody else has it, and it renews itself.

        A holder that falls silent, or is cut off, loses it after ``ttl``. ``timeout`` is for how many seconds to wait
        for another holder, without end by default; then :class:`TimeoutError` is raised.
        """
        return Lock(self._repeatable, name, ttl, timeout)

    def lease(self, *, ttl: Seconds, name: Key | None = None) -> Lease:
        """``async with node.kv.lease(ttl=10) as lease``: keys that are attached to it end with the block.

        Or ``ttl`` after this program fell silent: meanwhile it renews itself.
        """
        return Lease(self._repeatable, name, ttl)

    def fenced(self, name: Key, token: int) -> Fenced:
        """Writes that are applied only while a lock is held with this token; otherwise :class:`KvError` ``FENCED``."""
        return Fenced(self, encoded(name), token)

    # -- hearing of what happens -------------------------------------------------------------------------

    def watch(self, *keys: Key, prefix: Key | Sequence[Key] = (), after: int | None = None) -> AsyncIterator[KeyChange]:
        """``async for change in node.kv.watch("key")``: each change of the keys, or of those that begin with a prefix.

        In the order of their revisions, none left out, behind the revision ``after``, which may come from another node;
        or from now on. They are told when this node has applied them. Raises
        :class:`~quorate.kv.store.errors.WatchCompacted` where some are not known any more (a node knows the latest
        100,000, since its start), and :class:`~quorate.errors.ReadUnavailable` when the node stops.
        """
        prefixes = [prefix] if isinstance(prefix, str | bytes) else prefix
        return self._listening.watch(map(encoded, keys), map(encoded, prefixes), after)

    def subscribe(self, *channels: Key, patterns: Sequence[Key] = ()) -> Subscription:
        """``async for message in node.kv.subscribe("news")``: what is published on any node from now on.

        Each message is given once at most: those that come while this node is not there are not, and of those that are
        not taken the latest 1,024 are kept.
        """
        return self._listening.subscribe(map(encoded, channels), [_pattern(pattern) for pattern in patterns])


def _pattern(text: Key) -> bytes:
    try:
        return checked_pattern(encoded(text))
    except CommandError as refusal:
        raise as_error(refusal) from None
