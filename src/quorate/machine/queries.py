"""Puts queries without holding up the node.

A query is first tried on the machine's own connection, where it sees everything that is applied. What takes longer than
:data:`AT_ONCE_SECONDS` is interrupted there, and begun again in a thread, on a connection of its own that only reads:
behind a flush, so it sees no less. An interrupted SELECT leaves the transaction around it as it was.

Such connections are few, each has a deadline, and none outlives the opened file: :meth:`Queries.close` interrupts what
is under way and closes them, because the file may be replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import apsw

from quorate.errors import QuorateError, ReadUnavailable
from quorate.machine.sqlite import SqliteState
from quorate.machine.turns import Turns

T = TypeVar("T")
Query = Callable[[apsw.Connection], T]
Prepare = Callable[[apsw.Connection], None]
"""Makes a connection fit for queries, with SQL functions of their own for example."""

AT_ONCE_SECONDS = 0.002
"""So long a query may hold up the event loop."""
AT_ONCE_STEPS = 2_000
"""SQLite's steps between two looks at the clock, some 50 to 200 µs."""
QUERY_SECONDS_MAX = 10.0
"""So long a query may take, its waiting for its turn included; and so long a full list may wait for its own."""
STEPS = 20_000
QUERIES_MAX, STREAMS_MAX = 3, 2
"""So many queries run in threads at one time, and so many full lists are under way."""
WAITING_MAX, STREAMS_WAITING_MAX = 32, 256
CACHE_KIB = 8 * 1024


class TooExpensive(QuorateError):
    """The query took longer than queries may. Another one, with an index, may not."""


def _as_it_is(connection: apsw.Connection) -> None:
    pass


class Reader:
    """A connection that only reads, used from one thread at a time and closed from any."""

    def __init__(self, connection: apsw.Connection, seconds_max: float) -> None:
        self._connection = connection
        self._lock = Lock()
        self._seconds_max = seconds_max
        self._ends = time.monotonic() + seconds_max
        self._ended = False
        connection.pragma("cache_size", -CACHE_KIB)
        connection.pragma("query_only", True)
        connection.set_progress_handler(self._is_over, STEPS)

    def _is_over(self) -> bool:
        return self._ended or time.monotonic() > self._ends

    @contextmanager
    def using(self) -> Iterator[apsw.Connection]:
        """The connection, which is not closed inside; what runs there ends with :meth:`end` and with the time.

        Raises :class:`ReadUnavailable` for the one, :class:`TooExpensive` for the other.
        """
        with self._lock:
            try:
                self._check()
                yield self._connection
            except apsw.InterruptError:
                self._check()
                raise

    def _check(self) -> None:
        if self._ended:
            raise ReadUnavailable("the query was ended: the node closes its state, or replaces it")
        if self._is_over():
            raise TooExpensive(f"the query took longer than {self._seconds_max:.3g} s: ask for less, or by an index")

    def end(self) -> None:
        """Have what runs here end soon."""
        self._ended = True

    def close(self) -> None:
        """End what runs here, and close. Idempotent, for any thread."""
        self.end()
        with self._lock:
            self._connection.close()


class Queries:
    """All queries to one machine's file. Used from the event loop, but opened and closed from any thread."""

    def __init__(self, prepare: Prepare = _as_it_is) -> None:
        """``prepare`` is done to the machine's connection, and to others where a query does not bring its own."""
        self._prepare = prepare
        self._state: SqliteState | None = None
        self._readers: set[Reader] = set()
        self._executor: ThreadPoolExecutor | None = None
        self._lock = Lock()
        """Held while the file is looked for, so that nothing is opened behind :meth:`close`."""
        self._turns = Turns(QUERIES_MAX, WAITING_MAX, "long queries")
        self.list_turns = Turns(STREAMS_MAX, STREAMS_WAITING_MAX, "full lists")

    # -- opening and closing -----------------------------------------------------------------------------

    def open(self, state: SqliteState) -> None:
        """Queries are to this file from now on."""
        self._prepare(state.connection)
        self._state = state

    def close(self) -> None:
        """End what is under way, and close every connection that was opened for it. Idempotent."""
        with self._lock:
            self._state = None
            readers, self._readers = self._readers, set()
            executor, self._executor = self._executor, None
        for reader in readers:
            reader.end()
        for reader in readers:
            reader.close()
        if executor is not None:
            executor.shutdown(wait=False)

    @property
    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(QUERIES_MAX + STREAMS_MAX, thread_name_prefix="quorate-query")
        return self._executor

    # -- at once -----------------------------------------------------------------------------------------

    def try_at_once(self, query: Query[T], seconds: float = AT_ONCE_SECONDS) -> T | None:
        """The answer, or ``None`` if it would take longer than that."""
        state = self._open_state()
        connection, clock = state.connection, state.clock
        ends = clock() + seconds
        connection.set_progress_handler(lambda: clock() > ends, AT_ONCE_STEPS)
        try:
            return query(connection)
        except apsw.InterruptError:
            return None
        finally:
            connection.set_progress_handler(None)

    def _open_state(self) -> SqliteState:
        if self._state is None:
            raise ReadUnavailable("the node's state is not open")
        return self._state

    async def answer(self, query: Query[T], flush: Callable[[], None]) -> T:
        """The answer, at once or from a thread. ``query`` may be asked twice, and never answers ``None``.

        ``flush`` makes what is applied visible to other connections: see :meth:`~quorate.node.node.Node.flush`. Raises
        :class:`TooExpensive` for what takes too long, :class:`ReadUnavailable` where too many wait.
        """
        found = self.try_at_once(query)
        if found is not None:
            return found
        flush()
        return await self.in_thread(query)

    # -- in threads --------------------------------------------------------------------------------------

    async def in_thread(self, query: Query[T], prepare: Prepare | None = None) -> T:
        """The answer to what is known to take long, of what was flushed; ``prepare`` is done first."""
        ends = time.monotonic() + QUERY_SECONDS_MAX
        await self._turns.take(QUERY_SECONDS_MAX)
        try:
            reader = self.open_reader(max(0.0, ends - time.monotonic()))
            try:
                return await self.in_its_thread(reader, lambda: _asked(reader, query, prepare or self._begin))
            finally:
                self.close_reader(reader)
        finally:
            self._turns.give_back()

    def _begin(self, connection: apsw.Connection) -> None:
        self._prepare(connection)
        connection.execute("BEGIN")  # one moment, if the query takes several statements

    def open_reader(self, seconds_max: float) -> Reader:
        """A connection to what was flushed by now; takes a fraction of a millisecond."""
        with self._lock:
            reader = Reader(self._open_state().connect(), seconds_max)
            self._readers.add(reader)
        return reader

    def close_reader(self, reader: Reader) -> None:
        """It is done with."""
        with self._lock:
            self._readers.discard(reader)
        reader.close()

    async def in_its_thread(self, reader: Reader, work: Callable[[], T]) -> T:
        """``work`` in a thread. Should the caller be cancelled, that ends the work first."""
        with self._lock:
            self._open_state()
            done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            reader.end()
            await asyncio.wait([done])
            done.exception()
            raise


def _asked(reader: Reader, query: Query[T], prepare: Prepare) -> T:
    with reader.using() as connection:
        prepare(connection)
        return query(connection)
