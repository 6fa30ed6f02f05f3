"""Schedules."""

from __future__ import annotations

from quorate.tasks.limits import ID_CHARACTERS_MAX
from quorate.tasks.records import SchedulePage, ScheduleRecord
from quorate.tasks.rest.bodies import ScheduleBody
from quorate.tasks.rest.openapi.parts import (
    BODY,
    CONSISTENCY,
    FULL,
    IDEMPOTENCY_KEY,
    READS,
    WRITES,
    Json,
    in_path,
    operation,
    page_parameters,
    ref,
)
from quorate.tasks.submission import ID_PATTERN


def schedule_paths() -> Json:
    """What is submitted again and again."""
    missing = {404: "There is no such schedule."}
    errors = {**BODY, **WRITES, **FULL}
    return {
        "schedules": {
            "get": operation(
                "A page of the schedules",
                "list_schedules",
                ref(SchedulePage),
                READS,
                parameters=page_parameters({"type": "string"}),
            ),
            "post": operation(
                "Submit a task at each turn of a cron expression",
                "add_schedule",
                {201: ("It is in force.", ref(ScheduleRecord))},
                errors,
                body=ref(ScheduleBody),
                parameters=[IDEMPOTENCY_KEY],
            ),
        },
        "schedules/{name}": {
            "parameters": [in_path("name", ID_CHARACTERS_MAX, ID_PATTERN)],
            "get": operation(
                "A schedule", "get_schedule", ref(ScheduleRecord), {**READS, **missing}, parameters=[CONSISTENCY]
            ),
            "put": operation(
                "Add or replace a schedule", "put_schedule", ref(ScheduleRecord), errors, body=ref(ScheduleBody)
            ),
            "delete": operation("Remove a schedule", "delete_schedule", None, {**WRITES, **missing}),
        },
    }
