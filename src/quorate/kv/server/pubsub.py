"""Who of this node's clients listens to what, and the messages that go to them.

A message is at most once sent to a client for each channel or pattern by which it listens, and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quorate.kv.arguments import glob
from quorate.kv.replies import CommandError, Push
from quorate.kv.resp.writer import Encoder

if TYPE_CHECKING:
    from quorate.kv.server.connection import Connection

Listeners = dict["Connection", None]


class Subscriptions:
    """By their names: channels, or patterns of channels."""

    def __init__(self) -> None:
        self.by_name: dict[bytes, Listeners] = {}
        self._names: dict[Connection, dict[bytes, None]] = {}

    def of(self, connection: Connection) -> list[bytes]:
        """What a client listens to, in the order in which it began."""
        return list(self._names.get(connection, ()))

    def count(self, connection: Connection) -> int:
        """How many that are."""
        return len(self._names.get(connection, ()))

    def add(self, connection: Connection, name: bytes) -> None:
        """A client begins to listen."""
        self.by_name.setdefault(name, {})[connection] = None
        self._names.setdefault(connection, {})[name] = None

    def remove(self, connection: Connection, name: bytes) -> None:
        """A client listens no more, if it did."""
        names = self._names.get(connection)
        if names is None or name not in names:
            return
        del names[name], self.by_name[name][connection]
        if not names:
            del self._names[connection]
        if not self.by_name[name]:
            del self.by_name[name]

    def forget(self, connection: Connection) -> None:
        """A client listens to nothing any more."""
        for name in self.of(connection):
            self.remove(connection, name)


class Patterns(Subscriptions):
    """The same for patterns, each of which is read once."""

    def __init__(self) -> None:
        super().__init__()
        self._likes: dict[bytes, Callable[[bytes], bool]] = {}

    def add(self, connection: Connection, name: bytes) -> None:
        if name not in self._likes:
            self._likes[name] = glob(name)
        super().add(connection, name)

    def remove(self, connection: Connection, name: bytes) -> None:
        super().remove(connection, name)
        if name not in self.by_name:
            self._likes.pop(name, None)

    def like(self, channel: bytes) -> list[bytes]:
        """The patterns that a channel is like."""
        return [pattern for pattern, is_like in self._likes.items() if is_like(channel)]


class PubSub:
    """All subscriptions on this node."""

    def __init__(self, subscriptions_max: int) -> None:
        """``subscriptions_max``: of each client."""
        self.channels = Subscriptions()
        self.patterns = Patterns()
        self._subscriptions_max = subscriptions_max

    def count(self, connection: Connection) -> int:
        """How many channels and patterns a client listens to."""
        return self.channels.count(connection) + self.patterns.count(connection)

    def check_room(self, connection: Connection, more: int) -> None:
        """Raises :class:`CommandError` if a client would listen to too much."""
        if self.count(connection) + more > self._subscriptions_max:
            raise CommandError(f"ERR a client has at most {self._subscriptions_max} subscriptions")

    def forget(self, connection: Connection) -> None:
        """A client listens to nothing any more."""
        self.channels.forget(connection)
        self.patterns.forget(connection)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to all who listen; returns how often it was sent."""
        sent = 0
        listeners = self.channels.by_name.get(channel)
        if listeners:
            sent = _send(listeners, Push([b"message", channel, message]))
        for pattern in self.patterns.like(channel):
            sent += _send(self.patterns.by_name[pattern], Push([b"pmessage", pattern, channel, message]))
        return sent


def _send(listeners: Listeners, message: Push) -> int:
    encoded: dict[Encoder, bytes] = {}
    for connection in listeners:
        encode: Callable[[Push], bytes] = connection.encode
        data = encoded.get(encode)
        if data is None:
            data = encoded[encode] = encode(message)
        connection.push(data)
    return len(listeners)
