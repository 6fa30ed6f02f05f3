"""The keyspace in the SQLite file: written bit by bit, while it changes, as it was when the writing began.

Each key is a row with the number of the checkpoint that wrote it, what is there (nothing: deleted), and what the last
complete checkpoint before that had. Only the row of numbers says which checkpoint is complete; so one that never is
leaves the state before it. A key that is about to change while it waits to be written is encoded just before.
"""

from __future__ import annotations

import gc
import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import msgspec

from quorate.errors import CorruptLog
from quorate.kv.codec import decode_item, encode_item
from quorate.kv.keyspace import Item, Keyspace
from quorate.machine.contract import Rows
from quorate.machine.sqlite import SqliteState

TABLES = frozenset({"kv", "kv_checkpoint"})
SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (
    key BLOB PRIMARY KEY,
    checkpoint INTEGER NOT NULL,
    item BLOB,
    previous BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kv_checkpoint (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    complete INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO kv_checkpoint VALUES (1, 0, 0, 0);
"""
_WRITE = """
INSERT INTO kv VALUES (?1, ?2, ?3, NULL) ON CONFLICT (key) DO UPDATE SET
    previous = CASE WHEN checkpoint <= ?4 THEN item ELSE previous END,
    checkpoint = excluded.checkpoint,
    item = excluded.item
"""
_REMOVE = "DELETE FROM kv WHERE key = ? AND item IS NULL AND checkpoint <= ?"
_LOAD = "SELECT key, checkpoint, CASE WHEN checkpoint <= ? THEN item ELSE previous END FROM kv"

ROWS_PER_STEP = 16
KEYS_SORTED_AT_ONCE = 300

Image = bytes | bool | None
"""What of a key is to be written: ``None``, what is there now; bytes, this; ``False``, that nothing is there. ``True``:
it is written."""


class Checkpoints:
    """Writes a keyspace to the file, and loads it."""

    def __init__(self, state: SqliteState, keyspace: Keyspace) -> None:
        """Loads what the last complete checkpoint has written."""
        self._connection = state.connection
        self._connection.execute(SCHEMA)
        self._keyspace = keyspace
        self._number = 0
        self._complete = 0
        self._images: dict[bytes, Image] = {}
        self._deleted: list[bytes] = []
        """Keys whose rows say that nothing is there: to be removed when that is complete."""
        self._steps: Iterator[None] | None = None
        self._at_begin = (0, 0)
        with _no_garbage_collection():
            self._load(state.path)
        keyspace.before_change = self._before_change

    def _load(self, path: str) -> None:
        keyspace = self._keyspace
        for header in self._connection.execute("SELECT complete, revision, time_us FROM kv_checkpoint"):
            self._complete, keyspace.revision, keyspace.time_us = header
        self._number = complete = self._complete
        load, dirty = keyspace.load, keyspace.dirty
        rows: Iterator[Any] = self._connection.execute(_LOAD, (complete,))
        try:
            for key, number, item in rows:
                if number > complete:  # to be written anew before this number counts as complete
                    dirty[key] = None
                    self._number = max(self._number, number)
                elif item is None:
                    self._deleted.append(key)
                if item is not None:
                    load(key, *decode_item(item))
        except msgspec.MsgspecError as error:
            raise CorruptLog(f"the keys in {path} cannot be read: {error}") from error

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The next checkpoint is to hold the keyspace as it is now."""
        self._number += 1
        self._images = cast("dict[bytes, Image]", self._keyspace.take_dirty())
        self._at_begin = (self._keyspace.revision, self._keyspace.time_us)
        self._steps = self._writing()

    def _before_change(self, key: bytes, item: Item | None) -> None:
        images = self._images
        if images and images.get(key, True) is None:
            images[key] = False if item is None else encode_item(item)

    def write(self, seconds: float) -> bool:
        """Write for about so long, in a transaction; returns whether the checkpoint is complete."""
        if self._steps is None:
            return True
        ends = time.perf_counter() + seconds
        for _ in self._steps:
            if time.perf_counter() > ends:
                return False
        self._steps = None
        return True

    def _writing(self) -> Iterator[None]:
        """All the work of a checkpoint, in steps of some tens of microseconds."""
        yield from self._remove_deleted()
        keys = iter(self._images)  # values change meanwhile, keys do not
        runs: list[Iterator[bytes]] = []
        while run := tuple(sorted(islice(keys, KEYS_SORTED_AT_ONCE))):  # the garbage collector forgets tuples of bytes
            runs.append(iter(run))
            yield
        in_order = heapq.merge(*runs)  # neighbours in the file are written together
        del runs, run
        while some := list(islice(in_order, ROWS_PER_STEP)):
            self._write_rows(some)
            yield
        while self._images:  # all at once it would take too long
            for _ in range(min(KEYS_SORTED_AT_ONCE, len(self._images))):
                self._images.popitem()
            yield
        revision, time_us = self._at_begin
        self._connection.execute(
            "UPDATE kv_checkpoint SET complete = ?, revision = ?, time_us = ?", (self._number, revision, time_us)
        )
        self._complete = self._number

    def _write_rows(self, keys: list[bytes]) -> None:
        images, items, number, complete = self._images, self._keyspace.items, self._number, self._complete
        rows: list[tuple[bytes, int, bytes | None, int]] = []
        for key in keys:
            image = images[key]
            if image is None:
                item = items.get(key)
                image = False if item is None else encode_item(item)
            images[key] = True
            if image is False:
                self._deleted.append(key)
            rows.append((key, number, image or None, complete))  # type: ignore[arg-type]
        self._connection.executemany(_WRITE, rows)

    def _remove_deleted(self) -> Iterator[None]:
        deleted, self._deleted = self._deleted, []
        while deleted:
            some = [(deleted.pop(), self._complete) for _ in range(min(ROWS_PER_STEP, len(deleted)))]
            self._connection.executemany(_REMOVE, some)
            yield

    def rows(self) -> list[Rows]:
        """What the last checkpoint has written, and that it is complete."""
        return [
            Rows(
                "SELECT key, checkpoint, item, NULL FROM kv WHERE checkpoint = ?",
                (self._complete,),
                "INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?)",
            ),
            Rows("SELECT * FROM kv_checkpoint", (), "INSERT OR REPLACE INTO kv_checkpoint VALUES (?, ?, ?, ?)"),
        ]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of objects are made inside, and all of them stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
