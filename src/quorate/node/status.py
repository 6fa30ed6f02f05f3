"""A node's condition at one moment, as plain values."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from quorate.config import RaftConfig
from quorate.node.group import Group
from quorate.raft.core import RaftCore
from quorate.raft.membership import Member, MemberRole
from quorate.raft.progress import ProgressState
from quorate.storage.settings import StorageProfile, StorageSettings
from quorate.storage.store import GroupStore


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """Another node that this one has to do with: a member, or, before the cluster is formed, one it was told of.

    ``match_index`` and ``lag`` (entries it lacks) are known to the leader only.
    """

    node_id: int
    address: str
    connected: bool
    match_index: int | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """One member, as the configuration in force has it, and as it looks from here.

    ``match_index``, ``lag``, ``repairing``, ``snapshot`` (it is being brought one) and ``heard`` (it has answered in
    the last election timeouts, which a connection alone does not say) are known to the leader only; every node knows
    the first three of itself, and one that has lost its leader, who has been silent since.
    """

    node_id: int
    address: str
    role: MemberRole
    priority: int
    promote: bool
    leaving: bool
    connected: bool
    match_index: int | None = None
    lag: int | None = None
    repairing: bool | None = None
    snapshot: bool | None = None
    heard: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipStatus:
    """The configuration in force. ``joint``: a change is under way, and every decision takes two majorities."""

    configuration_index: int
    """The log entry that holds it; 0 for the one that the cluster began with."""
    joint: bool
    committed: bool
    members: tuple[MemberStatus, ...]

    @property
    def warning(self) -> str | None:
        """What is unwise about the number of voters, those to be included."""
        deciding = [
            member
            for member in self.members
            if not member.leaving and (member.role is not MemberRole.LEARNER or member.promote)
        ]
        voters = len(deciding)
        return None if voters % 2 or not voters else even_voters_warning(voters)


def even_voters_warning(voters: int) -> str:
    """Why an even number of voters is no gain."""
    survived = (voters - 1) // 2
    failures = "no failure" if not survived else "one failure" if survived == 1 else f"{survived} failures"
    return f"{voters} voters survive {failures}, no more than {voters - 1} do: have an odd number"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """How the log is stored, and how much of it would be lost if the power failed now."""

    profile: StorageProfile
    settings: StorageSettings
    """Those in force: the profile's, and what was set over them."""
    unsynced_entries: int
    """Entries that were written, and not synced yet."""
    unsynced_bytes: int
    power_loss: str | None
    """What may be missing here since the last start, because the machine went down while entries were not synced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node. ``role`` is ``joining`` until every member's id is known, and ``failed`` once it gave up."""

    node_id: int
    address: str
    role: str
    member_role: MemberRole | None
    """What it is a member for; ``None`` while it is none: not added yet, or removed."""
    term: int
    leader: int | None
    leader_address: str | None
    commit_index: int
    applied_index: int
    last_index: int
    log_first_index: int
    """The log begins with this entry, ``snapshot_index`` + 1."""
    log_bytes: int
    """The size of the log on disk."""
    snapshot_index: int
    """Up to here the log was cut, and what was there is in the state or in a snapshot; 0 if it never was."""
    repairing: bool
    """Whether it lost data that it had voted with, and waits for the cluster to take it in anew."""
    membership: MembershipStatus | None
    peers: tuple[PeerStatus, ...]
    fsyncs: int
    """fsyncs of the log since the start."""
    storage: StorageStatus
    other_cluster_at: tuple[str, ...] = ()
    """The peers' addresses where a node of another cluster answers: see :attr:`RefusalCode.OTHER_CLUSTER`."""
    failure: str | None = None


def status_of(
    config: RaftConfig,
    group: Group | None,
    addresses: Mapping[int, str],
    connected: Container[int],
    *,
    leader: int | None,
    store: GroupStore | None,
    failure: BaseException | None,
    other_cluster_at: Iterable[str] = (),
) -> NodeStatus:
    """What the parts of a node amount to. ``group`` is ``None`` while not every member's id is known."""
    core = group.core if group is not None else None
    own = core.configuration.get(config.node_id) if core else None
    return NodeStatus(
        node_id=config.node_id,
        address=config.address,
        role="failed" if failure else "joining" if core is None else core.role.value,
        member_role=own.role if own else None,
        term=core.term if core else 0,
        leader=leader,
        leader_address=addresses.get(leader) if leader is not None else None,
        commit_index=core.log.committed if core else 0,
        applied_index=group.applied_index if group else 0,
        last_index=core.log.last_index if core else 0,
        log_first_index=core.log.floor.index + 1 if core else 0,
        log_bytes=store.log_bytes if store else 0,
        snapshot_index=core.log.floor.index if core else 0,
        repairing=core.repairing if core else False,
        membership=_membership(group, addresses, connected) if group else None,
        peers=tuple(_peers(config.node_id, core, addresses, connected)),
        fsyncs=store.stats.syncs if store else 0,
        storage=_storage(config, store),
        other_cluster_at=tuple(sorted(other_cluster_at)),
        failure=(str(failure) or repr(failure)) if failure else None,
    )


def _storage(config: RaftConfig, store: GroupStore | None) -> StorageStatus:
    entries, size = store.unsynced if store else (0, 0)
    return StorageStatus(
        profile=config.storage_profile,
        settings=store.settings if store else config.storage,
        unsynced_entries=entries,
        unsynced_bytes=size,
        power_loss=store.power_loss if store else None,
    )


def _peers(
    node_id: int, core: RaftCore | None, addresses: Mapping[int, str], connected: Container[int]
) -> Iterator[PeerStatus]:
    for peer, address in addresses.items():
        if peer != node_id:
            match, lag = _how_far(core, peer)
            yield PeerStatus(node_id=peer, address=address, connected=peer in connected, match_index=match, lag=lag)


def _how_far(core: RaftCore | None, peer: int) -> tuple[int | None, int | None]:
    """(the last index that a peer is known to have, how many entries it lacks), if this node leads."""
    progress = core.replication.peers.get(peer) if core and core.replication else None
    if core is None or progress is None:
        return None, None
    return progress.match, core.log.last_index - progress.match


def _membership(group: Group, addresses: Mapping[int, str], connected: Container[int]) -> MembershipStatus:
    core = group.core
    configuration, index = core.configuration, core.log.configurations.index
    return MembershipStatus(
        configuration_index=index,
        joint=configuration.is_joint,
        committed=index <= core.log.committed,
        members=tuple(_member(member, group, addresses, connected) for member in configuration),
    )


def _member(member: Member, group: Group, addresses: Mapping[int, str], connected: Container[int]) -> MemberStatus:
    core, peer = group.core, member.node_id
    match, lag = _how_far(core, peer)
    repairing: bool | None = None
    snapshot: bool | None = None
    heard: bool | None = None
    if peer == core.node_id:
        match, lag, repairing = core.log.durable, core.log.last_index - core.log.durable, core.repairing
    elif core.replication is not None and (progress := core.replication.peers.get(peer)) is not None:
        repairing, snapshot = progress.repairing, progress.state is ProgressState.SNAPSHOT
        heard = progress.active or progress.was_active
    elif peer in group.hearing.silent:
        heard = False
    return MemberStatus(
        node_id=peer,
        address=addresses.get(peer, member.address),
        role=member.role,
        priority=member.priority,
        promote=member.promote,
        leaving=member.leaving,
        connected=peer == core.node_id or peer in connected,
        match_index=match,
        lag=lag,
        repairing=repairing,
        snapshot=snapshot,
        heard=heard,
    )
