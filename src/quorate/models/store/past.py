"""Where a moment lies in an object's history, and how far back that reaches."""

from __future__ import annotations

from typing import Any

import apsw

from quorate.models.store.columns import SqlValue
from quorate.models.store.events import EventLog, Moment
from quorate.models.store.history import RETENTIONS_TABLE, history_table
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import Table, quoted


class Past:
    """Of one model's objects. Cheap to make, and to be made anew for each reading: a snapshot replaces what is here."""

    def __init__(self, table: Table, events: EventLog) -> None:
        self._table = table
        self._events = events
        self._connection: apsw.Connection = table.connection
        self._name = quoted(history_table(table.schema))

    @property
    def _schema(self) -> ModelSchema:
        return self._table.schema

    def newest(self, key: SqlValue, moment: Moment) -> int | None:
        """The number of the object's last entry that is not later than ``moment``; ``None`` if there is none.

        Both numbers and moments only increase along the entries, so a few of them tell.
        """
        first, low, high = self._connection.execute(
            f"SELECT (SELECT {moment.name} FROM {self._name} WHERE key = ?1 ORDER BY sequence LIMIT 1), "
            f"min(sequence), max(sequence) FROM {self._name} WHERE key = ?1",
            (key,),
        ).get
        if first is None or first > moment.value:
            return None
        sql = (
            f"SELECT sequence, {moment.name} FROM {self._name} "
            "WHERE key = ? AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT 1"
        )
        while low < high:
            middle = (low + high + 1) // 2
            found: Any = self._connection.execute(sql, (key, middle, high)).fetchone()
            if found is not None and found[1] <= moment.value:
                low = found[0]
            else:
                high = middle - 1
        return int(low)

    def is_unchanged_since(self, key: SqlValue, moment: Moment) -> bool:
        """Whether the object is there and certainly as it was then."""
        stored = self._table.stored(key)
        return stored is not None and self._events.is_at_or_before(stored.version, moment)

    def reaches(self, moment: Moment, retention_us: int | None) -> bool:
        """Whether of the entries later than ``moment`` certainly none was deleted by this retention."""
        deleted_to = self._deleted_to(retention_us)
        if not deleted_to or self._events.is_at_or_before(deleted_to, moment):
            return True
        sql = f"SELECT {moment.name} FROM {self._name} WHERE sequence >= ? ORDER BY sequence LIMIT 1"
        first: int | None = self._connection.execute(sql, (deleted_to,)).get
        return first is not None and first <= moment.value

    @property
    def retention_us(self) -> int | None:
        """For how long it is kept at least that objects were created and deleted; ``None``: for ever."""
        kept = [column.retention_us for column in self._schema.columns if column.has_history]
        longest = [retention_us for retention_us in kept if retention_us is not None]
        return max(longest) if len(longest) == len(kept) else None

    @property
    def has_deleted(self) -> bool:
        """Whether it was deleted of some objects that they were created or deleted."""
        return self._deleted_to(self.retention_us) > 0

    def _deleted_to(self, retention_us: int | None) -> int:
        """The number of the last entry that this retention has deleted, or of which it has deleted its fields."""
        if retention_us is None:
            return 0
        sql = f"SELECT deleted_to FROM {RETENTIONS_TABLE} WHERE model = ? AND retention_us = ?"
        found: int | None = self._connection.execute(sql, (self._schema.name, retention_us)).get
        return found or 0
