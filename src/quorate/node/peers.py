"""The node as its transport sees it: who presents itself, who can be reached, what arrives."""

from __future__ import annotations

from collections.abc import Callable

from quorate.node.address_book import AddressBook
from quorate.node.events import EventStream, PeerConnected, PeerDisconnected
from quorate.node.forwarding import Forward, ForwardAccepted, ForwardRefused
from quorate.node.group import GROUP, Group
from quorate.raft.messages import Message
from quorate.transport.contract import Introduction, WireMessage

_OTHER_SCHEMA = "was started with another app, or another version of it: all nodes must declare the same models"


class Peers:
    """Implements :class:`~quorate.transport.contract.Receiver`.

    Before the group is there (see :attr:`group`), introductions fill the address book; afterwards messages go to it.
    """

    def __init__(
        self, book: AddressBook, events: EventStream, on_introduced: Callable[[], None], *, schema: str = ""
    ) -> None:
        """``on_introduced`` is called when the book may have learned something; ``schema`` is this node's own."""
        self._schema = schema
        self.book = book
        self.connected_ids: set[int] = set()
        self.group: Group | None = None
        self.stopping = False
        self._events = events
        self._on_introduced = on_introduced

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        """A message arrived."""
        if self.group is None or group != GROUP or peer not in self.book.members:
            return
        if isinstance(message, Forward | ForwardAccepted | ForwardRefused):
            self.group.received_forward(peer, message)
        elif isinstance(message, Message):
            self.group.received(peer, message)

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

    def introduced(self, introduction: Introduction) -> str | None:
        """A node presents itself; returns the reason to refuse it, if there is one."""
        if self.stopping:
            return "the node is stopping"
        if introduction.schema != self._schema:
            return f"node {introduction.node_id} at {introduction.address} {_OTHER_SCHEMA}"
        reason = self.book.introduce(introduction)
        if reason is None:
            self._on_introduced()
        return reason
