"""Schedules: tasks that come again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple, cast

import apsw
import msgspec

from quorate.tasks.commands import Schedule, Slot, Spec
from quorate.tasks.errors import NoSuchSchedule, TooMany
from quorate.tasks.limits import SCHEDULES_MAX, SECOND_US

_encode = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(Spec).decode


class ScheduleRow(NamedTuple):
    """A schedule as it is stored. ``last_us`` is its last slot, ``last_task`` the task of it, if one was made."""

    name: str
    cron: str
    timezone: str
    owner: str
    spec: Spec
    payload: bytes
    next_us: int
    last_us: int | None
    last_task: str | None


class DueSchedule(NamedTuple):
    """What tells when the slot behind the next will be."""

    name: str
    cron: str
    timezone: str
    next_us: int


def task_id_of(name: str, slot_us: int) -> str:
    """The id of the task of a slot: whoever knows the schedule knows it, too."""
    return f"{name}@{datetime.fromtimestamp(slot_us // SECOND_US, UTC):%Y-%m-%dT%H:%M:%SZ}"


class Schedules:
    """The table of schedules."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def put(self, command: Schedule) -> None:
        """Add or change one. Its next slot stays the same unless its times are others. Raises :class:`TooMany`."""
        row = self._connection.execute(
            "SELECT cron, timezone, next_us FROM task_schedule WHERE name = ?", (command.name,)
        ).fetchone()
        if row is None:
            count = self._connection.execute("SELECT count(*) FROM task_schedule").fetchone()
            if count is not None and count[0] >= SCHEDULES_MAX:
                raise TooMany("schedules", SCHEDULES_MAX)
        same_times = row is not None and (row[0], row[1]) == (command.cron, command.timezone)
        next_us = row[2] if row is not None and same_times else command.next_us
        self._connection.execute(
            "INSERT INTO task_schedule (name, cron, timezone, owner, spec, payload, next_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone, owner = excluded.owner, "
            "spec = excluded.spec, payload = excluded.payload, next_us = excluded.next_us",
            (
                command.name,
                command.cron,
                command.timezone,
                command.owner,
                _encode(command.spec),
                command.payload,
                next_us,
            ),
        )

    def remove(self, name: str) -> None:
        """Raises :class:`NoSuchSchedule`."""
        self._connection.execute("DELETE FROM task_schedule WHERE name = ?", (name,))
        if not self._connection.changes():
            raise NoSuchSchedule(name)

    def due(self, slot: Slot) -> tuple[Spec, bytes] | None:
        """What to submit, if this slot is the schedule's next."""
        row = self._connection.execute(
            "SELECT spec, payload FROM task_schedule WHERE name = ? AND next_us = ?", (slot.name, slot.slot_us)
        ).fetchone()
        return None if row is None else (_decode_spec(row[0]), row[1])

    def took_turn(self, slot: Slot, task_id: str | None) -> None:
        """The slot is over."""
        self._connection.execute(
            "UPDATE task_schedule SET next_us = ?, last_us = ?, last_task = ? WHERE name = ?",
            (slot.next_us, slot.slot_us, task_id, slot.name),
        )

    def due_by(self, time_us: int, limit: int) -> list[DueSchedule]:
        """Those whose next slot has come."""
        found = self._connection.execute(
            "SELECT name, cron, timezone, next_us FROM task_schedule WHERE next_us <= ? ORDER BY next_us, name LIMIT ?",
            (time_us, limit),
        )
        return list(map(DueSchedule._make, found))

    def all(self) -> list[ScheduleRow]:
        """By their names."""
        return list(self._rows("ORDER BY name", ()))

    def behind(self, name: str, limit: int) -> Iterator[ScheduleRow]:
        """Those whose names come behind this one, by their names."""
        return self._rows("WHERE name > ? ORDER BY name LIMIT ?", (name, limit))

    def get(self, name: str) -> ScheduleRow:
        """Raises :class:`NoSuchSchedule`."""
        for row in self._rows("WHERE name = ?", (name,)):
            return row
        raise NoSuchSchedule(name)

    def _rows(self, rest: str, bindings: tuple[str | int, ...]) -> Iterator[ScheduleRow]:
        columns = "name, cron, timezone, owner, spec, payload, next_us, last_us, last_task"
        found = self._connection.execute(f"SELECT {columns} FROM task_schedule {rest}", bindings)
        rows = map(ScheduleRow._make, found)
        return (row._replace(spec=_decode_spec(cast("bytes", row.spec))) for row in rows)
