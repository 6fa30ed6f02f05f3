"""Clusters in one process whose nodes each have a daemon and its managers."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from quorate import Node
from quorate.tasks.daemon import (
    ClusterEvent,
    ClusterManager,
    ConsensusManager,
    ConsensusSettings,
    Daemon,
    Operation,
    RunningOperation,
)
from quorate.tasks.records import TaskRecord
from quorate.testing import TestCluster

E = TypeVar("E")

DETECTION_MS = 900
"""Above twice the election time-out of 300 ms, as it should be."""
SETTINGS = ConsensusSettings(partition_detection_ms=DETECTION_MS, recovery_retry_ms=50)
Handlers = dict[str, Callable[[RunningOperation], Any]]


class Member:
    """One node with all that belongs to it."""

    def __init__(self, node: Node, daemon: Daemon, cluster: ClusterManager, consensus: ConsensusManager) -> None:
        self.node = node
        self.daemon = daemon
        self.cluster = cluster
        self.consensus = consensus
        self.seen: list[ClusterEvent] = []
        self._follower = consensus.follow()
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for event in self._follower:
            self.seen.append(event)

    def events(self, kind: type[E]) -> list[E]:
        return [event for event in self.seen if isinstance(event, kind)]

    async def close(self) -> None:
        await self.consensus.shutdown()
        self._following.cancel()
        await asyncio.wait([self._following])


class Cluster:
    """``async with Cluster(3, handlers) as cluster``: nodes, daemons and managers, all running."""

    __test__ = False

    def __init__(
        self,
        size: int = 3,
        handlers: Callable[[int], Handlers] | None = None,
        *,
        settings: dict[str, int] | None = None,
        daemon_options: dict[str, Any] | None = None,
        handler_options: dict[str, Any] | None = None,
        node_settings: dict[str, Any] | None = None,
        **test_cluster: Any,
    ) -> None:
        self.net = TestCluster(size, tasks=True, settings=node_settings, **test_cluster)
        self.done: Counter[str] = Counter()
        """Runs of the default handler, by operation."""
        self.by: dict[str, int] = {}
        """The node that ran an operation last."""
        self._handlers = handlers or self._echo
        self._settings = SETTINGS.but(**(settings or {}))
        self._daemon_options = {"lease": "1s", "drain_seconds": 5.0, **(daemon_options or {})}
        self._handler_options = handler_options or {}
        self.members: dict[int, Member] = {}

    def _echo(self, node_id: int) -> Handlers:
        async def echo(operation: RunningOperation) -> Any:
            self.done[operation.id] += 1
            self.by[operation.id] = node_id
            return {"node": node_id, "payload": operation.payload}

        return {"echo": echo}

    async def __aenter__(self) -> Self:
        await self.net.__aenter__()
        try:
            for node in self.net.nodes:
                await self.equip(node)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(member.close() for member in self.members.values()))
        await self.net.__aexit__(kind, error, trace)

    async def _close(self) -> None:
        await asyncio.gather(*(member.close() for member in self.members.values()))
        await self.net.__aexit__(None, None, None)

    async def equip(self, node: Node, **daemon_options: Any) -> Member:
        """Give a node its daemon and managers."""
        node_id = node.node_id
        daemon = Daemon(daemon_id=f"daemon-{node_id}", node_id=node_id, **{**self._daemon_options, **daemon_options})
        for name, handler in self._handlers(node_id).items():
            daemon.handle(name, handler, **self._handler_options)
        manager = ClusterManager(node_id=node_id, health_check_interval_ms=50)
        consensus = ConsensusManager(daemon, node, manager, settings=self._settings)
        await daemon.start()
        await manager.initialize(node)
        await consensus.initialize()
        self.members[node_id] = member = Member(node, daemon, manager, consensus)
        return member

    async def kill(self, node_id: int) -> None:
        """A node and its daemon are gone, as with ``kill -9``."""
        member = self.members.pop(node_id)
        await asyncio.gather(self.net.kill(node_id), abandon(member))

    async def restart(self, node_id: int) -> Member:
        """Bring a node back that was killed."""
        return await self.equip(await self.net.start(node_id))

    async def leader(self) -> Member:
        return self.members[(await self.net.wait_for_leader()).node_id]

    async def follower(self) -> Member:
        leader = (await self.net.wait_for_leader()).node_id
        return next(member for node_id, member in self.members.items() if node_id != leader)

    async def until(self, condition: Callable[[], object], timeout: float = 15.0, what: str = "") -> None:
        await self.net.wait_until(condition, timeout, what)

    async def all_enlisted(self) -> None:
        """Every daemon is known to the cluster, and the cluster to every daemon."""
        for member in self.members.values():

            async def enlisted(member: Member = member) -> bool:
                workers = await member.node.tasks.workers(consistency="eventually")
                known = {worker.worker_id for worker in workers}
                return {f"daemon-{node_id}" for node_id in self.members} <= known

            await self.net.wait_until(enlisted, what="all daemons enlisted")

    async def result(self, operation_id: str, by: Member | None = None, timeout: float = 20.0) -> TaskRecord:
        member = by or next(iter(self.members.values()))
        return await member.consensus.result(operation_id, timeout=timeout)


async def abandon(member: Member) -> None:
    """End what belongs to a node that is gone, without a word to anybody."""
    for task in (*member.daemon._tasks, *member.consensus._tasks, *member.cluster._tasks, member._following):
        task.cancel()
    await asyncio.gather(
        *member.daemon._tasks, *member.consensus._tasks, *member.cluster._tasks, member._following,
        return_exceptions=True,
    )  # fmt: skip


_ids = itertools.count(1)


def operation(operation_type: str = "echo", payload: Any = None, **more: Any) -> Operation:
    """One with an id of its own."""
    more.setdefault("id", f"operation-{next(_ids)}")
    return Operation(type=operation_type, payload=payload, **more)
