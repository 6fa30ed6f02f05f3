"""Who waits to take something from a list or a sorted set.

Taking is a write like any other. One that finds nothing leaves who asked waiting, until this node applies a change
after which something is at one of its keys; then it tries again. At most as many try as there are elements, those first
that came first, and who comes while others wait tries behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from quorate.errors import QuorateError
from quorate.kv.commands.blocking import sources, timeout_seconds
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import NULL_ARRAY, Reply

if TYPE_CHECKING:
    from quorate.kv.gathering import Reads, Sender, Writes
    from quorate.kv.keyspace import Keyspace


class Taker:
    """One that waits; its ``sender`` is told at ``place`` what became of it, once, as of any write."""

    def __init__(self, sender: Sender[Any], place: Any, request: list[bytes], writes: Writes) -> None:
        self.sender = sender
        self.place = place
        self.request = request
        self.writes = writes
        self.keys, self.kind = sources(request)
        self.timer: asyncio.TimerHandle | None = None
        self.is_trying = False
        """Whether its write is under way: only that decides then."""
        self.ends_with: Reply | QuorateError = None
        """What to be told once it is not trying any more; nothing until its time is over."""
        self.is_gone = False
        """Whether nobody waits any more for what it gets."""


class Takers:
    """All on this node. It is the :class:`~quorate.kv.gathering.Sender` of their tries."""

    is_gone = False

    def __init__(self, keyspace: Callable[[], Keyspace]) -> None:
        self._keyspace = keyspace
        self._all: dict[Taker, None] = {}
        self._by_key: dict[bytes, dict[Taker, None]] = {}
        """In the order in which they came."""

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, sender: Sender[Any], place: Any, request: list[bytes], writes: Writes, reads: Reads) -> Taker:
        """Take what ``request``, whose arguments have been checked, asks for, or wait for it.

        Who waits behind others is told by way of ``reads`` if this node is cut off, as its own write would tell it.
        """
        taker = Taker(sender, place, request, writes)
        is_first = not any(key in self._by_key for key in taker.keys)
        self._all[taker] = None
        for key in taker.keys:
            self._by_key.setdefault(key, {})[taker] = None
        seconds = timeout_seconds(request)
        if seconds:
            taker.timer = asyncio.get_running_loop().call_later(seconds, self.give_up, taker, NULL_ARRAY)
        if is_first:
            self._try(taker)
        else:
            reads.add(_Contact(self), taker, COMMANDS[b"QUORATE.HEAD"], [b"QUORATE.HEAD"])
            self.wake(taker.keys)
        return taker

    def give_up(self, taker: Taker, outcome: Reply | QuorateError) -> bool:
        """Have one wait no more and be told ``outcome``, unless it gets something yet; returns whether it waited."""
        if taker.is_gone:
            return False
        if taker.is_trying:
            taker.ends_with = outcome
        else:
            self._end(taker, outcome)
        return True

    def forget(self, taker: Taker) -> None:
        """One has gone. What its try takes, if it is under way, is lost."""
        if not taker.is_gone:
            self._leave(taker)

    def end(self, error: QuorateError) -> None:
        """The node has stopped: nobody waits any more."""
        for taker in list(self._all):
            self.give_up(taker, error)

    # -- waking ------------------------------------------------------------------------------------------

    def wake(self, keys: Iterable[bytes]) -> None:
        """Something may be there now at these keys."""
        keyspace = self._keyspace()
        for key in keys:
            waiting = self._by_key.get(key)
            item = keyspace.find(key) if waiting else None
            if waiting is None or item is None:
                continue
            left = 0 if isinstance(item.value, bytes) else len(item.value)
            for taker in list(waiting):
                if not left:
                    break
                if type(item.value) is taker.kind:
                    left -= 1
                    if not taker.is_trying:
                        self._try(taker)

    def wake_all(self) -> None:
        """The state is another one."""
        self.wake(list(self._by_key))

    def _try(self, taker: Taker) -> None:
        taker.is_trying = True
        taker.writes.add(self, taker, taker.request)

    # -- what the writes tell ----------------------------------------------------------------------------

    def answered(self, taker: Taker, reply: Reply) -> None:
        """A try has ended. An empty-handed taker waits on: but what came in the meantime may be there already."""
        taker.is_trying = False
        if taker.is_gone:
            self.wake(taker.keys)
        elif reply is not None and reply is not NULL_ARRAY:
            self._end(taker, reply)
        elif taker.ends_with is not None:
            self._end(taker, taker.ends_with)
        else:
            self.wake(taker.keys)

    def failed(self, taker: Taker, error: QuorateError, request_id: str | None) -> None:
        """The same."""
        self.answered(taker, error)

    def go_on(self) -> None:
        """Nothing: each taker's own sender has gone on."""

    def _end(self, taker: Taker, outcome: Reply | QuorateError) -> None:
        """One waits no more; the next may be served."""
        self._leave(taker)
        if isinstance(outcome, QuorateError):
            taker.sender.failed(taker.place, outcome, None)
        else:
            taker.sender.answered(taker.place, outcome)
        taker.sender.go_on()
        self.wake(taker.keys)

    def _leave(self, taker: Taker) -> None:
        taker.is_gone = True
        if taker.timer is not None:
            taker.timer.cancel()
        del self._all[taker]
        for key in taker.keys:
            waiting = self._by_key[key]
            del waiting[taker]
            if not waiting:
                del self._by_key[key]


class _Contact:
    """Asks for takers that do not try yet whether this node is in touch with the cluster."""

    is_gone = False

    def __init__(self, takers: Takers) -> None:
        self._takers = takers

    def answered(self, taker: Taker, reply: Reply) -> None:
        """It is."""

    def failed(self, taker: Taker, error: QuorateError, request_id: str | None) -> None:
        """It is not: who does not try is told so."""
        if not taker.is_trying:
            self._takers.give_up(taker, error)

    def go_on(self) -> None:
        """Nothing: each taker's own sender has gone on."""
