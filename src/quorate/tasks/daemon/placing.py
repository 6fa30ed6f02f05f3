"""Places operations as they are handed over on a node, and anew those that were placed where nobody is any more."""

from __future__ import annotations

import asyncio
import logging

from quorate.errors import QuorateError
from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.operations import Operation, Placement, Scope
from quorate.tasks.daemon.placement import Placer, candidates, node_of, placed_with
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.watching import PartitionWatch
from quorate.tasks.lifecycle import State

log = logging.getLogger(__name__)

PLACE_AGAIN_SECONDS = 0.5
"""How often the leader looks for operations that were placed where nobody is any more."""


class Placing:
    """Shows a :class:`~quorate.tasks.daemon.placement.Placer` what there is to choose from in ``queue``."""

    def __init__(self, node: TaskNode, cluster: ClusterManager, watch: PartitionWatch, queue: str) -> None:
        self._node = node
        self._cluster = cluster
        self._watch = watch
        self._queue = queue
        self._placer = Placer()

    async def place(self, operation: Operation) -> str | None:
        """The capability that stands for an operation's place; ``None`` where anyone may do it."""
        if operation.scope is not Scope.GLOBAL or operation.placement is Placement.FIRST_FREE:
            return self._placer.place(operation, self._node.node_id, ())
        try:
            workers = await self._cluster.workers()
        except QuorateError:  # then whoever is free takes it
            return None
        healthy = {report.node_id for report in self._cluster.healthy_nodes()}
        pending, begun = self._node.tasks.needs(), self._node.tasks.needs({State.RUNNING})
        among = candidates(operation, self._queue, workers, healthy, pending, begun)
        return self._placer.place(operation, self._node.node_id, among)

    async def run(self) -> None:
        """For ever: while this node leads, whoever is free can have what is placed where nobody is any more."""
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
        present = {node_of(worker) for worker in workers} & (self._cluster.nodes.keys() - self._watch.lost)
        for capability, node_id in placed.items():
            if node_id not in present:
                count = await self._node.tasks.waive(capability)
                log.warning("%d operations placed with node %d, which is gone, are for whoever is free", count, node_id)
