"""Brings what was applied into the group's SQLite file: at once, bit by bit in checkpoints, and then durably.

**The log comes first.** What is committed to the file may reach the disk at any moment. If the log behind it did not,
a power loss would leave a state that is ahead of its own log. So nothing is committed that the log does not have
durably. That is so by itself where entries are synced before they are applied; elsewhere a flush syncs the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from quorate.machine.cached import CachedHost, Checkpoint
from quorate.machine.capture import Capture, SavedMachines
from quorate.machine.host import DiskHost
from quorate.machine.sqlite import SqliteState, Synced

SLICE_SECONDS = 0.002
"""For so long a :meth:`Flushing.flush` writes to a checkpoint, less what the last commit took."""
SLICE_SECONDS_MIN = 0.0005
"""... but no shorter than this."""
PATIENCE_SECONDS = 1.0
"""For so long it is put off to note that nothing has changed, where that would take a sync of the log."""


class DurableLog(Protocol):
    """The log that everything in the file comes from."""

    @property
    def durable_index(self) -> int:
        """The entries up to here are durable."""

    def sync(self) -> None:
        """Make all that are there durable; blocks. Raises :class:`~quorate.errors.StorageFailed`."""


class Flushing:
    """All machines that have their state in one file, from its opening to its closing.

    Used from the event loop's thread, but for :meth:`sync`. ``time_us`` is always the log's time.
    """

    def __init__(self, state: SqliteState, hosts: Sequence[DiskHost], log: DurableLog | None = None) -> None:
        """Without a ``log``, all that is applied is durable there."""
        self._state = state
        self._log = log
        self._changes = state.connection.total_changes()
        """Rows changed in the file up to the last commit."""
        self._patient_until: float | None = None
        """Until then a commit that would bring nothing but an applied index may be put off."""
        self._hosts = hosts
        self._cached = [host for host in hosts if isinstance(host, CachedHost)]
        self._written_at_once = [host for host in hosts if not isinstance(host, CachedHost)]
        self._commit_seconds = 0.0
        self._checkpoint: Checkpoint | None = None
        self._checkpoint_index = 0
        """What the checkpoint under way holds was applied up to here."""
        self._capturing: Capture | None = None
        self.flushed_index = min(host.flushed for host in hosts)
        """Up to here the file holds what was applied."""
        self.synced_index = 0
        """Up to here it does so durably."""
        self._marking_synced = Lock()

    def begin(self) -> None:
        """Commands are about to be applied: what their machines write at once is one transaction."""
        if self._written_at_once:
            self._state.begin()

    @property
    def has_leftovers(self) -> bool:
        """Whether something is in the file that must be removed before commands are applied."""
        return any(host.machine.has_leftovers for host in self._written_at_once)

    def remove_leftovers(self) -> None:
        """Remove a bit of it."""
        for host in self._written_at_once:
            if host.machine.has_leftovers:
                host.machine.remove_leftovers()

    def flush(self, time_us: int, seconds: float | None, *, applied_some: bool) -> None:
        """See :meth:`Router.flush`. ``applied_some``: whether anything may have been written since the last."""
        behind = [host for host in self._written_at_once if host.flushed < host.applied]
        checkpoint = self._checkpoint
        if not (behind or checkpoint or (applied_some and self._written_at_once)):
            return
        clock = self._state.clock
        behind = self._with_the_log_first(behind)
        self._state.begin()
        for host in behind:
            self._state.set_applied(host.name, host.applied, time_us)
        if checkpoint is not None:
            usual = max(SLICE_SECONDS - self._commit_seconds, SLICE_SECONDS_MIN)
            checkpoint.write(usual if seconds is None else seconds)
        began = clock()
        self._state.commit()
        self._commit_seconds = clock() - began
        self._changes = self._state.connection.total_changes()
        for host in behind:
            host.flushed = host.applied
        if checkpoint is not None:
            self._wrote(checkpoint)
        self.flushed_index = min(host.flushed for host in self._hosts)

    @property
    def awaits_log(self) -> bool:
        """Whether a flush now would have to sync the log first, which others may do before long."""
        return self._log is not None and any(host.applied > self._log.durable_index for host in self._written_at_once)

    def _with_the_log_first(self, behind: list[DiskHost]) -> list[DiskHost]:
        """Make the log durable as far as it is needed; returns those whose applied index can then be committed.

        They may be left out for a while where nothing was written to the file since the last commit.
        """
        log = self._log
        if log is None:
            return behind
        needed = max((host.applied for host in behind), default=0)
        if needed <= log.durable_index:
            self._patient_until = None
        elif self._state.connection.total_changes() == self._changes:
            now = self._state.clock()
            if self._patient_until is None:
                self._patient_until = now + PATIENCE_SECONDS
            if now < self._patient_until:
                behind, needed = [], 0
        if self._checkpoint is not None:
            needed = max(needed, self._checkpoint_index)
        if needed > log.durable_index:
            log.sync()
        return behind

    def sync(self) -> Synced:
        """See :meth:`Router.sync`."""
        flushed = self.flushed_index  # a flush that comes now may or may not be included
        synced = self._state.sync()
        if synced.complete:
            with self._marking_synced:
                self.synced_index = max(self.synced_index, flushed)
        return synced

    # -- checkpoints -------------------------------------------------------------------------------------

    @property
    def is_checkpointing(self) -> bool:
        """Whether a checkpoint is under way."""
        return self._checkpoint is not None

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether a machine says so."""
        return any(host.machine.is_checkpoint_due for host in self._cached)

    @property
    def is_behind(self) -> bool:
        """Whether one is due while one is under way."""
        return self._checkpoint is not None and self.is_checkpoint_due

    def begin_checkpoint(self, time_us: int) -> bool:
        """Begin a checkpoint, unless one is under way or nothing was applied since; returns whether it did."""
        behind = [host for host in self._cached if host.flushed < host.applied]
        if self._checkpoint is not None or not behind:
            return False
        self._checkpoint = Checkpoint(self._state, behind, time_us)
        self._checkpoint_index = max(host.applied for host in behind)
        return True

    def _wrote(self, checkpoint: Checkpoint) -> None:
        checkpoint.committed()
        if not checkpoint.is_written:
            return
        self._checkpoint = None
        capture, self._capturing = self._capturing, None
        if capture is not None and not capture.closed:
            capture.complete_with(self._state.pin(), checkpoint.rows())

    def capture(self, saved: SavedMachines) -> Capture:
        """Keep this moment, in which everything was flushed, beside what was ``saved`` of the machines in memory."""
        complete = not (self.begin_checkpoint(saved.time_us) or self.is_checkpointing)  # the flush may have begun it
        pinned = self._state.pin() if complete or self._written_at_once else None
        capture = Capture(saved, pinned, complete=complete)
        if not complete:
            self._capturing = capture
        return capture
