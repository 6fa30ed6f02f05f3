"""What workers ask for."""

from __future__ import annotations

from quorate.tasks.lifecycle import BY_LABEL
from quorate.tasks.limits import NAME_CHARACTERS_MAX
from quorate.tasks.records import LeasedTask, WorkerPage
from quorate.tasks.rest.bodies import ClaimBody, EnlistBody, HeartbeatBody, ReportBody
from quorate.tasks.rest.openapi.parts import (
    BODY,
    FULL,
    READS,
    WRITES,
    Json,
    array,
    in_path,
    object_of,
    operation,
    page_parameters,
    ref,
)
from quorate.tasks.store.reporting import STALE
from quorate.tasks.submission import NAME_PATTERN


def worker_paths() -> Json:
    """Enlisting, claiming, reporting."""
    named = [in_path("id", NAME_CHARACTERS_MAX, NAME_PATTERN)]
    errors = {**BODY, **WRITES}
    states = array({"enum": [*BY_LABEL, STALE]})
    return {
        "workers": {
            "get": operation(
                "A page of the workers that were heard of lately",
                "list_workers",
                ref(WorkerPage),
                READS,
                parameters=page_parameters({"type": "string"}),
            )
        },
        "workers/{id}": {
            "parameters": named,
            "put": operation(
                "A worker comes", "enlist_worker", None, {**errors, **FULL}, body=ref(EnlistBody), optional=True
            ),
            "delete": operation("A worker goes", "dismiss_worker", None, WRITES),
        },
        "workers/{id}/claim": {
            "parameters": named,
            "post": operation(
                "Lease tasks to a worker, as soon as there are some",
                "claim_tasks",
                object_of({"tasks": array(ref(LeasedTask))}),
                errors,
                body=ref(ClaimBody),
                optional=True,
            ),
        },
        "workers/{id}/heartbeat": {
            "parameters": named,
            "post": operation(
                "A worker is alive, and keeps its leases",
                "heartbeat",
                object_of({"lost": array({"type": "string"})}),
                {**errors, 404: "There is no such worker: it has to enlist (again)."},
                body=ref(HeartbeatBody),
                optional=True,
            ),
        },
        "workers/{id}/report": {
            "parameters": named,
            "post": operation(
                "A worker's leases have ended",
                "report",
                object_of({"outcomes": states}),
                errors,
                body=ref(ReportBody),
            ),
        },
    }
