"""Majorities, plain and joint. A decision needs a majority of every set of voters it is made in (§6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum


class VoteResult(Enum):
    """Where a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority_size(voters: Collection[int]) -> int:
    """How many of ``voters`` make a majority."""
    return len(voters) // 2 + 1


def majority_value(voters: Collection[int], values: Mapping[int, int]) -> int:
    """The largest value that a majority of ``voters`` has reached; a voter without a value counts as 0.

    >>> majority_value({1, 2, 3}, {1: 5, 2: 7})
    5
    """
    if not voters:
        return 0
    reached = sorted((values.get(voter, 0) for voter in voters), reverse=True)
    return reached[majority_size(voters) - 1]


def majority_vote(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """The result of ``votes`` (voter → granted) among ``voters``; votes of others do not count."""
    needed = majority_size(voters)
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    if granted >= needed:
        return VoteResult.WON
    return VoteResult.LOST if refused > len(voters) - needed else VoteResult.PENDING


@dataclass(frozen=True, slots=True)
class Quorum:
    """The sets of voters in which every decision needs a majority: one, or two while membership changes."""

    halves: tuple[frozenset[int], ...]

    def reached(self, values: Mapping[int, int]) -> int:
        """The largest value that is reached by a majority of each half."""
        return min(majority_value(half, values) for half in self.halves)

    def vote(self, votes: Mapping[int, bool]) -> VoteResult:
        """Won if won in each half, lost if lost in any."""
        results = {majority_vote(half, votes) for half in self.halves}
        for decisive in (VoteResult.LOST, VoteResult.PENDING):
            if decisive in results:
                return decisive
        return VoteResult.WON

    def includes(self, nodes: Collection[int]) -> bool:
        """Whether ``nodes`` hold a majority of each half."""
        return all(len(half.intersection(nodes)) >= majority_size(half) for half in self.halves)
