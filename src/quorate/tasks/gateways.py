"""Where a program's tasks go: to the node in its process, or to a client of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from quorate.errors import ConfigError
from quorate.tasks.records import Submitted, TaskRecord
from quorate.tasks.submission import TaskRequest


class Gateway(Protocol):
    """Takes tasks, and says what has become of them. A broker is one, and a client."""

    async def submit(self, request: TaskRequest) -> Submitted:
        """Add a task."""
        ...

    async def wait(self, task_id: str, seconds: float) -> TaskRecord:
        """The task, as soon as it has ended, or when time is over."""
        ...

    async def cancel(self, task_id: str, *, force: bool = False) -> None:
        """End a task before it is done."""
        ...


class Gateways:
    """Those that are open in this process, of which one is meant."""

    def __init__(self) -> None:
        self._open: dict[Gateway, str] = {}
        self._chosen: ContextVar[Gateway | None] = ContextVar("quorate_task_gateway", default=None)

    def add(self, gateway: Gateway, name: str) -> None:
        """It is open."""
        self._open[gateway] = name

    def remove(self, gateway: Gateway) -> None:
        """It is open no more. Idempotent."""
        self._open.pop(gateway, None)

    @contextmanager
    def chosen(self, gateway: Gateway) -> Iterator[None]:
        """Inside the block, and in tasks of asyncio that are started there, it is the one that is meant."""
        token = self._chosen.set(gateway)
        try:
            yield
        finally:
            self._chosen.reset(token)

    def get(self) -> Gateway:
        """The one that is meant. Raises :class:`~quorate.errors.ConfigError` if there is none, or several are."""
        chosen = self._chosen.get()
        if chosen is not None:
            return chosen
        if len(self._open) == 1:
            return next(iter(self._open))
        if not self._open:
            raise ConfigError(
                "no cluster is known in this program: enter a Node(…, app=app), or a TasksClient(…, app=app)"
            )
        names = ", ".join(self._open.values())
        raise ConfigError(f"several clusters or nodes are known in this program, choose by using(): {names}")
