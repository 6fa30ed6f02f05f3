"""A worker beside a fake cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from quorate.tasks.declaration import Registry
from quorate.tasks.worker import Worker

from .fake import FakeSource


@asynccontextmanager
async def working(registry: Registry, source: FakeSource, **options: Any) -> AsyncIterator[Worker]:
    """A worker that runs as long as the block, and is stopped at once behind it."""
    worker = Worker(registry, source, **{"name": "w", "grace_seconds": 0.2, **options})
    running = asyncio.create_task(worker.run())
    try:
        await asyncio.wait([running, asyncio.create_task(source.until(lambda: bool(source.claims)))],
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        yield worker
    finally:
        worker.stop(at_once=True)
        async with asyncio.timeout(10):
            await running
