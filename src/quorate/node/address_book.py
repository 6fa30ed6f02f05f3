"""Who begins a cluster, and who lives where: as configured, and found out by handshakes.

A member is configured by its address, with or without its id. What an address answers when *we* dial it decides
its id; what a node announces about itself is only checked. Once every id is known the book is complete, is kept
in the data directory, and the cluster can begin. From then on its log says who belongs to it.

Two nodes that pass for one could vote twice in one term, so an id is never believed of a second address.
"""

from __future__ import annotations

from collections.abc import Iterable

from quorate.config import Peer
from quorate.transport.contract import Introduction, Refusal


class AddressBook:
    """Addresses and ids of all members."""

    def __init__(self, node_id: int, members: Iterable[Peer]) -> None:
        self.node_id = node_id
        self._ids: dict[str, int | None] = {peer.address: peer.node_id for peer in members}
        self._announced: dict[int, str] = {}
        self.members: dict[int, str] = {}
        """id → address of those known, by ascending id."""
        self._update()

    def _update(self) -> None:
        known = ((node_id, address) for address, node_id in self._ids.items() if node_id is not None)
        self.members = dict(sorted(known))

    @property
    def peer_addresses(self) -> list[str]:
        """The other members' addresses."""
        return [address for address, node_id in self._ids.items() if node_id != self.node_id]

    @property
    def unknown(self) -> list[str]:
        """Addresses whose ids are not known yet."""
        return [address for address, node_id in self._ids.items() if node_id is None]

    def introduce(self, introduction: Introduction) -> Refusal | None:
        """Check, and learn from, a node that presents itself; returns the refusal, if it is to be refused."""
        node_id, dialled = introduction.node_id, introduction.dialled
        if node_id == self.node_id:
            return Refusal(f"two nodes are configured with the id {node_id}")
        if dialled is None or dialled not in self._ids:
            return self._check_caller(introduction)
        expected = self._ids[dialled]
        if expected is not None and expected != node_id:
            return Refusal(f"{dialled} should be node {expected}, but it says it is node {node_id}")
        known = self.members.get(node_id)
        if known not in (None, dialled):
            return Refusal(f"node {node_id} is at {known}; {dialled} claims the same id")
        self._announced[node_id] = introduction.address
        if expected is None:
            self._ids[dialled] = node_id
            self._update()
        return None

    def _check_caller(self, caller: Introduction) -> Refusal | None:
        """A node that dialled us. Before we have reached that id at its own address, it cannot be told apart."""
        known = self._announced.get(caller.node_id)
        if known is not None and known != caller.address:
            return Refusal(f"node {caller.node_id} is at {known}; {caller.address} claims the same id")
        if not self.unknown and caller.node_id not in self.members:
            return Refusal(f"node {caller.node_id} at {caller.address} is not a member of this cluster")
        return None
