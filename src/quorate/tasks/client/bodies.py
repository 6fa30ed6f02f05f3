"""What requests say, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from quorate.tasks.commands import Claim, Completed, Enlist, Heartbeat, Report
from quorate.tasks.submission import TaskRequest

encode = msgspec.json.Encoder().encode


def of_task(request: TaskRequest) -> dict[str, object]:
    """What is not ``None`` of it; lengths of time in seconds."""
    given = {}
    for name in request.__struct_fields__:
        value = getattr(request, name)
        if value is not None and value != []:
            given[name] = value.total_seconds() if isinstance(value, timedelta) else value
    return given


def of_schedule(cron: str, timezone: str, request: TaskRequest) -> bytes:
    """A task that comes again and again."""
    return encode({**of_task(request), "cron": cron, "timezone": timezone})


def of_worker(worker: Enlist) -> bytes:
    """Who it is."""
    return encode(
        {
            "queues": worker.queues,
            "types": worker.types,
            "capabilities": worker.capabilities,
            "concurrency": worker.concurrency,
            "lease": worker.lease_ms / 1000,
        }
    )


def of_claim(claim: Claim, wait: float) -> bytes:
    """What it wants."""
    return encode(
        {
            "limit": claim.limit,
            "wait": wait,
            "queues": claim.queues,
            "types": claim.types,
            "capabilities": claim.capabilities,
            "lease": claim.lease_ms / 1000,
        }
    )


def of_heartbeat(heartbeat: Heartbeat) -> bytes:
    """What it has."""
    leases = [{"task_id": task_id, "token": token} for task_id, token in heartbeat.leases]
    return encode({"leases": leases, "lease": heartbeat.lease_ms / 1000, "health": heartbeat.health})


def of_report(report: Report) -> bytes:
    """How leases ended."""
    failed = [
        {
            "task_id": each.id,
            "token": each.token,
            "error": each.error,
            "retry": each.may_retry,
            "delay": None if each.delay_ms < 0 else each.delay_ms / 1000,
        }
        for each in report.failed
    ]
    return encode(
        {
            "completed": [
                {"task_id": each.id, "token": each.token, "result": msgspec.Raw(each.result)}
                for each in report.completed
            ],
            "failed": failed,
            "released": [{"task_id": each.id, "token": each.token} for each in report.released],
        }
    )


def of_completion(completed: Completed, keys: Sequence[Sequence[str]], models: Sequence[Mapping[str, object]]) -> bytes:
    """How one lease ended, with what goes with it."""
    effects = {name: each for name, each in (("models", models), ("keys", keys)) if each}
    return encode({"token": completed.token, "result": msgspec.Raw(completed.result), "effects": effects})
