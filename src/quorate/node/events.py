"""What happens to a node, as a stream that anyone may follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from quorate.raft.roles import Role


@dataclass(frozen=True, slots=True)
class LeaderElected:
    """This node has come to know the leader of a term (it may be this node itself)."""

    name: ClassVar[str] = "leader_elected"
    term: int
    leader: int


@dataclass(frozen=True, slots=True)
class LeaderLost:
    """The leader this node followed (or was) is gone as far as it can tell."""

    name: ClassVar[str] = "leader_lost"
    term: int
    leader: int


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """This node's role is now another."""

    name: ClassVar[str] = "role_changed"
    term: int
    role: Role


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """Messages to that peer can leave."""

    name: ClassVar[str] = "peer_connected"
    peer: int


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """Messages to that peer cannot leave for now."""

    name: ClassVar[str] = "peer_disconnected"
    peer: int


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """A slow follower of the stream did not take ``count`` events in time: they were dropped, oldest first."""

    name: ClassVar[str] = "events_missed"
    count: int


NodeEvent = LeaderElected | LeaderLost | RoleChanged | PeerConnected | PeerDisconnected | EventsMissed


class _Subscription:
    """One follower's bounded buffer."""

    BUFFERED_MAX = 1024

    def __init__(self) -> None:
        self.buffer: deque[NodeEvent] = deque()
        self.missed = 0
        self.closed = False
        self.wake = asyncio.Event()

    def put(self, event: NodeEvent) -> None:
        if len(self.buffer) >= self.BUFFERED_MAX:
            self.buffer.popleft()
            self.missed += 1
        self.buffer.append(event)
        self.wake.set()

    def close(self) -> None:
        self.closed = True
        self.wake.set()


class EventStream:
    """Hands every event to every follower. Publishing never waits."""

    def __init__(self) -> None:
        self._subscriptions: list[_Subscription] = []

    def publish(self, event: NodeEvent) -> None:
        """Tell everyone."""
        for subscription in self._subscriptions:
            subscription.put(event)

    async def follow(self) -> AsyncIterator[NodeEvent]:
        """Events from now on, until the node stops."""
        subscription = _Subscription()
        self._subscriptions.append(subscription)
        try:
            while True:
                if subscription.missed:
                    missed, subscription.missed = subscription.missed, 0
                    yield EventsMissed(missed)
                while subscription.buffer:
                    yield subscription.buffer.popleft()
                if subscription.closed:
                    return
                subscription.wake.clear()
                await subscription.wake.wait()
        finally:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every follower's iteration once it has taken what is buffered."""
        for subscription in self._subscriptions:
            subscription.close()
