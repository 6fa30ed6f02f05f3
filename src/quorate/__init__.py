"""Quorate: replicated, fault-tolerant state for Python programs, with nothing else to run."""

from __future__ import annotations

from quorate._version import __version__
from quorate.app import App
from quorate.config import RaftConfig
from quorate.errors import (
    CommandFailed,
    ConfigError,
    NodeStopped,
    NotApplied,
    NotLeader,
    OutcomeUnknown,
    ProposalDropped,
    ProposalTooLarge,
    QuorateError,
    ReadUnavailable,
    RequestIdReused,
)
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.outcome import Applied
from quorate.machine.sqlite import SqliteState
from quorate.models.fields import field
from quorate.models.model import Model
from quorate.node.events import (
    EventsMissed,
    LeaderElected,
    LeaderLost,
    NodeEvent,
    PeerConnected,
    PeerDisconnected,
    RoleChanged,
)
from quorate.node.node import Node
from quorate.node.status import NodeStatus, PeerStatus

__all__ = [
    "App",
    "Applied",
    "ApplyContext",
    "CommandFailed",
    "ConfigError",
    "DiskStateMachine",
    "EventsMissed",
    "LeaderElected",
    "LeaderLost",
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
    "QuorateError",
    "RaftConfig",
    "ReadUnavailable",
    "RequestIdReused",
    "RoleChanged",
    "SqliteState",
    "StateMachine",
    "__version__",
    "field",
]
