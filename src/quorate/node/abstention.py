"""A node that may have lost entries it had acknowledged lets the others decide for a while.

With its vote, a candidate could win that lacks what only this node had beside the leader. So behind a loss of power
that hit a log which was not synced (see :mod:`quorate.storage.unsynced`) no vote and no request for one leaves the
node. If the others are a majority, they have a leader long before that is over, who has everything that was committed
and brings this node what it lost. If they are none, more nodes have lost their power, and what all of them lost is
gone: then the votes are needed.

This shortens the odds and is no proof: for that, entries have to be synced before they are acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quorate.raft.messages import RequestVote, RequestVoteReply
from quorate.transport.contract import WireMessage

ELECTION_TIMEOUTS = 10
"""It lasts for so many of the longest election timeouts: others need one or two of them."""


class Abstention:
    """Keeps votes back until a moment of the event loop's clock; they count as lost on the way."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._ends = clock() + seconds

    def of(self, messages: Sequence[WireMessage]) -> Sequence[WireMessage]:
        """Those of ``messages`` that may leave now."""
        if self._clock() >= self._ends:
            return messages
        return [message for message in messages if not _is_vote(message)]


def _is_vote(message: WireMessage) -> bool:
    return isinstance(message, RequestVote) or (isinstance(message, RequestVoteReply) and message.granted)
