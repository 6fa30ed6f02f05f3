"""The event log: what changed, in the order of the log, the newest of it.

Each change of an object has a number of its own, its sequence number, which is also the object's version. One row of
the table stands for all that one operation changed in one model, so a bulk creation costs little more than one object.
What is in the rows is derived from the log and so the same on every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import apsw
import msgspec

from quorate.machine.contract import ApplyContext
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Row

EVENTS_TABLE = "quorate_events"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {EVENTS_TABLE} (
    sequence INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    entry_index INTEGER NOT NULL,
    term INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    actor TEXT,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
"""
COLUMNS = (
    *("sequence", "count", "entry_index", "term", "time_us", "origin"),
    *("actor", "model", "kind", "name", "data"),
)
"""Those of the table, in their order."""
_INSERT = f"INSERT INTO {EVENTS_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST = f"SELECT sequence + count - 1 FROM {EVENTS_TABLE} ORDER BY sequence DESC LIMIT 1"
_FIRST = f"SELECT sequence FROM {EVENTS_TABLE} ORDER BY sequence LIMIT 1"
_PRUNE = f"DELETE FROM {EVENTS_TABLE} WHERE sequence + count - 1 <= ?1 AND sequence <= ?1"
# The row that holds the first of them may begin before it.
_FROM = f"""
SELECT * FROM {EVENTS_TABLE}
WHERE sequence >= ifnull((SELECT max(sequence) FROM {EVENTS_TABLE} WHERE sequence <= ?1), 0)
"""
_RANGE = f"{_FROM} AND sequence <= ?2 ORDER BY sequence"
_RANGE_OF_MODEL = f"{_FROM} AND sequence <= ?2 AND model = ?3 ORDER BY sequence"
_CREATED_AT = f"""
SELECT model, sum(count) FROM {EVENTS_TABLE}
WHERE sequence > ? AND sequence <= ? AND kind = 'created' AND origin = ? GROUP BY model
"""
_AT = f"{_FROM} ORDER BY sequence LIMIT 1"

PRUNE_EVERY = 1024
LOOKED_AT_MAX = 2_000
"""So many events are looked at for one page, whether they are of the model that is asked for or not."""
PAGE_BYTES_MAX = 256 * 1024
"""A page of events ends behind the one with which their data comes to this."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Kind(StrEnum):
    """What happened to the object."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Cause(NamedTuple):
    """What the changes of one operation have in common."""

    context: ApplyContext
    actor: str | None


class Event(NamedTuple):
    """One change of one object. ``columns`` and ``values`` are what it has changed, of a new object all."""

    sequence: int
    entry_index: int
    term: int
    time_us: int
    origin: int
    actor: str | None
    model: str
    kind: Kind
    name: str
    key: SqlValue
    columns: tuple[str, ...]
    values: Row


class Moment(NamedTuple):
    """A point in the log, by the log's time or by the index of an entry; that entry is included."""

    name: Literal["time_us", "entry_index"]
    value: int


class Page(NamedTuple):
    """Events in order. All those up to the number ``end`` that were asked for are there, or were in earlier pages."""

    events: list[Event]
    end: int
    size: int
    """About so many bytes."""


