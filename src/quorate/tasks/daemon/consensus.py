"""``ConsensusManager``: a daemon, its node and the cluster's manager put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

from quorate.errors import ConfigError, QuorateError
from quorate.machine.identifiers import uuid7
from quorate.node import events as node_events
from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.daemon import DRAIN, Daemon
from quorate.tasks.daemon.events import ClusterEvent, E, LeaderElected, LeaderLost, Listener, LogCompacted
from quorate.tasks.daemon.operations import Operation, OperationResult, OperationState, checked
from quorate.tasks.daemon.partitions import PartitionState
from quorate.tasks.daemon.placement import node_capability, node_of
from quorate.tasks.daemon.placing import Placing
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.replicating import Replicating
from quorate.tasks.daemon.settings import ConsensusSettings
from quorate.tasks.daemon.state import ConsensusState, numbers_of, state_of, warnings_of
from quorate.tasks.daemon.watching import PartitionWatch
from quorate.tasks.errors import NoSuchTask
from quorate.tasks.handles import TaskNotDone
from quorate.tasks.lifecycle import BY_LABEL, State
from quorate.tasks.records import TaskRecord

log = logging.getLogger(__name__)

REMOVAL_SECONDS = 30.0


class ConsensusManager:
    """Hands operations over, has them placed anew when a node dies, and tells what happens to the cluster.

    Every node of a cluster of daemons has one. Settings are given as ``settings``, one by one, or both.
    """

    def __init__(
        self,
        daemon: Daemon,
        node: TaskNode,
        cluster_manager: ClusterManager,
        *,
        settings: ConsensusSettings | None = None,
        **given: int,
    ) -> None:
        """Raises :class:`ConfigError` for settings that make no sense, and for parts of different nodes."""
        self.settings = (settings or ConsensusSettings()).but(**given)
        if not daemon.node_id == node.node_id == cluster_manager.node_id:
            raise ConfigError(
                f"a daemon of node {daemon.node_id}, node {node.node_id} and a manager of node "
                f"{cluster_manager.node_id} cannot work together"
            )
        self.daemon = daemon
        self.cluster = cluster_manager
        self._node = node
        self._events = cluster_manager.events
        self._watch = PartitionWatch(node, cluster_manager, self.settings)
        self._placing = Placing(node, cluster_manager, self._watch, daemon.queue)
        self._replicating = Replicating(
            node,
            daemon,
            self._events.publish,
            lambda: self._watch.state is PartitionState.MINORITY,
            self.settings.recovery_retry_ms / 1000,
        )
        self._log_begins = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._is_initialized = False

    # -- life --------------------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Begin. The node runs by now, and the cluster's manager was given it. Raises :class:`ConfigError`."""
        if self._is_initialized:
            raise ConfigError("a manager is initialized once")
        if self.cluster.node is not self._node:
            raise ConfigError("the cluster's manager was initialized with another node")
        self._is_initialized = True
        await self.daemon.attach(self._node)
        follower = self._node.events()
        self._log_begins = self._node.status.log_first_index
        work = (self._follow(follower), self._watch.run(), self._placing.run())
        self._tasks = [asyncio.create_task(each) for each in work]
        for warning in warnings_of(self._node, self.settings):
            log.warning("%s", warning)

    async def shutdown(self) -> bool:
        """Drain the daemon, then tell no more. Idempotent; the node goes on. Whether the daemon's work was done."""
        drained = await self.daemon.stop()
        await self._replicating.end()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.cluster.shutdown()
        return drained

    def on(self, kind: type[E], listener: Listener[E]) -> Callable[[], None]:
        """See :meth:`Events.on`."""
        return self._events.on(kind, listener)

    def follow(self) -> node_events.Subscription[ClusterEvent]:
        """See :meth:`Events.follow`."""
        return self._events.follow()

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._node.is_leader

    @property
    def partition_state(self) -> PartitionState:
        """How the network looks from here."""
        return self._watch.state

    def get_consensus_state(self) -> ConsensusState:
        """The cluster as this node sees it now. It asks nobody, so it answers also where nobody can be reached."""
        return state_of(self._node, self.cluster, self._watch, self.settings)

    def metrics(self) -> dict[str, float]:
        """Numbers for a dashboard, by the names that ``docs/daemon.md`` maps."""
        health, counts = self.daemon.get_health(), self._replicating.counts
        return numbers_of(self.get_consensus_state(), health, counts, self._watch.detected)

    # -- operations --------------------------------------------------------------------------------------

    async def replicate_operation(
        self, operation: Operation | Mapping[str, Any], *, timeout: float | None = None
    ) -> OperationResult:
        """Have an operation carried out by the cluster; returns once a majority has it, and it is committed.

        Any node may be asked. With the same id it may be handed over again, also to another node, and is one
        operation: a second time nothing is added. What fails in a way that may pass is tried again until ``timeout``
        seconds are over (by default the node's ``proposal_timeout_ms``).

        Raises :class:`ReadOnlyCluster` while this node is cut off from every quorum, another
        :class:`~quorate.errors.NotApplied` if it certainly was not handed over,
        :class:`~quorate.errors.OutcomeUnknown` if it may have been, and a
        :class:`~quorate.tasks.errors.TaskRefusal` if the cluster does not want it.
        """
        wanted = checked(operation)
        return await self._replicating.replicate(wanted, await self._placing.place(wanted), timeout)

    async def operation_state(self, operation_id: str) -> OperationState | None:
        """How far the handing over of an operation is, as known here; ``None`` if it is not known at all."""
        try:
            await self._node.tasks.task(operation_id, consistency="eventually")
        except NoSuchTask:
            return self._replicating.state_of(operation_id, is_known=False)
        return self._replicating.state_of(operation_id, is_known=True)

    async def result(self, operation_id: str, *, timeout: float = 30.0) -> TaskRecord:
        """The operation's task, when it has succeeded.

        Raises :class:`~quorate.tasks.handles.TaskNotDone` if it never will, :class:`TimeoutError` if that takes longer,
        and :class:`~quorate.tasks.errors.NoSuchTask`.
        """
        task = await self._node.tasks.wait(operation_id, timeout)
        state = BY_LABEL[task.status]
        if not state.is_ended:
            raise TimeoutError(f"the operation {operation_id} is {task.status}")
        if state is not State.SUCCEEDED:
            raise TaskNotDone(task)
        return task

    # -- membership --------------------------------------------------------------------------------------

    async def remove_node_gracefully(self, node_id: int, *, timeout: float = REMOVAL_SECONDS) -> bool:
        """Have a node's daemon end what it does, then take the node out of the cluster, which a leader leaves by
        handing its leadership over first.

        Can be asked of any node; one that is removed stops. Returns whether all that its daemon did was done in
        ``timeout`` seconds: what was not is begun anew elsewhere. Raises what
        :class:`~quorate.node.members.Members` raises; then the node is a member still, and goes on.
        """
        if node_id not in self.cluster.nodes:
            raise ConfigError(f"node {node_id} is not a member")
        if node_id == self._node.node_id:
            drained = await self.daemon.drain(timeout)
        else:
            drained = await self._drain(node_id, timeout)
        try:
            await self.cluster.remove_node(node_id)
        except BaseException:
            if node_id == self._node.node_id:
                self.daemon.resume()
            raise
        return drained

    async def _drain(self, node_id: int, seconds: float) -> bool:
        """Ask the daemon of another node to make ready: by an operation that only it takes."""
        if not any(node_of(worker) == node_id for worker in await self._node.tasks.workers()):
            return True
        drain = Operation(
            id=f"drain-{node_id}-{uuid7():x}", type=DRAIN, priority=255, ttl=seconds, max_retries=0, retention="1m"
        )
        place = node_capability(node_id)
        try:
            await self._replicating.replicate(drain, place, seconds)
            return bytes((await self.result(drain.id, timeout=seconds)).result or b"") == b"true"
        except (QuorateError, TimeoutError) as error:
            log.warning("the daemon of node %d could not be drained: %s", node_id, error)
            with suppress(QuorateError):
                await self._node.tasks.cancel(drain.id, force=True)
            return False

    # -- looking after it --------------------------------------------------------------------------------

    async def _follow(self, follower: AsyncIterator[node_events.NodeEvent]) -> None:
        async for event in follower:
            match event:
                case node_events.LeaderElected(term, leader):
                    self._events.publish(LeaderElected(leader_id=leader, term=term))
                case node_events.LeaderLost(term, leader):
                    self._events.publish(LeaderLost(leader_id=leader, term=term))
                case node_events.LogCompacted(index):
                    begins, self._log_begins = self._log_begins, index + 1
                    self._events.publish(LogCompacted(index=index, entries_removed=max(0, index + 1 - begins)))
                case node_events.SnapshotInstalled(index):
                    self._log_begins = max(self._log_begins, index + 1)
                case _:
                    pass
