"""The codes of refusals, which tell them apart over HTTP whatever their texts say: one table for both ways.

A refusal is answered as a problem (RFC 9457) whose extension member ``code`` stands for its class, with the values that
the exception consists of: ``rest/refusals`` writes them, ``client/problems`` makes the exception of them again. A code
means the same for ever: it is neither renamed nor given to something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from quorate.tasks.errors import (
    DoneBefore,
    IdTaken,
    InvalidTask,
    NoSuchQueue,
    NoSuchSchedule,
    NoSuchTask,
    NoSuchWorker,
    NotUnique,
    QueueFull,
    QueueInUse,
    StaleToken,
    TaskRefusal,
    TooMany,
    UnknownDependency,
    WrongState,
)

FOUND = ("field", "reason", "message", "position")
"""These values are not beside the code but in the one entry of ``errors``, where every problem has them."""


class Coded(NamedTuple):
    """One kind of refusal."""

    code: str
    kind: type[TaskRefusal]
    status: int
    members: Mapping[str, Any]
    """What its constructor takes, by name, and as what."""
    when: str
    """For people."""

    def values_of(self, refusal: TaskRefusal) -> dict[str, Any]:
        """What is beside the code in a problem."""
        return {name: getattr(refusal, name) for name in self.members if name not in FOUND}

    def refusal_of(self, given: Mapping[str, Any]) -> TaskRefusal:
        """The exception of such values. Raises :class:`msgspec.ValidationError` if they are not there, or others."""
        values = {name: msgspec.convert(given.get(name), kind) for name, kind in self.members.items()}
        return self.kind(**{name: value for name, value in values.items() if value is not None})


_POSITION = {"position": int | None}
_LEASE = {"task_id": str, "token": int}

TABLE = (
    Coded(
        "invalid-task",
        InvalidTask,
        422,
        {"field": str, "reason": str, "message": str, **_POSITION},
        "the request is wrong by itself: `errors` says where (413 if that is its size)",
    ),
    Coded("task-not-found", NoSuchTask, 404, {"task_id": str}, "there is no such task, or not any more"),
    Coded("queue-not-found", NoSuchQueue, 404, {"queue": str}, "the queue has neither tasks nor settings"),
    Coded("worker-not-found", NoSuchWorker, 404, {"worker": str}, "the worker has to enlist (again)"),
    Coded("schedule-not-found", NoSuchSchedule, 404, {"name": str}, "there is no such schedule"),
    Coded("id-taken", IdTaken, 409, {"task_id": str, **_POSITION}, "another task has this id"),
    Coded(
        "not-unique",
        NotUnique,
        409,
        {"unique_key": str, "task_id": str, **_POSITION},
        "this task has the unique key, and has not ended",
    ),
    Coded(
        "unknown-dependency",
        UnknownDependency,
        422,
        {"task_id": str, **_POSITION},
        "there is no such task to depend on",
    ),
    Coded(
        "wrong-state",
        WrongState,
        409,
        {"task_id": str, "state": str, "event": str},
        "the task is in this state, in which that cannot be done",
    ),
    Coded("stale-token", StaleToken, 409, _LEASE, "the lease is over, or another's"),
    Coded("done-before", DoneBefore, 409, _LEASE, "an earlier request has completed this lease"),
    Coded(
        "queue-in-use",
        QueueInUse,
        409,
        {"queue": str, "unfinished": int},
        "so many tasks in the queue have not ended: it cannot be removed",
    ),
    Coded("queue-full", QueueFull, 429, {"queue": str, "pending_max": int}, "so many tasks wait in the queue"),
    Coded("too-many", TooMany, 429, {"what": str, "most": int}, "a bound of the cluster is reached"),
)

BY_CODE: Mapping[str, Coded] = MappingProxyType({each.code: each for each in TABLE})
BY_KIND: Mapping[type[TaskRefusal], Coded] = MappingProxyType({each.kind: each for each in TABLE})
