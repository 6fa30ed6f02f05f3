"""The node as its transport sees it: who presents itself, who can be reached, what arrives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from quorate.config import TICK_MS
from quorate.errors import QuorateError, RemovedFromCluster
from quorate.node.address_book import AddressBook
from quorate.node.calls import Farewell, LeaderAnswer, LeaderCall, LeaderCalls
from quorate.node.events import EventStream, PeerConnected, PeerDisconnected
from quorate.node.forwarding import ForwardMessage
from quorate.node.group import GROUP
from quorate.node.identity import are_compatible
from quorate.node.running import Running
from quorate.node.snapshots.messages import SnapshotMessage
from quorate.raft.messages import Message
from quorate.storage.directory import KnownPeer
from quorate.transport.contract import Announcement, Introduction, Refusal, RefusalCode, WireMessage

log = logging.getLogger(__name__)

_OTHER_SCHEMA = "was started with another app, or another version of it: all nodes must declare the same models"


class Peers:
    """Implements :class:`~quorate.transport.contract.Receiver`.

    While the cluster has still to be formed, introductions fill the address ``book``. Afterwards the roster says who
    is who, and messages go to the parts that are :attr:`running`.
    """

    def __init__(
        self,
        book: AddressBook,
        events: EventStream,
        calls: LeaderCalls,
        *,
        schema: str,
        on_introduced: Callable[[], None],
        on_removed: Callable[[QuorateError], None],
    ) -> None:
        """``on_introduced`` is called when a node has presented itself; ``schema`` is this node's own."""
        self._schema = schema
        self.book = book
        self.store = 0
        """The data that this node announces before the cluster is formed."""
        self.met: dict[int, KnownPeer] = {}
        """The others that presented themselves before it was."""
        self.other_cluster_at: dict[str, str] = {}
        """The dialled addresses where a node of another cluster answers; with what it says."""
        self.connected_ids: set[int] = set()
        self.schemas: dict[int, str] = {}
        """What each node that presented itself has said of its schema."""
        self._machines: dict[int, tuple[str, ...]] = {}
        self.running: Running | None = None
        """What arrives is for these, as soon as they are there."""
        self.stopping = False
        self._events = events
        self._calls = calls
        self._on_introduced = on_introduced
        self._on_removed = on_removed

    @property
    def addresses(self) -> dict[int, str]:
        """Where each known node is reached, this one included."""
        return self.running.membership.roster.addresses if self.running is not None else self.book.members

    def without(self, machine: str) -> list[int]:
        """The other members that have not said yet that they run ``machine``."""
        if self.running is None:
            return []
        roster = self.running.membership.roster
        others = {member.node_id for member in (*roster.committed, *roster.configuration)} - {self.book.node_id}
        return sorted(peer for peer in others if machine not in self._machines.get(peer, ()))

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        """A message arrived."""
        running = self.running
        if running is None or group != GROUP or not running.membership.roster.admits(peer):
            return
        if isinstance(message, Message):
            running.group.received(peer, message)
        elif isinstance(message, ForwardMessage):
            running.group.received_forward(peer, message)
        elif isinstance(message, LeaderCall | LeaderAnswer):
            self._calls.received(peer, message)
        elif isinstance(message, Farewell) and running.membership.is_final(message):
            self._told_of_removal(RemovedFromCluster(f"this node was removed by entry {message.configuration_index}"))
        elif isinstance(message, SnapshotMessage):
            running.snapshots.received(peer, message)

    def receiving(self, peer: int) -> None:
        """A long message is arriving."""
        if self.running is not None and self.running.membership.roster.admits(peer):
            self.running.group.receiving(peer)

    def connected(self, peer: int) -> None:
        """Messages to ``peer`` can leave."""
        self.connected_ids.add(peer)
        self._events.publish(PeerConnected(peer))

    def disconnected(self, peer: int) -> None:
        """Messages to ``peer`` cannot leave for now."""
        self.connected_ids.discard(peer)
        self._events.publish(PeerDisconnected(peer))
        if self.running is not None:
            self.running.group.peer_lost(peer)
        self._calls.lost(peer)

    def announcement(self) -> Announcement:
        """What this node says about itself at this moment."""
        return Announcement(store=self.store) if self.running is None else self.running.membership.announcement()

    def introduced(self, introduction: Introduction) -> Refusal | None:
        """A node presents itself; returns the refusal, if it is to be refused."""
        if self.stopping:
            return Refusal("the node is stopping")
        if not are_compatible(self._schema, introduction.schema):
            return Refusal(f"node {introduction.node_id} at {introduction.address} {_OTHER_SCHEMA}")
        if self.running is not None:
            refusal = self.running.membership.roster.introduce(introduction)
        else:
            refusal = self.book.introduce(introduction)
            if refusal is None:
                self.met[introduction.node_id] = KnownPeer(address=introduction.address, store=introduction.store)
        if refusal is None:
            self.schemas[introduction.node_id] = introduction.schema
            self._machines[introduction.node_id] = introduction.machines
            self.other_cluster_at.pop(introduction.dialled or "", None)
            self._on_introduced()
        return refusal

    def _told_of_removal(self, error: RemovedFromCluster) -> None:
        """A peer says that this node is no member any more: believe it, unless a leader goes on talking to this node.

        It may have been added anew, and that peer may not have heard of it yet.
        """
        assert self.running is not None
        core = self.running.group.core

        def believe() -> None:
            if not self.stopping and not core.hears_leader:
                self._on_removed(error)

        seconds = core.config.election_ticks_max * TICK_MS / 1000
        asyncio.get_running_loop().call_later(seconds if core.hears_leader else 0, believe)

    def refused(self, address: str, refusal: Refusal) -> None:
        """A node that we dialled does not want us."""
        if self.stopping:
            return
        if refusal.code is RefusalCode.OTHER_CLUSTER:
            self._found_other_cluster(address, refusal.reason)
        else:
            self.other_cluster_at.pop(address, None)
        if self.running is None:
            return
        if refusal.code is RefusalCode.REMOVED:
            self._told_of_removal(RemovedFromCluster(refusal.reason))
        elif refusal.code is RefusalCode.OTHER_DATA:
            self.running.membership.lost_data(refusal.reason)

    def _found_other_cluster(self, address: str, reason: str) -> None:
        """It may be a slip in the settings; and it is what a member sees that others have given up by force."""
        if self.running is not None and not self.running.membership.roster.counts_on(address):
            return  # dialled only until it is certain that the member that was there is none any more
        if address not in self.other_cluster_at:
            log.error(
                "the node at %s belongs to another cluster and will not talk to this one: %s. Either --cluster-id or "
                "--peers is wrong, or the cluster was recovered by force (quorate recover) without this node: then "
                "stop it, and do not start it with its data again",
                address,
                reason.partition(";")[0],
            )
        self.other_cluster_at[address] = reason
