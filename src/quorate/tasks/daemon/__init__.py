"""Operations that a cluster of daemons carries out, and the cluster as its managers see it.

::

    daemon        handlers by type, done by a worker (tasks/worker) over a source of its own; handlers, one of them
    consensus     hands operations over; puts the rest together. state: a node's view of the cluster
    cluster       members, their health, who comes and goes; discovery finds nodes by a name
    ports         what all of them need of a node; waiting, for what nobody tells of
    operations    what is handed over, and the states of that, as a table; replicating follows them
    placement     which node's daemon is to do it; placing chooses on a node, again when one is gone
    partitions    telling a partition from a hiccup; watching does so on a node
    events        callbacks and bounded streams
    settings      of a consensus manager, with presets
"""

from quorate.node.events import EventsMissed
from quorate.tasks.daemon.cluster import ClusterManager
from quorate.tasks.daemon.consensus import ConsensusManager
from quorate.tasks.daemon.daemon import Daemon, DaemonHealth, DaemonState
from quorate.tasks.daemon.discovery import Discovery
from quorate.tasks.daemon.events import (
    ClusterEvent,
    HealthChanged,
    LeaderElected,
    LeaderLost,
    LogCompacted,
    NodeJoined,
    NodeLeft,
    OperationChanged,
    PartitionDetected,
    PartitionRecovered,
)
from quorate.tasks.daemon.handlers import RunningOperation
from quorate.tasks.daemon.health import HealthThresholds, NodeHealth, NodeReport
from quorate.tasks.daemon.operations import Operation, OperationResult, OperationState, Placement, Scope
from quorate.tasks.daemon.partitions import PartitionState
from quorate.tasks.daemon.replicating import ReadOnlyCluster
from quorate.tasks.daemon.settings import HIGH_THROUGHPUT, LOW_LATENCY, ConsensusSettings
from quorate.tasks.daemon.state import ConsensusState

__all__ = [
    "HIGH_THROUGHPUT",
    "LOW_LATENCY",
    "ClusterEvent",
    "ClusterManager",
    "ConsensusManager",
    "ConsensusSettings",
    "ConsensusState",
    "Daemon",
    "DaemonHealth",
    "DaemonState",
    "Discovery",
    "EventsMissed",
    "HealthChanged",
    "HealthThresholds",
    "LeaderElected",
    "LeaderLost",
    "LogCompacted",
    "NodeHealth",
    "NodeJoined",
    "NodeLeft",
    "NodeReport",
    "Operation",
    "OperationChanged",
    "OperationResult",
    "OperationState",
    "PartitionDetected",
    "PartitionRecovered",
    "PartitionState",
    "Placement",
    "ReadOnlyCluster",
    "RunningOperation",
    "Scope",
]
