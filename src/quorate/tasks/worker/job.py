"""What a handler can ask, and say, of the job that it does."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from quorate.errors import ConfigError
from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.records import LeasedTask

EFFECTS_MAX = 1_000
"""Of one task. More would hold up everybody else: they are carried out in one step."""


class Reject(Exception):
    """Raised by a handler: the task will never succeed, and should not be tried again."""


class RetryLater(Exception):
    """Raised by a handler: try again after ``delay``, or when the task's back-off says. It counts as an attempt."""

    def __init__(self, delay: Duration | None = None, message: str = "") -> None:
        super().__init__(message)
        self.delay_ms = -1 if delay is None else microseconds(delay) // 1000


class Effects(msgspec.Struct):
    """Changes that are carried out together with the task's completion, once, or not at all.

    Nothing happens when they are named: they are sent when the handler has returned, and dropped if it fails.
    """

    keys: list[list[str]] = []
    """Commands of the key-value store, as ``["INCRBY", "n", "1"]``."""
    models: list[dict[str, Any]] = []
    """Operations as ``POST /api/_transaction`` takes them."""

    def __bool__(self) -> bool:
        return bool(self.keys or self.models)

    def key(self, command: str, *arguments: str | int | float) -> None:
        """A command of the key-value store: ``key("INCRBY", "n", 1)``."""
        self._check_room()
        self.keys.append([command, *map(str, arguments)])

    def create(self, target: object, body: object = None) -> None:
        """A new object: ``create("sales", {...})``, ``create(Sale, {...})`` or ``create(Sale(...))``."""
        if body is None and isinstance(target, str | type):
            raise TypeError("a new object needs a body")
        self._add("create", target, body=target if body is None else body)

    def update(self, target: object, id: object, body: object, *, version: int | None = None) -> None:
        """Change fields of an object, by a JSON merge patch."""
        self._add("update", target, id=id, body=body, version=version)

    def delete(self, target: object, id: object, *, version: int | None = None) -> None:
        """Remove an object."""
        self._add("delete", target, id=id, version=version)

    def call(
        self, target: object, id: object, event: str, arguments: object = None, *, version: int | None = None
    ) -> None:
        """An event of an object: ``call(Product, product.id, "stock-changed", {"delta": -1})``."""
        self._add("call", target, id=id, event=event, arguments=arguments or {}, version=version)

    def _add(self, operation: str, target: object, **members: object) -> None:
        self._check_room()
        given = {name: _plain(value) for name, value in members.items() if value is not None}
        self.models.append({"op": operation, "resource": _resource(target), **given})

    def _check_room(self) -> None:
        if len(self.keys) + len(self.models) >= EFFECTS_MAX:
            raise Reject(f"a task has at most {EFFECTS_MAX} effects")


def _resource(target: object) -> str:
    """The name of a resource; that of a model, or of an object of one."""
    if isinstance(target, str):
        return target
    schema = getattr(target, "__model_schema__", None)
    if schema is None:
        raise TypeError(f"should be a resource's name, a model or an object of one, not {type(target).__name__}")
    return cast("str", schema.resource)


def _plain(value: object) -> object:
    """As JSON has it. Raises :class:`TypeError` here, where the handler can see it."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude_unset=True) if callable(dump) else msgspec.to_builtins(value)


@dataclass(slots=True, eq=False)
class Job:
    """One attempt at a task."""

    task_id: str
    token: int
    """Of this attempt's lease: whoever does something for it elsewhere can refuse lower ones."""
    attempt: int
    max_retries: int
    queue: str
    type: str
    submitted_at: datetime
    schema_version: int
    exactly_once: bool
    timeout: float | None
    """Seconds. Middleware may set it before the handler is called."""
    deadline: datetime | None = None
    """When the time for this attempt is over."""
    collected: Effects = field(default_factory=Effects)

    @classmethod
    def of(cls, task: LeasedTask) -> Job:
        """As the worker got it."""
        return cls(
            task.task_id,
            task.token,
            task.attempt,
            task.max_retries,
            task.queue,
            task.type,
            task.submitted_at,
            task.schema_version,
            task.exactly_once,
            task.timeout_ms / 1000 if task.timeout_ms else None,
        )

    @property
    def effects(self) -> Effects:
        """What comes about together with the task's end. Raises :class:`ConfigError` unless it is ``exactly_once``."""
        if not self.exactly_once:
            raise ConfigError(f"a task of type {self.type} has no effects unless it is declared with exactly_once=True")
        return self.collected

    def begins_at(self, now: datetime) -> None:
        """The handler is called."""
        if self.timeout is not None:
            self.deadline = now + timedelta(seconds=self.timeout)


running_job: ContextVar[Job] = ContextVar("quorate_job")


def current() -> Job:
    """The job that calls. Raises :class:`~quorate.errors.ConfigError` outside of one."""
    job = running_job.get(None)
    if job is None:
        raise ConfigError("no task is being done here")
    return job
