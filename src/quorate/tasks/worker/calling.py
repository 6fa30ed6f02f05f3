"""Calling a handler, wherever that is."""

from __future__ import annotations

from typing import Any

from quorate.tasks.declaration import TaskType
from quorate.tasks.worker.job import Job, running_job
from quorate.tasks.worker.outcomes import Done, Outcome, failure_of


async def call_async(task_type: TaskType[..., Any, Any], job: Job, payload: bytes) -> Outcome:
    """Await the handler. Nothing that it raises gets out, ``SystemExit`` and a cancellation neither."""
    token = running_job.set(job)
    try:
        result = await task_type.function(**task_type.arguments(payload))
        return Done(task_type.encode_result(result), job.collected)
    except BaseException as error:
        return failure_of(error)
    finally:
        running_job.reset(token)


def call_sync(task_type: TaskType[..., Any, Any], job: Job, payload: bytes) -> Outcome:
    """Call the handler, in a thread or a process of its own. Nothing that it raises gets out."""
    token = running_job.set(job)
    try:
        result = task_type.function(**task_type.arguments(payload))
        return Done(task_type.encode_result(result), job.collected)
    except BaseException as error:
        return failure_of(error)
    finally:
        running_job.reset(token)
