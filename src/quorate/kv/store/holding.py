"""Locks and leases that renew themselves while a block runs, and interrupt it when they are lost.

What is lost is known by the answer to a renewal, or, where none comes, by the clock of this machine: a block is
interrupted once the whole time has passed since the last renewal that was confirmed was asked for. Neither is a proof:
a process may be asleep when its time is over, and the time of the log is that of the leader's clock. Who writes to
something that must not be written to twice uses the lock's token: see :meth:`Lock.fenced`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from quorate.errors import QuorateError
from quorate.kv.store.encoding import Argument, Key, Seconds, encoded, milliseconds
from quorate.kv.store.errors import KvError, LockLost, WatchCompacted

if TYPE_CHECKING:
    from quorate.kv.store.fencing import Fenced
    from quorate.kv.store.kv import Kv

log = logging.getLogger(__name__)

RENEWALS = 3
"""So often it is renewed in its time."""
RETRY_SECONDS = 0.02
"""... and so long after a renewal that came to nothing, again."""


class Holding(ABC):
    """Something with a time of its own that is taken when a block is entered, and given back at its end."""

    def __init__(self, kv: Kv, name: Key, ttl: Seconds) -> None:
        self._kv = kv
        self.name = encoded(name)
        self.ttl = milliseconds(ttl) / 1000
        """For how many seconds it lives from each renewal on."""
        self._held_until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._block: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_lost = False

    @property
    def is_held(self) -> bool:
        """Whether it was taken, and nothing has spoken against it since."""
        return self._block is not None and not self._is_lost and _now() < self._held_until

    @abstractmethod
    async def _take(self) -> float:
        """Take it; returns when that was asked for."""

    @abstractmethod
    async def _renew(self) -> bool:
        """Renew it; returns whether it was still held."""

    @abstractmethod
    async def _give_back(self) -> bool:
        """End it; returns whether it was still held."""

    async def __aenter__(self) -> Self:
        if self._renewing is not None:
            raise RuntimeError("it is held once: make another")
        asked = await self._take()
        self._held_until = asked + self.ttl
        self._block = asyncio.current_task()
        assert self._block is not None, "not in a task"
        self._cancelling = self._block.cancelling()
        self._renewing = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._renewing is not None
        assert self._block is not None
        block, self._block = self._block, None  # from here on nothing is interrupted
        self._renewing.cancel()
        await asyncio.wait([self._renewing])
        if self._is_lost:
            is_ours = block.uncancel() <= self._cancelling
            if kind is None or (is_ours and kind is asyncio.CancelledError):
                raise self._loss() from error
        elif not await self._given_back() and kind is None:
            raise self._loss()

    async def _keep(self) -> None:
        """Renew until it is lost; then interrupt the block."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._held_until) as over:
                while True:
                    await asyncio.sleep(self.ttl / RENEWALS)
                    asked = _now()
                    if not await self._renewed():
                        break
                    self._held_until = asked + self.ttl
                    over.reschedule(self._held_until)
        if self._block is not None:
            self._is_lost = True
            self._block.cancel()

    async def _renewed(self) -> bool:
        while True:  # until there is an answer, or its time is over
            try:
                return await self._renew()
            except KvError:
                return False
            except QuorateError as error:
                log.debug("renewing %r: %s", self.name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _given_back(self) -> bool:
        try:
            return await self._give_back()
        except KvError:
            return False
        except QuorateError as error:
            log.info("%r ends with its time: %s", self.name, error)
            return True

    def _loss(self) -> LockLost:
        return LockLost(f"LOST {self.name.decode(errors='replace')} is no longer held")


class Lock(Holding):
    """See :meth:`quorate.kv.store.kv.Kv.lock`. Who waits longest is not first by that."""

    def __init__(self, kv: Kv, name: Key, ttl: Seconds, timeout: float | None) -> None:
        super().__init__(kv, name, ttl)
        self._timeout = timeout
        self._owner = uuid4().hex
        self.token = 0
        """Higher than that of every holder before; for :meth:`fenced`, or a store of your own that compares tokens."""

    @property
    def fenced(self) -> Fenced:
        """Writes to the store that are refused (:class:`KvError` ``FENCED``) once the lock is held no longer."""
        return self._kv.fenced(self.name, self.token)

    async def _take(self) -> float:
        ends = None if self._timeout is None else _now() + self._timeout
        while True:
            asked = _now()
            token = await self._kv.once(uuid4().hex).lock_take(self.name, self._owner, self.ttl)
            if token is not None:
                self.token = token
                return asked
            if not await self._is_free(ends):
                raise TimeoutError(f"the lock {self.name.decode(errors='replace')} is held by another")

    async def _is_free(self, ends: float | None) -> bool:
        """Wait until the lock seems to be free; ``False`` when it has not been until ``ends``."""
        changes = self._kv.watch(self.name)
        holder = await self._kv.local.lock_holder(self.name)
        if holder is None:
            return True
        over = _now() + holder.ttl  # worth a try by then: where nothing is written, the time of the log stands still
        try:
            async with asyncio.timeout_at(over if ends is None else min(over, ends)):
                async for _ in changes:
                    if await self._kv.local.lock_holder(self.name) is None:
                        break
        except TimeoutError:
            return ends is None or _now() < ends
        except WatchCompacted:
            pass
        return True

    async def _renew(self) -> bool:
        return await self._kv.lock_renew(self.name, self.token, self.ttl)

    async def _give_back(self) -> bool:
        return await self._kv.lock_release(self.name, self.token)


class Lease(Holding):
    """See :meth:`quorate.kv.store.kv.Kv.lease`."""

    def __init__(self, kv: Kv, name: Key | None, ttl: Seconds) -> None:
        super().__init__(kv, name or f"lease:{uuid4().hex}", ttl)

    async def attach(self, *keys: Key) -> int:
        """Have keys that are there end with it, unless they are changed; returns how many they are."""
        return await self._kv.lease_attach(self.name, *keys)

    async def set(self, key: Key, value: Argument) -> None:
        """Set a string that ends with it."""
        async with self._kv.transaction() as tx:
            tx.set(key, value)
            tx.lease_attach(self.name, key)

    async def _take(self) -> float:
        asked = _now()
        await self._kv.once(uuid4().hex).lease_grant(self.name, self.ttl)
        return asked

    async def _renew(self) -> bool:
        return await self._kv.lease_keepalive(self.name)

    async def _give_back(self) -> bool:
        return await self._kv.lease_revoke(self.name)


def _now() -> float:
    return asyncio.get_running_loop().time()
