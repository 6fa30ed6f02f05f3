"""Watches: the changes of some keys, each told once, in the order of their revisions, with none left out.

A watch that has seen all there is hears of a change when it is applied here. One whose client does not take its
messages is left behind, and goes on from the history when the client takes them again; nothing is kept for it. If the
history does not reach back so far any more, it is told so and ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count, islice
from typing import TYPE_CHECKING

from quorate.kv.history import SLICE_CHANGES, History, Targets, merged
from quorate.kv.keyspace import FLUSHED
from quorate.kv.replies import CommandError, Push

if TYPE_CHECKING:
    from quorate.kv.keyspace import Change
    from quorate.kv.server.connection import Connection


class Watch:
    """What one watch is about, and ``next``, the first revision that it has not told of."""

    __slots__ = ("connection", "is_live", "next", "targets", "watch_id")

    def __init__(self, watch_id: int, connection: Connection, targets: Targets) -> None:
        self.watch_id = watch_id
        self.connection = connection
        self.targets = targets
        self.next = 0
        self.is_live = False

    def tell(self, change: Change) -> None:
        """Send a change, the next that concerns it."""
        events, key, revision, value = change
        self.next = revision + 1
        self.connection.push_reply(Push([b"change", self.watch_id, revision, events.encode(), key, value]))


class Watches:
    """All watches on this node. ``history`` is to have begun behind the revision of the state."""

    def __init__(self, history: History, targets_max: int) -> None:
        """``targets_max``: so many keys and prefixes a client may watch."""
        self._history = history
        self._targets_max = targets_max
        self._ids = count(1)
        self._watches: dict[Connection, dict[int, Watch]] = {}
        self._by_key: dict[bytes, dict[Watch, None]] = {}
        self._by_prefix: dict[int, dict[bytes, dict[Watch, None]]] = {}
        self._live: dict[Watch, None] = {}
        self._behind: dict[Connection, dict[Watch, None]] = {}
        self._resuming: set[Connection] = set()

    def __bool__(self) -> bool:
        return bool(self._live)

    # -- beginning and ending ----------------------------------------------------------------------------

    def check_room(self, connection: Connection, more: int) -> None:
        """Raises :class:`CommandError` if a client would watch too much."""
        watched = sum(len(each.targets) for each in self._watches.get(connection, {}).values())
        if watched + more > self._targets_max:
            raise CommandError(f"ERR a client watches at most {self._targets_max} keys and prefixes")

    def begin(
        self, connection: Connection, keys: Iterable[bytes], prefixes: Iterable[bytes], first: int | None
    ) -> tuple[int, int]:
        """Watch from the revision ``first`` on, or from now on; returns the watch's id and that revision.

        A revision that is not there yet is waited for. Raises ``COMPACTED`` if it is no more.
        """
        watch = Watch(next(self._ids), connection, Targets.of(keys, prefixes))
        watch.next = self._history.last + 1 if first is None else first
        if watch.next < self._history.first:
            raise CommandError(f"COMPACTED {self._history.first}")
        self._watches.setdefault(connection, {})[watch.watch_id] = watch
        if watch.next > self._history.last:
            self._set_live(watch)
        else:
            self._leave_behind(watch)
            self.resume(connection)
        return watch.watch_id, watch.next

    def end(self, connection: Connection, watch_id: int | None = None) -> int:
        """Tell a client no more of one watch, or of any; returns how many ended."""
        watches = self._watches.get(connection, {})
        ended = [each for each in watches.values() if watch_id in (None, each.watch_id)]
        for watch in ended:
            self._set_not_live(watch)
            if watch in (behind := self._behind.get(connection, {})):
                del behind[watch]
            del watches[watch.watch_id]
        if not watches:
            self._watches.pop(connection, None)
            self._behind.pop(connection, None)
        return len(ended)

    def count(self, connection: Connection) -> int:
        """How many a client has."""
        return len(self._watches.get(connection, ()))

    def begin_anew(self, told: int) -> None:
        """The history has begun anew. Those that were live know all up to the revision ``told``."""
        for watch in [each for watches in self._watches.values() for each in watches.values()]:
            if watch.is_live:
                watch.next = max(watch.next, told + 1)
            if watch.next < self._history.first:
                self._cut_off(watch)

    def _cut_off(self, watch: Watch) -> None:
        watch.connection.push_reply(Push([b"compacted", watch.watch_id, self._history.first]))
        self.end(watch.connection, watch.watch_id)
        watch.connection.session.update()

    # -- live --------------------------------------------------------------------------------------------

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell those that are live of changes behind all others."""
        for change in merged(changes):
            for watch in self._concerned(change[0], change[1]):
                if watch.next > change[2]:
                    continue
                if watch.connection.takes_pushes:
                    watch.tell(change)
                else:
                    watch.next = change[2]
                    self._leave_behind(watch)

    def _concerned(self, event: str, key: bytes) -> list[Watch]:
        if event == FLUSHED:
            return list(self._live)
        concerned = list(self._by_key.get(key, ()))
        for length, prefixes in self._by_prefix.items():
            concerned += prefixes.get(key[:length], ())
        return concerned

    def _places(self, watch: Watch) -> Iterable[tuple[dict[bytes, dict[Watch, None]], bytes]]:
        for key in watch.targets.keys:
            yield self._by_key, key
        for prefix in watch.targets.prefixes:
            yield self._by_prefix.setdefault(len(prefix), {}), prefix

    def _set_live(self, watch: Watch) -> None:
        watch.is_live = True
        self._live[watch] = None
        for place, name in self._places(watch):
            place.setdefault(name, {})[watch] = None

    def _set_not_live(self, watch: Watch) -> None:
        if not watch.is_live:
            return
        watch.is_live = False
        del self._live[watch]
        for place, name in list(self._places(watch)):
            del place[name][watch]
            if not place[name]:
                del place[name]
        for length in {len(prefix) for prefix in watch.targets.prefixes}:
            if not self._by_prefix[length]:
                del self._by_prefix[length]

    # -- behind ------------------------------------------------------------------------------------------

    def _leave_behind(self, watch: Watch) -> None:
        self._set_not_live(watch)
        self._behind.setdefault(watch.connection, {})[watch] = None

    def resume(self, connection: Connection) -> None:
        """A client takes messages: what is behind may go on, at the end of this turn."""
        if connection in self._behind and connection not in self._resuming:
            self._resuming.add(connection)
            asyncio.get_running_loop().call_soon(self._catch_up, connection)

    def _catch_up(self, connection: Connection) -> None:
        self._resuming.discard(connection)
        behind = self._behind.get(connection)
        if not behind or not connection.takes_pushes:
            return
        watch = next(iter(behind))
        del behind[watch]
        if watch.next < self._history.first:
            self._cut_off(watch)
        elif self._go_through(watch):
            self._set_live(watch)
        else:
            behind[watch] = None
        if behind:
            self.resume(connection)
        else:
            self._behind.pop(connection, None)

    def _go_through(self, watch: Watch) -> bool:
        """Tell some of what it has missed; returns whether that was all."""
        for change in islice(self._history.since(watch.next), SLICE_CHANGES):
            if not watch.connection.takes_pushes:
                return False
            if watch.targets.concern(change):
                watch.tell(change)
            watch.next = change[2] + 1
        return watch.next > self._history.last
