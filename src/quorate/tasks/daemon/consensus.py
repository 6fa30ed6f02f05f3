"""``ConsensusManager``: a daemon, its node and the cluster's manager put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quorate.errors import ConfigError, QuorateError
from quorate.machine.identifiers import uuid7
from quorate.node import events as node_events
from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.daemon import DRAIN, Daemon
from quorate.tasks.daemon.events import ClusterEvent, E, LeaderElected, LeaderLost, Listener, LogCompacted
from quorate.tasks.daemon.operations import Operation, OperationResult, OperationState, Placement, Scope, checked
from quorate.tasks.daemon.partitions import PartitionState
from quorate.tasks.daemon.placement import Placer, candidates, node_capability, node_of, placed_with
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.replicating import Replicating
from quorate.tasks.daemon.settings import ConsensusSettings
from quorate.tasks.daemon.watching import PartitionWatch
from quorate.tasks.errors import NoSuchTask
from quorate.tasks.handles import TaskNotDone
from quorate.tasks.lifecycle import BY_LABEL, State
from quorate.tasks.records import TaskRecord

log = logging.getLogger(__name__)

PLACE_AGAIN_SECONDS = 0.5
"""How often the leader looks for operations that were placed where nobody is any more."""
REMOVAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusState:
    """A node's view of its cluster at one moment."""

    node_id: int
    leader_id: int | None
    is_leader: bool
    current_term: int
    partition_state: PartitionState
    is_read_only: bool
    """No operation can be replicated from here."""
    quorum_available: bool
    """There is a leader, which has a quorum as far as this node can tell."""
    log_size: int
    """Entries in this node's log."""
    log_bytes: int
    commit_index: int
    applied_index: int
    healthy_nodes: int
    total_nodes: int
    lost_nodes: tuple[int, ...]
    """The members that were told to be lost."""
    warnings: tuple[str, ...]
    """What is unwise about the cluster as it is."""


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
        self._placer = Placer()
        self._watch = PartitionWatch(node, cluster_manager, self.settings)
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
        work = (self._follow(follower), self._watch.run(), self._place_again_for_ever())
        self._tasks = [asyncio.create_task(each) for each in work]
        for warning in self._warnings():
            log.warning("%s", warning)

    async def shutdown(self) -> bool:
        """Drain the daemon, then tell no more. Idempotent; the node goes on. Whether the daemon's work was done."""
        drained = await self.daemon.stop()
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
        status = self._node.status
        is_cut_off = self._watch.state is PartitionState.MINORITY
        reports = self.cluster.nodes
        return ConsensusState(
            node_id=status.node_id,
            leader_id=status.leader,
            is_leader=self._node.is_leader,
            current_term=status.term,
            partition_state=self._watch.state,
            is_read_only=is_cut_off,
            quorum_available=status.leader is not None and not is_cut_off,
            log_size=status.last_index - status.log_first_index + 1,
            log_bytes=status.log_bytes,
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            healthy_nodes=len(self.cluster.healthy_nodes()),
            total_nodes=len(reports),
            lost_nodes=tuple(sorted(self._watch.lost)),
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> list[str]:
        membership = self._node.status.membership
        if membership is None or not membership.members:
            return []
        found = [membership.warning] if membership.warning else []
        voters = sum(member.role.value == "voter" for member in membership.members)
        if voters != self.settings.replication_factor and not membership.joint:
            found.append(f"{voters} voters have a copy of the data, not {self.settings.replication_factor}")
        detection, election = self.settings.partition_detection_ms, self._node.config.election_timeout_ms
        if detection <= 2 * election:
            found.append(f"a failover may take {2 * election} ms, and {detection} ms are taken for a partition")
        status = self._node.status
        size = status.last_index - status.log_first_index + 1
        if size > 2 * self.settings.max_log_size:
            found.append(
                f"the log has {size} entries, more than {self.settings.max_log_size}: is the node's configuration made "
                "with raft_settings() of the manager's settings?"
            )
        return found

    def metrics(self) -> dict[str, float]:
        """Numbers for a dashboard, by the names that ``docs/daemon.md`` maps."""
        state, health = self.get_consensus_state(), self.daemon.get_health()
        counts = self._replicating.counts
        return {
            "consensus_leader_id": state.leader_id or 0,
            "consensus_is_leader": int(state.is_leader),
            "consensus_current_term": state.current_term,
            "consensus_partition_state": list(PartitionState).index(state.partition_state),
            "consensus_partitions_detected": self._watch.detected,
            "consensus_log_size": state.log_size,
            "consensus_operations_replicated": counts[OperationState.REPLICATED],
            "consensus_operations_committed": counts[OperationState.COMMITTED],
            "consensus_operations_failed": counts[OperationState.FAILED],
            "cluster_healthy_nodes": state.healthy_nodes,
            "cluster_total_nodes": state.total_nodes,
            "daemon_active_operations": health.active_operations,
            "daemon_queued_operations": health.queued_operations,
            "daemon_completed_operations": health.completed_operations,
            "daemon_failed_operations": health.failed_operations,
        }

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
        seconds = self._node.config.proposal_timeout_ms / 1000 if timeout is None else timeout
        return await self._replicating.replicate(wanted, await self._place(wanted), seconds)

    async def _place(self, operation: Operation) -> str | None:
        if operation.scope is not Scope.GLOBAL or operation.placement is Placement.FIRST_FREE:
            return self._placer.place(operation, self._node.node_id, ())
        try:
            workers = await self.cluster.workers()
        except QuorateError:  # then whoever is free takes it
            return None
        healthy = {report.node_id for report in self.cluster.healthy_nodes()}
        pending, begun = self._node.tasks.needs(), self._node.tasks.needs({State.RUNNING})
        among = candidates(operation, self.daemon.queue, workers, healthy, pending, begun)
        return self._placer.place(operation, self._node.node_id, among)

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

    async def _place_again_for_ever(self) -> None:
        """While this node leads. What is placed where nobody is any more can be had by whoever is free."""
        while True:
            await asyncio.sleep(PLACE_AGAIN_SECONDS)
            if not self._node.is_leader:
                continue
            try:
                await self._place_again()
            except QuorateError as error:
                log.debug("operations of nodes that are gone have to wait: %s", error)

    async def _place_again(self) -> None:
        needs = self._node.tasks.needs()
        placed = {capability: node_id for capability in needs if (node_id := placed_with(capability)) is not None}
        if not placed:
            return
        workers = await self._node.tasks.workers()
        present = {node_of(worker) for worker in workers} & (self.cluster.nodes.keys() - self._watch.lost)
        for capability, node_id in placed.items():
            if node_id not in present:
                count = await self._node.tasks.waive(capability)
                log.warning("%d operations placed with node %d, which is gone, are for whoever is free", count, node_id)
