"""Refusals, which come as RFC 9457 problems, as the errors that they were: the inverse of ``rest/refusals``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import msgspec

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


class _Found(msgspec.Struct):
    """A single finding."""

    field: str = ""
    reason: str = ""
    message: str = ""
    position: int | None = None


class _Problem(msgspec.Struct):
    """What is read of a problem."""

    detail: str = ""
    errors: list[_Found] = []


_decode = msgspec.json.Decoder(_Problem).decode

_Made = Callable[[re.Match[str], int], TaskRefusal]

_BY_TEXT: list[tuple[re.Pattern[str], _Made]] = [
    (re.compile(pattern), made)
    for pattern, made in (
        (r"there is no task (\S+) to depend on", lambda found, at: UnknownDependency(found[1], at)),
        (r"there is no task (\S+)", lambda found, at: NoSuchTask(found[1])),
        (r"there is no worker (\S+): .*", lambda found, at: NoSuchWorker(found[1])),
        (r"there is no schedule (\S+)", lambda found, at: NoSuchSchedule(found[1])),
        (r"the id (\S+) belongs to another task", lambda found, at: IdTaken(found[1], at)),
        (
            r"the task (\S+) has the unique key ('.*'|\".*\") and has not ended",
            lambda found, at: NotUnique(ast.literal_eval(found[2]), found[1], at),
        ),
        (
            r"the task (\S+) is (\w+): (\w+) is not possible",
            lambda found, at: WrongState(found[1], found[2], found[3]),
        ),
        (r"the lease ([0-9]+) on the task (\S+) is over", lambda found, at: StaleToken(found[2], int(found[1]))),
        (
            r"the task (\S+) was completed before under the lease ([0-9]+)",
            lambda found, at: DoneBefore(found[1], int(found[2])),
        ),
        (r"the queue (\S+) is full: ([0-9]+) tasks wait in it", lambda found, at: QueueFull(found[1], int(found[2]))),
        (r"there are ([0-9]+) (.+) already, the most there can be", lambda found, at: TooMany(found[2], int(found[1]))),
    )
]
"""The texts of :mod:`quorate.tasks.errors`: what is in them is all that a problem says."""


def refusal_of(status: int, body: bytes) -> TaskRefusal:
    """The error that an answer stands for: the plain :class:`TaskRefusal` if it is none of the known ones."""
    try:
        problem = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return TaskRefusal(f"the cluster answered with the status {status}")
    first = problem.errors[0] if problem.errors else None
    position = first.position if first is not None else None
    for pattern, made in _BY_TEXT:
        match = pattern.fullmatch(problem.detail)
        if match is not None:
            return made(match, position or 0)
    if first is not None and status in (400, 413, 422):
        return InvalidTask(first.field, first.reason, first.message, position)
    return TaskRefusal(problem.detail or f"the cluster answered with the status {status}")


def detail_of(body: bytes) -> str:
    """What a problem says, for people."""
    try:
        return _decode(body).detail
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
