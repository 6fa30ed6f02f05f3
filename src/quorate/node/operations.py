"""What can be done to the membership, as values: each makes new members of old ones, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from quorate.config import NODE_ID_MAX, parse_peer
from quorate.errors import ConfigError, FrameError
from quorate.raft.membership import Configuration, Member, MemberRole

MEMBERS_MAX = 64
PRIORITY_MAX = 100


class Operation(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", forbid_unknown_fields=True):
    """Something to do with the member ``node_id``."""

    node_id: int

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        """The members afterwards. Raises :class:`ConfigError` if that is not possible."""
        raise NotImplementedError  # each operation has its own; msgspec's structs cannot be abstract

    def _replaced(self, configuration: Configuration, **changes: object) -> tuple[Member, ...]:
        changed = replace(self._existing(configuration), **changes)  # type: ignore[arg-type]
        return tuple(changed if member.node_id == self.node_id else member for member in configuration)

    def _existing(self, configuration: Configuration) -> Member:
        member = configuration.get(self.node_id)
        if member is None:
            known = ", ".join(str(node_id) for node_id in configuration.ids)
            raise ConfigError(f"node {self.node_id} is not a member; the members are {known}")
        return member


class Add(Operation, frozen=True, kw_only=True, tag="add"):
    """Add a node. Whoever is to have a say, voter or witness, has it once it has caught up, and not before."""

    address: str
    role: MemberRole = MemberRole.VOTER
    priority: int = 1

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        if self.node_id in configuration:
            raise ConfigError(f"node {self.node_id} is a member already")
        if not 0 < self.node_id <= NODE_ID_MAX:
            raise ConfigError(f"{self.node_id} is no node id: give one from 1 to {NODE_ID_MAX}")
        if len(configuration.members) >= MEMBERS_MAX:
            raise ConfigError(f"a cluster has at most {MEMBERS_MAX} members")
        address = _checked_address(self.address)
        _check_address_is_free(address, self.node_id, configuration)
        role = MemberRole.LEARNER if self.role is MemberRole.VOTER else self.role
        promote = self.role is not MemberRole.LEARNER
        member = Member(self.node_id, address, role, _checked_priority(self.priority), promote=promote)
        return (*configuration, member)


def promoted(member: Member) -> Member:
    """A member that waits for its say, as it is once it has caught up; any other as it is."""
    if not member.promote:
        return member
    role = MemberRole.WITNESS if member.role is MemberRole.WITNESS else MemberRole.VOTER
    return replace(member, role=role, promote=False)


class Promote(Operation, frozen=True, kw_only=True, tag="promote"):
    """Make a learner a voter as soon as it has caught up."""

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        member = self._existing(configuration)
        if member.role is not MemberRole.LEARNER:
            raise ConfigError(f"node {self.node_id} is a {member.role}: only a learner can be promoted")
        return self._replaced(configuration, promote=True)


class Demote(Operation, frozen=True, kw_only=True, tag="demote"):
    """Make a voter a learner."""

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        member = self._existing(configuration)
        if member.role is MemberRole.WITNESS:
            raise ConfigError(f"node {self.node_id} is a witness and holds no data: it can only be removed")
        return self._replaced(configuration, role=MemberRole.LEARNER, promote=False)


class Remove(Operation, frozen=True, kw_only=True, tag="remove"):
    """Take a member out."""

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        self._existing(configuration)
        return tuple(member for member in configuration if member.node_id != self.node_id)


class Update(Operation, frozen=True, kw_only=True, tag="update"):
    """Change a member's address or priority."""

    address: str | None = None
    priority: int | None = None

    def applied_to(self, configuration: Configuration) -> tuple[Member, ...]:
        changes: dict[str, object] = {}
        if self.address is not None:
            changes["address"] = _checked_address(self.address)
            _check_address_is_free(changes["address"], self.node_id, configuration)
        if self.priority is not None:
            changes["priority"] = _checked_priority(self.priority)
        if not changes:
            raise ConfigError("an update changes an address or a priority: give one of them")
        return self._replaced(configuration, **changes)


class Transfer(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="transfer", forbid_unknown_fields=True):
    """Hand the leadership to ``node_id``; 0 means whoever is fittest."""

    node_id: int = 0


AnyOperation = Add | Promote | Demote | Remove | Update | Transfer
_decoder = msgspec.json.Decoder(AnyOperation)


def encode_operation(operation: AnyOperation) -> bytes:
    """An operation as JSON."""
    return msgspec.json.encode(operation)


def decode_operation(data: bytes) -> AnyOperation:
    """The inverse. Raises :class:`FrameError` for anything else."""
    try:
        operation: AnyOperation = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"not an operation on the membership: {error}") from error
    return operation


def _checked_address(text: str) -> str:
    peer = parse_peer(text)
    if peer.node_id is not None:
        raise ConfigError(f"{text!r} is no address: give host:port")
    return peer.address


def _check_address_is_free(address: object, node_id: int, configuration: Configuration) -> None:
    for member in configuration:
        if member.address == address and member.node_id != node_id:
            raise ConfigError(f"{address} is the address of node {member.node_id}")


def _checked_priority(priority: int) -> int:
    if not 0 <= priority <= PRIORITY_MAX:
        raise ConfigError(f"a priority is from 0 (leads only if nobody else can) to {PRIORITY_MAX}, not {priority}")
    return priority
