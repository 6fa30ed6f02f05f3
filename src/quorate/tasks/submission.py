"""What callers ask for, checked before it gets into the log."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

import msgspec

from quorate.machine.identifiers import uuid7
from quorate.tasks.commands import New, Schedule, Spec, Submit
from quorate.tasks.cron import next_slot_us
from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import (
    BATCH_BYTES_MAX,
    BATCH_DEPENDENCIES_MAX,
    BATCH_TASKS_MAX,
    CAPABILITIES_MAX,
    DEPENDENCIES_MAX,
    ID_CHARACTERS_MAX,
    LATER_US_MAX,
    NAME_CHARACTERS_MAX,
    PAYLOAD_BYTES_MAX,
    PRIORITY_MAX,
    RETRIES_MAX,
    SCHEDULE_BYTES_MAX,
    SCHEDULE_NAME_CHARACTERS_MAX,
    TIMEOUT_MS_MAX,
    UNIQUE_KEY_CHARACTERS_MAX,
)

T = TypeVar("T")

DEFAULT_QUEUE = "default"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAME_PATTERN = "[A-Za-z0-9_][A-Za-z0-9_.:-]*"
ID_PATTERN = "[A-Za-z0-9_][A-Za-z0-9_.:@+=-]*"
_NAME = re.compile(NAME_PATTERN)
_ID = re.compile(ID_PATTERN)
_NULL = msgspec.Raw(b"null")


class TaskRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A task as it is asked for. What is ``None`` is as its type declares it, or as the defaults are."""

    type: str
    payload: msgspec.Raw = _NULL
    """JSON, 10 MiB at most."""
    id: str | None = None
    """With an id of the caller's own, the request can be made again: there will be one task."""
    queue: str | None = None
    priority: int | None = None
    """0 to 255; higher goes first. Tasks of the same are done in the order of their submission."""
    delay: Duration | None = None
    run_at: datetime | None = None
    timeout: Duration | None = None
    """How long one attempt may take."""
    max_retries: int | None = None
    backoff: Duration | None = None
    """The pause behind the first failure; it is doubled with each that follows."""
    backoff_max: Duration | None = None
    ttl: Duration | None = None
    """How long after its time the task may still be begun."""
    retention: Duration | None = None
    """How long it is kept, with its result, once it has ended."""
    unique_key: str | None = None
    """There is one task at a time with it in the queue."""
    depends_on: list[str] = []
    """Ids of tasks that have to succeed before; in a batch also of those in it."""
    capabilities: list[str] | None = None
    """What a worker must offer."""
    schema_version: int | None = None
    """Of the payload, for the program that does the task."""
    exactly_once: bool | None = None
    """Its effects on keys and models come about together with its result, or not at all."""


class Kind(Protocol):
    """What a program has declared of a type of tasks."""

    @property
    def queue(self) -> str: ...

    @property
    def spec(self) -> Spec:
        """The defaults."""
        ...

    @property
    def cron(self) -> str | None:
        """When one is to be submitted by the cluster itself."""
        ...

    @property
    def timezone(self) -> str: ...

    def check_payload(self, payload: bytes) -> None:
        """Raises :class:`InvalidTask`."""


