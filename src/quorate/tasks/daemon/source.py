"""What a daemon's worker is handed: as a broker does it, but as things stand at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from quorate.node.events import NodeEvent
from quorate.tasks.commands import Claim
from quorate.tasks.daemon.placement import LEADER
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.effects import PossibleEffects
from quorate.tasks.records import LeasedTask
from quorate.tasks.worker.source import BrokerSource


class DaemonSource:
    """Claims also what only the leader does, while its node leads; and nothing while it is paused.

    Who waits for tasks with what he offered before is called back when that changes.
    """

    def __init__(self, node: TaskNode, effects: PossibleEffects | None) -> None:
        self._node = node
        self._broker = broker = BrokerSource(node.tasks, effects)
        self.enlist = broker.enlist
        self.dismiss = broker.dismiss
        self.heartbeat = broker.heartbeat
        self.report = broker.report
        self.complete_with = broker.complete_with
        self._changed = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()

    def pause(self) -> None:
        """Claim nothing more."""
        self._resumed.clear()
        self._changed.set()

    def resume(self) -> None:
        """Go on."""
        self._resumed.set()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is claimed."""
        return not self._resumed.is_set()

    async def watch(self, events: AsyncIterator[NodeEvent]) -> None:
        """Until the node stops."""
        leads = self._node.is_leader
        async for _ in events:
            if self._node.is_leader is not leads:
                leads = self._node.is_leader
                self._changed.set()

    async def claim(self, claim: Claim, seconds: float) -> list[LeasedTask]:
        """As :meth:`quorate.tasks.worker.source.Source.claim`."""
        if self.is_paused:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._resumed.wait()
            return []
        self._changed.clear()
        if self._node.is_leader:
            claim = msgspec.structs.replace(claim, capabilities=(*claim.capabilities, LEADER))
        claiming = asyncio.create_task(self._broker.claim(claim, seconds))
        changing = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait([claiming, changing], return_when=asyncio.FIRST_COMPLETED)
            return claiming.result() if claiming.done() else []
        finally:
            claiming.cancel()  # the broker gives back what comes too late
            changing.cancel()
            await asyncio.wait([claiming, changing])
