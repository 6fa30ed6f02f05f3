"""The data: keys, what they hold, until when, and at which revision they were changed last.

The same on every node that has applied the same entries. Time is the log's; a key whose deadline has passed in that
time counts as gone, although it stays until the leader's next sweep deletes it by an entry of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

import msgspec

from quorate.kv.replies import WRONG_TYPE, CommandError
from quorate.kv.slots import Slots
from quorate.kv.values import OBJECT_BYTES, SLOT_BYTES, Value, size_of

V = TypeVar("V", bound=Value)

ITEM_BYTES = OBJECT_BYTES + 2 * SLOT_BYTES + 88
"""About what a key takes beside its name and its value."""
SWEPT_MAX = 1000
"""So many keys are deleted by one sweep at most, so that it does not hold up what follows."""
STALE_DEADLINES_MAX = 1024
"""So many deadlines that were moved or given up are kept beside as many as there are keys."""


class Item(msgspec.Struct, gc=False, eq=False):
    """What is at a key. ``expires_us`` is log time in µs, 0 for never.

    The garbage collector need not look at it: no cycle leads through it, and there may be millions.
    """

    value: Value
    revision: int = 0
    expires_us: int = 0
    size: int = 0


Change = tuple[str, bytes, int]
"""What happened (by Redis' names of keyspace events), to which key, at which revision."""


class Keyspace:
    """The keys of one group."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.revision = 0
        """Grows by one with each change; a key remembers that of its last."""
        self.time_us = 0
        """The log's time."""
        self.random = Random(0)
        """Seeded by each entry."""
        self.memory_bytes = 0
        """About what the data takes."""
        self.with_deadline = 0
        """How many keys have a deadline."""
        self.dirty: dict[bytes, None] = {}
        """Keys that were changed since :meth:`take_dirty`, in the order of their first change."""
        self.before_change: Callable[[bytes, Item | None], None] | None = None
        """Told of a key that is about to change, and what is there."""
        self.on_change: Callable[[Change], None] | None = None
        """Told of each change."""
        self.slots = Slots()
        """The keys of :attr:`items`, for ``SCAN``."""
        self._deadlines: list[tuple[int, bytes]] = []  # some of them may have been moved or given up since

    def __len__(self) -> int:
        return len(self.items)

    # -- looking -----------------------------------------------------------------------------------------

    def find(self, key: bytes) -> Item | None:
        """What is at ``key``; ``None`` where nothing is, or its time is over."""
        item = self.items.get(key)
        if item is not None and item.expires_us and item.expires_us <= self.time_us:
            return None
        return item

    def get(self, key: bytes, kind: type[V]) -> V | None:
        """The value at ``key``. Raises ``WRONGTYPE`` if it is of another kind."""
        item = self.find(key)
        if item is None:
            return None
        if type(item.value) is not kind:
            raise CommandError(WRONG_TYPE)
        return item.value

    def live(self) -> Iterator[tuple[bytes, Item]]:
        """All keys whose time is not over."""
        now = self.time_us
        return ((key, item) for key, item in self.items.items() if not item.expires_us or item.expires_us > now)

    # -- changing ----------------------------------------------------------------------------------------

    def put(self, key: bytes, value: Value, *events: str, expires_us: int | None = 0) -> None:
        """Have ``value`` at ``key``, whatever was there; ``expires_us`` of ``None`` keeps the deadline."""
        item = self._to_change(key)
        if item is None:
            item = self._create(key, value)
        else:
            item.value = value
        if expires_us is not None and expires_us != item.expires_us:
            self._set_deadline(key, item, expires_us)
        self._changed(key, item, *events)

    def edit(self, key: bytes, kind: type[V]) -> V | None:
        """The value at ``key``, about to be changed in place: :meth:`edited` has to follow. Raises ``WRONGTYPE``."""
        value = self.get(key, kind)
        if value is not None:
            self._to_change(key)
        return value

    def edit_or_create(self, key: bytes, kind: type[V]) -> V:
        """The same, with an empty value where there is none: something has to be put into it."""
        value = self.edit(key, kind)
        if value is None:
            self._to_change(key)
            value = kind()
            self._create(key, value)
        return value

    def edited(self, key: bytes, *events: str) -> None:
        """What :meth:`edit` gave is as it should be; a value that is empty by now is no more."""
        item = self.items[key]
        if not isinstance(item.value, bytes) and not len(item.value):
            self._forget(key, item)
            events = (*events, "del")
            for event in events:
                self._tell(event, key)
            return
        self._changed(key, item, *events)

    def delete(self, key: bytes, event: str = "del") -> bool:
        """Have nothing at ``key``; returns whether there was something, whose time was not over."""
        if key not in self.items:
            return False
        was_live = self.find(key) is not None
        item = self._to_change(key)
        if item is not None:
            self._forget(key, item)
            self._tell(event, key)
        return was_live

    def set_deadline(self, key: bytes, expires_us: int, event: str) -> None:
        """Give a key that is there a deadline in log time, or, with 0, none."""
        item = self._to_change(key)
        assert item is not None
        self._set_deadline(key, item, expires_us)
        self._changed(key, item, event)

    def clear(self) -> None:
        """Have no keys at all. They go in an order that is the same on a node that came by them otherwise."""
        for key in sorted(self.items):
            self.delete(key)

    def load(self, key: bytes, value: Value, revision: int, expires_us: int) -> None:
        """Have at ``key``, where nothing is, what a snapshot says: that is no change, and nobody is told."""
        item = self._create(key, value)
        self._set_deadline(key, item, expires_us)
        item.revision = revision
        self._measure(key, item)

    def take_dirty(self) -> dict[bytes, None]:
        """The keys that were changed since the last time, in the order of their first change."""
        dirty, self.dirty = self.dirty, {}
        return dirty

    def _to_change(self, key: bytes) -> Item | None:
        """What is at ``key``, announced as about to change. What is there beyond its time is removed first."""
        item = self.items.get(key)
        if self.before_change is not None:
            self.before_change(key, item)
        self.revision += 1
        self.dirty[key] = None
        if item is not None and 0 < item.expires_us <= self.time_us:
            self._forget(key, item)
            self._tell("expired", key)
            return None
        return item

    def _changed(self, key: bytes, item: Item, *events: str) -> None:
        item.revision = self.revision
        self._measure(key, item)
        if self.on_change is not None:
            for event in events:
                self.on_change((event, key, self.revision))

    def _create(self, key: bytes, value: Value) -> Item:
        item = self.items[key] = Item(value)
        self.slots.add(key)
        return item

    def _measure(self, key: bytes, item: Item) -> None:
        size = len(key) + ITEM_BYTES + size_of(item.value)
        self.memory_bytes += size - item.size
        item.size = size

    def _forget(self, key: bytes, item: Item) -> None:
        del self.items[key]
        self.slots.remove(key)
        self.memory_bytes -= item.size
        self.with_deadline -= item.expires_us > 0

    def _tell(self, event: str, key: bytes) -> None:
        if self.on_change is not None:
            self.on_change((event, key, self.revision))

    # -- deadlines ---------------------------------------------------------------------------------------

    def _set_deadline(self, key: bytes, item: Item, expires_us: int) -> None:
        if item.expires_us != expires_us:
            self.with_deadline += (expires_us > 0) - (item.expires_us > 0)
            item.expires_us = expires_us
            if expires_us:
                heapq.heappush(self._deadlines, (expires_us, key))
                if len(self._deadlines) > 2 * len(self.items) + STALE_DEADLINES_MAX:
                    self._deadlines = [(item.expires_us, key) for key, item in self.items.items() if item.expires_us]
                    heapq.heapify(self._deadlines)

    @property
    def next_deadline_us(self) -> int:
        """When the next key may have to be swept; 0 if none has a deadline."""
        while self._deadlines:
            expires_us, key = self._deadlines[0]
            item = self.items.get(key)
            if item is not None and item.expires_us == expires_us:
                return expires_us
            heapq.heappop(self._deadlines)  # moved or given up since
        return 0

    def sweep(self) -> int:
        """Delete keys whose time is over, as many as one entry may; returns how many."""
        swept = 0
        while swept < SWEPT_MAX and 0 < self.next_deadline_us <= self.time_us:
            self.delete(self._deadlines[0][1], "expired")
            swept += 1
        return swept
