"""A node's condition at one moment, as plain values."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from quorate.node.group import Group
from quorate.raft.core import RaftCore


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


def status_of(
    node_id: int,
    group: Group | None,
    members: Mapping[int, str],
    connected: Container[int],
    *,
    address: str,
    fsyncs: int,
    failure: BaseException | None,
) -> NodeStatus:
    """What the parts of a node amount to. ``group`` is ``None`` while not every member's id is known."""
    core = group.core if group is not None else None
    leader = core.leader if group is not None and core is not None and not group.stopped else None
    return NodeStatus(
        node_id=node_id,
        address=address,
        role="failed" if failure else "joining" if core is None else core.role.value,
        term=core.term if core else 0,
        leader=leader,
        leader_address=members.get(leader) if leader is not None else None,
        commit_index=core.log.committed if core else 0,
        applied_index=group.applied_index if group else 0,
        last_index=core.log.last_index if core else 0,
        peers=tuple(_peers(node_id, core, members, connected)),
        fsyncs=fsyncs,
        failure=(str(failure) or repr(failure)) if failure else None,
    )


def _peers(
    node_id: int, core: RaftCore | None, members: Mapping[int, str], connected: Container[int]
) -> Iterator[PeerStatus]:
    progress = core.replication.peers if core and core.replication else {}
    for peer, address in members.items():
        if peer == node_id:
            continue
        match = progress[peer].match if peer in progress else None
        lag = core.log.last_index - match if core and match is not None else None
        yield PeerStatus(node_id=peer, address=address, connected=peer in connected, match_index=match, lag=lag)
