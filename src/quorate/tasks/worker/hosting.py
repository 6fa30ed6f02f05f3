"""Workers inside of programs: of a node, or of a client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypedDict, Unpack

from quorate.tasks.declaration import Registry
from quorate.tasks.durations import Duration
from quorate.tasks.worker.middleware import Middleware
from quorate.tasks.worker.source import Source
from quorate.tasks.worker.worker import Worker

log = logging.getLogger(__name__)


class WorkerOptions(TypedDict, total=False):
    """What a :class:`~quorate.tasks.worker.Worker` takes beside its tasks and where they come from."""

    concurrency: int
    """Tasks done at a time: 4 by default."""
    queues: Collection[str]
    """Only tasks in these."""
    capabilities: Collection[str]
    """What tasks may want that not all workers have."""
    middleware: Iterable[Middleware]
    name: str
    """By which the cluster knows it; by default one of its own."""
    lease: Duration
    """So long after the program's death its tasks go to others: 30 s by default."""
    drain_seconds: float
    """What was begun gets so long when the block ends: 60 s by default."""


@asynccontextmanager
async def hosted(
    registry: Registry,
    source: Source,
    chosen: Callable[[], AbstractContextManager[None]],
    **options: Unpack[WorkerOptions],
) -> AsyncIterator[Worker]:
    """A worker that does tasks as long as the block runs, and ends behind it what it has begun.

    Handlers run inside of ``chosen()``. Raises :class:`~quorate.errors.ConfigError` for what makes no sense; and at the
    end of the block, what was logged before, :class:`~quorate.tasks.errors.TaskRefusal` if the cluster did not want it.
    """
    worker = Worker(registry, source, **options)
    with chosen():
        running = asyncio.create_task(worker.run())
    running.add_done_callback(lambda ended: _tell(worker, ended))
    try:
        yield worker
    finally:
        worker.stop()
        await running


def _tell(worker: Worker, ended: asyncio.Task[bool]) -> None:
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        log.error("worker %s does nothing any more: %s", worker.name, error)
