"""What managers tell of a cluster: callbacks and bounded streams."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast
from weakref import WeakSet

from quorate.node.events import EventsMissed, Subscription
from quorate.tasks.daemon.health import NodeHealth
from quorate.tasks.daemon.operations import OperationState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElected:
    """This node has come to know the leader of a term; it may be this node itself."""

    name: ClassVar[str] = "consensus:leader_elected"
    leader_id: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderLost:
    """The leader that this node followed, or was, is gone as far as it can tell."""

    name: ClassVar[str] = "consensus:leader_lost"
    leader_id: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionDetected:
    """For longer than the bound, ``node_id`` was out of reach.

    On the side that has a leader, that is a member which is lost. On the other side it is this node itself, cut off
    from every quorum, and ``lost`` are the members it cannot reach. A node that was stopped looks the same from here.
    """

    name: ClassVar[str] = "partition:detected"
    node_id: int
    health: NodeHealth
    lost: tuple[int, ...]
    is_cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecovered:
    """``node_id`` is back: a member that was lost, or this node itself, which follows ``new_leader`` now.

    That is ``None`` where a member is back while nobody leads.
    """

    name: ClassVar[str] = "partition:recovered"
    node_id: int
    new_leader: int | None
    was_cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined:
    """A node has become a member; or, with ``is_back``, a member that was lost can be reached again."""

    name: ClassVar[str] = "node_joined"
    node_id: int
    address: str
    capabilities: tuple[str, ...]
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLeft:
    """A node is no member any more; or, unless ``is_removed``, one that still is cannot be reached."""

    name: ClassVar[str] = "node_left"
    node_id: int
    is_removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged:
    """A member is better or worse off than it was at the last check."""

    name: ClassVar[str] = "health:changed"
    node_id: int
    before: NodeHealth
    health: NodeHealth
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCompacted:
    """This node's log begins behind ``index`` now: ``entries_removed`` fewer are kept."""

    name: ClassVar[str] = "log:compacted"
    index: int
    entries_removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChanged:
    """An operation that was replicated by this manager is in another state. ``error`` if that is FAILED."""

    name: ClassVar[str] = "operation:changed"
    operation_id: str
    before: OperationState | None
    state: OperationState
    error: str = ""
    is_retryable: bool = False


ClusterEvent = (
    LeaderElected
    | LeaderLost
    | PartitionDetected
    | PartitionRecovered
    | NodeJoined
    | NodeLeft
    | HealthChanged
    | LogCompacted
    | OperationChanged
    | EventsMissed
)

E = TypeVar("E")
Listener = Callable[[E], object] | Callable[[E], Awaitable[object]]


class Events:
    """Tells everyone who wants to know. Telling never waits, and nobody who listens can do harm to another."""

    RUNNING_MAX = 1000
    """Asynchronous callbacks that may run at one time; of more, the event is dropped for that callback, and logged."""

    def __init__(self) -> None:
        self._listeners: dict[type[Any], list[Listener[Any]]] = {}
        self._followers: WeakSet[Subscription[ClusterEvent]] = WeakSet()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def on(self, kind: type[E], listener: Listener[E]) -> Callable[[], None]:
        """Have ``listener`` called with each event of that kind; returns what ends that.

        It may be asynchronous: then it runs beside everything else. What it raises is logged.
        """
        listeners = self._listeners.setdefault(kind, [])
        listeners.append(listener)

        def off() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return off

    def follow(self) -> Subscription[ClusterEvent]:
        """Events from now on, until the manager stops."""
        follower: Subscription[ClusterEvent] = Subscription(closed=self._closed)
        self._followers.add(follower)
        return follower

    def publish(self, event: ClusterEvent) -> None:
        """Tell everyone."""
        for follower in self._followers:
            follower.put(event)
        for listener in tuple(self._listeners.get(type(event), ())):
            self._call(listener, event)

    def _call(self, listener: Listener[Any], event: ClusterEvent) -> None:
        try:
            answer = listener(event)
        except Exception:
            log.exception("a callback for %s failed", event.name)
            return
        if not inspect.isawaitable(answer):
            return
        if len(self._running) >= self.RUNNING_MAX:
            log.error("%d callbacks are running already: one for %s is left out", len(self._running), event.name)
            if inspect.iscoroutine(answer):
                answer.close()
            return
        task = asyncio.get_running_loop().create_task(_finish(cast("Awaitable[object]", answer), event))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End every follower's iteration behind what is buffered, and the callbacks that still run."""
        self._closed = True
        for follower in self._followers:
            follower.close()
        running = tuple(self._running - {cast("asyncio.Task[None]", asyncio.current_task())})
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def _finish(answer: Awaitable[object], event: ClusterEvent) -> None:
    try:
        await answer
    except Exception:
        log.exception("a callback for %s failed", event.name)
