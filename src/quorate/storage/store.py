"""The durable state of one Raft group: its hard state and its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from quorate.errors import CorruptLog, StorageError, StorageFailed
from quorate.raft.entry import Entry
from quorate.raft.output import Recovered, Write
from quorate.storage.filesystem import FileSystem
from quorate.storage.hard_state import HardStateFile
from quorate.storage.wal import SEGMENT_BYTES, Wal


@dataclass(slots=True)
class StorageStats:
    """What persisting has cost so far. Written by one thread, to be read by any."""

    batches: int = 0
    """Calls of :meth:`GroupStore.persist`."""
    writes: int = 0
    """Writes persisted by them."""
    batch_writes_last: int = 0
    batch_writes_max: int = 0
    syncs: int = 0
    """Syncs of the log."""
    sync_seconds_last: float = 0.0
    sync_seconds_total: float = 0.0


class GroupStore:
    """Persists writes and reads entries back; implements :class:`~quorate.raft.output.LogReader`.

    One thread at a time persists and marks; any thread may read. After the first failure everything but
    :meth:`close` raises :class:`StorageFailed`: what a failed sync left on disk is unknown, and a second sync
    that succeeds would not tell (the kernel may have dropped the pages).
    """

    def __init__(self, hard_state: HardStateFile, wal: Wal) -> None:
        self._hard_state = hard_state
        self.wal = wal
        self.stats = StorageStats()
        self._failure: str | None = None

    @classmethod
    def open(
        cls, fs: FileSystem, group_directory: Path, *, group: int = 0, segment_bytes: int = SEGMENT_BYTES
    ) -> GroupStore:
        """The state in ``group_directory``, begun there if there is none. All of it is durable on return.

        Raises :class:`CorruptLog` if something that was durable cannot be read, and :class:`StorageError`
        if the directory cannot be used.
        """
        try:
            log_directory = group_directory / "log"
            fs.make_directories(log_directory)
            hard_state = HardStateFile(fs, group_directory / "hard_state")
            try:
                wal = Wal.open(fs, log_directory, group=group, segment_bytes=segment_bytes)
            except BaseException:
                hard_state.close()
                raise
        except OSError as error:
            raise StorageError(f"{group_directory} cannot be used: {error}") from error
        store = cls(hard_state, wal)
        log_term = max((term for _, term in wal.term_starts), default=0)
        if log_term > hard_state.state.term:
            store.close()
            raise CorruptLog(
                f"{group_directory}: the log has entries of term {log_term}, but hard_state says term "
                f"{hard_state.state.term}: votes were lost. Replace this node by a new one, or restore a backup."
            )
        return store

    @property
    def recovered(self) -> Recovered:
        """What the core continues from."""
        return Recovered(self._hard_state.state, self.wal.last_index, self.wal.term_starts)

    def persist(self, writes: Sequence[Write]) -> None:
        """Make ``writes``, in the order of their tickets, durable with one sync of the log; blocks until then.

        Raises :class:`StorageFailed` if that is impossible, and :class:`ValueError` for entries that cannot
        follow the log.
        """
        with self._failing_for_good():
            self._save_hard_state(writes)
            self._append(writes)
            if any(write.entries for write in writes):
                self._sync()
        stats = self.stats
        stats.batches += 1
        stats.writes += len(writes)
        stats.batch_writes_last = len(writes)
        stats.batch_writes_max = max(stats.batch_writes_max, len(writes))

    def mark(self) -> None:
        """Let the log say what is durable; call it when there is nothing to persist for the moment."""
        with self._failing_for_good():
            self.wal.mark()

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries ``low`` … ``high`` - 1, cut short after the first that brings the payloads to ``max_bytes``.

        Raises what :meth:`Wal.read` raises, with :class:`StorageFailed` for :class:`OSError`.
        """
        with self._failing_for_good():
            return self.wal.read(low, high, max_bytes)

    def close(self) -> None:
        """Close the files."""
        self.wal.close()
        self._hard_state.close()

    def _save_hard_state(self, writes: Sequence[Write]) -> None:
        # The last one stands for all: none of the writes is reported before all of them are durable. It goes
        # before every entry, as the log must never be of a later term than the hard state.
        hard_states = [write.hard_state for write in writes if write.hard_state is not None]
        if hard_states and hard_states[-1] != self._hard_state.state:
            self._hard_state.save(hard_states[-1])

    def _append(self, writes: Sequence[Write]) -> None:
        """Append all entries, those that continue each other in one go."""
        run: list[Entry] = []
        for write in writes:
            if run and write.entries and write.entries[0].index != run[-1].index + 1:
                self.wal.append(run)
                run = []
            run.extend(write.entries)
        self.wal.append(run)

    def _sync(self) -> None:
        start = perf_counter()
        self.wal.sync()
        stats = self.stats
        stats.syncs += 1
        stats.sync_seconds_last = perf_counter() - start
        stats.sync_seconds_total += stats.sync_seconds_last

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        if self._failure is not None:
            raise StorageFailed(self._failure)
        try:
            yield
        except OSError as error:
            self._failure = f"storage failed, the node must stop: {error}"
            raise StorageFailed(self._failure) from error
