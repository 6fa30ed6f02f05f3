"""The node as its transport sees it: who presents itself, who can be reached, what arrives."""

from __future__ import annotations

from collections.abc import Callable

from quorate.errors import QuorateError, RemovedFromCluster
from quorate.node.address_book import AddressBook
from quorate.node.calls import Farewell, LeaderAnswer, LeaderCall
from quorate.node.events import EventStream, PeerConnected, PeerDisconnected
from quorate.node.forwarding import Forward, ForwardAccepted, ForwardRefused
from quorate.node.group import GROUP, Group
from quorate.node.membership import Membership
from quorate.node.snapshots.messages import SnapshotMessage
from quorate.node.snapshots.service import Snapshots
from quorate.raft.messages import Message
from quorate.storage.directory import KnownPeer
from quorate.transport.contract import Announcement, Introduction, Refusal, RefusalCode, WireMessage

_OTHER_SCHEMA = "was started with another app, or another version of it: all nodes must declare the same models"


class Peers:
    """Implements :class:`~quorate.transport.contract.Receiver`.

    While the cluster has still to be formed, introductions fill the address ``book``. Afterwards :attr:`membership`
    says who is who, and messages go to the :attr:`group`.
    """

    def __init__(
        self,
        book: AddressBook,
        events: EventStream,
        *,
        schema: str,
        on_introduced: Callable[[], None],
        on_removed: Callable[[QuorateError], None],
    ) -> None:
        """``on_introduced`` is called when a node has presented itself; ``schema`` is this node's own."""
        self._schema = schema
        self.book = book
        self.store = 0
        """What this node announces before there is a membership."""
        self.met: dict[int, KnownPeer] = {}
        """The others that presented themselves before there was a membership."""
        self.connected_ids: set[int] = set()
        self.group: Group | None = None
        self.membership: Membership | None = None
        self.snapshots: Snapshots | None = None
        self.stopping = False
        self._events = events
        self._on_introduced = on_introduced
        self._on_removed = on_removed

    def form(self, group: Group, membership: Membership, snapshots: Snapshots) -> None:
        """The cluster is formed: what arrives from now on is for these."""
        self.group, self.membership, self.snapshots = group, membership, snapshots

    @property
    def addresses(self) -> dict[int, str]:
        """Where each known node is reached, this one included."""
        return self.membership.roster.addresses if self.membership is not None else self.book.members

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        """A message arrived."""
        if self.group is None or self.membership is None or group != GROUP:
            return
        if not self.membership.roster.admits(peer):
            return
        if isinstance(message, Message):
            self.group.received(peer, message)
        elif isinstance(message, Forward | ForwardAccepted | ForwardRefused):
            self.group.received_forward(peer, message)
        elif isinstance(message, LeaderCall | LeaderAnswer):
            self.membership.calls.received(peer, message)
        elif isinstance(message, Farewell) and self.membership.is_final(message):
            self._on_removed(RemovedFromCluster(f"this node was removed by entry {message.configuration_index}"))
        elif isinstance(message, SnapshotMessage) and self.snapshots is not None:
            self.snapshots.received(peer, message)

    def connected(self, peer: int) -> None:
        """Messages to ``peer`` can leave."""
        self.connected_ids.add(peer)
        self._events.publish(PeerConnected(peer))

    def disconnected(self, peer: int) -> None:
        """Messages to ``peer`` cannot leave for now."""
        self.connected_ids.discard(peer)
        self._events.publish(PeerDisconnected(peer))
        if self.group is not None:
            self.group.peer_lost(peer)
        if self.membership is not None:
            self.membership.calls.lost(peer)

    def announcement(self) -> Announcement:
        """What this node says about itself at this moment."""
        return self.membership.announcement() if self.membership is not None else Announcement(store=self.store)

    def introduced(self, introduction: Introduction) -> Refusal | None:
        """A node presents itself; returns the refusal, if it is to be refused."""
        if self.stopping:
            return Refusal("the node is stopping")
        if introduction.schema != self._schema:
            return Refusal(f"node {introduction.node_id} at {introduction.address} {_OTHER_SCHEMA}")
        if self.membership is not None:
            refusal = self.membership.roster.introduce(introduction)
        else:
            reason = self.book.introduce(introduction)
            refusal = Refusal(reason) if reason is not None else None
            if refusal is None:
                self.met[introduction.node_id] = KnownPeer(address=introduction.address, store=introduction.store)
        if refusal is None:
            self._on_introduced()
        return refusal

    def refused(self, address: str, refusal: Refusal) -> None:
        """A node that we dialled does not want us."""
        if self.stopping or self.membership is None:
            return
        if refusal.code is RefusalCode.REMOVED:
            self._on_removed(RemovedFromCluster(refusal.reason))
        elif refusal.code is RefusalCode.OTHER_DATA:
            self.membership.lost_data(refusal.reason)
