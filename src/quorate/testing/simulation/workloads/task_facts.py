"""What the reference of tasks holds and tells: tasks, queues, changes, how commands were carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from quorate.tasks.commands import Command, Completed, Failed, Released, Spec, encode_command
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import PENDING_MAX

Lane = tuple[str, str, tuple[str, ...]]
"""What a worker has to offer: a queue, a type, capabilities."""
Ended = Completed | Failed | Released
"""How a lease ended."""
S = State
OPEN = (S.SCHEDULED, S.WAITING, S.READY, S.FAILED)
FAILURES = (S.DEAD, S.CANCELLED)
ENDED = (S.SUCCEEDED, *FAILURES)
BY_REPORT = ("failed", "rejected")
"""Why tasks are dead that their own workers gave up."""
MILLISECOND_US = 1000


def named(command: Command, name: str) -> bytes:
    """A command that says whose operation it is, behind all that a machine reads of it."""
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(encode_command(command)), name])


def name_in(body: bytes, command: Command) -> str | None:
    """That name; ``None`` of a command that is no operation's."""
    behind = msgspec.msgpack.decode(body)[1 + len(command.__struct_fields__) :]
    return behind[0] if behind else None


class Refused(Exception):
    """A command changes nothing; ``args`` are the name of the refusal."""


@dataclass(slots=True)
class Task:
    """A task as it is now; ``number`` is its place among all that ever were."""

    number: int
    id: str
    spec: Spec
    payload: bytes
    state: State
    next_us: int | None
    """When time does something to it, whatever that is in its state."""
    run_at_us: int | None
    expires_us: int | None
    unique_key: str | None
    blockers: int
    attempt: int = 0
    token: int | None = None
    worker: str | None = None
    started_us: int = 0
    reason: str | None = None
    error: str | None = None
    result: bytes | None = None

    @property
    def lane(self) -> Lane:
        """What a worker has to offer for it."""
        return lane_of(self.spec)

    @property
    def has_attempts(self) -> bool:
        """Whether it may be tried once more."""
        return self.attempt <= self.spec.max_retries


def lane_of(spec: Spec) -> Lane:
    """What a worker has to offer for tasks of this kind."""
    return spec.queue, spec.type, spec.capabilities


@dataclass(slots=True)
class Queue:
    """What was said of a queue."""

    paused: bool = False
    pending_max: int = PENDING_MAX


class Told(NamedTuple):
    """A change as watchers are told of it."""

    number: int
    time_us: int
    id: str
    queue: str
    type: str
    state: State
    attempt: int
    worker: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Carried:
    """How a command was carried out."""

    time_us: int
    command: Command
    refusal: str
    """The name of the refusal; empty if there is none."""
    result: Any
    change: int
    """The number of the last change, behind it."""
