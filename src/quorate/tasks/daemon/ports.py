"""The node that managers are given: an embedded one with tasks, or a test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from quorate.config import RaftConfig
from quorate.machine.outcome import Applied
from quorate.node.events import NodeEvent
from quorate.node.members import Members
from quorate.node.status import NodeStatus
from quorate.tasks.broker import Broker


class TaskNode(Protocol):
    """A member of a cluster that keeps tasks: :class:`quorate.Node` with ``tasks=True``, for one."""

    config: RaftConfig
    members: Members

    @property
    def node_id(self) -> int:
        """Its id."""
        ...

    @property
    def is_leader(self) -> bool:
        """Whether it leads, as far as it knows."""
        ...

    @property
    def leader(self) -> int | None:
        """Who leads, as far as it knows."""
        ...

    @property
    def applied_index(self) -> int:
        """Up to here it has applied the log."""
        ...

    @property
    def status(self) -> NodeStatus:
        """Its condition."""
        ...

    @property
    def tasks(self) -> Broker:
        """The tasks of the cluster."""
        ...

    def events(self) -> AsyncIterator[NodeEvent]:
        """What happens from now on, until it stops."""
        ...

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        """Have a command applied on every node."""
        ...
