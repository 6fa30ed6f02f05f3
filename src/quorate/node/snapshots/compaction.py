"""Cutting the log: when, how far, and what must be durable before."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from quorate.config import RaftConfig
from quorate.errors import StorageError, StorageFailed
from quorate.machine.contract import StateMachine
from quorate.machine.router import Router
from quorate.node.events import EventStream, LogCompacted
from quorate.node.group import Group
from quorate.node.snapshots.work import DirectoryAccess, in_thread
from quorate.raft.progress import ProgressState
from quorate.storage.store import GroupStore

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 5.0
"""The SQLite file is made durable this often."""
CACHED_SECONDS = 30.0
"""Machines that work in memory write to the file what has changed this often, or when that is much, or when it keeps
the log from being cut: each key costs as much as several commands, however often it was changed meanwhile."""
BUSY_PAGES_MIN = 256
"""Where a checkpoint moves fewer pages, the one fsync that the next commit waits for does no harm."""
CHECKPOINT_PAGES_MAX = 16 * 1024
"""When SQLite's own log holds more pages (of 4 KiB), applying pauses for a moment to let it start anew."""
POLL_SECONDS = 0.25
"""How often is looked whether the log should be cut."""
PATIENCE_TIMES = 3
"""A log of so many times the size at which it should be cut waits for no peer that is catching up."""
RETRY_SECONDS = 1.0
"""The least time between two attempts to cut it."""


class LogNeededFrom(Protocol):
    """Tells the index behind which peers need the log, if any do."""

    def __call__(self, *, patiently: bool) -> int | None:
        """Without ``patiently``, only what has to be."""
        ...


class Compaction:
    """One node's compaction, and the checkpoints of its SQLite file, which go together."""

    def __init__(
        self,
        config: RaftConfig,
        group: Group,
        router: Router,
        store: GroupStore,
        access: DirectoryAccess,
        events: EventStream,
        *,
        log_needed_from: LogNeededFrom,
    ) -> None:
        self._config = config
        self._group = group
        self._router = router
        self._store = store
        self._access = access
        self._events = events
        self._log_needed_from = log_needed_from
        self._has_memory = any(isinstance(machine, StateMachine) for machine in router.machines.values())
        self._loop = asyncio.get_running_loop()
        self._cut_at = self._loop.time()
        self._not_before = 0.0
        self._bytes_left = 0

    async def run(self) -> None:
        """Keep the SQLite file durable and the log short. Raises :class:`StorageFailed`: the node must stop."""
        checkpoint_due = self._loop.time() + CHECKPOINT_SECONDS
        cached_due = self._loop.time() + CACHED_SECONDS
        while True:
            until_due = checkpoint_due - self._loop.time()
            await asyncio.sleep(min(POLL_SECONDS, until_due) if until_due > 0 else POLL_SECONDS)
            now = self._loop.time()
            is_due = now >= self._not_before and self.target() is not None
            if self._group.applier.suspended or (not is_due and now < checkpoint_due):
                continue
            if is_due or now >= cached_due:
                self._group.applier.begin_checkpoint()
                cached_due = now + CACHED_SECONDS
            await self._checkpoint()
            checkpoint_due = self._loop.time() + CHECKPOINT_SECONDS
            if is_due:
                self._not_before = self._loop.time() + RETRY_SECONDS
                await self._save_and_cut()

    # -- when and how far --------------------------------------------------------------------------------

    def target(self) -> int | None:
        """The index up to which the log should be cut now; ``None`` if it should not be."""
        config, log = self._config, self._group.core.log
        size = self._store.log_bytes
        too_large = size >= config.snapshot_bytes and size >= self._bytes_left + config.snapshot_bytes // 4
        kept = 0 if too_large else config.snapshot_trailing_entries
        too_long = log.applied - log.floor.index >= config.storage.snapshot_threshold + kept
        too_old = self._loop.time() - self._cut_at >= config.storage.snapshot_interval_ms / 1000
        if not (too_large or too_long or too_old):
            return None
        limits = [log.applied - kept]
        patiently = size < PATIENCE_TIMES * config.snapshot_bytes
        if (needed := self._log_needed_from(patiently=patiently)) is not None:
            limits.append(needed)
        if too_large and patiently:
            limits += self._followed_to()
        target = min(limits)
        return target if target > log.floor.index else None

    def _followed_to(self) -> list[int]:
        """How far each peer is that follows the log now: cut there, it would have to be brought a snapshot."""
        replication = self._group.core.replication
        peers = replication.peers.values() if replication is not None else ()
        return [
            progress.match
            for progress in peers
            if progress.state is ProgressState.REPLICATE and (progress.active or progress.was_active)
        ]

    # -- doing it ----------------------------------------------------------------------------------------

    async def _checkpoint(self) -> None:
        """Move what SQLite's own log gathered into the file."""
        synced = await in_thread(self._router.sync)
        if synced.pages > CHECKPOINT_PAGES_MAX:
            # Under steady load no sync ends without something new behind it, and SQLite's log would grow for ever.
            # So a second one moves what came during the first, and the third, very short, finds the state at rest.
            await in_thread(self._router.sync)
        elif not synced.complete or synced.pages < BUSY_PAGES_MIN:
            return
        if not self._group.applier.suspended:
            with self._group.applier.paused():
                await in_thread(self._begin_sqlites_log)

    def _begin_sqlites_log(self) -> None:
        if self._router.sync().complete:
            self._router.begin_sqlites_log()

    async def _save_and_cut(self) -> None:
        try:
            if self._has_memory and not self._router.is_witness:
                await self._save_machines()
            await self._cut()
        except StorageFailed:
            raise
        except StorageError as error:
            log.warning("the log is not cut: %s", error)

    async def _save_machines(self) -> None:
        """Make the state of the machines in memory durable, as it is now."""
        if self._group.applier.suspended:
            return
        capture = self._router.capture_memory()
        try:
            floor = self._group.core.log.floor_at(capture.index)
            directory = self._access.directory
            await in_thread(self._store.sync)  # no state that is durable may be ahead of the log
            await self._access.call(lambda: directory.save_machines(floor, capture.machines))
        finally:
            capture.close()
        self._router.machines_saved(capture.index)

    async def _cut(self) -> None:
        target = self.target()
        if target is None:
            return
        floor = self._group.compact(min(target, self._router.durable_index))
        if floor is None:
            return
        await in_thread(self._store.compact, floor)
        self._cut_at = self._loop.time()
        self._bytes_left = self._store.log_bytes
        self._events.publish(LogCompacted(floor.index))
