"""Handing the leadership over (thesis §3.10)."""

from __future__ import annotations

from quorate.raft.config import CoreConfig
from quorate.raft.membership import Configuration
from quorate.raft.progress import Progress, ProgressState


class Transfer:
    """A transfer under way. The leader takes no proposals until it has ended; it gives up after a timeout."""

    def __init__(self, target: int, config: CoreConfig) -> None:
        self.target = target
        self._ticks_left = config.election_ticks_max
        self._ticks_between = config.heartbeat_ticks
        self._ticks_since_asked = config.heartbeat_ticks

    def tick(self, elapsed: int) -> bool:
        """Let time pass; returns whether it is time to give up."""
        self._ticks_left -= elapsed
        self._ticks_since_asked += elapsed
        return self._ticks_left <= 0

    def may_ask(self, progress: Progress, last_index: int) -> bool:
        """Whether the target has everything, and is to be asked (once more: the last time may have been lost)."""
        if progress.match < last_index or self._ticks_since_asked < self._ticks_between:
            return False
        self._ticks_since_asked = 0
        return True


def best_successor(peers: dict[int, Progress], configuration: Configuration) -> int | None:
    """Who should lead next: of those that can be reached, the highest priority, then the longest log."""
    able = [
        peer
        for peer, progress in peers.items()
        if progress.state is ProgressState.REPLICATE
        and (progress.active or progress.was_active)
        and not progress.repairing
        and configuration.may_lead(peer)
        and peer in configuration.voters
    ]
    return max(able, key=lambda peer: (configuration[peer].priority, peers[peer].match, -peer), default=None)
