"""``Daemon``: carries operations out on a node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from quorate.errors import ConfigError
from quorate.tasks.daemon.handlers import Handler, OperationType
from quorate.tasks.daemon.operations import DEFAULT_QUEUE, RESERVED
from quorate.tasks.daemon.placement import node_capability, placed_capability
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.source import DaemonSource
from quorate.tasks.declaration import HealthCheck, Registry, TaskOptions, TaskType
from quorate.tasks.durations import Duration
from quorate.tasks.effects import PossibleEffects
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import RETRIES
from quorate.tasks.submission import check_capabilities, check_name
from quorate.tasks.worker.worker import Worker

log = logging.getLogger(__name__)

CONCURRENCY = 8
DRAIN_SECONDS = 30.0
LEASE_SECONDS = 10.0
"""So long after a daemon has died at most, what it was doing is begun by another."""
DRAIN = f"{RESERVED}drain"
"""The type of operations that ask the daemon of a node to make ready for its removal."""
DRAINED_SECONDS_MAX = 60.0
"""A daemon that was drained for a removal, and is still there after this time, goes on."""


class DaemonState(StrEnum):
    """What a daemon is doing."""

    STOPPED = "stopped"
    STARTED = "started"
    """It has no cluster yet."""
    RUNNING = "running"
    DRAINING = "draining"
    """It ends what it has, and begins nothing."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonHealth:
    """What a daemon has to say of itself."""

    daemon_id: str
    name: str
    node_id: int
    cluster_id: str
    state: DaemonState
    uptime_seconds: float
    active_operations: int
    queued_operations: int
    """Those that wait in the queue of the cluster's daemons, as far as this node knows."""
    completed_operations: int
    """Attempts of this daemon that ended well, since it was started; those that did not are the next."""
    failed_operations: int
    complaints: str
    """What handlers say is wrong; empty if nothing is."""

    @property
    def success_rate(self) -> float:
        """The share of attempts that ended well; 1 before there were any."""
        ended = self.completed_operations + self.failed_operations
        return self.completed_operations / ended if ended else 1.0


