"""The store within one node: its keys, who hears of their changes, and what is done for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.kv.machine import KvMachine
from quorate.kv.store.kv import Kv
from quorate.kv.store.listening import Listening
from quorate.kv.sweeping import sweep_for_ever
from quorate.kv.tasks import Tasks
from quorate.node.node import Node


class Store:
    """What a node runs when it has keys; :attr:`kv` is for its program."""

    def __init__(self, node: Node, machine: KvMachine, wall_clock_us: Callable[[], int]) -> None:
        self._node = node
        self._machine = machine
        self._wall_clock_us = wall_clock_us
        self._tasks = Tasks()
        self._listening = Listening(self._machine)
        self._sweeping: asyncio.Task[None] | None = None
        self.kv = Kv(node, self._machine, self._listening, self._tasks)

    def begin(self) -> None:
        """The node runs: hear of changes, and have keys deleted whose time is over while it leads."""
        self._listening.begin()
        self._sweeping = asyncio.create_task(
            sweep_for_ever(
                lambda: self._machine.keyspace, lambda: self._node.is_leader, self._wall_clock_us, self.kv.apply
            )
        )

    async def end(self) -> None:
        """The node has stopped; returns when all that was under way has ended."""
        self._listening.end()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._tasks.ended()
