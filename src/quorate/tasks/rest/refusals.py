"""How refusals that concern tasks are answered over HTTP."""

from __future__ import annotations

from quorate.rest.http import RequestError, finding
from quorate.tasks.codes import BY_KIND
from quorate.tasks.errors import (
    DoneBefore,
    IdTaken,
    InvalidTask,
    NotUnique,
    QueueFull,
    QueueInUse,
    StaleToken,
    TaskRefusal,
    TooMany,
    UnknownDependency,
    WrongState,
)


def from_refusal(refusal: TaskRefusal, *, in_batch: bool = False) -> RequestError:
    """How a refusal is answered. ``in_batch``: it says the position of the task that it is about."""
    coded = BY_KIND.get(type(refusal))
    if coded is None:
        return RequestError(409, str(refusal))
    members = {"code": coded.code, **coded.values_of(refusal)}
    headers = []
    if refusal.retry_after is not None:
        members["retry_after"] = refusal.retry_after
        headers.append((b"retry-after", b"%d" % refusal.retry_after))
    too_large = isinstance(refusal, InvalidTask) and refusal.reason == "too_large"
    return RequestError(
        413 if too_large else coded.status,
        str(refusal),
        errors=_found(refusal, in_batch),
        members=members,
        headers=headers,
    )


def _found(refusal: TaskRefusal, in_batch: bool) -> list[dict[str, object]]:
    said = str(refusal)
    match refusal:
        case InvalidTask(field=field, reason=reason, message=message):
            found = finding(field, reason, message)
        case IdTaken():
            found = finding("id", "taken", said)
        case NotUnique():
            found = finding("unique_key", "unique", said)
        case UnknownDependency():
            found = finding("depends_on", "unknown", said)
        case WrongState(state=state):
            found = finding("status", state, said)
        case StaleToken() | DoneBefore():
            found = finding("token", "stale", said)
        case QueueFull():
            found = finding("queue", "full", said)
        case QueueInUse():
            found = finding("queue", "in_use", said)
        case TooMany(what=what):
            found = finding(what, "too_many", said)
        case _:
            return []
    position = getattr(refusal, "position", None)
    return [{"position": position, **found} if in_batch and position is not None else found]
