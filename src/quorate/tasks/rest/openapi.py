"""The OpenAPI 3.1 description of tasks."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.rest.heads import IDEMPOTENCY_KEY_CHARACTERS_MAX
from quorate.rest.params import LIMIT_DEFAULT, LIMIT_MAX
from quorate.tasks.lifecycle import BY_LABEL
from quorate.tasks.limits import BATCH_TASKS_MAX, ID_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from quorate.tasks.records import (
    LeasedTask,
    QueueRecord,
    ScheduleRecord,
    Stats,
    Submitted,
    TaskPage,
    TaskRecord,
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
from quorate.tasks.rest.submitting import Accepted
from quorate.tasks.rest.watching import PATH as WATCH
from quorate.tasks.rest.watching import ChangeRecord
from quorate.tasks.submission import ID_PATTERN, NAME_PATTERN

Json = dict[str, Any]
Kind = type[msgspec.Struct]

PREFIX = "tasks."
"""Of the schemas' names: no model's is like that."""
_REF = f"#/components/schemas/{PREFIX}{{name}}"
_KINDS: tuple[Kind, ...] = (
    *(SubmitBody, TaskBody, ScheduleBody, CancelBody, PurgeBody, DeadBody, QueueBody),
    *(EnlistBody, ClaimBody, HeartbeatBody, ReportBody, CompleteBody, FailBody),
    *(Accepted, Submitted, TaskRecord, TaskPage, Stats, QueueRecord, ScheduleRecord, WorkerRecord, LeasedTask),
    ChangeRecord,
)
_READS = {422: "A query parameter is not valid.", 503: "A strong read could not be confirmed."}
_WRITES = {
    422: "The request is well-formed but not valid.",
    503: "There is no leader now. The write was certainly not applied.",
    504: "The outcome is unknown.",
}
_BODY = {400: "The body is not valid JSON.", 413: "The body is too large.", 415: "The content type is not accepted."}
_FULL = {429: "The queue is full, or a bound of the cluster is reached: try again after Retry-After."}


def schemas() -> Json:
    """What requests and answers consist of, by name."""
    _, components = msgspec.json.schema_components(_KINDS, ref_template=_REF)
    return {f"{PREFIX}{name}": schema for name, schema in components.items()}


def paths(path: str) -> Json:
    """The operations below ``path``, such as ``/api/v1``."""
    found = {**_task_paths(), **_queue_paths(), **_schedule_paths(), **_worker_paths()}
    return {f"{path}/{name}": operations for name, operations in found.items()}


def _task_paths() -> Json:
    missing = {404: "There is no such task, or not any more."}
    lease = {**missing, 409: "The lease is over: the task is somebody else's by now, or nobody's."}
    one = [_in_path("id", ID_CHARACTERS_MAX, ID_PATTERN)]
    wait = _in_query(
        "wait", {"type": "string"}, "So many seconds the answer may wait for the end of the task: 60 at most"
    )
    accepted = {
        201: ("It is committed.", _ref(Accepted)),
        200: ("It had been added by an earlier request.", _ref(Accepted)),
    }
    conflict = {409: "Another task has this id, or this unique key."}
    return {
        "tasks": {
            "get": _operation(
                "Tasks, newest first", "list_tasks", _ref(TaskPage), _READS, parameters=_list_parameters()
            ),
            "post": _operation(
                "Submit a task",
                "submit_task",
                accepted | {201: ("It is committed.", {"anyOf": [_ref(Accepted), _ref(ScheduleRecord)]})},
                {**_BODY, **_WRITES, **_FULL, **conflict},
                body=_ref(SubmitBody),
                parameters=[_IDEMPOTENCY_KEY],
            ),
        },
        "tasks/_batch": {
            "post": _operation(
                "Submit several tasks, all of them or none",
                "submit_tasks",
                {201: ("They are committed.", _object({"tasks": _array(_ref(Submitted))}))},
                {**_BODY, **_WRITES, **_FULL, **conflict},
                body=_object({"tasks": _array(_ref(TaskBody), minItems=1, maxItems=BATCH_TASKS_MAX)}),
            )
        },
        f"tasks/{WATCH}": {"get": _watch()},
        "tasks/{id}": {
            "parameters": one,
            "get": _operation(
                "A task", "get_task", _ref(TaskRecord), {**_READS, **missing}, parameters=[wait, _CONSISTENCY]
            ),
            "delete": _operation(
                "Cancel a task",
                "cancel_task",
                None,
                {**_WRITES, **missing, 409: "It has ended; or it is running, and force is not given."},
                parameters=[_in_query("force", {"enum": ["true", "false"]}, "Also if it is running")],
            ),
        },
        "tasks/{id}/cancel": {
            "parameters": one,
            "post": _operation(
                "Cancel a task",
                "cancel_task_by_body",
                None,
                {**_BODY, **_WRITES, **missing, 409: "It has ended; or it is running, and force is not given."},
                body=_ref(CancelBody),
                optional=True,
            ),
        },
        "tasks/{id}/retry": {
            "parameters": one,
            "post": _operation(
                "Try a task again, with all its attempts",
                "retry_task",
                _ref(TaskRecord),
                {**_WRITES, **missing, 409: "It is in no state in which it could be tried again."},
            ),
        },
        "tasks/{id}/complete": {
            "parameters": one,
            "post": _operation(
                "A worker is done with a task: with effects on models and keys, all of it or nothing",
                "complete_task",
                _STATUS,
                {**_BODY, **_WRITES, **lease, 412: "An object is of another version than an effect expects."},
                body=_ref(CompleteBody),
            ),
        },
        "tasks/{id}/fail": {
            "parameters": one,
            "post": _operation(
                "A worker has failed", "fail_task", _STATUS, {**_BODY, **_WRITES, **lease}, body=_ref(FailBody)
            ),
        },
    }


def _queue_paths() -> Json:
    named = [_in_path("name", NAME_CHARACTERS_MAX, NAME_PATTERN)]
    missing = {404: "There is no such queue: no task of it was ever submitted."}
    purged, retried = _object({"purged": _COUNT}), _object({"retried": _COUNT})
    of_dead: Json = {"body": _ref(DeadBody), "optional": True}
    errors = {**_BODY, **_WRITES, **missing}
    return {
        "stats": {
            "get": _operation(
                "How many tasks are in which state", "stats", _ref(Stats), _READS, parameters=[_CONSISTENCY]
            )
        },
        "queues": {
            "get": _operation(
                "All queues",
                "list_queues",
                _object({"queues": _array(_ref(QueueRecord))}),
                _READS,
                parameters=[_CONSISTENCY],
            )
        },
        "queues/{name}": {
            "parameters": named,
            "get": _operation(
                "A queue", "get_queue", _ref(QueueRecord), {**_READS, **missing}, parameters=[_CONSISTENCY]
            ),
            "patch": _operation(
                "Pause or resume a queue, or bound it",
                "change_queue",
                _ref(QueueRecord),
                {**_BODY, **_WRITES, **_FULL},
                body=_ref(QueueBody),
            ),
        },
        **{
            f"queues/{{name}}/{verb}": {
                "parameters": named,
                "post": _operation(f"{summary} a queue", f"{verb}_queue", _ref(QueueRecord), {**_WRITES, **_FULL}),
            }
            for verb, summary in (("pause", "Give out no more tasks of"), ("resume", "Give out tasks again of"))
        },
        "queues/{name}/purge": {
            "parameters": named,
            "post": _operation(
                "Remove the tasks that wait in a queue, or those in other states",
                "purge_queue",
                purged,
                {**errors, 409: "Tasks that are running cannot be purged."},
                body=_ref(PurgeBody),
                optional=True,
            ),
        },
        "dead-letters": {
            "get": _operation(
                "Tasks that will not be tried again",
                "list_dead_letters",
                _ref(TaskPage),
                _READS,
                parameters=[each for each in _list_parameters() if each["name"] not in ("status", "worker")],
            )
        },
        "dead-letters/retry": {
            "post": _operation("Try all dead letters again", "retry_dead_letters", retried, errors, **of_dead)
        },
        "dead-letters/purge": {
            "post": _operation("Remove all dead letters", "purge_dead_letters", purged, errors, **of_dead)
        },
    }


def _schedule_paths() -> Json:
    missing = {404: "There is no such schedule."}
    errors = {**_BODY, **_WRITES, **_FULL}
    return {
        "schedules": {
            "get": _operation(
                "All schedules",
                "list_schedules",
                _object({"schedules": _array(_ref(ScheduleRecord))}),
                _READS,
                parameters=[_CONSISTENCY],
            ),
            "post": _operation(
                "Submit a task at each turn of a cron expression",
                "add_schedule",
                {201: ("It is in force.", _ref(ScheduleRecord))},
                errors,
                body=_ref(ScheduleBody),
                parameters=[_IDEMPOTENCY_KEY],
            ),
        },
        "schedules/{name}": {
            "parameters": [_in_path("name", ID_CHARACTERS_MAX, ID_PATTERN)],
            "get": _operation(
                "A schedule", "get_schedule", _ref(ScheduleRecord), {**_READS, **missing}, parameters=[_CONSISTENCY]
            ),
            "put": _operation(
                "Add or replace a schedule", "put_schedule", _ref(ScheduleRecord), errors, body=_ref(ScheduleBody)
            ),
            "delete": _operation("Remove a schedule", "delete_schedule", None, {**_WRITES, **missing}),
        },
    }


def _worker_paths() -> Json:
    named = [_in_path("id", NAME_CHARACTERS_MAX, NAME_PATTERN)]
    errors = {**_BODY, **_WRITES}
    states = _array({"enum": [*BY_LABEL, "stale"]})
    return {
        "workers": {
            "get": _operation(
                "The workers that were heard of lately",
                "list_workers",
                _object({"workers": _array(_ref(WorkerRecord))}),
                _READS,
                parameters=[_CONSISTENCY],
            )
        },
        "workers/{id}": {
            "parameters": named,
            "put": _operation(
                "A worker comes", "enlist_worker", None, {**errors, **_FULL}, body=_ref(EnlistBody), optional=True
            ),
            "delete": _operation("A worker goes", "dismiss_worker", None, _WRITES),
        },
        "workers/{id}/claim": {
            "parameters": named,
            "post": _operation(
                "Lease tasks to a worker, as soon as there are some",
                "claim_tasks",
                _object({"tasks": _array(_ref(LeasedTask))}),
                errors,
                body=_ref(ClaimBody),
                optional=True,
            ),
        },
        "workers/{id}/heartbeat": {
            "parameters": named,
            "post": _operation(
                "A worker is alive, and keeps its leases",
                "heartbeat",
                _object({"lost": _array({"type": "string"})}),
                {**errors, 404: "There is no such worker: it has to enlist (again)."},
                body=_ref(HeartbeatBody),
                optional=True,
            ),
        },
        "workers/{id}/report": {
            "parameters": named,
            "post": _operation(
                "A worker's leases have ended",
                "report",
                _object({"outcomes": states}),
                errors,
                body=_ref(ReportBody),
            ),
        },
    }


# -- parts -----------------------------------------------------------------------------------------------


def _ref(kind: Kind) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}


def _array(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


def _object(properties: Json) -> Json:
    return {"type": "object", "required": [*properties], "properties": properties}


def _in_path(name: str, characters_max: int, pattern: str) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": characters_max, "pattern": f"^{pattern}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": f"{description}.", "schema": schema}


_COUNT: Json = {"type": "integer", "minimum": 0}
_STATUS: Json = _object({"status": {"enum": [*BY_LABEL]}})
_CONSISTENCY = _in_query(
    "consistency", {"enum": ["strong", "eventually"]}, "How fresh the answer is to be; strong if it is not said"
)
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Stands for the id if none is given: the request can be made again.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": min(ID_CHARACTERS_MAX, IDEMPOTENCY_KEY_CHARACTERS_MAX),
        "pattern": f"^{ID_PATTERN}$",
    },
}


def _list_parameters() -> list[Json]:
    states = "|".join(BY_LABEL)
    return [
        _in_query("status", {"type": "string", "pattern": f"^({states})(,({states}))*$"}, "Of these states, by commas"),
        *(_in_query(name, {"type": "string"}, f"Of this {name} alone") for name in ("queue", "type", "worker")),
        _in_query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            "How many at most",
        ),
        _in_query("after", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The 'next' of the page before"),
        _CONSISTENCY,
    ]


def _watch() -> Json:
    operation = _operation("The changes as they come, as server-sent events", "watch_tasks", {}, _READS)
    operation["responses"]["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    problem = operation["responses"]["503"]
    operation["responses"]["410"] = {**problem, "description": "The changes behind that number are not kept any more."}
    operation["parameters"] = [
        *(_in_query(name, {"type": "string"}, f"Of this {name} alone") for name in ("queue", "type")),
        _in_query(
            "after", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The number of the last change that is known"
        ),
    ]
    return operation


def _operation(
    summary: str,
    name: str,
    answer: Json | dict[int, tuple[str, Json]] | None,
    errors: dict[int, str],
    *,
    body: Json | None = None,
    optional: bool = False,
    parameters: list[Json] | None = None,
) -> Json:
    """``answer`` is the schema of what a 200 has, or tells of each status; ``None`` stands for 204."""
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: Json = {
        str(status): {"description": text, "content": problem} for status, text in sorted(errors.items())
    }
    if answer is None:
        responses["204"] = {"description": "Done."}
    else:
        answers = answer if all(isinstance(each, int) for each in answer) and answer else {200: ("Done.", answer)}
        for status, (text, schema) in answers.items():
            responses[str(status)] = {"description": text, "content": {"application/json": {"schema": schema}}}
    operation: Json = {"summary": summary, "operationId": name, "tags": ["tasks"], "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": not optional, "content": {"application/json": {"schema": body}}}
    if parameters:
        operation["parameters"] = parameters
    return operation
