"""Who belongs to the cluster, who lives where, and who may talk to this node, once the cluster exists.

The log says who the members are (:mod:`quorate.raft.membership`); this is what a node makes of it for its
connections. It also knows what no log entry says yet: a member that announces another address than the one in the
log (it moved), and a *guest*: a node that goes by a later configuration than ours, and so is a member for all we know,
whatever the earlier ones say that this node has still to go through, or falls back to.

Each member votes with the data it has. If it comes back with other data, whatever it promised is forgotten, and it
is refused until it says so itself and is taken in anew.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from quorate.raft.membership import Configuration
from quorate.storage.directory import KnownPeer
from quorate.transport.contract import Introduction, Refusal, RefusalCode


class Guest(NamedTuple):
    """Who presented itself as a member."""

    address: str
    configuration_index: int
    """The entry with the configuration that it is a member by."""


class Roster:
    """The members as the log has them, and what the handshakes add."""

    def __init__(
        self,
        node_id: int,
        store: int,
        seeds: Iterable[str],
        known: Mapping[int, KnownPeer],
        connected: Container[int],
    ) -> None:
        """``store`` is the data this node votes with; ``seeds`` are addresses to look for the cluster at; ``known``
        is what an earlier run remembered of the others, and ``connected`` who can be reached now.
        """
        self._node_id = node_id
        self._connected = connected
        self._seeds = frozenset(seeds)
        self._moved: dict[int, str] = {}
        self._introduced: dict[int, Guest] = {}
        self._stores = {peer: each.store for peer, each in known.items() if each.store}
        self._claimed: dict[int, int] = {node_id: store}
        self.configuration = Configuration()
        """The configuration in force here."""
        self.index = 0
        """The entry that holds it."""
        self.committed = Configuration()
        """The latest one that is committed, as far as this node knows."""
        self.committed_index = 0

    def go_by(self, configuration: Configuration, index: int, committed: Configuration, committed_index: int) -> None:
        """The log has changed."""
        for member in configuration:
            if member.node_id in self._introduced and member.node_id not in self.configuration:
                # It said itself where it lives, and the log may have an older address.
                self._moved[member.node_id] = self._introduced[member.node_id].address
            if self._moved.get(member.node_id) == member.address:
                del self._moved[member.node_id]
        self.configuration, self.index = configuration, index
        self.committed, self.committed_index = committed, committed_index
        for gone in [peer for peer in self._stores if peer not in configuration and peer not in committed]:
            del self._stores[gone]
        if self._node_id in committed:
            self._introduced = {
                peer: guest
                for peer, guest in self._introduced.items()
                if peer in configuration or peer in committed or guest.configuration_index > committed_index
            }

    # -- who may talk to us ------------------------------------------------------------------------------

    def introduce(self, introduction: Introduction) -> Refusal | None:
        """A node presents itself; returns the refusal, if it is to be refused."""
        peer = introduction.node_id
        if peer == self._node_id:
            return Refusal(f"two nodes are configured with the id {peer}")
        at_that_address = introduction.dialled and self._living_at(introduction.dialled)
        if at_that_address not in (None, "", peer):
            return Refusal(f"{introduction.dialled} should be node {at_that_address}, but it says it is node {peer}")
        if peer in self.configuration or peer in self.committed:
            return self._meet_member(introduction)
        return self._meet_stranger(introduction)

    def _living_at(self, address: str) -> int | None:
        return next((peer for peer, known in self.addresses.items() if known == address), None)

    def _meet_member(self, introduction: Introduction) -> Refusal | None:
        peer, store = introduction.node_id, introduction.store
        member = self.configuration.get(peer) or self.committed[peer]
        expected = member.store or self._stores.get(peer, 0)
        if store and expected and store != expected and peer in self._connected and self._claimed.get(peer) == expected:
            return Refusal(f"node {peer} is at {self.addresses[peer]}; {introduction.address} claims the same id")
        behind = introduction.configuration_index <= self.index
        if store and expected and store != expected and behind and not introduction.repairing:
            return Refusal(
                f"node {peer} comes back without the data that it has voted with: it must be repaired by the cluster",
                RefusalCode.OTHER_DATA,
            )
        if store and not expected:
            self._stores[peer] = store
        self._claimed[peer] = store
        if introduction.member:
            self._introduced[peer] = Guest(introduction.address, introduction.configuration_index)
        if introduction.dialled is None and introduction.address != member.address:
            self._moved[peer] = introduction.address
        elif introduction.dialled == member.address:
            self._moved.pop(peer, None)
        return None

    def _meet_stranger(self, introduction: Introduction) -> Refusal | None:
        peer = introduction.node_id
        is_later = introduction.configuration_index > self.index or self._node_id not in self.configuration
        if introduction.member and is_later:
            self._claimed[peer] = introduction.store  # it will not say so again when the log has made it a member
            self._introduced[peer] = Guest(introduction.address, introduction.configuration_index)
            return None
        if not introduction.member or introduction.repairing:  # one in repair may have been added since, or may be yet
            return Refusal(
                f"node {peer} is not a member of this cluster: add it (quorate members add {peer}@"
                f"{introduction.address})",
                RefusalCode.NOT_A_MEMBER,
            )
        if self.committed_index > introduction.configuration_index:
            return Refusal(
                f"node {peer} is no member of this cluster (any more), by the configuration of entry "
                f"{self.committed_index}; to have it back, delete its data directory, start it with --join and add it",
                RefusalCode.REMOVED,
            )
        return Refusal(f"node {peer} at {introduction.address} is not a member of this cluster")

    def admits(self, peer: int) -> bool:
        """Whether to listen to what a connected node says."""
        return peer in self.configuration or peer in self.committed or self._is_guest(peer)

    def _is_guest(self, peer: int) -> bool:
        guest = self._introduced.get(peer)
        return guest is not None and (guest.configuration_index > self.index or self._node_id not in self.configuration)

    # -- who lives where ---------------------------------------------------------------------------------

    @property
    def addresses(self) -> dict[int, str]:
        """Where each node is reached that this one has to do with, by ascending id."""
        found = {peer: guest.address for peer, guest in self._introduced.items() if self._is_guest(peer)}
        found.update((member.node_id, member.address) for member in (*self.committed, *self.configuration))
        found.update((peer, address) for peer, address in self._moved.items() if peer in found)
        return dict(sorted(found.items()))

    @property
    def dialled(self) -> set[str]:
        """The addresses to keep connections to."""
        wanted = {address for peer, address in self.addresses.items() if peer != self._node_id}
        # The address in the log may be right again, if who announced another one was wrong about it.
        wanted |= {member.address for member in self.configuration if member.node_id != self._node_id}
        if self._node_id not in self.configuration:
            wanted |= self._seeds
        return wanted - {""}

    def counts_on(self, address: str) -> bool:
        """Whether a member may live there by the configuration in force, or this node has yet to find one there."""
        if self._node_id not in self.configuration:
            return True
        addresses = self.addresses
        return any(address in (member.address, addresses[member.node_id]) for member in self.configuration)

    def moved(self, peer: int) -> str | None:
        """The address that a member announces, if the log has another one."""
        return self._moved.get(peer)

    def claimed_store(self, peer: int) -> int:
        """The data that a member says it has; 0 if it was not heard of."""
        return self._claimed.get(peer, 0)

    @property
    def known(self) -> dict[int, KnownPeer]:
        """What to remember of the others: where they live, and which data they vote with."""
        return {
            peer: KnownPeer(address=address, store=self._stores.get(peer, 0))
            for peer, address in self.addresses.items()
            if peer != self._node_id
        }
