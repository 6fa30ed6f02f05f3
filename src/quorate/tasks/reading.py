"""Tasks, queues, workers and schedules read from the tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import apsw
import msgspec

from quorate.tasks.declared_schedules import OWNER
from quorate.tasks.errors import NoSuchQueue, NoSuchTask
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import DEPENDENCIES_MAX, MIB
from quorate.tasks.machine import TasksMachine
from quorate.tasks.records import (
    Dependency,
    LeasedTask,
    QueueRecord,
    SchedulePage,
    ScheduleRecord,
    Stats,
    TaskPage,
    TaskRecord,
    WorkerPage,
    WorkerRecord,
    known_moment,
    moment,
)
from quorate.tasks.store.claiming import Lease
from quorate.tasks.store.rows import decode_options
from quorate.tasks.store.schedules import ScheduleRow
from quorate.tasks.store.submitting import key_of
from quorate.tasks.store.tables import Queue, Tables

PAGE_BYTES_MAX = 16 * MIB
"""Payloads and results in one page, or what workers offer, unless the first alone is larger: a page may have less than
its limit.
"""

PAGE_MAX = 1000
"""Workers or schedules in one page."""

_PAYLOAD = "coalesce(payload, (SELECT payload FROM task_payload WHERE sequence = task.sequence))"
_TASK = (
    "SELECT sequence, id, name, type, capabilities, state, priority, next_us, run_at_us, expires_us, attempt, "
    "attempts_max, worker, submitted_us, started_us, ended_us, unique_key, reason, error, options, result, "
    f"{_PAYLOAD} FROM task CROSS JOIN task_lane ON task_lane.number = lane "
    "CROSS JOIN task_queue ON task_queue.number = queue"
)
"""All of it from the same moment of the file: where a long query is answered, the machine is further on."""
_LANES = (
    "SELECT task_lane.number FROM task_lane JOIN task_queue ON task_queue.number = queue "
    "WHERE name = coalesce(?1, name) AND type = coalesce(?2, type)"
)
_WAITS_FOR = (
    "SELECT id, state FROM task_dependency CROSS JOIN task ON sequence = target WHERE dependent = ? "
    "ORDER BY target LIMIT ?"
)
_LEASED = (
    f"SELECT lane, attempt, attempts_max, submitted_us, options, {_PAYLOAD} FROM task WHERE sequence = ? AND token = ?"
)
_WORKERS = (
    "SELECT id, queues, types, capabilities, concurrency, "
    f"(SELECT count(*) FROM task WHERE worker = task_worker.id AND state = {State.RUNNING:d}), "
    "enlisted_us, seen_us, health FROM task_worker WHERE id > ? ORDER BY id LIMIT ?"
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
    queue: str
    type: str
    capabilities: str
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
        connection = self._tables.connection
        row = connection.execute(f"{_TASK} WHERE id = ?", (task_id,)).fetchone()
        if row is None:
            raise NoSuchTask(task_id)
        return _record(connection, _Stored._make(row))

    def page(self, connection: apsw.Connection, wanted: TaskFilter) -> TaskPage:
        """Tasks that meet conditions. May take long: to be asked by way of the machine's ``queries``."""
        condition, bindings = _condition(connection, wanted)
        sql = f"{_TASK} {condition} ORDER BY sequence DESC LIMIT ?"
        rows: list[_Stored] = []
        size, more = 0, False
        for row in map(_Stored._make, connection.execute(sql, (*bindings, wanted.limit + 1))):
            size += len(row.payload) + len(row.result or b"")
            if len(rows) == wanted.limit or (rows and size > PAGE_BYTES_MAX):
                more = True
                break
            rows.append(row)
        return TaskPage(tasks=[_record(connection, row) for row in rows], next=str(rows[-1].sequence) if more else None)

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
        return [_queue(queue) for _, queue in sorted(self._tables.queues.items())]

    def queue(self, name: str) -> QueueRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchQueue`."""
        queue = self._tables.queues.get(name)
        if queue is None:
            raise NoSuchQueue(name)
        return _queue(queue)

    def workers(self, after: str, limit: int) -> WorkerPage:
        """Those whose ids come behind ``after``; fewer than ``limit`` if what they offer is long."""
        found: list[WorkerRecord] = []
        size, more = 0, False
        for row in self._tables.connection.execute(_WORKERS, (after, limit + 1)):
            worker, queues, types, capabilities, concurrency, running, enlisted_us, seen_us, health = cast(
                "tuple[str, str | None, str | None, str, int, int, int, int, str]", row
            )
            size += len(queues or "") + len(types or "") + len(capabilities)
            if len(found) == limit or (found and size > PAGE_BYTES_MAX):
                more = True
                break
            found.append(
                WorkerRecord(
                    worker_id=worker,
                    queues=None if queues is None else msgspec.json.decode(queues),
                    types=None if types is None else msgspec.json.decode(types),
                    capabilities=msgspec.json.decode(capabilities),
                    concurrency=concurrency,
                    running=running,
                    enlisted_at=known_moment(enlisted_us),
                    seen_at=known_moment(seen_us),
                    health=health,
                )
            )
        return WorkerPage(workers=found, next=found[-1].worker_id if more else None)

    def schedules(self, after: str, limit: int) -> SchedulePage:
        """Those whose names come behind ``after``; fewer than ``limit`` if their payloads are large."""
        found: list[ScheduleRecord] = []
        size, more = 0, False
        for row in self._machine.schedules.behind(after, limit + 1):
            size += len(row.payload)
            if len(found) == limit or (found and size > PAGE_BYTES_MAX):
                more = True
                break
            found.append(_schedule(row))
        return SchedulePage(schedules=found, next=found[-1].name if more else None)

    def schedule(self, name: str) -> ScheduleRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchSchedule`."""
        return _schedule(self._machine.schedules.get(name))

    def stats(self) -> Stats:
        """Counts, which are kept: this looks at no task."""
        queues = self.queues()
        totals = [
            sum(counts)
            for counts in zip([0] * len(State), *(lane.counts for lane in self._tables.lanes.values()), strict=True)
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


def _condition(connection: apsw.Connection, wanted: TaskFilter) -> tuple[str, tuple[str | int, ...]]:
    conditions: list[str] = []
    bindings: list[str | int] = []
    if wanted.states:
        numbers = sorted(map(int, wanted.states))
        # Alone and in the text, it is a condition that the partial indexes know.
        conditions.append(
            f"state = {numbers[0]}" if len(numbers) == 1 else f"state IN ({', '.join(map(str, numbers))})"
        )
    if wanted.queue is not None or wanted.type is not None:
        lanes = [str(number) for (number,) in connection.execute(_LANES, (wanted.queue, wanted.type))]
        conditions.append(f"lane IN ({', '.join(lanes)})")
    for column, value in (("worker = ?", wanted.worker), ("sequence < ?", wanted.before)):
        if value is not None:
            conditions.append(column)
            bindings.append(value)
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), tuple(bindings)


def _record(connection: apsw.Connection, row: _Stored) -> TaskRecord:
    state = State(row.state)
    options = decode_options(row.options)
    later = state in (State.SCHEDULED, State.FAILED)
    return TaskRecord(
        task_id=row.id,
        status=state.label,
        queue=row.queue,
        type=row.type,
        priority=row.priority,
        payload=msgspec.Raw(row.payload),
        result=None if row.result is None else msgspec.Raw(row.result),
        attempt=row.attempt,
        max_retries=row.attempts_max - 1,
        reason=row.reason,
        error=row.error,
        waits_for=_waits_for(connection, row.sequence) if state is State.WAITING else [],
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
        capabilities=msgspec.json.decode(row.capabilities),
        unique_key=None if row.unique_key is None else key_of(row.unique_key),
    )


def _waits_for(connection: apsw.Connection, sequence: int) -> list[Dependency]:
    found = connection.execute(_WAITS_FOR, (sequence, DEPENDENCIES_MAX))
    return [Dependency(task_id, State(state).label) for task_id, state in found]


def empty_queue(name: str) -> QueueRecord:
    """One of which nothing is known."""
    return _queue(Queue(-1, name))


def _queue(queue: Queue) -> QueueRecord:
    counts = zip(*(lane.counts for lane in queue.lanes.values()), strict=True)
    return QueueRecord(
        name=queue.name,
        paused=queue.paused,
        pending=queue.pending,
        pending_max=queue.pending_max,
        tasks=_labelled([sum(each) for each in counts]),
    )


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
        declared=row.owner == OWNER,
    )


def _labelled(counts: list[int]) -> dict[str, int]:
    return {state.label: count for state, count in zip(State, counts or [0] * len(State), strict=True)}
