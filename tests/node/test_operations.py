"""Operations on the membership: what they make of the members, and what they refuse."""

from __future__ import annotations

import pytest

from quorate.errors import ConfigError, FrameError
from quorate.node.operations import (
    MEMBERS_MAX,
    Add,
    AnyOperation,
    Demote,
    Operation,
    Promote,
    Remove,
    Transfer,
    Update,
    decode_operation,
    encode_operation,
)
from quorate.raft.membership import Configuration, Member, MemberRole

THREE = Configuration(
    (Member(1, "a:1"), Member(2, "b:1", MemberRole.LEARNER), Member(3, "c:1", MemberRole.VOTER, priority=2))
)


def after(operation: Operation, configuration: Configuration = THREE) -> dict[int, Member]:
    return {member.node_id: member for member in operation.applied_to(configuration)}


def test_a_future_voter_is_added_as_a_learner_that_is_to_be_promoted() -> None:
    added = after(Add(node_id=4, address="d:1", priority=3))[4]
    assert added == Member(4, "d:1", MemberRole.LEARNER, priority=3, promote=True)
    assert after(Add(node_id=4, address="d:1", role=MemberRole.LEARNER))[4].promote is False
    assert after(Add(node_id=4, address="d:1", role=MemberRole.WITNESS))[4].role is MemberRole.WITNESS


def test_members_are_promoted_demoted_updated_and_removed() -> None:
    assert after(Promote(node_id=2))[2].promote is True
    assert after(Demote(node_id=3))[3] == Member(3, "c:1", MemberRole.LEARNER, priority=2)
    assert after(Update(node_id=1, address="x:1", priority=0))[1] == Member(1, "x:1", priority=0)
    assert set(after(Remove(node_id=1))) == {2, 3}


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Add(node_id=1, address="d:1"), "member already"),
        (Add(node_id=0, address="d:1"), "no node id"),
        (Add(node_id=4, address="nonsense"), "no peer"),
        (Add(node_id=4, address="4@d:1"), "no address"),
        (Add(node_id=4, address="a:1"), "address of node 1"),
        (Add(node_id=4, address="d:1", priority=101), "priority"),
        (Promote(node_id=1), "only a learner"),
        (Promote(node_id=9), "not a member; the members are 1, 2, 3"),
        (Demote(node_id=9), "not a member"),
        (Remove(node_id=9), "not a member"),
        (Update(node_id=1), "give one of them"),
        (Update(node_id=1, address="c:1"), "address of node 3"),
        (Update(node_id=1, priority=-1), "priority"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(operation: Operation, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        operation.applied_to(THREE)


def test_a_witness_can_only_be_removed() -> None:
    members = Configuration((Member(1, "a:1"), Member(2, "b:1"), Member(3, "c:1", MemberRole.WITNESS)))
    with pytest.raises(ConfigError, match="can only be removed"):
        Demote(node_id=3).applied_to(members)
    assert set(after(Remove(node_id=3), members)) == {1, 2}


def test_the_number_of_members_is_bounded() -> None:
    many = Configuration(tuple(Member(node_id, f"host:{node_id}") for node_id in range(1, MEMBERS_MAX + 1)))
    with pytest.raises(ConfigError, match="at most"):
        Add(node_id=100, address="x:1").applied_to(many)


@pytest.mark.parametrize(
    "operation",
    [
        Add(node_id=4, address="d:1", role=MemberRole.WITNESS, priority=0),
        Promote(node_id=2),
        Demote(node_id=2),
        Remove(node_id=2),
        Update(node_id=2, priority=7),
        Transfer(),
    ],
)
def test_operations_travel(operation: AnyOperation) -> None:
    assert decode_operation(encode_operation(operation)) == operation


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"do":"explode","node_id":1}', b'{"do":"add","node_id":1}', b"\xff"]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_operation(data)
