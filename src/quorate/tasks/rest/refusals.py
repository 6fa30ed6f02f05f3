"""How refusals that concern tasks are answered over HTTP."""

from __future__ import annotations

from quorate.rest.http import RequestError, finding
from quorate.tasks.errors import (
    DoneBefore,
    IdTaken,
    InvalidTask,
    NoSuchSchedule,
    NoSuchTask,
    NoSuchWorker,
    NotUnique,
    QueueFull,
    StaleToken,
    TaskRefusal,
    TooMany,
    UnknownDependency,
    WrongState,
)

RETRY_AFTER = (b"retry-after", b"1")


def from_refusal(refusal: TaskRefusal, *, in_batch: bool = False) -> RequestError:
    """How a refusal is answered. ``in_batch``: it says the position of the task that it is about."""
    detail = str(refusal)
    match refusal:
        case InvalidTask(field=field, reason=reason, message=message):
            return RequestError(
                413 if reason == "too_large" else 422,
                detail,
                errors=[_found(refusal, field, reason, message, in_batch)],
            )
        case NoSuchTask() | NoSuchWorker() | NoSuchSchedule():
            return RequestError(404, detail)
        case IdTaken():
            return RequestError(409, detail, errors=[_found(refusal, "id", "taken", detail, in_batch)])
        case NotUnique():
            return RequestError(409, detail, errors=[_found(refusal, "unique_key", "unique", detail, in_batch)])
        case UnknownDependency():
            return RequestError(422, detail, errors=[_found(refusal, "depends_on", "unknown", detail, in_batch)])
        case WrongState(state=state):
            return RequestError(409, detail, errors=[finding("status", state, detail)])
        case StaleToken() | DoneBefore():
            return RequestError(409, detail, errors=[finding("token", "stale", detail)])
        case QueueFull():
            return RequestError(429, detail, errors=[finding("queue", "full", detail)], headers=[RETRY_AFTER])
        case TooMany(what=what):
            return RequestError(429, detail, errors=[finding(what, "too_many", detail)], headers=[RETRY_AFTER])
    return RequestError(409, detail)


def _found(refusal: TaskRefusal, field: str, reason: str, message: str, in_batch: bool) -> dict[str, object]:
    found = finding(field, reason, message)
    position = getattr(refusal, "position", None)
    return {"position": position, **found} if in_batch and position is not None else found
