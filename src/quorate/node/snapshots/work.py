"""Work beside the event loop: in threads that are never left behind, and in tasks whose failures are heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import ParamSpec, TypeVar

from quorate.storage.snapshots import SnapshotDirectory

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(…)`` in a thread. Even when cancelled it returns only when the function has: what the thread uses
    must not be taken from under it.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue
        if not running.cancelled():
            running.exception()  # nobody is left to whom it matters
        raise


class DirectoryAccess:
    """One call at a time to a :class:`SnapshotDirectory`, each in a thread."""

    def __init__(self, directory: SnapshotDirectory) -> None:
        self.directory = directory
        self._lock = asyncio.Lock()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(…)``, a method of the directory or of what it has given out."""
        async with self._lock:
            return await in_thread(function, *args, **kwargs)


class Tasks:
    """Tasks that run until they end or :meth:`stop`; an unforeseen failure of one stops the node."""

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        """``fail`` stops the node."""
        self._fail = fail
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run ``work``."""
        task = asyncio.get_running_loop().create_task(self._run(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled at once never comes to it
        if self._stopped:
            task.cancel()
        return task

    async def _run(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception as error:
            self._fail(error)

    async def stop(self) -> None:
        """Cancel all of them, and return when they have ended."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
