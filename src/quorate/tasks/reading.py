"""Tasks, queues, workers and schedules read from the tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import apsw
import msgspec

from quorate.tasks.errors import NoSuchTask
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import DEPENDENCIES_MAX, MIB
from quorate.tasks.machine import TasksMachine
from quorate.tasks.records import (
    LeasedTask,
    QueueRecord,
    ScheduleRecord,
    Stats,
    TaskPage,
    TaskRecord,
    WorkerRecord,
    known_moment,
    moment,
)
from quorate.tasks.store.claiming import Lease
from quorate.tasks.store.rows import decode_options
from quorate.tasks.store.schedules import ScheduleRow
from quorate.tasks.store.submitting import key_of
from quorate.tasks.store.tables import Tables

PAGE_BYTES_MAX = 16 * MIB
"""Payloads and results in one page, unless the first alone is larger: a page may have less than its limit."""

_PAYLOAD = "coalesce(payload, (SELECT payload FROM task_payload WHERE sequence = task.sequence))"
_TASK = (
    "SELECT sequence, id, lane, state, priority, next_us, run_at_us, expires_us, attempt, attempts_max, worker, "
    f"submitted_us, started_us, ended_us, unique_key, reason, error, options, result, {_PAYLOAD} FROM task"
)
_LEASED = (
    f"SELECT lane, attempt, attempts_max, submitted_us, options, {_PAYLOAD} FROM task WHERE sequence = ? AND token = ?"
)
_RUNNING = "SELECT worker, count(*) FROM task WHERE next_us IS NOT NULL AND state = 3 GROUP BY worker"
_WORKERS = (
    "SELECT id, queues, types, capabilities, concurrency, enlisted_us, seen_us, health FROM task_worker ORDER BY id"
)


class TaskFilter(NamedTuple):
    """Which tasks a list has: those that meet all of it. ``before`` is the ``next`` of the page before."""

    states: tuple[State, ...] = ()
    queue: str | None = None
    type: str | None = None
    worker: str | None = None
    before: int | None = None
    limit: int = 100


class _Stored(NamedTuple):
    sequence: int
    id: str
    lane: int
    state: int
    priority: int
    next_us: int | None
    run_at_us: int | None
    expires_us: int | None
    attempt: int
    attempts_max: int
    worker: str | None
    submitted_us: int
    started_us: int | None
    ended_us: int | None
    unique_key: str | None
    reason: str | None
    error: str | None
    options: bytes
    result: bytes | None
    payload: bytes


class Reading:
    """Answers from one node's state, as it is; whether it is fresh enough is the caller's business."""

    def __init__(self, machine: TasksMachine) -> None:
        self._machine = machine

    @property
    def _tables(self) -> Tables:
        return self._machine.tables

    # -- tasks -------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> TaskRecord:
        """Raises :class:`NoSuchTask`."""
        row = self._tables.connection.execute(f"{_TASK} WHERE id = ?", (task_id,)).fetchone()
        if row is None:
            raise NoSuchTask(task_id)
        return self._record(_Stored._make(row))

    def dependencies(self, task_id: str) -> list[str]:
        """The ids of what the task still waits for."""
        found = self._tables.connection.execute(
            "SELECT target.id FROM task AS waiting JOIN task_dependency ON dependent = waiting.sequence "
            "JOIN task AS target ON target.sequence = task_dependency.target WHERE waiting.id = ? LIMIT ?",
            (task_id, DEPENDENCIES_MAX),
        )
        return [cast("str", row[0]) for row in found]

    def page(self, connection: apsw.Connection, wanted: TaskFilter) -> TaskPage:
        """Tasks that meet conditions. May take long: to be asked by way of the machine's ``queries``."""
        condition, bindings = self._condition(wanted)
        sql = f"{_TASK} {condition} ORDER BY sequence DESC LIMIT ?"
        rows: list[_Stored] = []
        size, more = 0, False
        for row in map(_Stored._make, connection.execute(sql, (*bindings, wanted.limit + 1))):
            size += len(row.payload) + len(row.result or b"")
            if len(rows) == wanted.limit or (rows and size > PAGE_BYTES_MAX):
                more = True
                break
            rows.append(row)
        return TaskPage(tasks=[self._record(row) for row in rows], next=str(rows[-1].sequence) if more else None)

    def _condition(self, wanted: TaskFilter) -> tuple[str, tuple[str | int, ...]]:
        conditions: list[str] = []
        bindings: list[str | int] = []
        if wanted.states:
            numbers = sorted(map(int, wanted.states))
            # Alone and in the text, it is a condition that the partial indexes know.
            conditions.append(
                f"state = {numbers[0]}" if len(numbers) == 1 else f"state IN ({', '.join(map(str, numbers))})"
            )
        if wanted.queue is not None or wanted.type is not None:
            lanes = [
                str(lane.number)
                for lane in self._tables.lanes
                if wanted.queue in (None, lane.queue.name) and wanted.type in (None, lane.type)
            ]
            conditions.append(f"lane IN ({', '.join(lanes)})")
        for column, value in (("worker = ?", wanted.worker), ("sequence < ?", wanted.before)):
            if value is not None:
                conditions.append(column)
                bindings.append(value)
        return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), tuple(bindings)

    def _record(self, row: _Stored) -> TaskRecord:
        lane = self._tables.lanes[row.lane]
        state = State(row.state)
        options = decode_options(row.options)
        later = state in (State.SCHEDULED, State.FAILED)
        return TaskRecord(
            task_id=row.id,
            status=state.label,
            queue=lane.queue.name,
            type=lane.type,
            priority=row.priority,
            payload=msgspec.Raw(row.payload),
            result=None if row.result is None else msgspec.Raw(row.result),
            attempt=row.attempt,
            max_retries=row.attempts_max - 1,
            reason=row.reason,
            error=row.error,
            worker=row.worker,
            submitted_at=known_moment(row.submitted_us),
            run_at=moment(row.next_us if later else row.run_at_us),
            expires_at=moment(row.expires_us),
            started_at=moment(row.started_us),
            lease_until=moment(row.next_us) if state is State.RUNNING else None,
            ended_at=moment(row.ended_us),
            forgotten_at=moment(row.next_us) if state.is_ended else None,
            timeout_ms=options.timeout_ms,
            schema_version=options.schema_version,
            exactly_once=options.exactly_once,
            capabilities=sorted(lane.capabilities),
            unique_key=None if row.unique_key is None else key_of(row.unique_key),
        )

    def leased(self, leases: Iterable[Lease]) -> list[LeasedTask]:
        """What workers are told of their leases, but for those that are over by now."""
        found: list[LeasedTask] = []
        for lease in leases:
            for row in self._tables.connection.execute(_LEASED, (lease.sequence, lease.token)):
                lane_number, attempt, attempts_max, submitted_us, encoded, payload = cast(
                    "tuple[int, int, int, int, bytes, bytes]", row
                )
                lane, options = self._tables.lanes[lane_number], decode_options(encoded)
                found.append(
                    LeasedTask(
                        task_id=lease.id,
                        token=lease.token,
                        queue=lane.queue.name,
                        type=lane.type,
                        payload=msgspec.Raw(payload),
                        attempt=attempt,
                        max_retries=attempts_max - 1,
                        lease_until=known_moment(lease.deadline_us),
                        timeout_ms=options.timeout_ms,
                        submitted_at=known_moment(submitted_us),
                        schema_version=options.schema_version,
                        exactly_once=options.exactly_once,
                    )
                )
        return found

    # -- queues, workers, schedules ----------------------------------------------------------------------

    def queues(self) -> list[QueueRecord]:
        """By their names."""
        return [
            QueueRecord(
                name=queue.name,
                paused=queue.paused,
                pending=queue.pending,
                pending_max=queue.pending_max,
                tasks=_labelled([sum(counts) for counts in zip(*(lane.counts for lane in queue.lanes), strict=True)]),
            )
            for _, queue in sorted(self._tables.queues.items())
        ]

    def workers(self) -> list[WorkerRecord]:
        """By their ids."""
        running = dict(cast("Iterable[tuple[str, int]]", self._tables.connection.execute(_RUNNING)))
        found = []
        for row in self._tables.connection.execute(_WORKERS):
            worker, queues, types, capabilities, concurrency, enlisted_us, seen_us, health = cast(
                "tuple[str, str | None, str | None, str, int, int, int, str]", row
            )
            found.append(
                WorkerRecord(
                    worker_id=worker,
                    queues=None if queues is None else msgspec.json.decode(queues),
                    types=None if types is None else msgspec.json.decode(types),
                    capabilities=msgspec.json.decode(capabilities),
                    concurrency=concurrency,
                    running=running.get(worker, 0),
                    enlisted_at=known_moment(enlisted_us),
                    seen_at=known_moment(seen_us),
                    health=health,
                )
            )
        return found

    def schedules(self) -> list[ScheduleRecord]:
        """By their names."""
        return [_schedule(row) for row in self._machine.schedules.all()]

    def schedule(self, name: str) -> ScheduleRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchSchedule`."""
        return _schedule(self._machine.schedules.get(name))

    def stats(self) -> Stats:
        """Counts, which are kept: this looks at no task."""
        queues = self.queues()
        totals = [
            sum(counts) for counts in zip([0] * len(State), *(lane.counts for lane in self._tables.lanes), strict=True)
        ]
        return Stats(
            tasks=_labelled(totals),
            pending=sum(queue.pending for queue in queues),
            queues={queue.name: queue.tasks for queue in queues},
            workers=self._count("task_worker"),
            schedules=self._count("task_schedule"),
            changes=self._tables.numbers.change,
        )

    def _count(self, table: str) -> int:
        row = self._tables.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return cast("int", row[0]) if row is not None else 0


def _schedule(row: ScheduleRow) -> ScheduleRecord:
    return ScheduleRecord(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        queue=row.spec.queue,
        type=row.spec.type,
        payload=msgspec.Raw(row.payload),
        next_at=known_moment(row.next_us),
        last_at=moment(row.last_us),
        last_task=row.last_task,
    )


def _labelled(counts: list[int]) -> dict[str, int]:
    return {state.label: count for state, count in zip(State, counts or [0] * len(State), strict=True)}
