"""Commands that wait, and messages."""

from __future__ import annotations

from typing import Any

from quorate.kv.replies import NullArray
from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, Key, option
from quorate.kv.store.lists import Side
from quorate.kv.store.shapes import INT, Scored, taken, taken_scored


def _element(reply: Any) -> bytes | None:
    return None if isinstance(reply, NullArray) else reply


def _taken_one(reply: Any) -> tuple[bytes, bytes] | None:
    return None if isinstance(reply, NullArray) else (reply[0], reply[1])


def _scored_one(reply: Any) -> tuple[bytes, bytes, float] | None:
    return None if isinstance(reply, NullArray) else (reply[0], reply[1], reply[2])


class Waiting(Calls):
    """Commands that take something, or wait for it: ``timeout`` seconds, without end if that is ``None`` or 0.

    In a transaction they take what is there, or nothing. Waiting costs nothing; a call that is cancelled while it
    takes may lose what it took, as any write that is cancelled may have been applied.
    """

    def blpop(self, *keys: Key, timeout: float | None = None) -> Call[tuple[bytes, bytes] | None]:
        """The first element of the first list that has one, and before it the key."""
        return self._call(_taken_one, b"BLPOP", *keys, timeout or 0)

    def brpop(self, *keys: Key, timeout: float | None = None) -> Call[tuple[bytes, bytes] | None]:
        """The last element of the first list that has one, and before it the key."""
        return self._call(_taken_one, b"BRPOP", *keys, timeout or 0)

    def blmove(
        self, source: Key, target: Key, src: Side = "LEFT", dest: Side = "RIGHT", *, timeout: float | None = None
    ) -> Call[bytes | None]:
        """Take an element from one end of a list, and add it at one end of another, or of the same."""
        return self._call(_element, b"BLMOVE", source, target, src, dest, timeout or 0)

    def brpoplpush(self, source: Key, target: Key, *, timeout: float | None = None) -> Call[bytes | None]:
        """Take the last element, and add it at the head of another list: the older form of :meth:`blmove`."""
        return self._call(_element, b"BRPOPLPUSH", source, target, timeout or 0)

    def blmpop(
        self, *keys: Key, direction: Side = "LEFT", count: int | None = None, timeout: float | None = None
    ) -> Call[tuple[bytes, list[bytes]] | None]:
        """Elements from the first of several lists that is there, and before them its key."""
        return self._call(taken, b"BLMPOP", timeout or 0, len(keys), *keys, direction, *option(b"COUNT", count))

    def bzpopmin(self, *keys: Key, timeout: float | None = None) -> Call[tuple[bytes, bytes, float] | None]:
        """Key, member and score of the lowest of the first sorted set that is there."""
        return self._call(_scored_one, b"BZPOPMIN", *keys, timeout or 0)

    def bzpopmax(self, *keys: Key, timeout: float | None = None) -> Call[tuple[bytes, bytes, float] | None]:
        """Key, member and score of the highest of the first sorted set that is there."""
        return self._call(_scored_one, b"BZPOPMAX", *keys, timeout or 0)

    def bzmpop(
        self, *keys: Key, highest: bool = False, count: int | None = None, timeout: float | None = None
    ) -> Call[tuple[bytes, Scored] | None]:
        """Members from the first of several sorted sets that is there, and before them its key."""
        side = b"MAX" if highest else b"MIN"
        return self._call(taken_scored, b"BZMPOP", timeout or 0, len(keys), *keys, side, *option(b"COUNT", count))

    def publish(self, channel: Key, message: Argument) -> Call[int]:
        """Send a message to the subscribers of a channel on all nodes; returns how many on this one got it."""
        return self._call(INT, b"PUBLISH", channel, message)

    def head(self) -> Call[int]:
        """The revision of the latest change of all keys: to read it in a transaction, and watch from there on."""
        return self._call(INT, b"QUORATE.HEAD")
