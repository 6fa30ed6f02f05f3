"""Which links lead to which node."""

from __future__ import annotations

from typing import Generic, TypeVar

from quorate.transport.stats import StatsBook

L = TypeVar("L")


class Routes(Generic[L]):
    """The links that are up, by the node at their other end; the one that came up last is the way to it."""

    def __init__(self, stats: StatsBook) -> None:
        """``stats`` are kept saying who is connected."""
        self._stats = stats
        self._links: dict[int, list[L]] = {}  # the newest last; never an empty list

    def __contains__(self, peer: int) -> bool:
        return peer in self._links

    def to(self, peer: int) -> L | None:
        """The link to send to ``peer`` over."""
        return links[-1] if (links := self._links.get(peer)) else None

    def add(self, peer: int, link: L) -> None:
        """``link`` is up."""
        self._links.setdefault(peer, []).append(link)
        stats = self._stats[peer]
        stats.connected = True
        stats.connections += 1

    def remove(self, peer: int, link: L) -> None:
        """It is not any more. Harmless when repeated."""
        links = self._links.get(peer, [])
        if link in links:
            links.remove(link)
            self._stats[peer].losses += 1
        if not links:
            self._links.pop(peer, None)
            self._stats[peer].connected = False
