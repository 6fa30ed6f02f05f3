"""Quorate: replicated, fault-tolerant state for Python programs, with nothing else to run."""

from __future__ import annotations

from quorate._version import __version__
from quorate.app import App
from quorate.config import RaftConfig
from quorate.errors import (
    CommandFailed,
    ConfigError,
    NotApplied,
    NotLeader,
    OutcomeUnknown,
    QuorateError,
    ReadUnavailable,
)
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.outcome import Applied
from quorate.models.fields import field
from quorate.models.model import Model
from quorate.node.node import Node

__all__ = [
    "App",
    "Applied",
    "ApplyContext",
    "CommandFailed",
    "ConfigError",
    "DiskStateMachine",
    "Model",
    "Node",
    "NotApplied",
    "NotLeader",
    "OutcomeUnknown",
    "QuorateError",
    "RaftConfig",
    "ReadUnavailable",
    "StateMachine",
    "__version__",
    "field",
]
