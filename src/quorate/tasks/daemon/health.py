"""How a member is, as one node sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quorate.node.status import MemberStatus


class NodeHealth(StrEnum):
    """What a member can be counted on for."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It can be reached, but lacks data, or a daemon of it says that something is wrong."""
    UNHEALTHY = "unhealthy"
    """It cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthThresholds:
    """From where on a member is DEGRADED."""

    lag_entries: int = 1_000
    """Log entries that it lacks; a replica that follows well lacks a few, however busy it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """One member. ``reasons`` say why it is not HEALTHY; ``lag`` is known to the leader, and to a node of itself."""

    node_id: int
    address: str
    role: str
    health: NodeHealth
    reasons: tuple[str, ...]
    capabilities: tuple[str, ...]
    """What its daemons offer; before one of them was heard of, what it was added with."""
    connected: bool
    lag: int | None


DEFAULT_THRESHOLDS = HealthThresholds()


def is_reachable(member: MemberStatus) -> bool:
    """Whether messages can leave for a member and, as far as that is known here, are answered."""
    return member.connected and member.heard is not False


def assess(
    member: MemberStatus, complaints: Sequence[str] = (), thresholds: HealthThresholds = DEFAULT_THRESHOLDS
) -> tuple[NodeHealth, tuple[str, ...]]:
    """A member's health and why; ``complaints`` are what its daemons say of themselves."""
    if not member.connected:
        return NodeHealth.UNHEALTHY, ("there is no connection to it",)
    if member.heard is False:
        return NodeHealth.UNHEALTHY, ("it does not answer the leader",)
    reasons: list[str] = []
    if member.repairing:
        reasons.append("it lost its data and is repaired")
    if member.snapshot:
        reasons.append("it is brought a snapshot")
    if member.lag is not None and member.lag > thresholds.lag_entries:
        reasons.append(f"it lacks {member.lag} entries")
    reasons.extend(complaints)
    return (NodeHealth.DEGRADED if reasons else NodeHealth.HEALTHY), tuple(reasons)
