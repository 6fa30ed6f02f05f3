"""What a node applies to its keys, told to all who listen on this node, and kept for those who come later.

One feed serves all listeners of a machine. While none of them wants changes, a change costs an entry in a list.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from quorate.kv.history import History

if TYPE_CHECKING:
    from quorate.kv.keyspace import Change
    from quorate.kv.machine import KvMachine


class Listener(Protocol):
    """Is told on the event loop's thread, in the order of the log; must not raise, nor take long."""

    @property
    def wants_changes(self) -> bool:
        """Whether :meth:`applied` is to be called."""
        ...

    def applied(self, changes: list[Change]) -> None:
        """A command has been applied as a whole, and these are its changes."""

    def published(self, channel: bytes, message: bytes) -> int:
        """A message came; returns how many got it."""
        ...

    def begun_anew(self, told: int) -> None:
        """The state is another one. The last revision that was told of is ``told``; the history has begun anew."""


class Feed:
    """Of one machine: see :meth:`of`."""

    def __init__(self, machine: KvMachine, changes_max: int, bytes_max: int) -> None:
        self._machine = machine
        self._listeners: list[Listener] = []
        self._loop = asyncio.get_running_loop()
        self._seen = 0
        self.history = History(changes_max, bytes_max)
        """What was applied since the first of the listeners of now came."""

    @classmethod
    def of(cls, machine: KvMachine, changes_max: int, bytes_max: int) -> Feed:
        """The feed of a machine that is open. The bounds are those of its history, if nobody listens yet."""
        if machine.feed is None:
            machine.feed = cls(machine, changes_max, bytes_max)
        return machine.feed

    def add(self, listener: Listener) -> None:
        """Tell it of what is applied next."""
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            machine, keyspace = self._machine, self._machine.keyspace
            self.history.begin_behind(keyspace.revision, keyspace.told_bytes)
            keyspace.on_change, keyspace.on_publish = self.history.recent.append, self._published
            machine.after_apply, machine.after_open = self._applied, self._opened

    def remove(self, listener: Listener) -> None:
        """Tell it no more. Behind the last of them the feed ends."""
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        if not self._listeners:
            machine, keyspace = self._machine, self._machine.keyspace
            keyspace.on_change = keyspace.on_publish = machine.after_apply = machine.after_open = machine.feed = None

    def _applied(self) -> None:
        recent = self.history.recent
        if len(recent) == self._seen:
            return
        for listener in self._listeners:
            if listener.wants_changes:
                listener.applied(recent[self._seen :])
        self._seen = self.history.settle(self._machine.keyspace.told_bytes)

    def _published(self, channel: bytes, message: bytes) -> int:
        return sum([listener.published(channel, message) for listener in self._listeners])

    def _opened(self) -> None:
        self._loop.call_soon_threadsafe(self._begin_anew)  # a snapshot is installed in a thread; nothing is applied yet

    def _begin_anew(self) -> None:
        told, keyspace = self.history.last, self._machine.keyspace
        self.history.begin_behind(keyspace.revision, keyspace.told_bytes)
        self._seen = 0
        for listener in self._listeners:
            listener.begun_anew(told)
