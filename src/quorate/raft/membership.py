"""Who belongs to the cluster: one immutable value, kept in the log as an entry of its own kind (§6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from quorate.errors import ConfigError, ProtocolViolation
from quorate.raft.quorum import Quorum, majority_size


class MemberRole(StrEnum):
    """What a member is there for. The values are in the log: never rename."""

    VOTER = "voter"
    """Decides, and may lead."""
    LEARNER = "learner"
    """Receives the log and answers reads, but decides nothing (thesis §4.2.1)."""
    WITNESS = "witness"
    """Decides, but receives no data: of the log it keeps only where each term began. It never leads."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``address`` (host:port) and ``store`` are opaque to the core.

    ``store`` identifies the data that the member votes with: one that comes back with other data has lost what
    it had promised. 0 stands for "not known yet". Of two voters that could lead, the one of higher ``priority``
    should; one of priority 0 only if nobody has led for long. With ``promote``, a learner is to become a voter once it
    has caught up, and a witness is to have its say then. A ``leaving`` member belongs to the outgoing half only.
    """

    node_id: int
    address: str = ""
    role: MemberRole = MemberRole.VOTER
    priority: int = 1
    store: int = 0
    promote: bool = False
    leaving: bool = False

    @property
    def decides(self) -> bool:
        """Whether it counts for a majority."""
        return self.role is MemberRole.VOTER or (self.role is MemberRole.WITNESS and not self.promote)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members, in ascending order of their ids.

    ``outgoing`` holds the former voters while a change is under way (joint consensus, §6); it is empty otherwise.
    Without any member it is what a node knows before it was added to a cluster: then nothing has a quorum.
    """

    members: tuple[Member, ...] = ()
    outgoing: frozenset[int] = frozenset()
    voters: frozenset[int] = field(init=False, repr=False, compare=False)
    witnesses: frozenset[int] = field(init=False, repr=False, compare=False)
    quorum: Quorum = field(init=False, repr=False, compare=False)
    priority_max: int = field(init=False, repr=False, compare=False)
    """The highest priority of those that may lead."""
    _by_id: dict[int, Member] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = [member.node_id for member in self.members]
        if ids != sorted(set(ids)):
            raise ConfigError(f"members must be in ascending order, each once: {ids}")
        voters = frozenset(each.node_id for each in self.members if each.decides and not each.leaving)
        if self.members and not any(each.role is MemberRole.VOTER and not each.leaving for each in self.members):
            raise ConfigError("a cluster needs at least one voter that may lead")
        if not self.outgoing.issubset(ids):
            raise ConfigError("the outgoing half names nodes that are no members")
        witnesses = frozenset(each.node_id for each in self.members if each.role is MemberRole.WITNESS)
        if voters and len(voters & witnesses) >= majority_size(voters):
            raise ConfigError("witnesses must not be a majority: they would commit what nobody has")
        object.__setattr__(self, "voters", voters)
        object.__setattr__(self, "witnesses", witnesses)
        object.__setattr__(self, "quorum", Quorum((voters, self.outgoing) if self.outgoing else (voters,)))
        able = [each.priority for each in self.members if self.may_lead(each.node_id)]
        object.__setattr__(self, "priority_max", max(able, default=0))
        object.__setattr__(self, "_by_id", {member.node_id: member for member in self.members})

    @classmethod
    def of(cls, voters: Iterable[int], learners: Iterable[int] = (), outgoing: Iterable[int] = ()) -> Configuration:
        """A configuration by ids alone."""
        voters, learners, outgoing = frozenset(voters), frozenset(learners), frozenset(outgoing)
        return cls(
            tuple(
                Member(
                    node_id,
                    role=MemberRole.LEARNER if node_id in learners else MemberRole.VOTER,
                    leaving=node_id not in voters | learners,
                )
                for node_id in sorted(voters | learners | outgoing)
            ),
            outgoing,
        )

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._by_id

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __getitem__(self, node_id: int) -> Member:
        """The member with this id. Raises :class:`KeyError`."""
        member = self.get(node_id)
        if member is None:
            raise KeyError(node_id)
        return member

    def get(self, node_id: int) -> Member | None:
        """The member with this id, if there is one."""
        return self._by_id.get(node_id)

    @property
    def ids(self) -> tuple[int, ...]:
        """Every node that receives the log, in ascending order."""
        return tuple(self._by_id)

    @property
    def is_joint(self) -> bool:
        """Whether a change is under way, so that every decision needs two majorities."""
        return bool(self.outgoing)

    def is_voter(self, node_id: int) -> bool:
        """Whether the node has a say in any half."""
        return node_id in self.voters or node_id in self.outgoing

    def may_lead(self, node_id: int) -> bool:
        """Whether the node may become, or be asked to become, the leader."""
        return self.is_voter(node_id) and node_id not in self.witnesses

    # -- changing ----------------------------------------------------------------------------------------

    def changed_to(self, members: Iterable[Member]) -> Configuration:
        """The configuration that leads from this one to ``members``: joint, if those who decide are others.

        Raises :class:`ConfigError` if ``members`` cannot be a cluster, or a witness would have to hold data.
        """
        target = Configuration(tuple(sorted(members, key=lambda member: member.node_id)))
        for member in target:
            before = self.get(member.node_id)
            if before is not None and (before.role is MemberRole.WITNESS) != (member.role is MemberRole.WITNESS):
                raise ConfigError(f"node {member.node_id} is a {before.role}: remove it, and add it anew, empty")
        if target.voters == self.voters:
            return target
        gone = [replace(self[voter], leaving=True) for voter in self.voters if voter not in target]
        everyone = sorted((*target, *gone), key=lambda member: member.node_id)
        return Configuration(tuple(everyone), self.voters)

    def settled(self) -> Configuration:
        """The configuration behind a joint one: the new half alone."""
        return Configuration(tuple(member for member in self if not member.leaving))

    # -- in the log --------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The payload of its entry: JSON, so that anyone can read it."""
        value = {"members": [asdict(member) for member in self], "outgoing": sorted(self.outgoing)}
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Configuration:
        """The inverse. Raises :class:`ProtocolViolation` for anything else."""
        try:
            value = json.loads(payload)
            members = tuple(_decode_member(each) for each in value["members"])
            return cls(members, frozenset(value["outgoing"]))
        except (ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
            raise ProtocolViolation(f"an entry holds no configuration: {error}") from error


_MEMBER_TYPES = {name: type(example) for name, example in asdict(Member(0)).items()}


def _decode_member(value: dict[str, Any]) -> Member:
    member = Member(**{**value, "role": MemberRole(value["role"])})
    for name, kind in _MEMBER_TYPES.items():
        if type(getattr(member, name)) is not kind:
            raise TypeError(f"a member's {name} is {value[name]!r}")
    return member
