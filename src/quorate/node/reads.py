"""Strong reads: callers wait here until the local state is known to hold everything acknowledged before they came."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Literal

from quorate.errors import QuorateError, ReadUnavailable
from quorate.raft.output import ReadReady

Consistency = Literal["strong", "eventually"]
"""How fresh a read must be: see :meth:`quorate.node.node.Node.read`."""

RETRY_SECONDS = 0.1
"""A read index that has not come by then is asked for once more, under a new token. The first answer counts."""


class ReadGate:
    """Gathers the reads of one turn under one token, and lets them pass when their index is applied."""

    def __init__(self, first_token: int, waiting_max: int) -> None:
        """``first_token`` must differ in each process start, so that no token is ever used twice."""
        self._tokens = count(first_token)
        self._waiting_max = waiting_max
        self._arrived: list[asyncio.Future[None]] = []
        self._asked: dict[int, list[asyncio.Future[None]]] = {}
        self._overdue_at: dict[int, float] = {}  # by token; one that was asked for again is overdue no more
        self._confirmed: list[tuple[int, int, list[asyncio.Future[None]]]] = []  # a heap by index
        self._deadlines: dict[asyncio.Future[None], float] = {}  # of all that wait

    def __len__(self) -> int:
        return len(self._deadlines)

    @property
    def wants_token(self) -> bool:
        """Whether reads have arrived that no token covers."""
        return bool(self._arrived)

    def enter(self, future: asyncio.Future[None], deadline: float) -> None:
        """A read arrived; ``future`` ends when it may go on. Raises :class:`ReadUnavailable` if too many wait."""
        if len(self._deadlines) >= self._waiting_max:
            raise ReadUnavailable(f"{len(self._deadlines)} reads are waiting already")
        self._deadlines[future] = deadline
        future.add_done_callback(self._deadlines.__delitem__)
        self._arrived.append(future)

    def expire(self, now: float) -> None:
        """End those whose time is over."""
        for future, deadline in self._deadlines.items():
            if deadline <= now and not future.done():
                future.set_exception(ReadUnavailable("no quorum confirmed the read in time"))

    def ask(self, now: float, read_index: Callable[[int], None]) -> None:
        """Cover the reads that have arrived, and those whose answer is overdue, with one new token.

        A late answer to the earlier token still counts: it was asked for after those reads had arrived, too. So
        reads come through even where every answer takes longer than :data:`RETRY_SECONDS`.
        """
        wanted = self._arrived
        for token, overdue_at in list(self._overdue_at.items()):
            if overdue_at <= now:
                del self._overdue_at[token]
                wanted += self._asked[token]
        self._arrived = []
        self._forget_ended()
        wanted = [future for future in wanted if not future.done()]
        if wanted:
            token = next(self._tokens)
            self._asked[token] = wanted
            self._overdue_at[token] = now + RETRY_SECONDS
            read_index(token)

    def _forget_ended(self) -> None:
        """Drop the tokens of reads that have all got their answer by another one, or gave up."""
        for token, futures in list(self._asked.items()):
            if all(future.done() for future in futures):
                del self._asked[token]
                self._overdue_at.pop(token, None)
        live = [item for item in self._confirmed if not all(future.done() for future in item[2])]
        if len(live) < len(self._confirmed):
            heapq.heapify(live)
            self._confirmed = live

    def confirmed(self, read: ReadReady, applied_index: int) -> None:
        """The core answered a token."""
        futures = self._asked.pop(read.token, None)
        self._overdue_at.pop(read.token, None)
        if futures is None:
            return
        if read.index is None:
            self._arrived += futures  # asked again with the next turn, by when there may be a leader
            return
        heapq.heappush(self._confirmed, (read.index, read.token, futures))
        self.applied(applied_index)

    def applied(self, index: int) -> None:
        """The local state holds everything up to ``index``."""
        while self._confirmed and self._confirmed[0][0] <= index:
            for future in heapq.heappop(self._confirmed)[2]:
                if not future.done():
                    future.set_result(None)

    def fail_all(self, error: QuorateError) -> None:
        """End all reads."""
        groups = [self._arrived, *self._asked.values(), *(futures for _, _, futures in self._confirmed)]
        for futures in groups:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._arrived, self._asked, self._overdue_at, self._confirmed = [], {}, {}, []
