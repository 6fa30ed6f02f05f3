"""The roles of a node and every way from one to another (§5.1 figure 4, with PreVote and CheckQuorum).

A role's volatile state lives in an object of its own and dies with the role: what a leader knew of its peers,
the votes a candidate had gathered, the reads under way.
"""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What a node currently is."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Event(Enum):
    """What makes a node change its role."""

    TIMEOUT = "nothing heard from a leader for an election timeout"
    PRE_VOTE_WON = "a quorum would vote for it"
    VOTE_WON = "a quorum voted for it"
    VOTE_LOST = "a quorum refused"
    LEADER_HEARD = "a leader of this term made itself known"
    HIGHER_TERM = "a message carried a higher term"
    QUORUM_LOST = "no quorum answered for an election timeout"
    DISK_STALLED = "its own disk did not answer for two election timeouts"
    PROMISES_LOST = "it turned out to have lost its data"
    OFFICE_HANDED_OVER = "the leader asked it to campaign"
    REMOVED = "the cluster decided to go on without it as a voter"


TRANSITIONS: dict[tuple[Role, Event], Role] = {
    (Role.FOLLOWER, Event.TIMEOUT): Role.PRE_CANDIDATE,
    (Role.FOLLOWER, Event.LEADER_HEARD): Role.FOLLOWER,
    (Role.FOLLOWER, Event.HIGHER_TERM): Role.FOLLOWER,
    (Role.FOLLOWER, Event.OFFICE_HANDED_OVER): Role.CANDIDATE,
    (Role.PRE_CANDIDATE, Event.TIMEOUT): Role.PRE_CANDIDATE,
    (Role.PRE_CANDIDATE, Event.PRE_VOTE_WON): Role.CANDIDATE,
    (Role.PRE_CANDIDATE, Event.VOTE_LOST): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, Event.LEADER_HEARD): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, Event.HIGHER_TERM): Role.FOLLOWER,
    (Role.PRE_CANDIDATE, Event.PROMISES_LOST): Role.FOLLOWER,
    (Role.CANDIDATE, Event.TIMEOUT): Role.PRE_CANDIDATE,
    (Role.CANDIDATE, Event.VOTE_WON): Role.LEADER,
    (Role.CANDIDATE, Event.VOTE_LOST): Role.FOLLOWER,
    (Role.CANDIDATE, Event.LEADER_HEARD): Role.FOLLOWER,
    (Role.CANDIDATE, Event.HIGHER_TERM): Role.FOLLOWER,
    (Role.CANDIDATE, Event.PROMISES_LOST): Role.FOLLOWER,
    (Role.LEADER, Event.HIGHER_TERM): Role.FOLLOWER,
    (Role.LEADER, Event.QUORUM_LOST): Role.FOLLOWER,
    (Role.LEADER, Event.DISK_STALLED): Role.FOLLOWER,
    (Role.LEADER, Event.PROMISES_LOST): Role.FOLLOWER,
    (Role.LEADER, Event.REMOVED): Role.FOLLOWER,
}
