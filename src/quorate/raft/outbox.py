"""What leaves the core: messages that may go at once, and those that wait for what they promise to be durable."""

from __future__ import annotations

from collections import deque

from quorate.raft.messages import Envelope, Message
from quorate.raft.persistence import Persistence


class Outbox:
    """Messages to the peers, and those of the node to itself (its own vote, its own acknowledgement)."""

    def __init__(self, node_id: int, persistence: Persistence) -> None:
        self._node_id = node_id
        self._persistence = persistence
        self._messages: list[Envelope] = []
        self._own: deque[Message] = deque()

    def send(self, peer: int, message: Message) -> None:
        """Send as soon as possible."""
        self._messages.append(Envelope(peer, message))

    def extend(self, envelopes: list[Envelope]) -> None:
        """Send several."""
        self._messages += envelopes

    def send_durable(self, peer: int, message: Message) -> None:
        """Send once everything in memory now is durable."""
        envelope = Envelope(peer, message)
        if not self._persistence.hold(envelope):
            self._release(envelope)

    def persisted(self, ticket: int) -> None:
        """The write ``ticket`` and all before it are durable: what waited for them goes out."""
        for envelope in self._persistence.persisted(ticket):
            self._release(envelope)

    def _release(self, envelope: Envelope) -> None:
        if envelope.peer == self._node_id:
            self._own.append(envelope.message)
        else:
            self._messages.append(envelope)

    def take_own(self) -> Message | None:
        """The next message of the node to itself."""
        return self._own.popleft() if self._own else None

    def take(self) -> list[Envelope]:
        """All that is to be sent now."""
        messages, self._messages = self._messages, []
        return messages
