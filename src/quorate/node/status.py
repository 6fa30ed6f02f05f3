"""A node's condition at one moment, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """Another member. ``match_index`` and ``lag`` (entries it lacks) are known to the leader only."""

    node_id: int
    address: str
    connected: bool
    match_index: int | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node. ``role`` is ``joining`` until every member's id is known, and ``failed`` once it gave up."""

    node_id: int
    address: str
    role: str
    term: int
    leader: int | None
    leader_address: str | None
    commit_index: int
    applied_index: int
    last_index: int
    peers: tuple[PeerStatus, ...]
    fsyncs: int
    """fsyncs of the log since the start."""
    failure: str | None = None
