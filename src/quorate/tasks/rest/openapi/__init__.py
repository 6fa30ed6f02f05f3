"""The OpenAPI 3.1 description of tasks: ``parts`` of operations, and the operations by what they are about."""

from __future__ import annotations

import msgspec

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
from quorate.tasks.rest.bodies import (
    CancelBody,
    ClaimBody,
    CompleteBody,
    DeadBody,
    EnlistBody,
    FailBody,
    HeartbeatBody,
    PurgeBody,
    QueueBody,
    ReportBody,
    ScheduleBody,
    SubmitBody,
    TaskBody,
)
from quorate.tasks.rest.openapi.parts import PREFIX, PROBLEM, REF, Json, Kind, problem
from quorate.tasks.rest.openapi.queues import dead_letter_paths, queue_paths
from quorate.tasks.rest.openapi.schedules import schedule_paths
from quorate.tasks.rest.openapi.tasks import one_task_paths, task_paths
from quorate.tasks.rest.openapi.workers import worker_paths
from quorate.tasks.rest.submitting import Accepted
from quorate.tasks.rest.watching import ChangeRecord

_KINDS: tuple[Kind, ...] = (
    *(SubmitBody, TaskBody, ScheduleBody, CancelBody, PurgeBody, DeadBody, QueueBody),
    *(EnlistBody, ClaimBody, HeartbeatBody, ReportBody, CompleteBody, FailBody),
    *(Accepted, Submitted, TaskRecord, TaskPage, Stats, QueueRecord, ScheduleRecord, WorkerRecord, LeasedTask),
    *(SchedulePage, WorkerPage, ChangeRecord),
)


def schemas() -> Json:
    """What requests and answers consist of, by name."""
    _, components = msgspec.json.schema_components(_KINDS, ref_template=REF)
    return {f"{PREFIX}{name}": schema for name, schema in (components | {PROBLEM: problem()}).items()}


def paths(path: str) -> Json:
    """The operations below ``path``, such as ``/api/v1``."""
    rooms = (task_paths, one_task_paths, queue_paths, dead_letter_paths, schedule_paths, worker_paths)
    return {f"{path}/{name}": operations for room in rooms for name, operations in room().items()}
