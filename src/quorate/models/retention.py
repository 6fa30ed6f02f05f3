"""History whose retention is over is deleted by an entry of the log, which the leader proposes: equal on every node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import apsw

from quorate.errors import QuorateError
from quorate.models.commands import Retain, encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.node.ports import Engine

log = logging.getLogger(__name__)

RETAIN_SECONDS = 1.0
"""How often is looked whether something is over."""
_COMMAND = encode_command(Retain())


def is_over(machine: ModelsMachine, now_us: int) -> bool:
    """Whether there is history that is to be deleted at ``now_us`` (microseconds since 1970)."""
    return any(history.is_over(now_us) for history in machine.histories.values())


async def retain_for_ever(
    machine: ModelsMachine,
    engine: Engine,
    leads: Callable[[], bool],
    now_us: Callable[[], int],
    seconds: float = RETAIN_SECONDS,
) -> None:
    """Propose a step whenever this node leads and something is over; the next when the last has ended.

    ``now_us`` is the clock by which a leader stamps the log: what is over by it is over when the step is applied.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            while leads():
                await engine.read_barrier(consistency="eventually")
                if not is_over(machine, now_us()):
                    break
                if not (await engine.propose(_COMMAND, machine=MACHINE)).result:
                    break
        except (QuorateError, apsw.Error) as error:
            log.debug("history waits for its deletion: %s", error)
