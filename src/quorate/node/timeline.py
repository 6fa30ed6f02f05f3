"""What happened to a node lately, with the time of day; and how often each of it happened since it was started.

Fed by the node itself with what it publishes (:mod:`quorate.node.events`), for people: dashboards, logs, metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quorate.measures import Histogram
from quorate.node.events import (
    LeaderElected,
    LeaderLost,
    LogCompacted,
    MembershipChanged,
    NodeEvent,
    PeerConnected,
    PeerDisconnected,
    PeersSilent,
    RoleChanged,
    SnapshotInstalled,
    SnapshotSent,
)
from quorate.raft.membership import Configuration
from quorate.raft.roles import Role

log = logging.getLogger(__name__)

KEPT_MAX = 256

ELECTION_SECONDS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 1.0, 2.0, 5.0, 30.0)


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened. ``kind`` is the name of a node's event, or one of the two about partitions."""

    number: int
    """Counted from 1 since the node was started."""
    time_us: int
    """Microseconds since 1970, UTC, by this node's clock."""
    kind: str
    facts: dict[str, Any]
    """More about it, fit for JSON: ``term``, ``leader``, ``seconds`` …"""

    def document(self) -> dict[str, Any]:
        """It as JSON knows it; ``time`` as in RFC 3339."""
        return {"number": self.number, "time": rfc3339(self.time_us), "kind": self.kind, **self.facts}


def rfc3339(time_us: int) -> str:
    """A time of day in UTC, with its microseconds."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_us % 10**6:06}Z"


def loop_time() -> float:
    """Seconds by the clock of the event loop that runs."""
    return asyncio.get_running_loop().time()


class Timeline:
    """A bounded record; the oldest gives way.

    An *election*, as seen from here, is the time from when this node heard from its leader last, or stood for election
    itself, until it knows one again. That a node which was just started finds a leader is none.

    A *partition*, as seen from here, begins when a member that was connected is not any more, or is silent, and ends
    when all are there again, or are members no longer. A member that was stopped looks the same. A node is *cut off*
    when those that it can reach, with itself, are no quorum.
    """

    def __init__(
        self,
        node_id: int,
        *,
        configuration: Callable[[], Configuration | None],
        wall_clock_us: Callable[[], int],
        clock: Callable[[], float] = loop_time,
    ) -> None:
        """``configuration``: the one in force now, if the node belongs to a group; not while it is about to stop, when
        connections end that say nothing of the others."""
        self._node_id = node_id
        self._configuration = configuration
        self._wall_clock_us = wall_clock_us
        self._clock = clock
        self._events: deque[TimelineEvent] = deque(maxlen=KEPT_MAX)
        self.last = 0
        """The number of the latest event; 0 before the first."""
        self.counts: Counter[str] = Counter()
        """How often each kind was there."""
        self.roles_taken: Counter[Role] = Counter()
        """How often this node became what."""
        self.elections = Histogram(ELECTION_SECONDS)
        """How long elections took, in seconds."""
        self.election_seconds_last: float | None = None
        self.elected_at_us: int | None = None
        """When this node last came to know a leader."""
        self.lost: frozenset[int] = frozenset()
        """The members that were connected and are not, or are silent."""
        self.is_cut_off = False
        self.partitions = 0
        """How many partitions began."""
        self._met: set[int] = set()
        self._connected: set[int] = set()
        self._silent: frozenset[int] = frozenset()
        self._leaderless_since: float | None = None
        self._partitioned_since = 0.0

    def since(self, number: int = 0) -> list[TimelineEvent]:
        """The events behind that number that are still kept, oldest first."""
        return [event for event in self._events if event.number > number]

    def note(self, event: NodeEvent) -> None:
        """Something happened."""
        match event:
            case RoleChanged():
                self._role_changed(event)
            case LeaderLost():
                self._begin_election(event.silent_seconds)
                self._add(event.name, term=event.term, leader=event.leader)
            case LeaderElected():
                self._elected(event)
            case PeerConnected():
                if self._configuration() is not None:  # before, connections come and go as the cluster is formed
                    self._met.add(event.peer)
                self._connected.add(event.peer)
                self._add(event.name, peer=event.peer)
                self._look_around()
            case PeerDisconnected():
                self._connected.discard(event.peer)
                self._add(event.name, peer=event.peer)
                self._look_around()
            case PeersSilent():
                self._silent = event.peers
                self._look_around()
            case MembershipChanged():
                roles = {str(member.node_id): member.role.value for member in event.configuration}
                self._add(event.name, index=event.index, members=roles, joint=event.configuration.is_joint)
                self._look_around()
            case LogCompacted() | SnapshotInstalled():
                self._add(event.name, index=event.index)
            case SnapshotSent():
                self._add(event.name, index=event.index, peer=event.peer)

    def _add(self, kind: str, **facts: Any) -> None:
        self.last += 1
        self.counts[kind] += 1
        self._events.append(TimelineEvent(self.last, self._wall_clock_us(), kind, facts))

    # -- elections ---------------------------------------------------------------------------------------

    def _role_changed(self, event: RoleChanged) -> None:
        self.roles_taken[event.role] += 1
        if event.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            self._begin_election()
        self._add(event.name, term=event.term, role=event.role.value)

    def _begin_election(self, seconds_ago: float = 0.0) -> None:
        since = self._clock() - seconds_ago
        if self._leaderless_since is None or since < self._leaderless_since:
            self._leaderless_since = since

    def _elected(self, event: LeaderElected) -> None:
        seconds: float | None = None
        if self._leaderless_since is not None:
            seconds = self._clock() - self._leaderless_since
            self._leaderless_since = None
            self.elections.observe(seconds)
            self.election_seconds_last = seconds
        self._add(event.name, term=event.term, leader=event.leader, seconds=seconds and round(seconds, 6))
        self.elected_at_us = self._events[-1].time_us

    # -- partitions --------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """See who of the members can be reached."""
        configuration = self._configuration()
        if configuration is None:
            return
        there = self._connected - self._silent
        lost = frozenset((self._met - there) & set(configuration.ids) - {self._node_id})
        cut_off = bool(lost) and not configuration.quorum.includes({self._node_id, *there})
        if (lost, cut_off) == (self.lost, self.is_cut_off):
            return
        before, self.lost, self.is_cut_off = self.lost, lost, cut_off
        if not lost:
            seconds = round(self._clock() - self._partitioned_since, 6)
            told = {"event": "partition_recovered", "lost": sorted(before), "seconds": seconds}
            log.info("all members can be reached again, after %.3f s", seconds, extra=told)
            self._add("partition_recovered", lost=sorted(before), seconds=seconds)
            return
        if not before:
            self.partitions += 1
            self._partitioned_since = self._clock()
        nodes, quorum = ", ".join(map(str, sorted(lost))), "the quorum is lost" if cut_off else "there is a quorum"
        told = {"event": "partition_detected", "lost": sorted(lost), "cut_off": cut_off}
        log.warning("these members cannot be reached: %s; %s", nodes, quorum, extra=told)
        self._add("partition_detected", lost=sorted(lost), cut_off=cut_off)
