"""Telling a partition from a hiccup.

What is amiss has to stay so for as long as the bound says before anything is told, and to be well again for a while
before it counts as over. Only time in which somebody looked counts: a process that was stopped for a minute has not
seen its peers silent for a minute.

::

    evidence                                       PartitionState
    a quorum, and every member can be reached      HEALTHY
    something is amiss, for less than the bound    SUSPECTED      nothing is told yet
    a quorum, but members are lost                 PARTITIONED    this is the side that goes on
    no quorum                                      MINORITY       this side is cut off, and only reads old data
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum


class PartitionState(StrEnum):
    """How the network looks from here."""

    HEALTHY = "healthy"
    SUSPECTED = "suspected"
    PARTITIONED = "partitioned"
    MINORITY = "minority"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be seen at one moment. ``lost`` are the members, besides this one, that cannot be reached."""

    has_quorum: bool
    """There is a leader; and if that is this node, a majority can be reached."""
    members: frozenset[int]
    lost: frozenset[int]
    sees_majority: bool = True
    """With those that it can reach, this node is a majority. Who is not cannot tell which side is the lost one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something has turned out to be amiss (``is_lost``) or well again: a member, or with ``node_id`` 0 this node."""

    node_id: int
    is_lost: bool


CUT_OFF = 0
"""Stands for this node itself where members are named: ids begin with 1."""


class Doubt:
    """One thing that may be amiss. Seconds of either kind of news count; the other kind begins anew."""

    __slots__ = ("_seconds", "is_confirmed", "is_open")

    def __init__(self) -> None:
        self.is_confirmed = False
        """Whether it was told to be amiss, and not yet told to be over."""
        self.is_open = False
        """Whether the last look spoke against what was told."""
        self._seconds = 0.0

    def look(self, is_bad: bool, elapsed: float, detection: float, recovery: float) -> bool | None:
        """Whether it is amiss, if that is news; ``elapsed`` is since the look before."""
        if is_bad is self.is_confirmed:
            self.is_open = False
            return None
        self._seconds = self._seconds + elapsed if self.is_open else 0.0
        self.is_open = True
        if self._seconds < (recovery if self.is_confirmed else detection):
            return None
        self.is_confirmed, self.is_open = is_bad, False
        return is_bad


class PartitionDetector:
    """Looks at evidence again and again. It has no clock: each look says how long ago the last one was."""

    def __init__(self, detection_seconds: float, recovery_seconds: float, look_seconds: float) -> None:
        """``look_seconds`` is how far looks are apart: of longer gaps, twice that counts."""
        self._detection = detection_seconds
        self._recovery = recovery_seconds
        self._elapsed_max = 2 * look_seconds
        self._cut_off = Doubt()
        self._members: dict[int, Doubt] = {}

    @property
    def state(self) -> PartitionState:
        """How the network looks by now."""
        if self._cut_off.is_confirmed:
            return PartitionState.MINORITY
        if any(doubt.is_confirmed for doubt in self._members.values()):
            return PartitionState.PARTITIONED
        if self._cut_off.is_open or any(doubt.is_open for doubt in self._members.values()):
            return PartitionState.SUSPECTED
        return PartitionState.HEALTHY

    @property
    def lost(self) -> frozenset[int]:
        """The members that are told to be lost."""
        return frozenset(node_id for node_id, doubt in self._members.items() if doubt.is_confirmed)

    def look(self, evidence: Evidence, elapsed: float) -> list[Verdict]:
        """What has turned out."""
        return list(self._look(evidence, min(elapsed, self._elapsed_max)))

    def _look(self, evidence: Evidence, elapsed: float) -> Iterator[Verdict]:
        can_tell = evidence.has_quorum and evidence.sees_majority
        news = self._cut_off.look(not evidence.has_quorum, elapsed, self._detection, self._recovery)
        if news is not None:
            yield Verdict(CUT_OFF, news)
        self._forget_others(evidence.members)
        for node_id in sorted(evidence.members):
            doubt = self._members.setdefault(node_id, Doubt())
            if not (can_tell or doubt.is_confirmed):
                doubt.is_open = False
                continue
            news = doubt.look(node_id in evidence.lost, elapsed, self._detection, self._recovery)
            if news is not None:
                yield Verdict(node_id, news)

    def _forget_others(self, members: Collection[int]) -> None:
        for node_id in self._members.keys() - members:
            del self._members[node_id]
