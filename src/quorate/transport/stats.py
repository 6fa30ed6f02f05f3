"""The counters of a transport's peers."""

from __future__ import annotations

from quorate.transport.contract import PeerStats


class StatsBook(dict[int, PeerStats]):
    """Counters per peer id, made when a peer is first spoken of."""

    def __missing__(self, peer: int) -> PeerStats:
        stats = self[peer] = PeerStats()
        return stats
