"""A node's view of its cluster at one moment: as a record, as numbers for a dashboard, and what is unwise about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.daemon import DaemonHealth
from quorate.tasks.daemon.operations import OperationState
from quorate.tasks.daemon.partitions import PartitionState
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.daemon.settings import ConsensusSettings
from quorate.tasks.daemon.watching import PartitionWatch


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


def state_of(
    node: TaskNode, cluster: ClusterManager, watch: PartitionWatch, settings: ConsensusSettings
) -> ConsensusState:
    """As ``node`` sees it now. Nobody is asked."""
    status = node.status
    is_cut_off = watch.state is PartitionState.MINORITY
    return ConsensusState(
        node_id=status.node_id,
        leader_id=status.leader,
        is_leader=node.is_leader,
        current_term=status.term,
        partition_state=watch.state,
        is_read_only=is_cut_off,
        quorum_available=status.leader is not None and not is_cut_off,
        log_size=_log_size(node),
        log_bytes=status.log_bytes,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        healthy_nodes=len(cluster.healthy_nodes()),
        total_nodes=len(cluster.nodes),
        lost_nodes=tuple(sorted(watch.lost)),
        warnings=tuple(warnings_of(node, settings)),
    )


def warnings_of(node: TaskNode, settings: ConsensusSettings) -> list[str]:
    """What is unwise about the cluster that ``node`` is a member of, as it is."""
    membership = node.status.membership
    if membership is None or not membership.members:
        return []
    found = [membership.warning] if membership.warning else []
    voters = sum(member.role.value == "voter" for member in membership.members)
    if voters != settings.replication_factor and not membership.joint:
        found.append(f"{voters} voters have a copy of the data, not {settings.replication_factor}")
    detection, election = settings.partition_detection_ms, node.config.election_timeout_ms
    if detection <= 2 * election:
        found.append(f"a failover may take {2 * election} ms, and {detection} ms are taken for a partition")
    size = _log_size(node)
    if size > 2 * settings.max_log_size:
        found.append(
            f"the log has {size} entries, more than {settings.max_log_size}: is the node's configuration made "
            "with raft_settings() of the manager's settings?"
        )
    return found


def _log_size(node: TaskNode) -> int:
    return node.status.last_index - node.status.log_first_index + 1


def numbers_of(
    state: ConsensusState, health: DaemonHealth, counts: Mapping[OperationState, int], partitions_detected: int
) -> dict[str, float]:
    """By the names that ``docs/daemon.md`` maps. ``counts`` has how often operations came into each state."""
    return {
        "consensus_leader_id": state.leader_id or 0,
        "consensus_is_leader": int(state.is_leader),
        "consensus_current_term": state.current_term,
        "consensus_partition_state": list(PartitionState).index(state.partition_state),
        "consensus_partitions_detected": partitions_detected,
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
