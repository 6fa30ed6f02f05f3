"""The keyspace in the SQLite file: written bit by bit, while it changes, as it was when the writing began.

Each key is a row with the number of the checkpoint that wrote it and what is there (nothing: deleted). Only the row of
numbers says which checkpoint is complete. What that has at a key which a later one has written already is kept beside
(``kv_undo``), so that one which is never completed leaves the state before it; behind the end of the later one it is
void. A key that is about to change while it waits to be written is encoded just before. A value is encoded and written
in one piece: 100,000 elements take some milliseconds, a million hold up everything for 50.

Where all keys were deleted at once, no row is touched: those that were written before the next checkpoint are void once
it is complete, and are deleted bit by bit with those that follow.
"""

from __future__ import annotations

import heapq
from binascii import crc_hqx
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import msgspec

from quorate.errors import CorruptLog
from quorate.kv.codec import decode_item, encode_item
from quorate.kv.keyspace import DIRTY_MASK, DIRTY_SLOTS, Item, Keyspace
from quorate.kv.slots import Slots
from quorate.kv.values import Value
from quorate.machine.contract import Rows
from quorate.machine.garbage import no_garbage_collection
from quorate.machine.sqlite import SqliteState

TABLES = frozenset({"kv", "kv_undo", "kv_checkpoint"})
SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (
    key BLOB PRIMARY KEY,
    checkpoint INTEGER NOT NULL,
    item BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kv_undo (
    number INTEGER PRIMARY KEY,
    complete INTEGER NOT NULL,
    key BLOB NOT NULL,
    item BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS kv_checkpoint (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    complete INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    void_before INTEGER NOT NULL,
    freed_before INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO kv_checkpoint VALUES (1, 0, 0, 0, 0, 0);
"""
_KEEP = """
INSERT INTO kv_undo (complete, key, item)
SELECT ?1, key, item FROM kv WHERE key = ?3 AND checkpoint BETWEEN ?2 AND ?1 AND item IS NOT NULL
"""
_WRITE = """
INSERT INTO kv VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET checkpoint = excluded.checkpoint, item = excluded.item
"""
_REMOVE = "DELETE FROM kv WHERE key = ? AND item IS NULL AND checkpoint <= ?"
_REMOVE_UNDO = """
DELETE FROM kv_undo WHERE complete < ? AND number IN (SELECT number FROM kv_undo ORDER BY number LIMIT ?)
"""
_SOME_ROWS_ON = "SELECT key FROM kv WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?"
_REMOVE_VOID = "DELETE FROM kv WHERE key >= ? AND key < ? AND checkpoint < ?"
_REMOVE_LAST_VOID = "DELETE FROM kv WHERE key >= ? AND checkpoint < ?"
_COMPLETE = """
UPDATE kv_checkpoint SET complete = ?, revision = ?, time_us = ?, void_before = ?, freed_before = ?
"""

ROWS_PER_STEP = 16
KEYS_AT_ONCE = 300
"""So many keys are sorted, or let go of, in a step."""
BYTES_PER_STEP = 64 * 1024
ROWS_FREED_PER_STEP = 64
STEPS_OF_FREEING = 1000
"""In so many steps of each checkpoint rows are deleted that all keys' deletion has made void."""
DIRTY_KEYS = 100_000
"""So many changed keys are worth a checkpoint."""

Image = bytes | bool | None
"""What of a key is to be written: ``None``, what is there now; bytes, this; ``False``, that nothing is there. ``True``:
it is written."""


class Checkpoints:
    """Writes a keyspace to the file, and loads it."""

    def __init__(self, state: SqliteState, keyspace: Keyspace) -> None:
        """Loads what the last complete checkpoint has written."""
        self._state = state
        self._connection = state.connection
        self._connection.execute(SCHEMA)
        self._keyspace = keyspace
        self._number = 0
        self._complete = 0
        self._void_before = 0
        """Rows of checkpoints before this say nothing."""
        self._freed_before = 0
        """Of checkpoints before this there are no such rows any more."""
        self._freed_to = b""
        self._images: Slots[Image] = Slots(DIRTY_SLOTS)
        self._table: Slots[Item] = keyspace.items
        """Where the keys are whose images are ``None``."""
        self._written = 0
        self._deleted: list[bytes] = []
        """Keys whose rows say that nothing is there: to be removed when that is complete."""
        self._steps: Iterator[None] | None = None
        self._at_begin = (0, 0)
        with no_garbage_collection():
            self._load(state.path)

    def _load(self, path: str) -> None:
        keyspace = self._keyspace
        header = "SELECT complete, revision, time_us, void_before, freed_before FROM kv_checkpoint"
        row: Any = self._connection.execute(header).fetchone()
        self._complete, keyspace.revision, keyspace.time_us, self._void_before, self._freed_before = row
        self._number = self._complete
        try:
            keyspace.load(self._rows())
        except msgspec.MsgspecError as error:
            raise CorruptLog(f"the keys in {path} cannot be read: {error}") from error

    def _rows(self) -> Iterator[tuple[bytes, Value, int, int]]:
        """What was there when the last complete checkpoint began. Takes note of the rest."""
        complete, dirty = self._complete, self._keyspace.dirty
        kept = "SELECT key, item FROM kv_undo WHERE complete = ?"
        undo: dict[bytes, bytes] = dict(self._connection.execute(kept, (complete,)))
        rows: Iterator[Any] = self._connection.execute(
            "SELECT key, checkpoint, item FROM kv WHERE checkpoint >= ?", (self._void_before,)
        )
        for key, number, item in rows:
            if number > complete:  # to be written anew before this number counts as complete
                dirty[key] = None
                self._number = max(self._number, number)
                item = undo.get(key)
            elif item is None:
                self._deleted.append(key)
            if item is not None:
                yield key, *decode_item(item)

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The next checkpoint is to hold the keyspace as it is now."""
        keyspace = self._keyspace
        self._number += 1
        void_before = self._number if keyspace.cleared else self._void_before
        self._images = cast("Slots[Image]", keyspace.take_dirty())
        self._table = keyspace.items
        self._written = 0
        self._at_begin = (keyspace.revision, keyspace.time_us)
        self._steps = self._writing(void_before)
        keyspace.before_change = self._before_change

    def _before_change(self, key: bytes, item: Item | None) -> None:
        slot = self._images.slots[crc_hqx(key, 0) & DIRTY_MASK]
        if slot.get(key, True) is None and self._keyspace.items is self._table:
            slot[key] = False if item is None else encode_item(item)

    def write(self, seconds: float) -> bool:
        """Write for about so long, in a transaction; returns whether the checkpoint is complete.

        Where keys are changed faster than they are written, it takes up to half as long again.
        """
        if self._steps is None:
            return True
        clock = self._state.clock
        ends = clock() + seconds
        for _ in self._steps:
            now = clock()
            if now > ends and (now > ends + seconds / 2 or len(self._keyspace.dirty) <= max(self._written, DIRTY_KEYS)):
                return False
        self._steps = None
        return True

    def _writing(self, void_before: int) -> Iterator[None]:
        """All the work of a checkpoint, in steps of some tens of microseconds."""
        yield from self._remove_deleted()
        yield from self._remove_undo()
        yield from islice(self._remove_void(), STEPS_OF_FREEING)
        runs: list[Iterator[bytes]] = []
        keys = 0
        for slot in filter(None, self._images.slots):  # values change meanwhile, keys do not
            runs.append(iter(dict.fromkeys(sorted(slot))))  # the garbage collector looks at lists, and not at this
            if (keys := keys + len(slot)) >= KEYS_AT_ONCE:
                keys = 0
                yield
        in_order = heapq.merge(*runs)  # neighbours in the file are written together
        del runs
        while self._write_rows(in_order):
            yield
        self._keyspace.before_change = None
        self._table = self._keyspace.items  # another may be among what is discarded
        for slot in self._images.take_apart():  # all at once it would take too long
            if (keys := keys + len(slot)) >= KEYS_AT_ONCE:
                keys = 0
                yield
        yield from self._keyspace.discarded.free()
        header = (self._number, *self._at_begin, void_before, self._freed_before)
        self._connection.execute(_COMPLETE, header)
        self._complete = self._number
        if void_before != self._void_before:
            self._void_before, self._freed_to = void_before, b""

    def _write_rows(self, keys: Iterator[bytes]) -> int:
        """Write some of the keys; returns how many."""
        images, table, number = self._images, self._table, self._number
        kept: list[tuple[int, int, bytes]] = []
        rows: list[tuple[bytes, int, bytes | None]] = []
        size = 0
        for key in islice(keys, ROWS_PER_STEP):
            image = images[key]
            if image is None:
                item = table.get(key)
                image = False if item is None else encode_item(item)
            images[key] = True
            if isinstance(image, bytes):
                size += len(image)
            else:
                self._deleted.append(key)
            kept.append((self._complete, self._void_before, key))
            rows.append((key, number, image or None))  # type: ignore[arg-type]
            if size > BYTES_PER_STEP:
                break
        self._connection.executemany(_KEEP, kept)
        self._connection.executemany(_WRITE, rows)
        self._written += len(rows)
        return len(rows)

    # -- removing what no checkpoint needs any more ------------------------------------------------------

    def _remove_deleted(self) -> Iterator[None]:
        deleted, self._deleted = self._deleted, []
        while deleted:
            some = [(deleted.pop(), self._complete) for _ in range(min(ROWS_PER_STEP, len(deleted)))]
            self._connection.executemany(_REMOVE, some)
            yield

    def _remove_undo(self) -> Iterator[None]:
        self._connection.execute(_REMOVE_UNDO, (self._complete, ROWS_FREED_PER_STEP))
        while self._connection.changes():
            yield
            self._connection.execute(_REMOVE_UNDO, (self._complete, ROWS_FREED_PER_STEP))

    def _remove_void(self) -> Iterator[None]:
        execute = self._connection.execute
        while self._freed_before < self._void_before:
            first = self._freed_to
            behind: Any = execute(_SOME_ROWS_ON, (first, ROWS_FREED_PER_STEP)).fetchone()
            if behind is not None:
                (self._freed_to,) = behind
                execute(_REMOVE_VOID, (first, self._freed_to, self._void_before))
            else:
                execute(_REMOVE_LAST_VOID, (first, self._void_before))
                self._freed_to, self._freed_before = b"", self._void_before
            yield

    def rows(self) -> list[Rows]:
        """What the last checkpoint has written, and that it is complete."""
        return [
            Rows(
                "SELECT key, checkpoint, item FROM kv WHERE checkpoint = ?",
                (self._complete,),
                "INSERT OR REPLACE INTO kv VALUES (?, ?, ?)",
            ),
            Rows(
                "SELECT only, complete, revision, time_us, void_before, 0 FROM kv_checkpoint",  # freed here, not there
                (),
                "INSERT OR REPLACE INTO kv_checkpoint VALUES (?, ?, ?, ?, ?, ?)",
            ),
        ]
