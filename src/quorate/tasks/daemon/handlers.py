"""What a daemon knows of a type of operations: who carries them out, and in which versions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quorate.errors import ConfigError
from quorate.tasks.daemon.operations import version_capability
from quorate.tasks.worker.job import Effects, Job, Reject, current


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOperation:
    """An operation as its handler gets it: one attempt at it."""

    id: str
    type: str
    payload: Any
    daemon_id: str
    """Who asked for it."""
    timestamp: datetime
    """When."""
    schema_version: int
    """Of the payload."""
    attempt: int
    job: Job | None = None
    """What a worker knows of it; ``None`` in :meth:`Daemon.execute`."""

    @property
    def effects(self) -> Effects:
        """What comes about together with the end of the operation, once. Raises :class:`ConfigError` unless it is
        ``exactly_once``.
        """
        if self.job is None:
            raise ConfigError("what is executed here and now has no effects of this kind")
        return self.job.effects


Handler = Callable[[RunningOperation], Any]
"""Returns what JSON has, or something to await that does. One that is not async runs in a thread."""


@dataclass(frozen=True, slots=True)
class OperationType:
    """A type with its handler. Raises :class:`ConfigError` for versions that make no sense."""

    name: str
    handler: Handler
    oldest_version: int
    newest_version: int

    def __post_init__(self) -> None:
        if not 1 <= self.oldest_version <= self.newest_version:
            raise ConfigError(f"{self.name}: versions go from 1 on, the oldest up to the newest")

    @property
    def capabilities(self) -> list[str]:
        """What operations of versions that not every daemon knows ask for."""
        versions = range(max(self.oldest_version, 2), self.newest_version + 1)
        return [version_capability(self.name, version) for version in versions]

    async def run(self, daemon_id: str, timestamp: datetime, payload: Any = None) -> Any:
        """One attempt, as a worker begins it: the arguments are the task's payload."""
        job = current()
        oldest, newest = self.oldest_version, self.newest_version
        version = job.schema_version or 1
        if not oldest <= version <= newest:
            raise Reject(f"version {version} of {self.name} is not known here: {oldest} to {newest} are")
        return await self._called(
            RunningOperation(
                id=job.task_id,
                type=self.name,
                payload=payload,
                daemon_id=daemon_id,
                timestamp=timestamp,
                schema_version=version,
                attempt=job.attempt,
                job=job,
            )
        )

    async def execute(self, operation_id: str, daemon_id: str, payload: Any) -> Any:
        """Here and now, past the log."""
        return await self._called(
            RunningOperation(
                id=operation_id,
                type=self.name,
                payload=payload,
                daemon_id=daemon_id,
                timestamp=datetime.now().astimezone(),
                schema_version=self.newest_version,
                attempt=1,
            )
        )

    async def _called(self, operation: RunningOperation) -> Any:
        if inspect.iscoroutinefunction(self.handler):
            return await self.handler(operation)
        answer = await asyncio.to_thread(self.handler, operation)
        return await answer if inspect.isawaitable(answer) else answer
