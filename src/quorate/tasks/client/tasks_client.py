"""``TasksClient``: the tasks of a cluster, asked over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack
from urllib.parse import quote, urlencode

import msgspec

from quorate.errors import ConfigError
from quorate.node.reads import Consistency
from quorate.rest.params import LIMIT_MAX
from quorate.tasks.client import bodies
from quorate.tasks.client.nodes import PATIENCE_SECONDS, Kind, Nodes
from quorate.tasks.commands import Claim, Completed, Enlist, Heartbeat, Report
from quorate.tasks.declaration import Registry
from quorate.tasks.errors import TaskRefusal
from quorate.tasks.lifecycle import BY_LABEL, State
from quorate.tasks.records import (
    LeasedTask,
    QueueRecord,
    SchedulePage,
    ScheduleRecord,
    Stats,
    Submitted,
    TaskPage,
    TaskRecord,
    WorkerPage,
    WorkerRecord,
)
from quorate.tasks.submission import TaskRequest, new_id
from quorate.tasks.worker import Effects, Worker, WorkerOptions
from quorate.tasks.worker.hosting import hosted

T = TypeVar("T")

WAIT_SECONDS_MAX = 50.0
"""So long one request waits for the end of a task; who wants to wait longer asks again."""
CLAIM_SECONDS_MAX = 30.0


class Declares(Protocol):
    """An app, as far as is known here."""

    @property
    def tasks(self) -> Registry: ...


class _TaskRecord(TaskRecord, frozen=True, kw_only=True):
    """msgspec decodes no ``Raw | None``."""

    result: msgspec.Raw


class _TaskPage(msgspec.Struct):
    tasks: list[_TaskRecord]
    next: str | None


class _Tasks(msgspec.Struct):
    tasks: list[Submitted]


class _Claimed(msgspec.Struct):
    tasks: list[LeasedTask]


class _Queues(msgspec.Struct):
    queues: list[QueueRecord]


class _Lost(msgspec.Struct):
    lost: list[str]


class _Outcomes(msgspec.Struct):
    outcomes: list[str]


class _Count(msgspec.Struct):
    purged: int = 0
    retried: int = 0


_decode_submitted = msgspec.json.Decoder(Submitted).decode
_decode_task_record = msgspec.json.Decoder(_TaskRecord).decode
_decode_claimed = msgspec.json.Decoder(_Claimed).decode


class TasksClient:
    """``async with TasksClient("a:8080,b:8080,c:8080") as tasks``: what a node's ``node.tasks`` does, from anywhere.

    Requests go from node to node until one answers, for ``patience`` seconds at most. Those that may be made twice are,
    when an answer is lost: tasks are given ids before they are submitted, so they are added once. Others raise
    :class:`~quorate.errors.OutcomeUnknown` then. A queue that is full is waited for as long. With an ``app``, what the
    program sends of its tasks goes through this client.
    """

    def __init__(
        self, cluster: str | Sequence[str], *, app: Declares | None = None, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._nodes = Nodes(cluster, patience=patience)
        self._registry = None if app is None else app.tasks

    async def __aenter__(self) -> Self:
        await self._nodes.__aenter__()
        if self._registry is not None:
            self._registry.gateways.add(self, f"the cluster at {','.join(self._nodes.addresses)}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._registry is not None:
            self._registry.gateways.remove(self)
        await self._nodes.__aexit__(kind, error, traceback)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Inside the block, and in tasks of asyncio that are started there, the app's tasks go through this client.

        That need only be said if several clients or nodes with the same app are open in the process. Raises
        :class:`~quorate.errors.ConfigError` if it was made without an app.
        """
        if self._registry is None:
            raise ConfigError("this client was made without an app")
        with self._registry.gateways.chosen(self):
            yield

    def worker(self, **options: Unpack[WorkerOptions]) -> AbstractAsyncContextManager[Worker]:
        """``async with tasks.worker(concurrency=4):`` does tasks of the app, in this process, while the block runs.

        What ``quorate worker`` does, for programs of one's own: see :meth:`quorate.Node.worker`. Raises
        :class:`~quorate.errors.ConfigError` if the client was made without an app.
        """
        if self._registry is None:
            raise ConfigError("this client was made without an app")
        return hosted(self._registry, self, self.using, **options)

    async def _read(self, path: str, decoded_as: type[T], **parameters: object) -> T:
        given = {name: value for name, value in parameters.items() if value is not None}
        answer = await self._nodes.request("GET", f"{path}?{urlencode(given)}" if given else path, kind=Kind.READ)
        return msgspec.json.decode(answer, type=decoded_as)

    async def _post(self, path: str, document: object, kind: Kind = Kind.ONCE) -> bytes:
        return await self._nodes.request("POST", path, bodies.encode(document), kind=kind)

    # -- submitting --------------------------------------------------------------------------------------

    async def submit(self, request: TaskRequest) -> Submitted:
        """Add a task."""
        document = bodies.of_task(request)
        document.setdefault("id", new_id())
        return _decode_submitted(await self._post("tasks", document, Kind.REPEATABLE))

    async def submit_many(self, requests: Sequence[TaskRequest]) -> list[Submitted]:
        """Add all tasks or none. Refusals say the ``position`` of the task."""
        documents = [bodies.of_task(request) for request in requests]
        for document in documents:
            document.setdefault("id", new_id())
        answer = await self._post("tasks/_batch", {"tasks": documents}, Kind.REPEATABLE)
        return msgspec.json.decode(answer, type=_Tasks).tasks

    # -- reading -----------------------------------------------------------------------------------------

    async def task(self, task_id: str, *, consistency: Consistency = "strong") -> TaskRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchTask`."""
        return _task(await self._read(_path("tasks", task_id), _TaskRecord, consistency=consistency))

    async def wait(self, task_id: str, seconds: float) -> TaskRecord:
        """The task, as soon as it has ended, or when time is over. Raises :class:`~quorate.tasks.errors.NoSuchTask`."""
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        while True:
            wait = max(0.0, min(ends - clock(), WAIT_SECONDS_MAX))
            path = f"{_path('tasks', task_id)}?wait={wait:.3f}"
            answer = await self._nodes.request("GET", path, kind=Kind.READ, wait=wait)
            record = _task(_decode_task_record(answer))
            if BY_LABEL[record.status].is_ended or clock() >= ends:
                return record

    async def tasks(
        self,
        *,
        states: Collection[State] = (),
        queue: str | None = None,
        type: str | None = None,
        worker: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        consistency: Consistency = "strong",
    ) -> TaskPage:
        """A page of tasks, newest first; ``after`` is the ``next`` of the page before."""
        status = ",".join(state.label for state in states) or None
        page = await self._read(
            "tasks",
            _TaskPage,
            status=status,
            queue=queue,
            type=type,
            worker=worker,
            limit=limit,
            after=after,
            consistency=consistency,
        )
        return TaskPage(tasks=list(map(_task, page.tasks)), next=page.next)

    async def stats(self, *, consistency: Consistency = "strong") -> Stats:
        """How many tasks are in which state."""
        return await self._read("stats", Stats, consistency=consistency)

    async def queues(self, *, consistency: Consistency = "strong") -> list[QueueRecord]:
        """All queues that have tasks, or settings of their own."""
        return (await self._read("queues", _Queues, consistency=consistency)).queues

    async def workers(self, *, consistency: Consistency = "strong") -> list[WorkerRecord]:
        """The workers that were heard of lately."""
        page = await self._read("workers", WorkerPage, limit=LIMIT_MAX, consistency=consistency)
        found = page.workers
        while page.next is not None:
            page = await self._read("workers", WorkerPage, limit=LIMIT_MAX, after=page.next, consistency=consistency)
            found += page.workers
        return found

    # -- what operators do -------------------------------------------------------------------------------

    async def cancel(self, task_id: str, *, force: bool = False) -> None:
        """End a task before it is done; with ``force`` also one that is running, whose worker is told to stop."""
        await self._post(_path("tasks", task_id, "cancel"), {"force": force})

    async def retry(self, task_id: str) -> None:
        """Have a dead, failed or cancelled task tried, with all its attempts."""
        await self._nodes.request("POST", _path("tasks", task_id, "retry"), kind=Kind.ONCE)

    async def retry_dead(self, queue: str | None = None) -> int:
        """Have all dead tasks tried, of one queue or all; returns how many."""
        answer = await self._post("dead-letters/retry", {"queue": queue})
        return msgspec.json.decode(answer, type=_Count).retried

    async def purge_dead(self, queue: str | None = None) -> int:
        """Remove all dead tasks, of one queue or all; returns how many."""
        answer = await self._post("dead-letters/purge", {"queue": queue})
        return msgspec.json.decode(answer, type=_Count).purged

    async def purge(self, queue: str, states: Collection[State] = ()) -> int:
        """Remove the tasks of a queue in these states, or else those that wait; returns how many."""
        document = {"status": [state.label for state in states]} if states else {}
        answer = await self._post(_path("queues", queue, "purge"), document)
        return msgspec.json.decode(answer, type=_Count).purged

    async def configure(self, queue: str, *, paused: bool | None = None, pending_max: int | None = None) -> QueueRecord:
        """Pause or resume a queue, or set how many tasks may wait in it."""
        document = {"paused": paused, "pending_max": pending_max}
        body = bodies.encode({name: value for name, value in document.items() if value is not None})
        answer = await self._nodes.request("PATCH", _path("queues", queue), body, kind=Kind.REPEATABLE)
        return msgspec.json.decode(answer, type=QueueRecord)

    async def remove_queue(self, queue: str) -> None:
        """Remove a queue, its settings, and its tasks that have ended.

        Raises :class:`~quorate.tasks.errors.NoSuchQueue`, and :class:`~quorate.tasks.errors.QueueInUse` as long as
        it has other tasks.
        """
        await self._nodes.request("DELETE", _path("queues", queue), kind=Kind.ONCE)

    # -- schedules ---------------------------------------------------------------------------------------

    async def schedule(self, name: str, cron: str, request: TaskRequest, *, timezone: str = "UTC") -> ScheduleRecord:
        """Submit a task at each turn of a cron expression; replaces the schedule of that name."""
        body = bodies.of_schedule(cron, timezone, request)
        answer = await self._nodes.request("PUT", _path("schedules", name), body, kind=Kind.REPEATABLE)
        return msgspec.json.decode(answer, type=ScheduleRecord)

    async def unschedule(self, name: str) -> None:
        """Raises :class:`~quorate.tasks.errors.NoSuchSchedule`."""
        await self._nodes.request("DELETE", _path("schedules", name), kind=Kind.ONCE)

    async def schedules(self, *, consistency: Consistency = "strong") -> list[ScheduleRecord]:
        """All schedules."""
        page = await self._read("schedules", SchedulePage, limit=LIMIT_MAX, consistency=consistency)
        found = page.schedules
        while page.next is not None:
            page = await self._read(
                "schedules", SchedulePage, limit=LIMIT_MAX, after=page.next, consistency=consistency
            )
            found += page.schedules
        return found

    # -- workers -----------------------------------------------------------------------------------------

    async def enlist(self, worker: Enlist) -> None:
        """A worker comes."""
        path = _path("workers", worker.worker)
        await self._nodes.request("PUT", path, bodies.of_worker(worker), kind=Kind.REPEATABLE)

    async def dismiss(self, worker_id: str) -> None:
        """A worker goes."""
        await self._nodes.request("DELETE", _path("workers", worker_id), kind=Kind.REPEATABLE)

    async def claim(self, claim: Claim, seconds: float = 0.0) -> list[LeasedTask]:
        """Leases on tasks, as soon as there are some; none when time is over.

        If an answer is lost, so are its leases, until they end by themselves.
        """
        wait = min(seconds, CLAIM_SECONDS_MAX)
        body = bodies.of_claim(claim, wait)
        path = _path("workers", claim.worker, "claim")
        return _decode_claimed(await self._nodes.request("POST", path, body, kind=Kind.ONCE, wait=wait)).tasks

    async def heartbeat(self, heartbeat: Heartbeat) -> list[str]:
        """Prolong leases. Returns the tasks that are not the worker's any more, whose jobs it should stop."""
        path, body = _path("workers", heartbeat.worker, "heartbeat"), bodies.of_heartbeat(heartbeat)
        answer = await self._nodes.request("POST", path, body, kind=Kind.REPEATABLE)
        return msgspec.json.decode(answer, type=_Lost).lost

    async def report(self, report: Report) -> list[str]:
        """How leases have ended. Returns for each the task's state by now, or ``stale``."""
        path, body = _path("workers", "_", "report"), bodies.of_report(report)
        answer = await self._nodes.request("POST", path, body, kind=Kind.REPEATABLE)
        return msgspec.json.decode(answer, type=_Outcomes).outcomes

    async def complete_with(self, completed: Completed, effects: Effects) -> None:
        """End a lease together with effects on keys and models: all of it, once, or nothing.

        Raises :class:`~quorate.tasks.errors.StaleToken`, or the refusal of an effect.
        """
        body = bodies.of_completion(completed, effects.keys, effects.models)
        await self._nodes.request("POST", _path("tasks", completed.id, "complete"), body, kind=Kind.REPEATABLE)


def _task(record: _TaskRecord) -> TaskRecord:
    """As a node has it: of a task that has not succeeded, there is no result."""
    values = {name: getattr(record, name) for name in TaskRecord.__struct_fields__}
    if record.result == msgspec.Raw(b"null") and record.status != State.SUCCEEDED.label:
        values["result"] = None
    return TaskRecord(**values)


def _path(*parts: Any) -> str:
    if not all(parts):
        raise TaskRefusal("a name is empty")
    return "/".join(quote(part, safe="") for part in parts)
