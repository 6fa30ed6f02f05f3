"""The event log: what changed, in the order of the log, the newest of it.

Each change of an object has a number of its own, its sequence number, which is also the object's version. One row of
the table stands for all that one operation changed in one model, so a bulk creation costs little more than one object.
What is in the rows is derived from the log and so the same on every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

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
_INSERT = f"INSERT INTO {EVENTS_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST = f"SELECT sequence + count - 1 FROM {EVENTS_TABLE} ORDER BY sequence DESC LIMIT 1"
_FIRST = f"SELECT sequence FROM {EVENTS_TABLE} ORDER BY sequence LIMIT 1"
_PRUNE = f"DELETE FROM {EVENTS_TABLE} WHERE sequence + count - 1 <= ?1 AND sequence <= ?1"
# The row that holds the first of them may begin before it.
_FROM = f"""
SELECT * FROM {EVENTS_TABLE}
WHERE sequence >= ifnull((SELECT max(sequence) FROM {EVENTS_TABLE} WHERE sequence <= ?1), 0) ORDER BY sequence
"""

PRUNE_EVERY = 1024

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


class EventLog:
    """The table. Of ``kept`` events at least the newest are there, of those before none for long."""

    def __init__(self, connection: apsw.Connection, kept: int) -> None:
        self._connection = connection
        self._kept = kept
        connection.execute(SCHEMA)
        self.last: int = connection.execute(_LAST).get or 0
        """The sequence number of the last change."""
        self._pruned_at = self.last // PRUNE_EVERY

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
        if self.last // PRUNE_EVERY != self._pruned_at:
            self._pruned_at = self.last // PRUNE_EVERY
            self._connection.execute(_PRUNE, (self.last - self._kept,))

    def after(self, sequence: int, limit: int) -> list[Event]:
        """The events behind ``sequence``, in order, ``limit`` at most."""
        events: list[Event] = []
        for row in self._connection.execute(_FROM, (sequence + 1,)):
            for event in _events_of(row):
                if event.sequence > sequence:
                    events.append(event)
                    if len(events) == limit:
                        return events
        return events


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
