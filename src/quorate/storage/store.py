"""The durable state of one Raft group: its hard state, its log and where that begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter

from quorate.errors import CorruptLog, StorageFailed
from quorate.measures import COUNTS, Histogram
from quorate.raft.entry import Entry
from quorate.raft.output import Floor, HardState, Recovered, Write
from quorate.raft.terms import TermRuns
from quorate.storage.codecs import BINARY, JSON_LINES
from quorate.storage.filesystem import FileSystem, reporting
from quorate.storage.floor import StoredFloor, load_floor, save_floor
from quorate.storage.hard_state import HardStateFile
from quorate.storage.repair import RepairMarker, finish_quarantine, load_marker, remove_marker, save_marker
from quorate.storage.segment import RESTORE_ADVICE
from quorate.storage.settings import DURABLE, StorageSettings
from quorate.storage.unsynced import begin_unsynced, end_unsynced, power_loss
from quorate.storage.wal import ROTATE_BYTES, SEGMENT_BYTES, Wal, begin_anew

log = logging.getLogger(__name__)


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
    sync_seconds: Histogram = field(default_factory=Histogram)
    """How long each sync took."""
    batch_entries: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    """How many entries each batch wrote."""


class GroupStore:
    """Persists writes and reads entries back; implements :class:`~quorate.raft.output.LogReader`.

    Any thread may call any method; one at a time writes or syncs, and others may read and :meth:`compact` meanwhile.
    After the first failure everything but :meth:`close` raises :class:`StorageFailed`: what a failed sync left on
    disk is unknown, and a second sync that succeeds would not tell (the kernel may have dropped the pages).
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: Path,
        hard_state: HardStateFile,
        wal: Wal,
        floor: Floor,
        settings: StorageSettings,
        *,
        repairing: bool,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._hard_state = hard_state
        self.wal = wal
        self.floor = floor
        """Where the log begins. It only ever rises."""
        self.repairing = repairing
        """Whether this node is marked as having lost what it had promised."""
        self.settings = settings
        self.power_loss: str | None = None
        """What may be missing, where the machine went down since the last start and entries had not been synced."""
        self.stats = StorageStats()
        self._writing = Lock()  # held while the log is written or synced, I/O included; taken before the next one
        self._floor_lock = Lock()  # held while the floor moves, I/O included
        self._unsynced_since: float | None = None
        self._is_marked_unsynced = False
        self._failure: str | None = None

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        group_directory: Path,
        *,
        group: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        rotate_bytes: int = ROTATE_BYTES,
        settings: StorageSettings = DURABLE,
    ) -> GroupStore:
        """The state in ``group_directory``, begun there if there is none. All of it is durable on return.

        What a crash interrupted is finished first: a quarantine, or a log that begins anew behind a snapshot.
        Raises :class:`CorruptLog` if something that was durable cannot be read or does not fit together, and
        :class:`StorageError` if the directory cannot be used.
        """
        log_directory = group_directory / "log"
        codec = BINARY if settings.enable_binary else JSON_LINES
        with reporting(group_directory):
            fs.make_directories(log_directory)
            fs.sync_directory(group_directory)  # the last process may have died between a rename and this
            marker = load_marker(fs, group_directory)
            if marker is not None and marker.moving:
                finish_quarantine(fs, group_directory)
            hard_state = HardStateFile(fs, group_directory / "hard_state")
            try:
                stored = load_floor(fs, group_directory)
                floor = stored.floor
                if stored.resetting:
                    begin_anew(fs, log_directory, codec, group, floor.index + 1).file.close()
                    save_floor(fs, group_directory, StoredFloor(floor))
                wal = Wal.open(
                    fs,
                    log_directory,
                    group=group,
                    codec=codec,
                    segment_bytes=segment_bytes,
                    rotate_bytes=rotate_bytes,
                    floor=floor,
                )
            except BaseException:
                hard_state.close()
                raise
        store = cls(fs, group_directory, hard_state, wal, floor, settings, repairing=marker is not None)
        try:
            problem = store._contradiction()
            if problem is not None:
                raise CorruptLog(f"{group_directory}: {problem}. {RESTORE_ADVICE}")
            with reporting(group_directory):
                store._notice_power_loss()
        except BaseException:
            store.close()
            raise
        return store

    def _notice_power_loss(self) -> None:
        """Look whether one may have taken entries, and note for the next start whether one may do so from now on."""
        self.power_loss = power_loss(self._fs, self._directory)
        if self.power_loss is not None:
            log.warning("%s", self.power_loss)
            # A leader may count on entries that are gone. In a later term there is none who does.
            self._hard_state.save(HardState(self._hard_state.state.term + 1))
        if self.settings.fsync_on_append:
            end_unsynced(self._fs, self._directory)
        else:
            begin_unsynced(self._fs, self._directory, self.settings.flush_interval_ms)
            self._is_marked_unsynced = True

    def _contradiction(self) -> str | None:
        """What is wrong if the floor, the log and the hard state cannot belong together."""
        wal, floor, term = self.wal, self.floor, self._hard_state.state.term
        if not wal.first_index - 1 <= floor.index <= wal.last_index:
            return (
                f"the log has the entries {wal.first_index} to {wal.last_index}, but should go on "
                f"behind entry {floor.index}: entries were lost"
            )
        behind = floor.index + 1 if floor.index < wal.last_index else floor.index
        if wal.term(floor.index) != floor.term or wal.term(behind) < floor.term:
            return (
                f"entry {floor.index} should be of term {floor.term}, but the log has term "
                f"{wal.term(floor.index)}, and term {wal.term(behind)} behind it"
            )
        log_term = wal.term(wal.last_index)
        if log_term > term:
            return f"the log has entries of term {log_term}, but hard_state says term {term}: votes were lost"
        return None

    @property
    def recovered(self) -> Recovered:
        """What the core continues from; to be asked for before anything is persisted."""
        floor = self.floor
        terms = TermRuns(self.wal.term_starts)
        terms.cut_before(floor.index + 1)
        terms.cut(self.wal.last_index + 1)
        return Recovered(
            self._hard_state.state,
            self.wal.last_index,
            terms.starts,
            floor,
            tuple(entry for entry in self.wal.configurations if entry.index > floor.index),
            self.repairing,
        )

    @property
    def log_bytes(self) -> int:
        """The bytes of the log on disk, without the space reserved ahead."""
        return self.wal.size_bytes

    def persist(self, writes: Sequence[Write]) -> None:
        """Make ``writes``, in the order of their tickets, durable with one sync of the log; blocks until then.

        Without ``fsync_on_append`` the entries are written only: they survive this process, and are synced at once
        only if there are more of them than the settings allow to wait. Raises :class:`StorageFailed` if that is
        impossible, and :class:`ValueError` for entries that cannot follow the log, or a floor that is not above the
        present one.
        """
        with self._writing, self._failing_for_good():
            self._save_hard_state(writes)
            behind = self._install_floor(writes)
            self._append(behind)
            if any(write.entries for write in behind):
                if self.settings.fsync_on_append or self._holds_too_much:
                    self._sync()
                elif self._unsynced_since is None:
                    self._unsynced_since = monotonic()
        stats = self.stats
        stats.batches += 1
        stats.writes += len(writes)
        stats.batch_writes_last = len(writes)
        stats.batch_writes_max = max(stats.batch_writes_max, len(writes))
        stats.batch_entries.observe(sum([len(write.entries) for write in writes]))

    def compact(self, floor: Floor) -> None:
        """Let the log begin behind ``floor``, and give back what space that frees; blocks. Durable on return.

        The caller promises that the entries up to there are committed and applied, and that the state machines
        have them durably. A floor that is not above the present one is ignored. Raises :class:`StorageFailed`,
        and :class:`ValueError` for a position that the log does not have.
        """
        if floor.index > self.durable_index:
            self.sync()
        with self._floor_lock, self._failing_for_good():
            if floor.index <= self.floor.index:
                return
            if floor.index > self.wal.durable_index or self.wal.term(floor.index) != floor.term:
                raise ValueError(f"the log has no durable entry {floor.index} of term {floor.term} to begin behind")
            save_floor(self._fs, self._directory, StoredFloor(floor))
            self.floor = floor
            self.wal.cut_prefix(floor.index)

    def mark_repairing(self, reason: str) -> None:
        """Note durably that this node has lost what it had promised. Raises :class:`StorageFailed`."""
        with self._failing_for_good():
            if not self.repairing:
                save_marker(self._fs, self._directory, RepairMarker(reason))
                self.repairing = True

    def repaired(self) -> None:
        """The cluster has taken the node in anew: forget durably that it was in repair. As above."""
        self.sync()  # what it was taken in for must not be lost again
        with self._failing_for_good():
            remove_marker(self._fs, self._directory)
            self.repairing = False

    def mark(self) -> None:
        """Let the log say what is durable; call it when there is nothing to persist for the moment."""
        with self._writing, self._failing_for_good():
            self.wal.mark()

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries ``low`` … ``high`` - 1, cut short after the first that brings the payloads to ``max_bytes``.

        Raises what :meth:`Wal.read` raises, with :class:`StorageFailed` for :class:`OSError`.
        """
        with self._failing_for_good():
            return self.wal.read(low, high, max_bytes)

    def close(self) -> None:
        """Close the files. What waits for a sync gets it first, unless something has failed. Safe to call twice."""
        if self._is_marked_unsynced:
            self._is_marked_unsynced = False
            with suppress(StorageFailed), self._failing_for_good():
                self.sync()
                end_unsynced(self._fs, self._directory)
        self.wal.close()
        self._hard_state.close()

    # -- syncs that nobody waits for ---------------------------------------------------------------------

    @property
    def durable_index(self) -> int:
        """The entries up to here are durable."""
        return self.wal.durable_index

    @property
    def unsynced(self) -> tuple[int, int]:
        """How many entries, and bytes of the log, wait for a sync."""
        return self.wal.unsynced

    def sync(self) -> None:
        """Make durable what was written; blocks until then. Raises :class:`StorageFailed`."""
        with self._writing, self._failing_for_good():
            if self.wal.durable_index < self.wal.last_index:
                self._sync()

    def seconds_until_sync(self) -> float | None:
        """How long what was written may still wait for a :meth:`sync`; ``None`` if nothing waits."""
        since = self._unsynced_since
        return None if since is None else max(0.0, since + self.settings.flush_interval_ms / 1000 - monotonic())

    @property
    def _holds_too_much(self) -> bool:
        entries, size = self.wal.unsynced
        return entries > self.settings.max_events_buffer or size > self.settings.buffer_size

    # -- what a batch consists of ------------------------------------------------------------------------

    def _save_hard_state(self, writes: Sequence[Write]) -> None:
        # The last one stands for all: none of the writes is reported before all of them are durable. It goes
        # before every entry, as the log must never be of a later term than the hard state.
        hard_states = [write.hard_state for write in writes if write.hard_state is not None]
        if hard_states and hard_states[-1] != self._hard_state.state:
            self._hard_state.save(hard_states[-1])

    def _install_floor(self, writes: Sequence[Write]) -> Sequence[Write]:
        """Let the log begin anew behind the last floor among ``writes``.

        Returns the writes whose entries are still to be written: those of the earlier ones would be removed again.
        """
        position = max((number for number, write in enumerate(writes) if write.floor is not None), default=-1)
        floor = writes[position].floor if position >= 0 else None
        if floor is None:
            return writes
        with self._floor_lock:
            if floor.index <= self.floor.index:
                raise ValueError(f"the log begins behind entry {self.floor.index}, it cannot begin at {floor.index}")
            save_floor(self._fs, self._directory, StoredFloor(floor, resetting=True))
            self.wal.reset(floor.index + 1, floor.term)
            save_floor(self._fs, self._directory, StoredFloor(floor))
            self.floor = floor
        return writes[position:]

    def _append(self, writes: Sequence[Write]) -> None:
        """Append all entries, those that continue each other in one go."""
        run: list[Entry] = []
        for write in writes:
            if write.entries and write.entries[0].index <= self.floor.index:
                raise ValueError(f"entry {write.entries[0].index} cannot be replaced: the floor is {self.floor.index}")
            if run and write.entries and write.entries[0].index != run[-1].index + 1:
                self.wal.append(run)
                run = []
            run.extend(write.entries)
        self.wal.append(run)

    def _sync(self) -> None:
        start = perf_counter()
        self.wal.sync()
        self._unsynced_since = None
        stats = self.stats
        stats.syncs += 1
        stats.sync_seconds_last = perf_counter() - start
        stats.sync_seconds.observe(stats.sync_seconds_last)

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        if self._failure is not None:
            raise StorageFailed(self._failure)
        try:
            yield
        except OSError as error:
            self._failure = f"storage failed, the node must stop: {error}"
            raise StorageFailed(self._failure) from error
