"""What this node applies, on its way to those in this program who wait for it: watches, subscribers, takers.

A watch takes its changes from the history when it is ready for them: nothing is kept for one that is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import islice
from weakref import WeakSet

from quorate.errors import NodeStopped, ReadUnavailable
from quorate.kv import feed, history
from quorate.kv.history import SLICE_CHANGES, Targets
from quorate.kv.keyspace import Change
from quorate.kv.machine import KvMachine
from quorate.kv.store.errors import WatchCompacted
from quorate.kv.store.messages import Subscription
from quorate.kv.takers import Takers


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One change of a key: the ``events`` are called as Redis calls them, ``set``, ``expire``, ``del``, …

    ``value`` is the string that is there now, ``None`` if there is none, or one of more than 64 KiB. If all keys were
    deleted at once, the event is ``flushdb`` and the key is empty.
    """

    revision: int
    key: bytes
    events: tuple[str, ...]
    value: bytes | None


class Listening:
    """A :class:`~quorate.kv.feed.Listener` from :meth:`begin` to :meth:`end`."""

    def __init__(self, machine: KvMachine) -> None:
        self._machine = machine
        self._feed: feed.Feed | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.takers = Takers(lambda: machine.keyspace)

    def begin(self) -> None:
        """Begin with what is applied next. The machine is open."""
        self._loop = asyncio.get_running_loop()
        self._feed = feed.Feed.of(self._machine, history.CHANGES_MAX, history.BYTES_MAX)
        self._feed.add(self)

    def end(self) -> None:
        """Hear no more; whoever waits is told that the node has stopped."""
        if self._feed is not None:
            self._feed.remove(self)
        self._loop = None
        self._wake()
        self.takers.end(NodeStopped("the node has stopped"))
        for subscription in list(self._subscriptions):
            subscription.close()

    @property
    def wants_changes(self) -> bool:
        """Whether anyone waits for some."""
        return bool(self._waiting or self.takers)

    def applied(self, changes: list[Change]) -> None:
        """Wake who waits for these."""
        if self.takers:
            self.takers.wake(dict.fromkeys([change[1] for change in changes]))
        self._wake()

    def begun_anew(self, told: int) -> None:
        """Wake everyone: the state is another one."""
        self.takers.wake_all()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # -- watches -----------------------------------------------------------------------------------------

    def watch(self, keys: Iterable[bytes], prefixes: Iterable[bytes], after: int | None) -> AsyncIterator[KeyChange]:
        """The changes behind the revision ``after``, or behind what this node has applied by now."""
        self._check_running()
        assert self._feed is not None
        begin = self._feed.history.last if after is None else after
        return self._changes(Targets.of(keys, prefixes), begin + 1)

    async def _changes(self, targets: Targets, revision: int) -> AsyncIterator[KeyChange]:
        while True:
            self._check_running()
            assert self._feed is not None
            known = self._feed.history
            if revision < known.first:
                raise WatchCompacted(f"COMPACTED changes are known from revision {known.first} on", known.first)
            for change in list(islice(known.since(revision), SLICE_CHANGES)):
                events, key, changed, value = change
                revision = changed + 1
                if targets.concern(change):
                    yield KeyChange(changed, key, tuple(events.split(",")), value)
            if revision > known.last:
                await self._next_change()

    async def _next_change(self) -> None:
        if self._loop is None:
            return
        future = self._loop.create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _check_running(self) -> None:
        if self._loop is None:
            raise ReadUnavailable("the node is not running")

    # -- messages ----------------------------------------------------------------------------------------

    def subscribe(self, channels: Iterable[bytes], patterns: Iterable[bytes]) -> Subscription:
        """What is published from now on."""
        self._check_running()
        subscription = Subscription(channels, patterns)
        self._subscriptions.add(subscription)
        return subscription

    def published(self, channel: bytes, message: bytes) -> int:
        """Offer a message to those who subscribed."""
        return sum([subscription.offer(channel, message) for subscription in self._subscriptions])
