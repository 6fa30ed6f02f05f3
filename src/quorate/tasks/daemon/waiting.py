"""Waiting for what nobody tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL_SECONDS = 0.05


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds, as seen by looking now and then."""
    while not condition():  # noqa: ASYNC110 (see above)
        await asyncio.sleep(POLL_SECONDS)
