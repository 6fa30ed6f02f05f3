"""What happens to a node, as a stream that anyone may follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar
from weakref import WeakSet

from quorate.raft.membership import Configuration
from quorate.raft.roles import Role

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class LeaderElected:
    """This node has come to know the leader of a term (it may be this node itself)."""

    name: ClassVar[str] = "leader_elected"
    term: int
    leader: int


@dataclass(frozen=True, slots=True)
class LeaderLost:
    """The leader of ``term``, whom this node followed (or was), is gone as far as it can tell."""

    name: ClassVar[str] = "leader_lost"
    term: int
    leader: int
    silent_seconds: float = 0.0
    """How long ago this node heard from it last, if it is another."""


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
class PeersSilent:
    """The peers that ought to answer this node, by what it knows, and have not for seconds: connected or not."""

    name: ClassVar[str] = "peers_silent"
    peers: frozenset[int]


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Another configuration is in force here: that of log entry ``index``, committed or not."""

    name: ClassVar[str] = "membership_changed"
    index: int
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class LogCompacted:
    """This node's log now begins behind ``index``."""

    name: ClassVar[str] = "log_compacted"
    index: int


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """This node, the leader, has brought ``peer`` a snapshot of entry ``index``."""

    name: ClassVar[str] = "snapshot_sent"
    peer: int
    index: int


@dataclass(frozen=True, slots=True)
class SnapshotInstalled:
    """This node's state is now that of a leader's snapshot of entry ``index``."""

    name: ClassVar[str] = "snapshot_installed"
    index: int


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """A slow follower of the stream did not take ``count`` events in time: they were dropped, oldest first."""

    name: ClassVar[str] = "events_missed"
    count: int


NodeEvent = (
    LeaderElected
    | LeaderLost
    | RoleChanged
    | PeerConnected
    | PeerDisconnected
    | PeersSilent
    | MembershipChanged
    | LogCompacted
    | SnapshotSent
    | SnapshotInstalled
    | EventsMissed
)


class Subscription(Generic[E]):
    """One follower's bounded buffer: an iterator over the events since it was made, until no more are published."""

    BUFFERED_MAX = 1024

    def __init__(self, *, closed: bool = False) -> None:
        self._buffer: deque[E] = deque()
        self._missed = 0
        self._closed = closed
        self._wake = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E | EventsMissed:
        while not (self._buffer or self._closed):
            self._wake.clear()
            await self._wake.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(missed)
        if self._buffer:
            return self._buffer.popleft()
        raise StopAsyncIteration

    def put(self, event: E) -> None:
        """Buffer ``event``; the oldest one gives way when the buffer is full."""
        if len(self._buffer) >= self.BUFFERED_MAX:
            self._buffer.popleft()
            self._missed += 1
        self._buffer.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the iteration behind what is buffered."""
        self._closed = True
        self._wake.set()


def _unnoted(event: NodeEvent) -> None:
    pass


class EventStream:
    """Hands every event to every follower that is still there. Publishing never waits."""

    def __init__(self, note: Callable[[NodeEvent], None] = _unnoted) -> None:
        """``note`` is called with each event before anybody else hears of it."""
        self._note = note
        self._subscriptions: WeakSet[Subscription[NodeEvent]] = WeakSet()
        self._closed = False

    def publish(self, event: NodeEvent) -> None:
        """Tell everyone."""
        self._note(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    def follow(self) -> AsyncIterator[NodeEvent]:
        """Events from now on, until the node stops."""
        subscription: Subscription[NodeEvent] = Subscription(closed=self._closed)
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every follower's iteration once it has taken what is buffered."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
