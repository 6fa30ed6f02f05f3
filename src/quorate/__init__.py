"""Quorate: replicated, fault-tolerant state for Python programs, with nothing else to run."""

from __future__ import annotations

import logging

from quorate._version import __version__
from quorate.app import App
from quorate.config import RaftConfig
from quorate.embedded import Node
from quorate.errors import (
    CommandFailed,
    ConfigError,
    CorruptLog,
    DataDirectoryLocked,
    MembershipConflict,
    NodeStopped,
    NotApplied,
    NotLeader,
    OutcomeUnknown,
    ProposalDropped,
    ProposalTooLarge,
    QuorateError,
    ReadUnavailable,
    RemovedFromCluster,
    RequestIdReused,
    StorageError,
    TransferFailed,
)
from quorate.kv.store.errors import KvError, LockLost, TransactionConflict, TransactionRefused, WatchCompacted
from quorate.kv.store.kv import Kv
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.outcome import Applied
from quorate.machine.sqlite import SqliteState
from quorate.models.domain_events import event
from quorate.models.fields import field
from quorate.models.model import Model
from quorate.node.events import (
    EventsMissed,
    LeaderElected,
    LeaderLost,
    LogCompacted,
    MembershipChanged,
    NodeEvent,
    PeerConnected,
    PeerDisconnected,
    RoleChanged,
    SnapshotInstalled,
    SnapshotSent,
)
from quorate.node.members import Members
from quorate.node.status import MembershipStatus, MemberStatus, NodeStatus, PeerStatus
from quorate.raft.membership import Member, MemberRole
from quorate.storage.settings import StorageProfile
from quorate.tasks.errors import InvalidTask, QueueFull, TaskRefusal
from quorate.tasks.handles import TaskHandle, TaskNotDone
from quorate.tasks.records import TaskRecord
from quorate.tasks.submission import TaskRequest

__all__ = [
    "App",
    "Applied",
    "ApplyContext",
    "CommandFailed",
    "ConfigError",
    "CorruptLog",
    "DataDirectoryLocked",
    "DiskStateMachine",
    "EventsMissed",
    "InvalidTask",
    "Kv",
    "KvError",
    "LeaderElected",
    "LeaderLost",
    "LockLost",
    "LogCompacted",
    "Member",
    "MemberRole",
    "MemberStatus",
    "Members",
    "MembershipChanged",
    "MembershipConflict",
    "MembershipStatus",
    "Model",
    "Node",
    "NodeEvent",
    "NodeStatus",
    "NodeStopped",
    "NotApplied",
    "NotLeader",
    "OutcomeUnknown",
    "PeerConnected",
    "PeerDisconnected",
    "PeerStatus",
    "ProposalDropped",
    "ProposalTooLarge",
    "QueueFull",
    "QuorateError",
    "RaftConfig",
    "ReadUnavailable",
    "RemovedFromCluster",
    "RequestIdReused",
    "RoleChanged",
    "SnapshotInstalled",
    "SnapshotSent",
    "SqliteState",
    "StateMachine",
    "StorageError",
    "StorageProfile",
    "TaskHandle",
    "TaskNotDone",
    "TaskRecord",
    "TaskRefusal",
    "TaskRequest",
    "TransactionConflict",
    "TransactionRefused",
    "TransferFailed",
    "WatchCompacted",
    "__version__",
    "event",
    "field",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that sets up no logging is told nothing
