"""Submitting, reading, and the life of one task."""

from __future__ import annotations

from quorate.tasks.limits import BATCH_TASKS_MAX, ID_CHARACTERS_MAX
from quorate.tasks.records import ScheduleRecord, Submitted, TaskPage, TaskRecord
from quorate.tasks.rest.bodies import CancelBody, CompleteBody, FailBody, SubmitBody, TaskBody
from quorate.tasks.rest.openapi.parts import (
    BODY,
    CONSISTENCY,
    FULL,
    IDEMPOTENCY_KEY,
    READS,
    STATUS,
    WRITES,
    Json,
    array,
    in_path,
    in_query,
    list_parameters,
    object_of,
    operation,
    ref,
)
from quorate.tasks.rest.submitting import Accepted
from quorate.tasks.rest.watching import PATH as WATCH
from quorate.tasks.submission import ID_PATTERN


def task_paths() -> Json:
    """Submitting, listing, watching."""
    accepted = {
        201: ("It is committed.", ref(Accepted)),
        200: ("It had been added by an earlier request.", ref(Accepted)),
    }
    conflict = {409: "Another task has this id, or this unique key."}
    return {
        "tasks": {
            "get": operation("Tasks, newest first", "list_tasks", ref(TaskPage), READS, parameters=list_parameters()),
            "post": operation(
                "Submit a task",
                "submit_task",
                accepted | {201: ("It is committed.", {"anyOf": [ref(Accepted), ref(ScheduleRecord)]})},
                {**BODY, **WRITES, **FULL, **conflict},
                body=ref(SubmitBody),
                parameters=[IDEMPOTENCY_KEY],
            ),
        },
        "tasks/_batch": {
            "post": operation(
                "Submit several tasks, all of them or none",
                "submit_tasks",
                {201: ("They are committed.", object_of({"tasks": array(ref(Submitted))}))},
                {**BODY, **WRITES, **FULL, **conflict},
                body=object_of({"tasks": array(ref(TaskBody), minItems=1, maxItems=BATCH_TASKS_MAX)}),
            )
        },
        f"tasks/{WATCH}": {"get": _watch()},
    }


def one_task_paths() -> Json:
    """The life of one task."""
    missing = {404: "There is no such task, or not any more."}
    lease = {**missing, 409: "The lease is over: the task is somebody else's by now, or nobody's."}
    one = [in_path("id", ID_CHARACTERS_MAX, ID_PATTERN)]
    wait = in_query(
        "wait", {"type": "string"}, "So many seconds the answer may wait for the end of the task: 60 at most"
    )
    return {
        "tasks/{id}": {
            "parameters": one,
            "get": operation(
                "A task", "get_task", ref(TaskRecord), {**READS, **missing}, parameters=[wait, CONSISTENCY]
            ),
            "delete": operation(
                "Cancel a task",
                "cancel_task",
                None,
                {**WRITES, **missing, 409: "It has ended; or it is running, and force is not given."},
                parameters=[in_query("force", {"enum": ["true", "false"]}, "Also if it is running")],
            ),
        },
        "tasks/{id}/cancel": {
            "parameters": one,
            "post": operation(
                "Cancel a task",
                "cancel_task_by_body",
                None,
                {**BODY, **WRITES, **missing, 409: "It has ended; or it is running, and force is not given."},
                body=ref(CancelBody),
                optional=True,
            ),
        },
        "tasks/{id}/retry": {
            "parameters": one,
            "post": operation(
                "Try a task again, with all its attempts",
                "retry_task",
                ref(TaskRecord),
                {**WRITES, **missing, 409: "It is in no state in which it could be tried again."},
            ),
        },
        "tasks/{id}/complete": {
            "parameters": one,
            "post": operation(
                "A worker is done with a task: with effects on models and keys, all of it or nothing",
                "complete_task",
                STATUS,
                {**BODY, **WRITES, **lease, 412: "An object is of another version than an effect expects."},
                body=ref(CompleteBody),
            ),
        },
        "tasks/{id}/fail": {
            "parameters": one,
            "post": operation(
                "A worker has failed", "fail_task", STATUS, {**BODY, **WRITES, **lease}, body=ref(FailBody)
            ),
        },
    }


def _watch() -> Json:
    described = operation("The changes as they come, as server-sent events", "watch_tasks", {}, READS)
    described["responses"]["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    problem = described["responses"]["503"]
    described["responses"]["410"] = {**problem, "description": "The changes behind that number are not kept any more."}
    described["parameters"] = [
        *(in_query(name, {"type": "string"}, f"Of this {name} alone") for name in ("queue", "type")),
        in_query(
            "after", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "The number of the last change that is known"
        ),
    ]
    return described
