"""Elections: when to campaign, whom to vote for, how votes are counted (§5.2, §5.4.1; thesis §9.6)."""

from __future__ import annotations

from random import Random

from quorate.raft.config import CoreConfig
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.messages import RequestVote
from quorate.raft.output import HardState
from quorate.raft.quorum import Quorum, VoteResult

LAST_RESORT_TIMEOUTS = 20
"""A voter of priority 0 stands, too, once nobody has led for so many of the longest election timeouts."""


class ElectionTimer:
    """Counts the ticks since this wait began, against a timeout drawn anew each time; and since a leader was heard.

    The second count is a promise: a leader's lease rests on it, so only time ends it, never a change of term.
    Every wait is longer by :attr:`patience_ticks`, so that nodes of higher priority come first.
    """

    def __init__(self, config: CoreConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._elapsed = 0
        self._since_leader = 0  # before the last crash one may have been heard: its lease must be respected
        self._just_heard = True
        self.patience_ticks = 0
        """See :func:`patience_ticks`."""
        self._timeout = self._draw(config.election_ticks_min, config.election_ticks_max)

    def _draw(self, low: int, high: int) -> int:
        return self._rng.randint(low + 1, high)

    def leader_heard(self) -> None:
        """A legitimate leader sent something."""
        self._elapsed = self._since_leader = 0
        self._just_heard = True

    def restart(self) -> None:
        """Begin a new wait (a vote was granted, a role was left) with a full timeout."""
        self._elapsed = 0
        self._timeout = self._draw(self._config.election_ticks_min, self._config.election_ticks_max)

    def restart_campaign(self) -> None:
        """Begin a campaign's shorter wait: no leader is about, so trying again soon disturbs nobody."""
        self._elapsed = 0
        self._timeout = self._draw(self._config.heartbeat_ticks, self._config.election_ticks_min)

    def tick(self, elapsed: int) -> bool:
        """Let time pass; returns whether the timeout is over."""
        if self._just_heard:
            # How much of this time passed after the leader was heard is unknown, so none of it counts.
            self._just_heard = False
            return False
        self._elapsed += elapsed
        self._since_leader += elapsed
        return self._elapsed >= self._timeout + self.patience_ticks

    @property
    def leader_is_recent(self) -> bool:
        """Whether a leader may still count on this node: then nobody else gets its vote (thesis §4.2.3)."""
        return self._since_leader < self._config.election_ticks_min


def patience_ticks(config: CoreConfig, electorate: Configuration) -> int:
    """How much longer a node waits because others should lead, if they can: they are of higher priority.

    By the width of the range from which timeouts are drawn; with priority 0 until it must be that they cannot.
    """
    own = electorate.get(config.node_id)
    if own is None or own.priority >= electorate.priority_max:
        return 0
    if own.priority == 0:
        return LAST_RESORT_TIMEOUTS * config.election_ticks_max
    return config.election_ticks_max - config.election_ticks_min


class Campaign:
    """The votes gathered by a (pre-)candidate."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self.votes: dict[int, bool] = {}

    def record(self, voter: int, granted: bool) -> VoteResult:
        """Count one vote; a voter's first answer stands."""
        self.votes.setdefault(voter, granted)
        return self._quorum.vote(self.votes)


def grants_vote(request: RequestVote, candidate: int, hard_state: HardState, log: RaftLog) -> bool:
    """Whether ``candidate`` gets the vote, or the promise of one (§5.2, §5.4.1).

    The caller has already dealt with the term: the request's is ours, or higher and ``pre_vote``.
    """
    if not log.is_up_to_date(request.last_index, request.last_term):
        return False
    if request.term > hard_state.term:
        return True
    return hard_state.voted_for in (None, candidate)
