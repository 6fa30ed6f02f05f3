"""Majorities against their definition, by trying every subset."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.quorum import Quorum, VoteResult, majority_size, majority_value, majority_vote

NODES = st.integers(1, 7)
VOTERS = st.frozensets(NODES, min_size=1, max_size=7)
QUORUMS = st.lists(VOTERS, min_size=1, max_size=2).map(lambda halves: Quorum(tuple(halves)))
VALUES = st.dictionaries(NODES, st.integers(1, 5))
VOTES = st.dictionaries(NODES, st.booleans())


def is_quorum(nodes: frozenset[int], quorum: Quorum) -> bool:
    """The definition: more than half of each half."""
    return all(2 * len(nodes & half) > len(half) for half in quorum.halves)


def subsets(nodes: frozenset[int]) -> list[frozenset[int]]:
    return [
        frozenset(each) for each in chain.from_iterable(combinations(nodes, size) for size in range(len(nodes) + 1))
    ]


def everyone(quorum: Quorum) -> frozenset[int]:
    return frozenset().union(*quorum.halves)


@given(QUORUMS, VALUES)
def test_reached_is_the_largest_value_for_which_a_quorum_is_there(quorum: Quorum, values: dict[int, int]) -> None:
    candidates = [0, *values.values()]
    nodes = everyone(quorum)
    expected = max(
        value
        for value in candidates
        if is_quorum(frozenset(node for node in nodes if values.get(node, 0) >= value), quorum)
    )
    assert quorum.reached(values) == expected


@given(QUORUMS, VOTES)
def test_a_vote_is_decided_when_the_missing_votes_cannot_change_it(quorum: Quorum, votes: dict[int, bool]) -> None:
    missing = everyone(quorum) - votes.keys()
    granted = frozenset(node for node, vote in votes.items() if vote)
    outcomes = {is_quorum(granted | more, quorum) for more in subsets(missing)}
    expected = VoteResult.PENDING if len(outcomes) == 2 else VoteResult.WON if True in outcomes else VoteResult.LOST
    assert quorum.vote(votes) is expected


@given(QUORUMS, st.frozensets(NODES))
def test_includes_is_the_definition(quorum: Quorum, nodes: frozenset[int]) -> None:
    assert quorum.includes(nodes) is is_quorum(nodes, quorum)


@given(VOTERS)
def test_any_two_majorities_share_a_node(voters: frozenset[int]) -> None:
    majorities = [subset for subset in subsets(voters) if len(subset) >= majority_size(voters)]
    assert majorities
    assert all(one & other for one in majorities for other in majorities)


@given(VOTERS, VALUES, VOTES)
def test_a_single_half_decides_alone(voters: frozenset[int], values: dict[int, int], votes: dict[int, bool]) -> None:
    assert Quorum((voters,)).reached(values) == majority_value(voters, values)
    assert Quorum((voters,)).vote(votes) is majority_vote(voters, votes)


@given(VOTERS, VOTERS, VALUES)
def test_joint_decisions_are_never_ahead_of_either_half(
    one: frozenset[int], other: frozenset[int], values: dict[int, int]
) -> None:
    joint = Quorum((one, other)).reached(values)
    assert joint == min(majority_value(one, values), majority_value(other, values))


def test_half_is_no_majority() -> None:
    assert not Quorum((frozenset({1, 2}),)).includes({1})
    assert not Quorum((frozenset({1, 2, 3, 4}),)).includes({1, 2})
    assert Quorum((frozenset({1, 2, 3, 4}),)).includes({1, 2, 3})
