"""The configuration as a value: who decides, who may lead, how one leads to the next."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.errors import ConfigError, ProtocolViolation
from quorate.raft.membership import Configuration, Member, MemberRole
from tests.raft.server import members

ROLES = st.sampled_from(MemberRole)
MEMBERS = st.builds(
    Member,
    node_id=st.integers(1, 9),
    address=st.text(max_size=5),
    role=ROLES,
    priority=st.integers(0, 5),
    store=st.integers(0, 1 << 63),
    promote=st.booleans(),
)


def possible(found: list[Member]) -> bool:
    deciding = [each.role for each in found if each.role is not MemberRole.LEARNER]
    return 2 * deciding.count(MemberRole.WITNESS) <= len(deciding) and MemberRole.VOTER in deciding


CLUSTERS = st.lists(MEMBERS, min_size=1, max_size=5, unique_by=lambda member: member.node_id).filter(possible)


def configuration(found: list[Member]) -> Configuration:
    return Configuration(tuple(sorted(found, key=lambda member: member.node_id)))


@settings(max_examples=40)
@given(CLUSTERS, CLUSTERS)
def test_a_change_leads_from_one_half_to_the_other(before: list[Member], after: list[Member]) -> None:
    old = configuration(before)
    new = configuration(after)
    both = [node for node in old.ids if node in new]
    if any((old[node].role is MemberRole.WITNESS) != (new[node].role is MemberRole.WITNESS) for node in both):
        with pytest.raises(ConfigError, match="remove it, and add it anew"):
            old.changed_to(after)
        return
    changed = old.changed_to(after)
    assert changed.is_joint is (old.voters != new.voters)
    assert changed.settled() == new
    assert (changed.voters, changed.outgoing) == (new.voters, old.voters if changed.is_joint else frozenset())
    assert set(changed.ids) == set(new.ids) | (old.voters if changed.is_joint else set())
    assert {each.node_id for each in changed if each.leaving} == set(changed.ids) - set(new.ids)
    for node in changed.ids:
        assert changed.is_voter(node) is (node in new.voters or (changed.is_joint and node in old.voters))
        assert changed.may_lead(node) is (changed.is_voter(node) and changed[node].role is not MemberRole.WITNESS)


@settings(max_examples=40)
@given(CLUSTERS, CLUSTERS)
def test_encoding_keeps_everything(before: list[Member], after: list[Member]) -> None:
    old = configuration(before)
    found = [old, configuration(after)]
    try:
        found.append(old.changed_to(after))
    except ConfigError:
        pass
    for each in found:
        assert Configuration.decode(each.encode()) == each


@given(st.binary(max_size=50))
def test_bytes_that_are_no_configuration_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="holds no configuration"):
        Configuration.decode(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("role", "node_id", "x")), inner),
    max_leaves=8,
)


@given(st.lists(JSON, min_size=1, max_size=3), JSON)
def test_values_of_another_shape_are_refused(found: list[object], outgoing: object) -> None:
    with pytest.raises(ProtocolViolation, match="holds no configuration"):
        Configuration.decode(json.dumps({"members": found, "outgoing": outgoing}).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": "1"},
        {"node_id": 1.5},
        {"node_id": True},
        {"priority": "high"},
        {"store": None},
        {"address": 7},
        {"leaving": 0},
        {"role": "king"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_member_with_a_field_of_another_type_is_refused(change: dict[str, object]) -> None:
    value = json.loads(Configuration.of((1,)).encode())
    value["members"][0] |= change
    with pytest.raises(ProtocolViolation, match="holds no configuration"):
        Configuration.decode(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("found", "outgoing", "message"),
    [
        (members((1,), learners=(2,))[::-1], (), "ascending order"),
        (members((1,)) * 2, (), "ascending order"),
        (members((), learners=(1, 2)), (), "at least one voter"),
        (members((), witnesses=(1,)), (), "at least one voter"),
        ([Member(1, leaving=True)], (1,), "at least one voter"),
        (members((1,)), (1, 2), "names nodes that are no members"),
        (members((1,), witnesses=(2, 3)), (), "must not be a majority"),
    ],
)
def test_what_cannot_be_a_cluster_is_refused(found: list[Member], outgoing: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Configuration(tuple(found), frozenset(outgoing))


def test_nobody_left_is_no_cluster() -> None:
    with pytest.raises(ConfigError):
        Configuration.of((1, 2)).changed_to([])


def test_the_empty_configuration_knows_and_decides_nothing() -> None:
    empty = Configuration()
    assert (empty.ids, empty.is_joint, empty.may_lead(1), 1 in empty) == ((), False, False, False)
    assert empty.quorum.reached({1: 9}) == 0
    assert not empty.quorum.includes({1, 2, 3})


def test_who_is_demoted_still_decides_in_the_outgoing_half() -> None:
    joint = Configuration.of((1, 2, 3)).changed_to(members((1, 2), learners=(3,)))
    assert (joint.voters, joint.outgoing) == ({1, 2}, {1, 2, 3})
    assert joint.may_lead(3)
    assert not joint[3].leaving
    assert not joint.settled().is_voter(3)


def test_a_change_of_what_does_not_decide_takes_one_step() -> None:
    before = Configuration.of((1, 2, 3))
    for after in (members((1, 2, 3), learners=(4,)), members((1, 2, 3), priorities={2: 9}, stores={1: 7})):
        assert before.changed_to(after) == Configuration(tuple(after))


def test_members_are_found_by_their_id() -> None:
    found = Configuration.of((1, 2), learners=(3,))
    assert found[3].role is MemberRole.LEARNER
    assert found.get(4) is None
    with pytest.raises(KeyError):
        found[4]