class Submissions:
    """Turns requests into commands. With ``kinds`` no other types and queues are taken, without them all are."""

    def __init__(self, kinds: Mapping[str, Kind] | None = None, queues: Collection[str] = ()) -> None:
        self._kinds = kinds or {}
        self._queues = {kind.queue for kind in self._kinds.values()} | set(queues)

    def of_one(self, request: TaskRequest, now_us: int) -> Submit:
        """The command for one task. Raises :class:`InvalidTask`."""
        spec = self._spec(request)
        return Submit([spec], [self._task(request, 0, now_us)])

    def of_many(self, requests: Sequence[TaskRequest], now_us: int) -> tuple[Submit, list[int]]:
        """The command for a batch, and which of the requests each of its tasks is. Raises :class:`InvalidTask`.

        Tasks may depend on others of the batch: those come first, and for the rest the order is kept.
        """
        if not 1 <= len(requests) <= BATCH_TASKS_MAX:
            raise InvalidTask("", "batch", f"a batch has 1 to {BATCH_TASKS_MAX} tasks, not {len(requests)}")
        specs = _Specs(self._spec)
        tasks: list[New] = []
        size = 0
        for position, request in enumerate(requests):
            try:
                task = self._task(request, specs.place_of(request), now_us)
            except InvalidTask as error:
                raise InvalidTask(error.field, error.reason, error.message, position) from None
            size += len(task.payload)
            tasks.append(task)
        if size > BATCH_BYTES_MAX:
            raise InvalidTask("", "too_large", f"the payloads of a batch have {BATCH_BYTES_MAX} bytes at most")
        if sum(len(task.depends_on) for task in tasks) > BATCH_DEPENDENCIES_MAX:
            message = f"the tasks of a batch have {BATCH_DEPENDENCIES_MAX} dependencies at most"
            raise InvalidTask("depends_on", "too_many", message)
        order = in_order(tasks)
        return Submit(specs.found, [tasks[position] for position in order]), order

    def of_schedule(self, name: str, cron: str, timezone: str, request: TaskRequest, now_us: int) -> Schedule:
        """The command for tasks that come again and again. Raises :class:`InvalidTask`."""
        check_id(name, "name", SCHEDULE_NAME_CHARACTERS_MAX)
        for field in ("delay", "run_at", "id"):
            if getattr(request, field) is not None:
                raise InvalidTask(field, "schedule", "a schedule says itself when its tasks run, and names them")
        if request.depends_on or request.unique_key is not None:
            raise InvalidTask("depends_on", "schedule", "tasks of a schedule depend on nothing, and have no unique key")
        spec = self._spec(request)
        task = self._task(request, 0, now_us)
        if len(task.payload) > SCHEDULE_BYTES_MAX:
            message = f"has {len(task.payload)} bytes of JSON, the most is {SCHEDULE_BYTES_MAX} in a schedule"
            raise InvalidTask("payload", "too_large", message)
        return Schedule(name, cron, timezone, spec, task.payload, next_slot_us(cron, timezone, now_us))

    # -- parts -------------------------------------------------------------------------------------------

    def _spec(self, request: TaskRequest) -> Spec:
        kind = self._kinds.get(request.type)
        if kind is None:
            if self._kinds:
                known = ", ".join(sorted(self._kinds)[:10])
                raise InvalidTask(
                    "type", "unknown", f"no task of type {request.type[:64]!r} is declared; known: {known}"
                )
            base = Spec(DEFAULT_QUEUE, check_name(request.type, "type"))
        else:
            base = kind.spec
        if request.queue is None or request.queue == base.queue:
            queue = base.queue
        elif self._queues and request.queue not in self._queues:
            known = ", ".join(sorted(self._queues)[:10])
            raise InvalidTask("queue", "unknown", f"there is no queue {request.queue[:64]!r}; known: {known}")
        else:
            queue = check_name(request.queue, "queue")
        return Spec(
            queue=queue,
            type=base.type,
            capabilities=base.capabilities
            if request.capabilities is None
            else check_capabilities(request.capabilities),
            priority=_whole(request.priority, "priority", base.priority, PRIORITY_MAX),
            timeout_ms=_milliseconds(request.timeout, "timeout", base.timeout_ms, TIMEOUT_MS_MAX),
            max_retries=_whole(request.max_retries, "max_retries", base.max_retries, RETRIES_MAX),
            backoff_ms=_milliseconds(request.backoff, "backoff", base.backoff_ms),
            backoff_ms_max=_milliseconds(request.backoff_max, "backoff_max", base.backoff_ms_max),
            ttl_ms=_milliseconds(request.ttl, "ttl", base.ttl_ms),
            retention_ms=_milliseconds(request.retention, "retention", base.retention_ms),
            schema_version=_whole(request.schema_version, "schema_version", base.schema_version, 1 << 31),
            exactly_once=base.exactly_once if request.exactly_once is None else request.exactly_once,
        )

    def _task(self, request: TaskRequest, spec: int, now_us: int) -> New:
        payload = bytes(request.payload)
        if len(payload) > PAYLOAD_BYTES_MAX:
            message = f"has {len(payload)} bytes of JSON, the most is {PAYLOAD_BYTES_MAX}"
            raise InvalidTask("payload", "too_large", message)
        kind = self._kinds.get(request.type)
        if kind is not None:
            kind.check_payload(payload)
        if request.unique_key is not None:
            _check_unique_key(request.unique_key)
        task_id = new_id() if request.id is None else check_id(request.id, "id")
        delay_us = 0 if request.delay is None else _microseconds(request.delay, "delay")
        if request.run_at is not None and request.delay is not None:
            raise InvalidTask("delay", "contradiction", "a task has a run_at or a delay, not both")
        depends_on = tuple(dict.fromkeys(request.depends_on))
        if len(depends_on) > DEPENDENCIES_MAX:
            raise InvalidTask("depends_on", "too_many", f"a task depends on at most {DEPENDENCIES_MAX} others")
        for target in depends_on:
            check_id(target, "depends_on")
        if task_id in depends_on:
            raise InvalidTask("depends_on", "cycle", "a task cannot depend on itself")
        run_at_us = 0 if request.run_at is None else _run_at_us(request.run_at, now_us)
        return New(spec, task_id, payload, run_at_us, delay_us, request.unique_key, depends_on)


