"""Quorate: replicated, fault-tolerant state for Python programs, with nothing else to run."""

from __future__ import annotations

import importlib
import logging
import typing

from quorate._version import __version__
from quorate.app import App
from quorate.config import RaftConfig
from quorate.errors import (
    CommandFailed,
    ConfigError,
    CorruptLog,
    DataDirectoryLocked,
    MembershipConflict,
    NodeStopped,
    NotApplied,
    NotLeader,
    NotRunEverywhere,
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

if typing.TYPE_CHECKING:
    from quorate.embedded import Node
    from quorate.kv.store.kv import Kv

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
    "NotRunEverywhere",
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

_LATER = {"Kv": "quorate.kv.store.kv", "Node": "quorate.embedded"}
"""What only programs with a node of their own use, and where it is: imported when it is first asked for."""

if not typing.TYPE_CHECKING:  # a type checker would take it that any name is here

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        thing = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
        return thing

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})


logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that sets up no logging is told nothing
