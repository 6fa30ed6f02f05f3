"""The data: keys, what they hold, until when, and at which revision they were changed last.

The same on every node that has applied the same entries. Time is the log's; a key whose deadline has passed in that
time counts as gone, although it stays until the leader's next sweep deletes it by an entry of its own.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TypeVar

import msgspec

from quorate.kv.deadlines import DEADLINE_BYTES, Deadlines
from quorate.kv.discarded import Discarded
from quorate.kv.replies import WRONG_TYPE, CommandError
from quorate.kv.slots import NOTHING, SLOT_MASK, Slots
from quorate.kv.values import CLAIMS, OBJECT_BYTES, SLOT_BYTES, Data, Lease, Value, size_of

V = TypeVar("V", bound=Value)
D = TypeVar("D", bound=Data)

ITEM_BYTES = OBJECT_BYTES + SLOT_BYTES + 120
"""About what a key takes beside its name and its value."""
DIRTY_SLOTS = 256
DIRTY_MASK = DIRTY_SLOTS - 1
SWEPT_MAX = 250
"""So many keys are deleted by one sweep at most, so that it does not hold up what follows."""
FLUSHED = "flushdb"
"""The event of :meth:`Keyspace.clear`; its key is empty."""


class Item(msgspec.Struct, gc=False, eq=False):
    """What is at a key. ``expires_us`` is log time in µs, 0 for never.

    The garbage collector need not look at it: no cycle leads through it, and there may be millions.
    """

    value: Value
    revision: int = 0
    expires_us: int = 0
    size: int = 0


VALUE_TOLD_BYTES_MAX = 64 << 10
"""A change tells the string that is there now, if with its key it takes no more than this."""
Change = tuple[str, bytes, int, bytes | None]
"""What happened (by Redis' names of keyspace events), to which key, at which revision, and the string there now."""


class Keyspace:
    """The keys of one group."""

    def __init__(self) -> None:
        self.items: Slots[Item] = Slots()
        self.revision = 0
        """Grows by one with each change; a key remembers that of its last."""
        self.time_us = 0
        """The log's time."""
        self.clock_us = 0
        """A clock for commands that only read; 0 for those in the log, which must answer alike everywhere."""
        self.random = Random(0)
        """Seeded by each entry."""
        self.memory_bytes = 0
        """About what the data takes."""
        self.dirty: Slots[None] = Slots(DIRTY_SLOTS)
        """Keys that were changed since :meth:`take_dirty`."""
        self.cleared = False
        """Whether none of the other keys that were there at :meth:`take_dirty` is there any more."""
        self.discarded = Discarded()
        """What is large and no more there. Whoever holds the keyspace has it freed."""
        self.before_change: Callable[[int, bytes, Item | None], None] | None = None
        """Told of a key that is about to change, its checksum before it and what is there behind."""
        self.on_change: Callable[[Change], None] | None = None
        """Told of each change. A revision is of one key, and may have several events."""
        self.told_bytes = 0
        """About how many bytes of keys and values that was told of."""
        self.on_publish: Callable[[bytes, bytes], int] | None = None
        """Told of each message and its channel; answers how many clients of this node got it."""
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def now_us(self) -> int:
        """The time by which time left is told. The log's stands still while nothing is written."""
        return max(self.time_us, self.clock_us)

    # -- looking -----------------------------------------------------------------------------------------

    def find(self, key: bytes) -> Item | None:
        """What is at ``key``; ``None`` where nothing is, or its time is over."""
        item = self.items.slots[crc_hqx(key, 0) & SLOT_MASK].get(key)
        if item is not None and 0 < item.expires_us <= self.time_us:
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

    def check_plain(self, *keys: bytes) -> None:
        """Raises ``WRONGTYPE`` if a lock or a lease is at one of them: nothing may overwrite, move or prolong those."""
        for key in keys:
            item = self.find(key)
            if item is not None and type(item.value) in CLAIMS:
                raise CommandError(WRONG_TYPE)

    # -- changing ----------------------------------------------------------------------------------------

    def put(self, key: bytes, value: Value, *events: str, expires_us: int | None = 0) -> None:
        """Have ``value`` at ``key``, whatever was there; ``expires_us`` of ``None`` keeps the deadline.

        Raises ``WRONGTYPE``, before anything is changed, instead of overwriting a lock or a lease with data.
        """
        item = self._to_change(key, value)
        if item is None:
            item = self._create(key, value)
        else:
            if type(item.value) is not bytes:
                self.discarded.add_value(item.value)
            item.value = value
        if expires_us != item.expires_us and expires_us is not None:
            self._set_deadline(key, item, expires_us)
        self._changed(key, item, events)

    def edit(self, key: bytes, kind: type[V]) -> V | None:
        """The value at ``key``, about to be changed in place: :meth:`edited` has to follow. Raises ``WRONGTYPE``."""
        value = self.get(key, kind)
        if value is not None:
            self._to_change(key)
        return value

    def edit_or_create(self, key: bytes, kind: type[D]) -> D:
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
        self._changed(key, item, events)

    def delete(self, key: bytes, event: str = "del") -> bool:
        """Have nothing at ``key``; returns whether there was something, whose time was not over."""
        if key not in self.items:
            return False
        was_live = self.find(key) is not None
        item = self._to_change(key)
        if item is not None:
            self._forget(key, item)
            self._tell(event, key)
            if type(item.value) is Lease:
                self._end_lease(item.value, event)
        return was_live

    def _end_lease(self, lease: Lease, event: str) -> None:
        """Delete the keys that still belong to a lease which is no more."""
        for key, revision in lease.keys.items():
            item = self.items.get(key)
            if item is not None and item.revision == revision:
                self.delete(key, event)

    def take(self, key: bytes, event: str) -> Item:
        """Have nothing at a key whose time is not over; what was there is the caller's."""
        item = self._to_change(key)
        assert item is not None
        self._remove(key, item)
        self._tell(event, key)
        return item

    def set_deadline(self, key: bytes, expires_us: int, event: str) -> None:
        """Give a key that is there a deadline in log time, or, with 0, none."""
        item = self._to_change(key)
        assert item is not None
        self._set_deadline(key, item, expires_us)
        self._changed(key, item, (event,))

    def clear(self) -> None:
        """Have no keys at all: one change, whose one event names none of them. Takes microseconds."""
        if not self.items:
            return
        self.revision += 1
        self.discarded.add_table(self.items)
        self.discarded.add_table(self.dirty)
        self.discarded.add(self._deadlines.entries)
        self.items, self.dirty, self._deadlines = Slots(), Slots(DIRTY_SLOTS), Deadlines()
        self.memory_bytes = 0
        self.cleared = True
        self._tell(FLUSHED, b"")

    def load(self, rows: Iterable[tuple[bytes, Value, int, int]]) -> None:
        """Have what a file says where nothing is: key, value, revision and deadline. That is no change.

        Of a key that comes several times the first row counts.
        """
        slots, deadlines = self.items.slots, []
        count = memory_bytes = 0
        for key, value, revision, expires_us in rows:
            number = crc_hqx(key, 0) & SLOT_MASK
            slot = slots[number]
            if slot is NOTHING:
                slot = slots[number] = {}
            elif key in slot:
                continue
            size = len(key) + ITEM_BYTES + (len(value) + OBJECT_BYTES if type(value) is bytes else size_of(value))
            if expires_us:
                size += DEADLINE_BYTES + len(key)
                deadlines.append((expires_us, key))
            memory_bytes += size
            slot[key] = Item(value, revision, expires_us, size)
            count += 1
        self.items.count += count
        self.memory_bytes += memory_bytes
        self._deadlines = Deadlines(deadlines)

    def take_dirty(self) -> Slots[None]:
        """The keys that were changed since the last time."""
        dirty, self.dirty = self.dirty, Slots(DIRTY_SLOTS)
        self.cleared = False
        return dirty

    def _to_change(self, key: bytes, value: Value | None = None) -> Item | None:
        """What is at ``key``, announced as about to change. What is there beyond its time is removed first.

        A lock or a lease refuses a ``value`` that is to take its place.
        """
        checksum = crc_hqx(key, 0)
        item = self.items.slots[checksum & SLOT_MASK].get(key)
        if item is not None and type(item.value) is not bytes and value is not None and type(value) not in CLAIMS:
            self.check_plain(key)
        if self.before_change is not None:
            self.before_change(checksum, key, item)
        self.revision += 1
        number = checksum & DIRTY_MASK
        dirty = self.dirty.slots[number]
        if key not in dirty:
            if dirty is NOTHING:
                dirty = self.dirty.slots[number] = {}
            dirty[key] = None
            self.dirty.count += 1
        if item is not None and 0 < item.expires_us <= self.time_us:
            self._forget(key, item)
            self._tell("expired", key)
            if type(item.value) is Lease:
                self._end_lease(item.value, "expired")
                self.revision += 1  # what is to come to the key is another change than the last of these
            return None
        return item

    def _changed(self, key: bytes, item: Item, events: tuple[str, ...]) -> None:
        item.revision = self.revision
        value = item.value
        size = len(key) + ITEM_BYTES + (len(value) + OBJECT_BYTES if type(value) is bytes else size_of(value))
        if item.expires_us:
            size += DEADLINE_BYTES + len(key)
        self.memory_bytes += size - item.size
        item.size = size
        if self.on_change is not None:
            told = value if type(value) is bytes and size <= VALUE_TOLD_BYTES_MAX else None
            self.told_bytes += len(key) if told is None else size
            for event in events:
                self.on_change((event, key, self.revision, told))

    def _create(self, key: bytes, value: Value) -> Item:
        item = self.items[key] = Item(value)
        return item

    def _forget(self, key: bytes, item: Item) -> None:
        self._remove(key, item)
        if type(item.value) is not bytes:
            self.discarded.add_value(item.value)

    def _remove(self, key: bytes, item: Item) -> None:
        del self.items[key]
        self.memory_bytes -= item.size
        if item.expires_us:
            self._deadlines.remove(item.expires_us, key)

    def _tell(self, event: str, key: bytes) -> None:
        if self.on_change is not None:
            self.told_bytes += len(key)
            self.on_change((event, key, self.revision, None))

    # -- deadlines ---------------------------------------------------------------------------------------

    def _set_deadline(self, key: bytes, item: Item, expires_us: int) -> None:
        if item.expires_us != expires_us:
            if item.expires_us:
                self._deadlines.remove(item.expires_us, key)
            if expires_us:
                self._deadlines.add(expires_us, key)
            item.expires_us = expires_us

    @property
    def with_deadline(self) -> int:
        """How many keys have a deadline."""
        return len(self._deadlines)

    @property
    def next_deadline_us(self) -> int:
        """When the next key has to be swept; 0 if none has a deadline."""
        return self._deadlines.first[0] if self._deadlines else 0

    def sweep(self) -> int:
        """Delete keys whose time is over, as many as one entry may; returns how many."""
        size = len(self.items)  # a lease takes its keys along
        while size - len(self.items) < SWEPT_MAX and 0 < self.next_deadline_us <= self.time_us:
            self.delete(self._deadlines.first[1], "expired")
        return size - len(self.items)
