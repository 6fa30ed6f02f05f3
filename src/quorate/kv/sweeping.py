"""Keys whose time is over are deleted by an entry of the log, which the leader proposes: equal on every node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from quorate.errors import QuorateError
from quorate.kv.keyspace import Keyspace

log = logging.getLogger(__name__)

SWEEP_SECONDS = 0.05
"""How often is looked whether something is due, and so about how late a key may go."""
SWEEP = b"QUORATE.SWEEP"


async def sweep_for_ever(
    keyspace: Callable[[], Keyspace],
    leads: Callable[[], bool],
    now_us: Callable[[], int],
    propose: Callable[[list[bytes]], Awaitable[Any]],
) -> None:
    """Propose a sweep whenever this node leads and something is due; the next when the last has ended."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        while leads() and 0 < keyspace().next_deadline_us <= now_us():
            try:
                await propose([SWEEP])
            except QuorateError as error:
                log.debug("keys wait for their deletion: %s", error)
                break
