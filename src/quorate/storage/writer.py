"""Who calls :meth:`GroupStore.persist`, and when: a thread with all that has gathered, or the caller at once."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

from quorate.raft.output import Write
from quorate.storage.store import GroupStore

_Outcome = TypeVar("_Outcome")


class Writer(Protocol):
    """Takes writes from the event loop and reports there what has become durable, or as durable as is asked for.

    It is made with ``on_persisted(ticket)``: all writes up to this ticket are persisted; and with
    ``on_failure(error)``: called at most once, no later write is carried out and no ticket reported after it.
    Both are called by the event loop, never from within :meth:`submit`.
    """

    def submit(self, write: Write) -> None:
        """Take a write, in the order of tickets; ignored once the writer has failed or is closed.

        There is no bound here: the core bounds what may be unpersisted.
        """

    def close(self) -> None:
        """Finish what was submitted and stop; blocks until then. Does not close the store. Safe to call twice."""


OnPersisted = Callable[[int], None]
OnFailure = Callable[[BaseException], None]
WriterFactory = Callable[[GroupStore, OnPersisted, OnFailure, AbstractEventLoop], Writer]
"""How a node makes its :class:`Writer`: of the store, ``on_persisted``, ``on_failure`` and the loop to call them."""


@dataclass(eq=False)
class _Wired:
    """What every writer is given."""

    _store: GroupStore
    _on_persisted: OnPersisted
    _on_failure: OnFailure
    _loop: AbstractEventLoop

    def __post_init__(self) -> None:
        self._stopped = False


class GroupCommitWriter(_Wired):
    """Persists in a thread of its own: one sync covers all writes that arrived while the last one ran.

    Where the settings let entries wait for their sync, it comes when it is due, and when the writer is closed.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        # A daemon: a program that forgets to close ends all the same, like one that is killed.
        self._thread = Thread(target=self._run, name="quorate-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        if not self._stopped:
            self._queue.put(write)

    def close(self) -> None:
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            more = True
            while more:
                batch, more = self._take()
                if batch:
                    self._store.persist(batch)
                    self._report(self._on_persisted, batch[-1].ticket)
                if not more or self._store.seconds_until_sync() == 0:
                    self._store.sync()
                if self._queue.empty():
                    self._store.mark()
        except Exception as error:
            self._stopped = True
            self._report(self._on_failure, error)

    def _take(self) -> tuple[list[Write], bool]:
        """Wait for a write and take it with all that are behind it; and whether more can follow.

        There is none when a sync is due first; and there are no more than make one batch.
        """
        batch: list[Write] = []
        entries, entries_max = 0, self._store.settings.event_max_batch
        try:
            write = self._queue.get(timeout=self._store.seconds_until_sync())
        except Empty:
            return batch, True
        waiting = self._queue.qsize()  # what comes from now on is not waited for, however fast it comes
        while write is not None:
            batch.append(write)
            entries += len(write.entries)
            if not waiting or entries >= entries_max:
                return batch, True
            waiting -= 1
            write = self._queue.get_nowait()
        return batch, False

    def _report(self, callback: Callable[[_Outcome], None], outcome: _Outcome) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, outcome)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to tell


class InlineWriter(_Wired):
    """Persists within :meth:`submit`, without a thread: by setting, and where things must be reproducible."""

    def submit(self, write: Write) -> None:
        if self._stopped:
            return
        try:
            self._store.persist([write])
            self._store.mark()
        except Exception as error:
            self._stopped = True
            self._loop.call_soon(self._on_failure, error)
        else:
            self._loop.call_soon(self._on_persisted, write.ticket)

    def close(self) -> None:
        self._stopped = True


def writer_for(store: GroupStore, on_persisted: OnPersisted, on_failure: OnFailure, loop: AbstractEventLoop) -> Writer:
    """The writer that the store's settings ask for."""
    kind = GroupCommitWriter if store.settings.opt_persist else InlineWriter
    return kind(store, on_persisted, on_failure, loop)