class Daemon:
    """Made with its handlers, and given a node by its consensus manager.

    All daemons of a cluster that share a ``queue`` share the work in it. ``daemon_id`` is unique among them.
    """

    def __init__(
        self,
        *,
        daemon_id: str,
        node_id: int,
        name: str = "",
        cluster_id: str = "quorate",
        capabilities: Collection[str] = (),
        concurrency: int = CONCURRENCY,
        queue: str = DEFAULT_QUEUE,
        lease: Duration = LEASE_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        effects: PossibleEffects | None = None,
    ) -> None:
        """``effects`` says what handlers with ``exactly_once`` can have done to keys and models.

        Raises :class:`ConfigError`.
        """
        try:
            self.daemon_id = check_name(daemon_id, "daemon_id")
            self.queue = check_name(queue, "queue")
            self._capabilities = check_capabilities(capabilities)
        except InvalidTask as error:
            raise ConfigError(str(error)) from None
        self.name = name or daemon_id
        self.node_id = node_id
        self.cluster_id = cluster_id
        self._concurrency = concurrency
        self._lease = lease
        self._drain_seconds = drain_seconds
        self._effects = effects
        self._registry = Registry()
        self._operation_types: dict[str, OperationType] = {}
        self._state = DaemonState.STOPPED
        self._started_at = 0.0
        self._executing = 0
        self._source: DaemonSource | None = None
        self._worker: Worker | None = None
        self._broker_pending: Callable[[str], int] = lambda queue: 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._resuming: asyncio.TimerHandle | None = None
        self._registry.task(name=DRAIN, queue=queue, retries=0)(self._drain_for_removal)

    # -- handlers ----------------------------------------------------------------------------------------

    def handle(
        self,
        operation_type: str,
        handler: Handler,
        *,
        schema_version: int = 1,
        oldest_version: int = 1,
        health: HealthCheck | None = None,
        retries: int = RETRIES,
        timeout: Duration | None = None,
        exactly_once: bool = False,
    ) -> None:
        """Have ``handler`` carry out operations of a type, of schema versions ``oldest_version`` to ``schema_version``.

        The rest are defaults of operations that are handed over at this node. While ``health`` says what is wrong, no
        operations of this type are begun here. Raises :class:`ConfigError`.
        """
        if self._worker is not None:
            raise ConfigError("handlers are declared before the daemon has a node")
        declared = OperationType(operation_type, handler, oldest_version, schema_version)
        options = TaskOptions(name=operation_type, queue=self.queue, retries=retries, exactly_once=exactly_once)
        if timeout is not None:
            options["timeout"] = timeout
        if health is not None:
            options["health"] = health
        self._registry.task(**options)(declared.run)
        self._operation_types[operation_type] = declared

    @property
    def kinds(self) -> dict[str, TaskType[..., Any, Any]]:
        """What is declared of each type."""
        return self._registry.types

    async def execute(self, operation_type: str, payload: Any = None, *, operation_id: str = "local") -> Any:
        """Carry an operation out here and now, past the log: nobody else knows of it, and nothing is kept of it.

        Raises what the handler raises, and :class:`ConfigError` if there is none or the daemon is not started.
        """
        declared = self._operation_types.get(operation_type)
        if declared is None:
            raise ConfigError(f"daemon {self.daemon_id} has no handler for {operation_type}")
        if self._state not in (DaemonState.STARTED, DaemonState.RUNNING):
            raise ConfigError(f"daemon {self.daemon_id} is {self._state}")
        self._executing += 1
        try:
            return await declared.execute(operation_id, self.daemon_id, payload)
        finally:
            self._executing -= 1

    # -- life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Be there. Operations are begun once a consensus manager brings a node. Idempotent."""
        if self._state is DaemonState.STOPPED and self._worker is None:
            self._state = DaemonState.STARTED
            self._started_at = asyncio.get_running_loop().time()
        elif self._state not in (DaemonState.STARTED, DaemonState.RUNNING):
            raise ConfigError("a daemon is started once")

    async def attach(self, node: TaskNode) -> None:
        """Begin with the operations of the cluster that ``node`` is a member of. Raises :class:`ConfigError`."""
        if node.node_id != self.node_id:
            raise ConfigError(f"daemon {self.daemon_id} of node {self.node_id} was given node {node.node_id}")
        if node.config.cluster_id != self.cluster_id:
            raise ConfigError(f"daemon {self.daemon_id} is for cluster {self.cluster_id}, not {node.config.cluster_id}")
        if self._worker is not None:
            raise ConfigError(f"daemon {self.daemon_id} has a node already")
        await self.start()
        self._source = source = DaemonSource(node, self._effects)
        self._worker = worker = Worker(
            self._registry,
            source,
            queues=(self.queue,),
            concurrency=self._concurrency,
            capabilities=self._offered(),
            name=self.daemon_id,
            lease=self._lease,
            drain_seconds=self._drain_seconds,
        )
        self._broker_pending = node.tasks.pending
        events = node.events()
        self._state = DaemonState.RUNNING
        self._tasks = [asyncio.create_task(self._work(worker)), asyncio.create_task(source.watch(events))]

    def _offered(self) -> list[str]:
        versions = [capability for each in self._operation_types.values() for capability in each.capabilities]
        return [*self._capabilities, node_capability(self.node_id), placed_capability(self.node_id), *versions]

    async def _work(self, worker: Worker) -> bool:
        try:
            return await worker.run()
        except Exception:
            self._state = DaemonState.FAILED
            log.exception("daemon %s does nothing any more", self.daemon_id)
            return False

    async def stop(self) -> bool:
        """Begin nothing more, and end when what was begun is done, or ``drain_seconds`` later. Idempotent.

        Whether all of it was done. What was not is begun anew elsewhere.
        """
        if self._resuming is not None:
            self._resuming.cancel()
        drained = True
        if self._worker is not None and self._tasks:
            if self._state is not DaemonState.FAILED:
                self._state = DaemonState.DRAINING
            working, watching = self._tasks
            self._worker.stop()
            drained = await working
            watching.cancel()
            await asyncio.wait([watching])
            self._tasks = []
        if self._state is not DaemonState.FAILED:
            self._state = DaemonState.STOPPED
        return drained

    async def drain(self, seconds: float | None = None) -> bool:
        """Begin nothing more, and return when what was begun is done, or time is over: then false."""
        return await self._drained(0, self._drain_seconds if seconds is None else seconds)

    def resume(self) -> None:
        """Go on behind :meth:`drain`."""
        if self._source is not None and self._state is DaemonState.DRAINING:
            self._source.resume()
            self._state = DaemonState.RUNNING

    async def _drained(self, besides: int, seconds: float) -> bool:
        if self._source is None or self._worker is None:
            return True
        self._source.pause()
        self._state = DaemonState.DRAINING
        ends = asyncio.get_running_loop().time() + seconds
        while self._worker.running > besides or self._executing:
            if asyncio.get_running_loop().time() >= ends:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _drain_for_removal(self, daemon_id: str, timestamp: datetime, payload: Any = None) -> bool:
        drained = await self._drained(1, self._drain_seconds)
        self._resuming = asyncio.get_running_loop().call_later(DRAINED_SECONDS_MAX, self.resume)
        return drained

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it begins operations."""
        return self._state is DaemonState.RUNNING

    @property
    def active_count(self) -> int:
        """Operations under way."""
        return self._executing + (self._worker.running if self._worker is not None else 0)

    def get_health(self) -> DaemonHealth:
        """How it is at this moment."""
        worker = self._worker
        counts = {} if worker is None else worker.metrics.counts

        def total(*outcomes: str) -> int:
            return sum(count for (kind, outcome), count in counts.items() if outcome in outcomes and kind != DRAIN)

        is_up = self._state not in (DaemonState.STOPPED, DaemonState.FAILED)
        return DaemonHealth(
            daemon_id=self.daemon_id,
            name=self.name,
            node_id=self.node_id,
            cluster_id=self.cluster_id,
            state=self._state,
            uptime_seconds=asyncio.get_running_loop().time() - self._started_at if is_up else 0.0,
            active_operations=self.active_count,
            queued_operations=self._broker_pending(self.queue) if is_up else 0,
            completed_operations=total("succeeded"),
            failed_operations=total("failed", "rejected"),
            complaints=worker.health if worker is not None and is_up else "",
        )
