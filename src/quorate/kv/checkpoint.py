"""The keyspace in the SQLite file: written bit by bit, while it changes, as it was when the writing began.

A checkpoint appends segments of rows (:mod:`quorate.kv.segments`), usually of the keys that were changed since the last
one. Where rows that count for nothing would gather, or all keys were deleted at once, it writes all keys there are, and
once it is complete everything before it is void: the file takes no more than about three times what the keys take, and
a start reads no more than about twice. One that is never completed leaves the state of the last, behind which the
commands are applied again.

A value is encoded and written in one piece: 100,000 elements take some milliseconds, a million hold up everything for
50.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from quorate.errors import CorruptLog
from quorate.kv.codec import Row, decode_rows, encode_rows, value_of
from quorate.kv.keyspace import Keyspace
from quorate.kv.segments import Header, Segments
from quorate.kv.values import Value
from quorate.kv.waiting import All, Changed
from quorate.machine.contract import Rows
from quorate.machine.garbage import no_garbage_collection
from quorate.machine.sqlite import SqliteState

ROWS_PER_SEGMENT = 128
BYTES_PER_SEGMENT = 64 * 1024
"""A value that is larger may make a segment as much longer."""
SPARE_SEGMENTS = 4
SPARE_BYTES = 1 << 20
"""So many segments and so much more than twice of what there is are no reason yet to write all keys."""
SEGMENT_BYTES = 4096
"""A segment takes as much beside its rows, in time to read it as well."""
SEGMENTS_FREED_PER_STEP = 8
STEPS_OF_FREEING = 250
"""In so many steps of each checkpoint void segments are deleted; one of all keys deletes all there are."""
DIRTY_KEYS = 100_000
"""So many changed keys are worth a checkpoint."""


class Checkpoints:
    """Writes a keyspace to the file, and loads it."""

    def __init__(self, state: SqliteState, keyspace: Keyspace, rows_per_segment: int = ROWS_PER_SEGMENT) -> None:
        """Loads what the last complete checkpoint has left."""
        self._clock = state.clock
        self._keyspace = keyspace
        self._rows_per_segment = rows_per_segment
        self._segments = Segments(state.connection)
        self._rows = 0
        """In the segments that count, or will when the checkpoint under way is complete."""
        self._bytes = 0
        self._steps: Iterator[None] | None = None
        with no_garbage_collection():
            self._load(state.path)

    def _load(self, path: str) -> None:
        keyspace = self._keyspace
        keyspace.revision, keyspace.time_us = self._segments.header.revision, self._segments.header.time_us
        try:
            keyspace.load(self._newest_rows())
        except msgspec.MsgspecError as error:
            raise CorruptLog(f"the keys in {path} cannot be read: {error}") from error

    def _newest_rows(self) -> Iterator[tuple[bytes, Value, int, int]]:
        """Of each key that is there the newest row first; older ones may follow."""
        keys, gone = self._keyspace.items, set[bytes]()
        for segment in self._segments.newest_first():
            rows = decode_rows(segment)
            self._count(len(rows), len(segment))
            for row in rows:
                key, content, revision, expires_us = row
                if key in gone:
                    continue
                if type(content) is bytes:
                    yield row  # type: ignore[misc]
                elif content is None:
                    gone.add(key)
                elif key not in keys:
                    yield key, value_of(content), revision, expires_us

    def _count(self, rows: int, size: int) -> None:
        self._rows += rows
        self._bytes += size + SEGMENT_BYTES

    # -- writing -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The next checkpoint is to hold the keyspace as it is now."""
        keyspace = self._keyspace
        is_whole = keyspace.cleared or self._is_full
        waiting = All(keyspace) if is_whole else Changed(keyspace)
        keyspace.before_change = waiting.before_change
        at_begin = (keyspace.revision, keyspace.time_us)
        self._steps = self._writing(waiting.steps(self._rows_per_segment, BYTES_PER_SEGMENT), at_begin, is_whole)

    @property
    def _is_full(self) -> bool:
        """Whether there would be too many rows in the file that others have replaced."""
        keyspace = self._keyspace
        if self._bytes > 2 * keyspace.memory_bytes + SPARE_BYTES:
            return True
        return self._rows + len(keyspace.dirty) > 2 * len(keyspace) + SPARE_SEGMENTS * self._rows_per_segment

    def write(self, seconds: float) -> bool:
        """Write for about so long, in a transaction; returns whether the checkpoint is complete."""
        if self._steps is None:
            return True
        ends = self._clock() + seconds
        for _ in self._steps:
            if self._clock() > ends:
                return False
        self._steps = None
        return True

    def _writing(
        self, waiting: Iterator[list[Row | msgspec.Raw]], at_begin: tuple[int, int], is_whole: bool
    ) -> Iterator[None]:
        """All the work of a checkpoint, in steps of one or two hundred microseconds."""
        segments = self._segments
        yield from islice(segments.free(SEGMENTS_FREED_PER_STEP), None if is_whole else STEPS_OF_FREEING)
        first = segments.header.first
        if is_whole:
            first, self._rows, self._bytes = segments.next, 0, 0
        for rows in waiting:
            if rows:
                segment = encode_rows(rows)
                segments.append(segment)
                self._count(len(rows), len(segment))
            yield
        self._keyspace.before_change = None
        yield from self._keyspace.discarded.free()
        segments.complete(Header(first, segments.next, *at_begin))

    def rows(self) -> list[Rows]:
        """What the last checkpoint has written, and that it is complete."""
        return self._segments.appended()