class _Specs:
    """The specs of a batch: what many tasks have in common is looked at once."""

    def __init__(self, spec_of: Callable[[TaskRequest], Spec]) -> None:
        self._spec_of = spec_of
        self._places: dict[tuple[object, ...], int] = {}
        self.found: list[Spec] = []

    def place_of(self, request: TaskRequest) -> int:
        """Where the request's is in :attr:`found`. Raises :class:`InvalidTask`."""
        key = (
            request.type,
            request.queue,
            request.priority,
            request.timeout,
            request.max_retries,
            request.backoff,
            request.backoff_max,
            request.ttl,
            request.retention,
            None if request.capabilities is None else tuple(request.capabilities),
            request.schema_version,
            request.exactly_once,
        )
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.found)
            self.found.append(self._spec_of(request))
        return place


def in_order(tasks: Sequence[New]) -> list[int]:
    """The positions of a batch's tasks, those first that others depend on. Raises :class:`InvalidTask` for a cycle."""
    places = {task.id: position for position, task in enumerate(tasks)}
    if not any(target in places for task in tasks for target in task.depends_on):
        return list(range(len(tasks)))
    ordered: dict[int, None] = {}
    entered: set[int] = set()
    for start in range(len(tasks)):
        path = [start]
        while path:
            position = path[-1]
            entered.add(position)
            inner = (places[target] for target in tasks[position].depends_on if target in places)
            before = next((place for place in inner if place not in ordered), None)
            if before is None:
                ordered[position] = None
                path.pop()
            elif before in entered:
                raise InvalidTask("depends_on", "cycle", "the tasks depend on each other in a circle", position)
            else:
                path.append(before)
    return list(ordered)


def new_id() -> str:
    """An id for a task that its caller did not name: later ones sort behind."""
    digits = f"{uuid7():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def check_name(name: str, field: str) -> str:
    """Of a queue, a type, a capability or a worker. Raises :class:`InvalidTask`."""
    if len(name) > NAME_CHARACTERS_MAX or _NAME.fullmatch(name) is None:
        message = f"should be 1 to {NAME_CHARACTERS_MAX} letters, digits, or _ . : -, not {name[:64]!r}"
        raise InvalidTask(field, "name", message)
    return name


def check_id(task_id: str, field: str, most: int = ID_CHARACTERS_MAX) -> str:
    """Of a task or a schedule. Raises :class:`InvalidTask`."""
    if len(task_id) > most or _ID.fullmatch(task_id) is None:
        message = f"should be 1 to {most} letters, digits, or _ . : @ + = -, not {task_id[:64]!r}"
        raise InvalidTask(field, "name", message)
    return task_id


def checked_list(values: Collection[T], field: str) -> list[T]:
    """They, and not a text, which would be taken for its letters. Raises :class:`InvalidTask`."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise InvalidTask(field, "type", f"should be a list, not {values!r}"[:200])
    return list(values)


def check_capabilities(names: Collection[str]) -> tuple[str, ...]:
    """Sorted, each once. Raises :class:`InvalidTask`."""
    capabilities = tuple(sorted({check_name(name, "capabilities") for name in checked_list(names, "capabilities")}))
    if len(capabilities) > CAPABILITIES_MAX:
        raise InvalidTask("capabilities", "too_many", f"at most {CAPABILITIES_MAX} are possible")
    return capabilities


def _check_unique_key(key: str) -> None:
    if not 1 <= len(key) <= UNIQUE_KEY_CHARACTERS_MAX or "\0" in key or not key.isprintable():
        message = f"should be 1 to {UNIQUE_KEY_CHARACTERS_MAX} printable characters"
        raise InvalidTask("unique_key", "name", message)


def _whole(value: int | None, field: str, default: int, most: int) -> int:
    if value is None:
        return default
    if not 0 <= value <= most:
        raise InvalidTask(field, "range", f"should be a whole number from 0 to {most}, not {str(value)[:20]}")
    return value


def _microseconds(duration: Duration, field: str, most_us: int = LATER_US_MAX) -> int:
    try:
        found = microseconds(duration)
    except ValueError as error:
        raise InvalidTask(field, "duration", str(error)) from None
    if found > most_us:
        raise InvalidTask(field, "range", f"should be at most {timedelta(microseconds=most_us)}")
    return found


def _milliseconds(duration: Duration | None, field: str, default: int, most_ms: int = LATER_US_MAX // 1000) -> int:
    if duration is None:
        return default
    return -(-_microseconds(duration, field, most_ms * 1000) // 1000)


def _run_at_us(run_at: datetime, now_us: int) -> int:
    """Of a moment that has passed, the task is due at once."""
    if not isinstance(run_at, datetime):
        raise InvalidTask("run_at", "type", f"should be a datetime, not {run_at!r}"[:200])
    if run_at.tzinfo is None:
        raise InvalidTask("run_at", "timezone", "should say its time zone, as in 2026-01-31T12:00:00Z")
    found = (run_at - _EPOCH) // timedelta(microseconds=1)
    if found > now_us + LATER_US_MAX:
        raise InvalidTask("run_at", "range", "should be within the next ten years")
    return max(found, 1)
