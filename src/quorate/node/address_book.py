"""Who lives where: the cluster's members as they were configured, found out by handshakes, and remembered.

A member is configured by its address, with or without its id. What an address answers when *we* dial it decides
its id; what a node announces about itself is only checked. Once every id is known the book is complete, is kept
in the data directory, and the cluster can begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quorate.config import Peer
from quorate.errors import ConfigError
from quorate.transport.contract import Introduction


class AddressBook:
    """Addresses and ids of all members."""

    def __init__(self, node_id: int, members: Iterable[Peer], remembered: Mapping[int, str]) -> None:
        """``remembered`` (id → address) is what an earlier run found out; it must not contradict ``members``."""
        self._node_id = node_id
        self._ids: dict[str, int | None] = {peer.address: peer.node_id for peer in members}
        for remembered_id, address in remembered.items():
            configured = self._ids.get(address, remembered_id)
            if configured not in (None, remembered_id):
                raise ConfigError(f"{address} is configured as node {configured}, but it is node {remembered_id}")
            if address in self._ids:
                self._ids[address] = remembered_id

    @property
    def peer_addresses(self) -> list[str]:
        """The other members' addresses."""
        return [address for address, node_id in self._ids.items() if node_id != self._node_id]

    @property
    def unknown(self) -> list[str]:
        """Addresses whose ids are not known yet."""
        return [address for address, node_id in self._ids.items() if node_id is None]

    @property
    def members(self) -> dict[int, str]:
        """id → address of those known, by ascending id."""
        return dict(sorted((node_id, address) for address, node_id in self._ids.items() if node_id is not None))

    def introduce(self, introduction: Introduction) -> str | None:
        """Check, and learn from, a node that presents itself; returns the reason to refuse it, if there is one."""
        node_id, dialled = introduction.node_id, introduction.dialled
        if node_id == self._node_id:
            return f"two nodes are configured with the id {node_id}"
        if dialled is None or dialled not in self._ids:
            if self.unknown or node_id in self.members:
                return None
            return f"node {node_id} at {introduction.address} is not a member of this cluster"
        expected = self._ids[dialled]
        if expected is not None and expected != node_id:
            return f"{dialled} should be node {expected}, but it says it is node {node_id}"
        known = self.members.get(node_id)
        if known not in (None, dialled):
            return f"node {node_id} is at {known}; {dialled} claims the same id"
        self._ids[dialled] = node_id
        return None
