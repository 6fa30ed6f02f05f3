"""Applies committed entries in order, in slices, and flushes what was applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

from quorate.errors import ReadUnavailable, StorageError
from quorate.machine.capture import Capture
from quorate.machine.router import EntrySteps, Router
from quorate.measures import Histogram
from quorate.raft.entry import Entry

APPLY_SLICE_SECONDS = 0.003
"""Applying yields to the event loop after this long."""
FLUSH_SECONDS = 0.05
FLUSH_COMMANDS = 2_000
"""Applied commands are committed to the SQLite file after this long or this many, whichever comes first."""
FLUSH_COMMANDS_BEHIND = 500
"""So many where a checkpoint is due while the last is not written yet: what is applied must not outrun it for ever."""
FLUSH_LATE_SECONDS = 0.5
"""A flush that would have to sync the log first waits so much longer for the log's own writer to do that, or
``FLUSH_SECONDS`` while a checkpoint is under way."""
CHECKPOINT_PAUSE_SECONDS = 0.01
"""While a checkpoint is under way, a bit of it is written this often."""


class Applier:
    """One batch of entries at a time: the next is handed in when the last was reported as done."""

    def __init__(
        self,
        router: Router,
        applied_index: int,
        *,
        replay_to: int,
        on_applied: Callable[[Entry, list[object]], None],
        on_progress: Callable[[bool], None],
        failing_loudly: Callable[[], AbstractContextManager[None]],
        seconds: Histogram,
    ) -> None:
        """``replay_to`` is the index up to which a log from before this start goes: meanwhile no checkpoint begins.

        ``on_applied`` is called for each entry with its outcomes; ``on_progress`` behind each slice, with whether
        the batch is done; ``failing_loudly`` guards whatever runs on its own; ``seconds`` is told of each slice.
        """
        self.applied_index = applied_index
        self._router = router
        self._replay_to = replay_to
        router.begins_checkpoints = not self._is_replaying
        self._on_applied = on_applied
        self._on_progress = on_progress
        self._failing_loudly = failing_loudly
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._backlog: Sequence[Entry] = ()
        self._steps: EntrySteps | None = None
        """What is left to do of the first in the backlog, if that has begun."""
        self._slice_planned = False
        self._paused = False
        self._stopped = False
        self.suspended = False
        """Whether another state is about to take the place of this one: nothing is applied."""
        self._in_place = asyncio.Event()
        self._in_place.set()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_due_at: float | None = None

    @property
    def _is_replaying(self) -> bool:
        return self.applied_index < self._replay_to

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply ``entries``, now or, where they are many, take long or applying is paused, bit by bit."""
        self._backlog = entries
        if not self._paused:
            self._apply_slice()

    def _apply_slice(self) -> None:
        began = monotonic()
        slice_ends = self._loop.time() + APPLY_SLICE_SECONDS
        was_replaying = self._is_replaying
        done = 0
        for entry in self._backlog:
            outcomes = self._outcomes(entry)
            if outcomes is None:
                break
            self.applied_index = entry.index
            self._on_applied(entry, outcomes)
            done += 1
            if self._loop.time() > slice_ends:
                break
        self._backlog = self._backlog[done:]
        self._seconds.observe(monotonic() - began)
        if was_replaying and not self._is_replaying:
            self._router.begins_checkpoints = True
        self._plan_slice()
        self._on_progress(not self._backlog)
        self._plan_flush()

    def _outcomes(self, entry: Entry) -> list[object] | None:
        """Those of its commands; ``None`` where it takes more steps than one, of which each turn of the loop does one.

        How long a step is, is decided where it is done: so it depends on no clock how often others have their turn.
        """
        if self._steps is None:
            outcomes = self._router.begin(entry)
            if isinstance(outcomes, list):
                return outcomes
            self._steps = outcomes
        try:
            next(self._steps)
        except StopIteration as end:
            self._steps = None
            ended: list[object] = end.value
            return ended
        return None

    def _plan_slice(self) -> None:
        if self._backlog and not self._slice_planned:
            self._slice_planned = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._slice_planned = False
        if self._stopped or self._paused or not self._backlog:
            return
        with self._failing_loudly():
            self._apply_slice()

    def _forget_backlog(self) -> None:
        self._backlog = ()
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Flush, and apply nothing inside: the committed entries wait, everything else goes on."""
        self._flush()
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self._plan_slice()
            self._plan_flush()

    # -- checkpoints -------------------------------------------------------------------------------------

    def begin_checkpoint(self) -> None:
        """Have the machines that keep their state in memory write it, bit by bit, unless there is nothing to write."""
        if not self._stopped and not self.suspended and not self._is_replaying:
            with self._failing_loudly():
                self._router.begin_checkpoint()
            self._plan_flush()

    async def until_no_checkpoint(self) -> None:
        """Return when no checkpoint is under way. Raises :class:`StorageError` if it cannot be completed."""
        self._router.begins_checkpoints = False
        try:
            while self._router.is_checkpointing:
                await self._checkpoint_step()
        finally:
            self._router.begins_checkpoints = not self._is_replaying

    async def until_complete(self, capture: Capture) -> None:
        """Return when all of the capture is there. Raises :class:`StorageError` if it cannot be completed."""
        while not capture.complete:
            await self._checkpoint_step()

    async def _checkpoint_step(self) -> None:
        if self._stopped or self.suspended or not self._router.is_checkpointing:
            raise StorageError("the state is being closed or replaced")
        self._plan_flush()
        await asyncio.sleep(CHECKPOINT_PAUSE_SECONDS)

    def suspend(self) -> None:
        """Apply nothing more, and forget what waits: another state takes the place of this one."""
        self.suspended = True
        self._forget_backlog()
        self._cancel_timer()

    def take_away(self) -> None:
        """The state is being replaced: nobody may look at it until :meth:`go_on_behind`."""
        self._in_place.clear()

    async def until_in_place(self) -> None:
        """Return when the state can be looked at."""
        while not self._in_place.is_set():
            await self._in_place.wait()

    def go_on_behind(self, index: int) -> None:
        """The other state is in place; it holds everything up to ``index``."""
        self.applied_index = index
        self.suspended = False
        self._in_place.set()

    def _plan_flush(self) -> None:
        if self._router.unflushed >= (FLUSH_COMMANDS_BEHIND if self._router.is_behind else FLUSH_COMMANDS):
            self._flush()
        if self._flush_timer is None and not (self._paused or self._stopped):
            if self._router.is_checkpointing:
                self._flush_timer = self._loop.call_later(CHECKPOINT_PAUSE_SECONDS, self._flush_in_time)
            elif self._router.unflushed:
                self._flush_timer = self._loop.call_later(FLUSH_SECONDS, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._flush_timer = None
        if self._paused:
            return
        if self._router.awaits_log and not self._is_late():
            self._plan_flush()
            return
        self._flush()
        if not self.suspended:
            self._plan_flush()

    def _is_late(self) -> bool:
        """Whether the flush that is due now has been so for some time."""
        now = self._loop.time()
        if self._flush_due_at is None:
            self._flush_due_at = now
        return now - self._flush_due_at >= (FLUSH_SECONDS if self._router.is_checkpointing else FLUSH_LATE_SECONDS)

    def _flush(self) -> None:
        self._cancel_timer()
        self._flush_due_at = None
        if not self._stopped and not self.suspended:
            with self._failing_loudly():
                self._router.flush()

    def flush(self) -> None:
        """Commit what was applied to the SQLite file. Raises :class:`ReadUnavailable` where that cannot be done now."""
        if self._router.unflushed and not self._paused:  # pausing has flushed
            self._flush()
        if self._stopped or self.suspended:
            raise ReadUnavailable("the node is stopping, or its state is being replaced by a snapshot")

    def _cancel_timer(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    def stop(self) -> None:
        """Apply nothing more. What was not flushed will be applied again by the next start."""
        self._stopped = True
        self._in_place.set()
        self._forget_backlog()
        self._cancel_timer()
