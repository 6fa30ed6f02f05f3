"""What can be said of a task when it is sent, beside what its function is called with."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, TypedDict

import msgspec

from quorate.tasks.durations import Duration
from quorate.tasks.errors import InvalidTask
from quorate.tasks.handles import TaskHandle
from quorate.tasks.submission import TaskRequest, checked_list


class SpecOptions(TypedDict, total=False):
    """What a type declares of its tasks, and each of them may say otherwise.

    Durations are seconds, or such as ``"30s"``, ``"5m"``, ``"1.5h"``.
    """

    queue: str
    retries: int
    """Attempts behind the first: 3 by default."""
    timeout: Duration
    """How long one attempt may take."""
    priority: int
    """0 to 255; higher goes first."""
    backoff: Duration
    """The pause behind the first failure, doubled with each that follows: 5 s by default."""
    backoff_max: Duration
    """One hour by default."""
    ttl: Duration
    """How long after its time a task may still be begun."""
    retention: Duration
    """How long it is kept once it has ended: one hour by default."""
    capabilities: Collection[str]
    """What a worker must offer."""
    schema_version: int
    """Of the payload."""
    exactly_once: bool
    """Effects on keys and models come about together with the task's result, or not at all."""


class SendOptions(SpecOptions, total=False):
    """What ``send_mail.with_options()`` takes."""

    task_id: str
    """With an id of the caller's own it may be sent again: there will be one task."""
    delay: Duration
    run_at: datetime
    """With a time zone."""
    unique_key: str
    """There is one task at a time with it in the queue."""
    depends_on: Collection[str | TaskHandle[Any]]
    """Tasks that have to succeed before."""


_OTHER_NAMES = {"retries": "max_retries", "task_id": "id"}


def request_of(type: str, payload: bytes, options: SpecOptions | SendOptions) -> TaskRequest:
    """A task as it is asked for. Raises :class:`InvalidTask`."""
    given: dict[str, Any] = {_OTHER_NAMES.get(name, name): value for name, value in options.items()}
    if "depends_on" in given:
        given["depends_on"] = [_id_of(each) for each in checked_list(given["depends_on"], "depends_on")]
    if "capabilities" in given:
        given["capabilities"] = checked_list(given["capabilities"], "capabilities")
    return TaskRequest(type=type, payload=msgspec.Raw(payload), **given)


def _id_of(target: object) -> str:
    if isinstance(target, TaskHandle):
        return target.task_id
    if not isinstance(target, str):
        raise InvalidTask("depends_on", "type", "should be ids or handles of tasks")
    return target
