"""Cutting the log: when, how far, and what must be durable before."""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple, Protocol

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


class _Asked(NamedTuple):
    """Somebody wants all up to entry ``goal`` to be durable, and the log to be cut as far as that allows."""

    goal: int
    until: float
    done: asyncio.Future[bool]


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
        self._asked: _Asked | None = None

    async def asked(self, seconds: float) -> bool:
        """Do now what time and size would have done later; returns whether that came about in so many seconds."""
        if self._asked is None:
            goal, until = self._group.applied_index, self._loop.time() + seconds
            self._asked = _Asked(goal, until, self._loop.create_future())
        return await asyncio.shield(self._asked.done)

    async def run(self) -> None:
        """Keep the SQLite file durable and the log short. Raises :class:`StorageFailed`: the node must stop."""
        checkpoint_due = self._loop.time() + CHECKPOINT_SECONDS
        cached_due = self._loop.time() + CACHED_SECONDS
        while True:
            until_due = checkpoint_due - self._loop.time()
            await asyncio.sleep(min(POLL_SECONDS, until_due) if until_due > 0 else POLL_SECONDS)
            now = self._loop.time()
            is_due = self._asked is not None or (now >= self._not_before and self.target() is not None)
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
                self._answer()

    def _answer(self) -> None:
        """Tell who asked, unless a checkpoint has still to become durable, for which the next turn is needed."""
        asked = self._asked
        if asked is not None:
            is_done = self._router.durable_index >= asked.goal
            if is_done or self._loop.time() >= asked.until:
                asked.done.set_result(is_done)
                self._asked = None

    # -- when and how far --------------------------------------------------------------------------------

    def target(self) -> int | None:
        """The index up to which the log should be cut now; ``None`` if it should not be."""
        config, log = self._config, self._group.core.log
        size = self._store.log_bytes
        too_large = size >= config.snapshot_bytes and size >= self._bytes_left + config.snapshot_bytes // 4
        at_once = too_large or self._asked is not None
        kept = 0 if at_once else config.snapshot_trailing_entries
        too_long = log.applied - log.floor.index >= config.storage.snapshot_threshold + kept
        too_old = self._loop.time() - self._cut_at >= config.storage.snapshot_interval_ms / 1000
        if not (at_once or too_long or too_old):
            return None
        limits = [log.applied - kept]
        patiently = size < PATIENCE_TIMES * config.snapshot_bytes
        if (needed := self._log_needed_from(patiently=patiently)) is not None:
            limits.append(needed)
        if at_once and patiently:
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
        began = self._loop.time()
        try:
            if self._has_memory and not self._router.is_witness:
                await self._save_machines()
            is_cut = await self._cut()
        except StorageFailed:
            raise
        except StorageError as error:
            log.warning("the log is not cut: %s", error)
        else:
            if not is_cut:
                return
            self._group.figures.compaction_seconds.observe(self._loop.time() - began)

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

    async def _cut(self) -> bool:
        """Returns whether there was anything to cut off."""
        target = self.target()
        if target is None:
            return False
        floor = self._group.compact(min(target, self._router.durable_index))
        if floor is None:
            return False
        await in_thread(self._store.compact, floor)
        self._cut_at = self._loop.time()
        self._bytes_left = self._store.log_bytes
        log.info("the log now begins behind entry %d", floor.index,
                 extra={"event": LogCompacted.name, "index": floor.index, "bytes": self._bytes_left})  # fmt: skip
        self._events.publish(LogCompacted(floor.index))
        return True
