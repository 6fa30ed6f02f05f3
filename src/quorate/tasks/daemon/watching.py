"""Watches for partitions on one node, and tells of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.events import ClusterEvent, NodeJoined, NodeLeft, PartitionDetected, PartitionRecovered
from quorate.tasks.daemon.health import NodeHealth, is_reachable
from quorate.tasks.daemon.partitions import CUT_OFF, Evidence, PartitionDetector, PartitionState, Verdict
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.settings import ConsensusSettings

log = logging.getLogger(__name__)

LOOK_SECONDS_MAX = 0.25
LOOKS = 10
"""In the time that something has to be amiss."""


class PartitionWatch:
    """Shows a :class:`PartitionDetector` what there is to see."""

    def __init__(self, node: TaskNode, cluster: ClusterManager, settings: ConsensusSettings) -> None:
        self._node = node
        self._cluster = cluster
        detection = settings.partition_detection_ms / 1000
        self._look_seconds = min(detection / LOOKS, LOOK_SECONDS_MAX)
        self._detector = PartitionDetector(detection, settings.recovery_retry_ms / 1000, self._look_seconds)
        self.detected = 0
        """How often something was told to be amiss."""

    @property
    def state(self) -> PartitionState:
        """How the network looks."""
        return self._detector.state

    @property
    def lost(self) -> frozenset[int]:
        """The members that were told to be lost."""
        return self._detector.lost

    async def run(self) -> None:
        """For ever."""
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            await asyncio.sleep(self._look_seconds)
            now = clock()
            if (evidence := self._evidence()) is not None:
                for verdict in self._detector.look(evidence, now - last):
                    for event in self._told(verdict, evidence):
                        self._cluster.events.publish(event)
            last = now

    def _evidence(self) -> Evidence | None:
        """``None`` while this node is no member: whoever waits to be added is not cut off."""
        status = self._node.status
        if status.membership is None or status.member_role is None:
            return None
        everyone = status.membership.members
        members = {member.node_id: is_reachable(member) for member in everyone if member.node_id != status.node_id}
        voters = [member.node_id for member in everyone if member.role.value != "learner"]
        sees_majority = 2 * sum(members.get(node_id, True) for node_id in voters) > len(voters)
        return Evidence(
            has_quorum=status.leader is not None and (status.leader != status.node_id or sees_majority),
            members=frozenset(members),
            lost=frozenset(node_id for node_id, is_there in members.items() if not is_there),
            sees_majority=sees_majority,
        )

    def _told(self, verdict: Verdict, evidence: Evidence) -> Iterator[ClusterEvent]:
        own = verdict.node_id == CUT_OFF
        node_id = self._node.node_id if own else verdict.node_id
        if verdict.is_lost:
            self.detected += 1
            lost = evidence.lost if own else self._detector.lost
            what = "this node is cut off from every quorum" if own else f"node {node_id} cannot be reached"
            log.warning("%s (out of reach: %s)", what, ", ".join(map(str, sorted(lost))) or "none")
            yield PartitionDetected(
                node_id=node_id, health=NodeHealth.UNHEALTHY, lost=tuple(sorted(lost)), is_cut_off=own
            )
            if not own:
                yield NodeLeft(node_id=node_id, is_removed=False)
            return
        leader = self._node.leader
        log.info("node %d is back", node_id)
        yield PartitionRecovered(node_id=node_id, new_leader=leader, was_cut_off=own)
        report = self._cluster.nodes.get(node_id)
        if not own and report is not None:
            yield NodeJoined(node_id=node_id, address=report.address, capabilities=report.capabilities, is_back=True)
