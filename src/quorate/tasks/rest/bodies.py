"""What requests say, decoded straight into structs: what is no JSON is refused with 400, what is of no use with 422."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

import msgspec

from quorate.rest.heads import content_type
from quorate.rest.http import Headers, RequestError
from quorate.rest.json import malformed
from quorate.tasks.durations import microseconds
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import (
    BATCH_TASKS_MAX,
    CLAIMED_MAX,
    ID_CHARACTERS_MAX,
    LEASE_MS,
    LEASE_MS_MAX,
    LEASE_MS_MIN,
    PENDING_MAX,
)
from quorate.tasks.submission import TaskRequest, check_name

T = TypeVar("T")

Span = float | int | str
"""A length of time in JSON: seconds, or a text such as ``"30s"``."""
NAMES_MAX = 1000
"""Of queues, or types, that one worker names."""
LEASES_MAX = 1000
"""In one heartbeat, or one report: about 15 ms on every node."""
CONCURRENCY_MAX = 10_000
QUEUE_PENDING_MAX = 100 * PENDING_MAX

NULL = msgspec.Raw(b"null")


def _null() -> msgspec.Raw:
    return NULL  # as a default of its own it could not be described


_Token = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Names = Annotated[list[str], msgspec.Meta(max_length=NAMES_MAX)]


class TaskBody(TaskRequest, kw_only=True, forbid_unknown_fields=True):
    """A task as JSON has it."""

    payload: msgspec.Raw = msgspec.field(default_factory=_null)
    delay: Span | None = None
    timeout: Span | None = None
    backoff: Span | None = None
    backoff_max: Span | None = None
    ttl: Span | None = None
    retention: Span | None = None


class SubmitBody(TaskBody, kw_only=True, forbid_unknown_fields=True):
    """One task; with ``cron`` one at each turn of the expression."""

    cron: str | None = None
    timezone: str = "UTC"


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Tasks that are added together, or not at all."""

    tasks: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=BATCH_TASKS_MAX)]  # before each takes memory


class ScheduleBody(TaskBody, kw_only=True, forbid_unknown_fields=True):
    """A schedule, and the task that it submits."""

    cron: str
    timezone: str = "UTC"
    name: str | None = None


class CancelBody(msgspec.Struct, forbid_unknown_fields=True):
    """``force``: also a task that is running."""

    force: bool = False


class PurgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """``status``: of tasks in these states alone; without it of those that wait."""

    status: Annotated[list[str], msgspec.Meta(min_length=1, max_length=16)] | None = None


class DeadBody(msgspec.Struct, forbid_unknown_fields=True):
    """Dead letters of one queue, or of all."""

    queue: str | None = None


class QueueBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change of a queue."""

    paused: bool | None = None
    pending_max: Annotated[int, msgspec.Meta(ge=1, le=QUEUE_PENDING_MAX)] | None = None


class EnlistBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker can do. ``queues`` and ``types``: ``null`` stands for all."""

    queues: _Names | None = None
    types: _Names | None = None
    capabilities: _Names = []
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=CONCURRENCY_MAX)] = 1
    lease: Span = LEASE_MS / 1000


class ClaimBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker asks for, and how long it waits for it."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=CLAIMED_MAX)] = 1
    wait: Span = 0
    queues: _Names | None = None
    types: _Names | None = None
    capabilities: _Names = []
    lease: Span = LEASE_MS / 1000


class LeaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """A lease, by its task and its token."""

    task_id: Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS_MAX)]
    token: _Token


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True):
    """A worker is alive. ``health``: what it says is wrong."""

    leases: Annotated[list[LeaseBody], msgspec.Meta(max_length=LEASES_MAX)] = []
    lease: Span = LEASE_MS / 1000
    health: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class CompletedBody(LeaseBody, forbid_unknown_fields=True):
    """A lease that ended with a result."""

    result: msgspec.Raw = msgspec.field(default_factory=_null)


class FailedBody(LeaseBody, forbid_unknown_fields=True):
    """A lease that ended in vain. ``delay``: when to try again, instead of what the task says."""

    error: str = ""
    retry: bool = True
    delay: Span | None = None


class ReportBody(msgspec.Struct, forbid_unknown_fields=True):
    """How leases ended."""

    completed: list[CompletedBody] = []
    failed: list[FailedBody] = []
    released: list[LeaseBody] = []


class CompleteBody(msgspec.Struct, forbid_unknown_fields=True):
    """How one lease ended, and what is to come about together with that: see :mod:`quorate.tasks.effects`."""

    token: _Token
    result: msgspec.Raw = msgspec.field(default_factory=_null)
    effects: msgspec.Raw = msgspec.field(default_factory=_null)


class FailBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same for one that ended in vain."""

    token: _Token
    error: str = ""
    retry: bool = True
    delay: Span | None = None


def decoder_of(kind: type[T], *, optional: bool = False) -> Callable[[Headers, bytes], T]:
    """What reads bodies of one kind. ``optional``: without a body, it is as if there were an empty object.

    Raises :class:`~quorate.rest.http.RequestError`.
    """
    decode = msgspec.json.Decoder(kind).decode

    def read(headers: Headers, body: bytes) -> T:
        if optional and not body:
            return decode(b"{}")
        check_type(headers)
        return decoded(decode, body)

    return read


def check_type(headers: Headers) -> None:
    """Raises :class:`~quorate.rest.http.RequestError` if the body is not said to be JSON."""
    if content_type(headers) != b"application/json":
        raise RequestError(415, "the body should be application/json", headers=[(b"accept", b"application/json")])


def decoded(decode: Callable[[Any], T], body: bytes | msgspec.Raw) -> T:
    """Raises :class:`~quorate.rest.http.RequestError`."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise RequestError(400, f"the body is not valid JSON: {reason}") from None


def check_names(names: Collection[str] | None, field: str) -> tuple[str, ...] | None:
    """Each once. Raises :class:`~quorate.tasks.errors.InvalidTask`."""
    return None if names is None else tuple(dict.fromkeys(check_name(name, field) for name in names))


def seconds_of(span: Span, field: str, most: float) -> float:
    """Raises :class:`~quorate.tasks.errors.InvalidTask` if it is none, or longer than ``most`` seconds."""
    try:
        found = microseconds(span) / 1_000_000
    except ValueError as error:
        raise InvalidTask(field, "duration", str(error)) from None
    if found > most:
        raise InvalidTask(field, "range", f"should be at most {most:g} seconds")
    return found


def lease_ms_of(span: Span) -> int:
    """Raises :class:`~quorate.tasks.errors.InvalidTask`."""
    found = round(seconds_of(span, "lease", LEASE_MS_MAX / 1000) * 1000)
    if found < LEASE_MS_MIN:
        raise InvalidTask("lease", "range", f"should be at least {LEASE_MS_MIN / 1000:g} s")
    return found
