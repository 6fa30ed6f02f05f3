"""Clients that wait to take something from a list or a sorted set.

Taking is a write like any other. One that finds nothing leaves its client waiting, until this node applies a change
after which something is at one of its keys; then it tries again. At most as many clients try as there are elements,
those first that came first, and who comes while others wait tries behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from quorate.kv.commands.blocking import sources, timeout_seconds
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import NULL_ARRAY, CommandError

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace
    from quorate.kv.server.connection import Connection, Slot
    from quorate.kv.server.gathering import Reads, Writes

UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"


class Waiter:
    """One client that waits, and the place of the reply that it waits for."""

    def __init__(self, waiters: Waiters, connection: Connection, request: list[bytes]) -> None:
        self.waiters = waiters
        self.connection = connection
        self.request = request
        self.keys, self.kind = sources(request)
        self.slot: Slot = connection.hold()
        self.timer: asyncio.TimerHandle | None = None
        self.is_trying = False
        """Whether its write is under way: only that decides then."""
        self.ends_with: Any = None
        """The reply to give once it is not trying any more; nothing until its time is over."""
        self.is_gone = False
        """Whether nobody waits any more for what it gets."""

    # What a batch of writes, or of reads, tells its senders:

    def written(self, slot: Slot, reply: Any) -> None:
        """A try has ended."""
        self.is_trying = False
        self.waiters.tried(self, reply)

    def read(self, slot: Slot, reply: Any) -> None:
        """It is known whether this node is in touch with the cluster."""
        if isinstance(reply, CommandError) and not (self.is_trying or self.is_gone):
            self.waiters.answer(self, reply)

    def go_on(self) -> None:
        """Nothing: the connection goes on with the answer."""


class Waiters:
    """All on this node."""

    def __init__(self, writes: Writes, reads: Reads, keyspace: Callable[[], Keyspace]) -> None:
        self._writes = writes
        self._reads = reads
        self._keyspace = keyspace
        self._by_key: dict[bytes, dict[Waiter, None]] = {}
        """In the order in which they came."""
        self._by_connection: dict[Connection, Waiter] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def __len__(self) -> int:
        return len(self._by_connection)

    def begin(self, connection: Connection, request: list[bytes]) -> None:
        """Take what ``request``, whose arguments have been checked, asks for, or wait for it."""
        seconds = timeout_seconds(request)
        waiter = Waiter(self, connection, request)
        is_first = not any(key in self._by_key for key in waiter.keys)
        self._by_connection[connection] = waiter
        for key in waiter.keys:
            self._by_key.setdefault(key, {})[waiter] = None
        if seconds:
            waiter.timer = asyncio.get_running_loop().call_later(seconds, self.give_up, connection, NULL_ARRAY)
        if is_first:
            self._try(waiter)
        else:
            self._reads.add(waiter, waiter.slot, COMMANDS[b"QUORATE.HEAD"], [b"QUORATE.HEAD"])
            self.wake(waiter.keys)

    def give_up(self, connection: Connection, reply: Any) -> bool:
        """Have a client wait no more and be told ``reply``, unless it gets something yet; returns whether it waited."""
        waiter = self._by_connection.get(connection)
        if waiter is None:
            return False
        if waiter.is_trying:
            waiter.ends_with = reply
        else:
            self.answer(waiter, reply)
        return True

    def forget(self, connection: Connection) -> None:
        """A client has gone. What its try takes, if it is under way, is lost."""
        waiter = self._by_connection.get(connection)
        if waiter is not None:
            self._leave(waiter)

    def wake(self, keys: Iterable[bytes]) -> None:
        """Something may be there now at these keys."""
        items = self._keyspace()
        for key in keys:
            waiting = self._by_key.get(key)
            item = items.find(key) if waiting else None
            if waiting is None or item is None:
                continue
            left = 0 if isinstance(item.value, bytes) else len(item.value)
            for waiter in list(waiting):
                if not left:
                    break
                if type(item.value) is waiter.kind:
                    left -= 1
                    if not waiter.is_trying:
                        self._try(waiter)

    def wake_all(self) -> None:
        """The state is another one."""
        self.wake(list(self._by_key))

    def _try(self, waiter: Waiter) -> None:
        waiter.is_trying = True
        self._writes.add(waiter, waiter.slot, waiter.request)

    def tried(self, waiter: Waiter, reply: Any) -> None:
        """A try has ended. An empty-handed client waits on: but what came in the meantime may be there already."""
        if waiter.is_gone:
            self.wake(waiter.keys)
        elif reply is not None and reply is not NULL_ARRAY:
            self.answer(waiter, reply)
        elif waiter.ends_with is not None:
            self.answer(waiter, waiter.ends_with)
        else:
            self.wake(waiter.keys)

    def answer(self, waiter: Waiter, reply: Any) -> None:
        """A client waits no more; the next may be served."""
        self._leave(waiter)
        waiter.connection.release(waiter.slot, reply)
        self.wake(waiter.keys)

    def _leave(self, waiter: Waiter) -> None:
        waiter.is_gone = True
        if waiter.timer is not None:
            waiter.timer.cancel()
        del self._by_connection[waiter.connection]
        for key in waiter.keys:
            waiting = self._by_key[key]
            del waiting[waiter]
            if not waiting:
                del self._by_key[key]