class EventLog:
    """The table. Of ``kept`` events at least the newest are there, of those before none for long."""

    def __init__(self, connection: apsw.Connection, kept: int) -> None:
        self._connection = connection
        self._kept = kept
        self._prune_every = min(PRUNE_EVERY, max(kept, 1))
        connection.execute(SCHEMA)
        self.last: int = connection.execute(_LAST).get or 0
        """The sequence number of the last change."""

    @property
    def first(self) -> int:
        """The sequence number of the oldest event that is still here; one behind the last if there is none."""
        found: int | None = self._connection.execute(_FIRST).get
        return self.last + 1 if found is None else found

    def created(self, cause: Cause, model: str, columns: Sequence[str], rows: Sequence[Row], key_at: int) -> None:
        """Add an event for each of ``rows``, whose primary keys are in the place ``key_at``."""
        self._add(cause, model, Kind.CREATED, "", len(rows), (columns, rows, key_at))

    def updated(self, cause: Cause, model: str, name: str, key: SqlValue, columns: Sequence[str], values: Row) -> None:
        """Add one; ``name`` is that of the declared event, if it was one."""
        self._add(cause, model, Kind.UPDATED, name, 1, (columns, key, values))

    def deleted(self, cause: Cause, model: str, key: SqlValue) -> None:
        """Add one."""
        self._add(cause, model, Kind.DELETED, "", 1, (key,))

    def _add(self, cause: Cause, model: str, kind: Kind, name: str, count: int, data: object) -> None:
        context = cause.context
        first = self.last + 1
        self._connection.execute(
            _INSERT,
            (
                first,
                count,
                context.index,
                context.term,
                context.time_us,
                context.origin,
                cause.actor,
                model,
                kind.value,
                name,
                _encode(data),
            ),
        )
        self.last += count
        if self.last // self._prune_every != (first - 1) // self._prune_every:
            self._connection.execute(_PRUNE, (self.last - self._kept,))

    def after(self, sequence: int, limit: int, model: str | None = None) -> Page:
        """The events behind ``sequence``, of one model if one is named; ``limit`` at most, and bounded in bytes.

        The page may be empty before the log ends: see :attr:`Page.end`.
        """
        if sequence >= self.last:
            return Page([], sequence, 0)
        end = min(self.last, sequence + LOOKED_AT_MAX)
        sql, bindings = (_RANGE, ()) if model is None else (_RANGE_OF_MODEL, (model,))
        events: list[Event] = []
        size = 0
        for row in self._connection.execute(sql, (sequence + 1, end, *bindings)):
            each_bytes = len(row[-1]) // row[1]
            for event in _events_of(row):
                if event.sequence <= sequence:
                    continue
                events.append(event)
                size += each_bytes
                if len(events) == limit or size >= PAGE_BYTES_MAX:
                    return Page(events, event.sequence, size)
        return Page(events, max(end, events[-1].sequence if events else 0), size)

    def created_at(self, origin: int, after: int) -> tuple[dict[str, int], int]:
        """How many objects of each model were created by requests to one node, behind the number ``after``.

        Looks at some of the events only; returns up to where, too.
        """
        end = max(after, min(self.last, after + LOOKED_AT_MAX))
        found: list[Any] = self._connection.execute(_CREATED_AT, (after, end, origin)).fetchall()
        return dict(found), end

    def is_at_or_before(self, sequence: int, moment: Moment) -> bool:
        """Whether the change with this number certainly happened by then: it did, or, if it is not kept, the oldest."""
        row = self._connection.execute(_AT, (sequence,)).fetchone()
        return row is not None and (row[2] if moment.name == "entry_index" else row[4]) <= moment.value

    def has_passed(self, time_us: int) -> bool:
        """Whether something that changed at this time, by the log's, or later is here."""
        row = self._connection.execute(_AT, (self.last,)).fetchone()
        return row is not None and bool(row[4] >= time_us)


def _events_of(row: Any) -> Iterator[Event]:
    first, _, entry_index, term, time_us, origin, actor, model, kind_value, name, data = row
    kind = Kind(kind_value)
    shared = (entry_index, term, time_us, origin, actor, model, kind, name)
    match kind, _decode(data):
        case Kind.CREATED, [columns, rows, key_at]:
            for sequence, values in enumerate(rows, first):
                yield Event(sequence, *shared, values[key_at], tuple(columns), tuple(values))
        case Kind.UPDATED, [columns, key, values]:
            yield Event(first, *shared, key, tuple(columns), tuple(values))
        case Kind.DELETED, [key]:
            yield Event(first, *shared, key, (), ())
