"""The members of a cluster as their manager sees them: who there is, how they are, who comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from quorate.errors import ConfigError, MembershipConflict, NotApplied, QuorateError, TransferFailed
from quorate.node import events as node_events
from quorate.node.status import MemberStatus
from quorate.tasks.daemon.discovery import Discovery
from quorate.tasks.daemon.events import ClusterEvent, E, Events, HealthChanged, Listener, NodeJoined, NodeLeft
from quorate.tasks.daemon.health import DEFAULT_THRESHOLDS, HealthThresholds, NodeHealth, NodeReport, assess
from quorate.tasks.daemon.placement import node_of, own_capabilities
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.waiting import until
from quorate.tasks.records import WorkerRecord
from quorate.tasks.submission import check_capabilities

log = logging.getLogger(__name__)

HEALTH_CHECK_INTERVAL_MS = 5_000
WORKERS_SECONDS = 0.25
"""What is known of the daemons is so old at most, where an operation is placed."""
READMISSION_SECONDS = 60.0
PAUSE_SECONDS = 0.1


class ClusterManager:
    """Made before the node, and :meth:`initialize`-d with it. Every node of a cluster may have one.

    Changes of the membership can be asked of any of them; they are made one at a time.
    """

    def __init__(
        self,
        *,
        node_id: int,
        health_check_interval_ms: int = HEALTH_CHECK_INTERVAL_MS,
        auto_discovery: Discovery | str | None = None,
        thresholds: HealthThresholds = DEFAULT_THRESHOLDS,
    ) -> None:
        """With ``auto_discovery`` (``name:port``) the leader adds nodes that wait at an address of that name."""
        if health_check_interval_ms < 10:
            raise ConfigError("health_check_interval_ms should be 10 or more")
        self.node_id = node_id
        self.events = Events()
        """What happens in the cluster; what a consensus manager tells comes here, too."""
        self._interval = health_check_interval_ms / 1000
        self._discovery = Discovery.of(auto_discovery) if isinstance(auto_discovery, str) else auto_discovery
        self._thresholds = thresholds
        self._node: TaskNode | None = None
        self._declared: dict[int, tuple[str, ...]] = {}
        self._workers: list[WorkerRecord] = []
        self._workers_at = float("-inf")
        self._known: dict[int, str] = {}
        self._healths: dict[int, NodeHealth] = {}
        self._asking, self._changing = asyncio.Lock(), asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life --------------------------------------------------------------------------------------------

    async def initialize(self, node: TaskNode) -> None:
        """Begin to look after the cluster that ``node`` is a member of. Raises :class:`ConfigError`."""
        if node.node_id != self.node_id:
            raise ConfigError(f"a manager of node {self.node_id} was given node {node.node_id}")
        if self._node is not None:
            raise ConfigError("a manager is initialized once")
        self._node = node
        follower = node.events()
        self._known = self._members()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow(follower)), loop.create_task(self._check_for_ever())]

    async def shutdown(self) -> None:
        """Look no more. Idempotent; the node goes on."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.events.close()

    @property
    def node(self) -> TaskNode:
        """The node. Raises :class:`ConfigError` before :meth:`initialize`."""
        if self._node is None:
            raise ConfigError("the manager is not initialized yet")
        return self._node

    def on(self, kind: type[E], listener: Listener[E]) -> Callable[[], None]:
        """See :meth:`Events.on`."""
        return self.events.on(kind, listener)

    def follow(self) -> node_events.Subscription[ClusterEvent]:
        """See :meth:`Events.follow`."""
        return self.events.follow()

    # -- what there is -----------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[int, NodeReport]:
        """The members, by their ids, as this node sees them at this moment; the leader sees best."""
        membership = self.node.status.membership
        return {} if membership is None else {each.node_id: self._report(each) for each in membership.members}

    def healthy_nodes(self) -> list[NodeReport]:
        """Those that nothing is wrong with."""
        return [report for report in self.nodes.values() if report.health is NodeHealth.HEALTHY]

    @property
    def warning(self) -> str | None:
        """What is unwise about the number of voters: an even one."""
        membership = self.node.status.membership
        return None if membership is None else membership.warning

    async def workers(self) -> Sequence[WorkerRecord]:
        """The daemons, and other workers, of the cluster: as known here, a moment ago at most."""
        clock = asyncio.get_running_loop().time
        async with self._asking:
            if clock() - self._workers_at >= WORKERS_SECONDS:
                self._workers = await self.node.tasks.workers(consistency="eventually")
                self._workers_at = clock()
            return self._workers

    def _members(self) -> dict[int, str]:
        membership = self.node.status.membership
        return {} if membership is None else {each.node_id: each.address for each in membership.members}

    def _report(self, member: MemberStatus) -> NodeReport:
        own = [worker for worker in self._workers if node_of(worker) == member.node_id]
        complaints = [f"{worker.worker_id}: {worker.health}" for worker in own if worker.health]
        health, reasons = assess(member, complaints, self._thresholds)
        return NodeReport(
            node_id=member.node_id,
            address=member.address,
            role=member.role.value,
            health=health,
            reasons=reasons,
            capabilities=self._capabilities(member.node_id, own),
            connected=member.connected,
            lag=member.lag,
        )

    def _capabilities(self, node_id: int, own: Sequence[WorkerRecord]) -> tuple[str, ...]:
        if own:
            return tuple(sorted({capability for worker in own for capability in own_capabilities(worker)}))
        return self._declared.get(node_id, ())

    # -- changes -----------------------------------------------------------------------------------------

    async def add_node(
        self,
        *,
        node_id: int,
        host: str,
        port: int,
        capabilities: Collection[str] = (),
        timeout: float | None = None,
    ) -> NodeReport | None:
        """Add a node that was started with ``join``; it has its say once it has caught up.

        One that is a member already is left as it is, and only its ``capabilities`` are noted, until its daemon says
        itself what it offers. Raises what :class:`~quorate.node.members.Members` raises.
        """
        declared = check_capabilities(capabilities)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        members = self._members()
        if members.get(node_id, address) != address:
            raise ConfigError(f"node {node_id} is a member already, at {members[node_id]}")
        before, self._declared[node_id] = self._declared.get(node_id), declared
        try:
            async with self._changing:
                if node_id not in self._members():
                    add = self.node.members.add
                    await self._persistently(lambda seconds: add(node_id, address, timeout=seconds), timeout)
        except NotApplied:
            self._declared.pop(node_id)
            if before is not None:
                self._declared[node_id] = before
            raise
        return self.nodes.get(node_id)

    async def remove_node(self, node_id: int, *, timeout: float | None = None) -> None:
        """Take a member out; a leader hands its leadership over first.

        Raises what ``Members`` raises.
        """
        async with self._changing:
            await self._persistently(lambda seconds: self.node.members.remove(node_id, timeout=seconds), timeout)
        self._declared.pop(node_id, None)

    async def _persistently(self, change: Callable[[float], Awaitable[int]], timeout: float | None) -> None:
        """Another change may be under way, and whoever was to take over may not have: both pass."""
        clock = asyncio.get_running_loop().time
        ends = clock() + (self.node.config.proposal_timeout_ms / 1000 if timeout is None else timeout)
        while True:
            try:
                await change(max(ends - clock(), 0.001))
                return
            except (TransferFailed, MembershipConflict):
                if clock() + PAUSE_SECONDS >= ends:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def readmit_node(
        self,
        *,
        node_id: int,
        host: str,
        port: int,
        capabilities: Collection[str] = (),
        timeout: float = READMISSION_SECONDS,
    ) -> NodeReport:
        """Take a node back that was removed, or that is a member and has lost its disk; returns when it counts again.

        One that was removed is started with ``join`` and an empty data directory. One that lost its disk is repaired
        by the leader without being asked; this waits for it. Raises :class:`TimeoutError`.
        """
        async with asyncio.timeout(timeout):
            await self.add_node(node_id=node_id, host=host, port=port, capabilities=capabilities)
            await until(lambda: self._counts(node_id))
        return self.nodes[node_id]

    def _counts(self, node_id: int) -> bool:
        """Whether a member is a voter that lacks nothing to be one, as far as this node can tell."""
        membership = self.node.status.membership
        if membership is None or not membership.committed or membership.joint:
            return False
        return any(
            each.node_id == node_id and each.role.value == "voter" and each.connected and not each.repairing
            for each in membership.members
        )

    # -- looking after it --------------------------------------------------------------------------------

    async def _follow(self, follower: AsyncIterator[node_events.NodeEvent]) -> None:
        async for event in follower:
            if isinstance(event, node_events.MembershipChanged | node_events.EventsMissed | node_events.LeaderElected):
                self._notice_members()

    def _notice_members(self) -> None:
        before, self._known = self._known, self._members()
        for node_id in sorted(self._known.keys() - before.keys()):
            self.events.publish(
                NodeJoined(
                    node_id=node_id,
                    address=self._known[node_id],
                    capabilities=self._declared.get(node_id, ()),
                    is_back=False,
                )
            )
        for node_id in sorted(before.keys() - self._known.keys()):
            self._healths.pop(node_id, None)
            self.events.publish(NodeLeft(node_id=node_id, is_removed=True))

    async def _check_for_ever(self) -> None:
        while True:
            with suppress(QuorateError):  # the node is starting, or stopping
                await self.workers()
            self._check()
            if self._discovery is not None and self.node.is_leader:
                await self._discover(self._discovery)
            await asyncio.sleep(self._interval)

    def _check(self) -> None:
        for node_id, report in self.nodes.items():
            before = self._healths.get(node_id)
            self._healths[node_id] = report.health
            if before is not None and before is not report.health:
                log.info("node %d is %s: %s", node_id, report.health, "; ".join(report.reasons) or "all is well")
                self.events.publish(
                    HealthChanged(node_id=node_id, before=before, health=report.health, reasons=report.reasons)
                )

    async def _discover(self, discovery: Discovery) -> None:
        """Add who waits at an address that is no member's. Nobody is ever removed: a name server may err."""
        known = set(self._members().values())
        for address in await discovery.addresses():
            if address in known or (node_id := await discovery.waiting_at(address)) is None:
                continue
            host, _, port = address.rpartition(":")
            try:
                await self.add_node(node_id=node_id, host=host.strip("[]"), port=int(port))
                log.info("node %d was found at %s, and added", node_id, address)
            except (QuorateError, ValueError) as error:
                log.warning("node %d at %s could not be added: %s", node_id, address, error)
