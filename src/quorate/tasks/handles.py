"""A task that was sent, at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from quorate.errors import QuorateError
from quorate.tasks.gateways import Gateway
from quorate.tasks.lifecycle import BY_LABEL, State
from quorate.tasks.records import TaskRecord

R = TypeVar("R")

WAIT_SECONDS = 20.0
"""So long one question for a result waits, before it is asked again."""


class TaskNotDone(QuorateError):
    """A task has no result: it is dead, was cancelled, or has not ended. ``task`` tells more."""

    def __init__(self, task: TaskRecord) -> None:
        why = f" ({task.reason})" if task.reason else ""
        said = f": {task.error}" if task.error else ""
        super().__init__(f"the task {task.task_id} is {task.status}{why}{said}")
        self.task = task


def returned(task: TaskRecord, decode: Callable[[bytes], R]) -> R:
    """What the function of a task has returned. Raises :class:`TaskNotDone` if there is no such thing."""
    if BY_LABEL[task.status] is not State.SUCCEEDED:
        raise TaskNotDone(task)
    return decode(bytes(task.result or b"null"))


class TaskHandle(Generic[R]):
    """A task by its id, and where to ask for it."""

    def __init__(self, task_id: str, gateway: Gateway, decode: Callable[[bytes], R]) -> None:
        self.task_id = task_id
        self._gateway = gateway
        self._decode = decode

    def __repr__(self) -> str:
        return f"TaskHandle({self.task_id!r})"

    async def status(self) -> TaskRecord:
        """The task as it is now."""
        return await self._gateway.wait(self.task_id, 0)

    async def result(self, *, timeout: float | None = None) -> R:
        """What the function returned, as soon as it has.

        Raises :class:`TaskNotDone` if it never will, :class:`TimeoutError` if that takes longer than ``timeout``
        seconds: the task goes on then.
        """
        clock = asyncio.get_running_loop().time
        ends = None if timeout is None else clock() + timeout
        while True:
            left = WAIT_SECONDS if ends is None else min(WAIT_SECONDS, ends - clock())
            task = await self._gateway.wait(self.task_id, max(left, 0))
            if BY_LABEL[task.status].is_ended:
                return returned(task, self._decode)
            if ends is not None and clock() >= ends:
                raise TimeoutError(f"the task {self.task_id} is {task.status}")

    async def cancel(self, *, force: bool = False) -> None:
        """End it before it is done; with ``force`` also if a worker has it."""
        await self._gateway.cancel(self.task_id, force=force)
