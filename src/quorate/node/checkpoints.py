"""Keeping the SQLite file durable, and its own log short, while the node works."""

from __future__ import annotations

import asyncio

from quorate.machine.router import Router
from quorate.node.applier import Applier

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_PAGES_MAX = 16 * 1024
"""When SQLite's own log holds more pages (of 4 KiB), applying pauses for a moment to let it start anew."""


async def checkpoint_regularly(router: Router, applier: Applier, stopped: asyncio.Event) -> None:
    """Move what SQLite's own log gathered into the file, off the event loop, until ``stopped``.

    Raises :class:`~quorate.errors.StorageFailed`.
    """
    while not stopped.is_set():
        try:
            async with asyncio.timeout(CHECKPOINT_SECONDS):
                await stopped.wait()
        except TimeoutError:
            await _checkpoint(router, applier)


async def _checkpoint(router: Router, applier: Applier) -> None:
    pages = await asyncio.to_thread(router.sync)
    if pages > CHECKPOINT_PAGES_MAX:
        # Under steady load no sync ends without something new behind it, and SQLite's log would grow for ever.
        # So a second one moves what came during the first, and the third, very short, finds the state at rest.
        await asyncio.to_thread(router.sync)
        with applier.paused():
            await asyncio.to_thread(router.sync)
