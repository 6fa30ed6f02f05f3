"""Ending in order when the user or the system asks for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal ended the work; everything was cleaned up."""


def run_interruptible(
    work: Coroutine[Any, Any, T], *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> T:
    """Run ``work`` to its end.

    A signal cancels it, so that its ``finally`` clauses clean up, and then raises :class:`Interrupted`. Further
    signals are ignored: cleaning up is bounded in time.
    """

    async def supervise() -> T:
        task = asyncio.ensure_future(work)
        asked = False

        def ask() -> None:
            nonlocal asked
            if not asked:
                asked = True
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, ask)
        try:
            return await task
        except asyncio.CancelledError:
            if asked:
                raise Interrupted from None
            raise

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(supervise())
