"""Says how jobs ended: many at a time, and until the cluster has taken it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from quorate.errors import CommandFailed, QuorateError
from quorate.tasks.commands import Completed, Failed, Released, Report
from quorate.tasks.errors import InvalidTask, StaleToken
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import RESULT_BYTES_MAX
from quorate.tasks.store.reporting import STALE
from quorate.tasks.worker.job import Effects, Job
from quorate.tasks.worker.leases import Lease
from quorate.tasks.worker.outcomes import Done, Outcome
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

T = TypeVar("T")

REPORTED_MAX = 500
"""Leases in one report."""
REPORTED_BYTES_MAX = 2 * RESULT_BYTES_MAX
"""Results in one report, unless the first alone is larger."""
TOGETHER_MAX = 32
"""Completions with effects under way: each is an entry of its own in the log."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 2.0
"""When the cluster has not taken a report; doubled each time."""


@dataclass(slots=True, eq=False)
class Ending:
    """A lease that ends. ``job`` is ``None`` of one that was not begun."""

    lease: Lease
    job: Job | None
    said: Completed | Failed | Released
    effects: Effects | None = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.said.result) if isinstance(self.said, Completed) else 0


class Reporting:
    """Those that end, on their way to the cluster. ``on_taken`` is told the state of each, or ``stale``."""

    def __init__(self, source: Source, on_taken: Callable[[Ending, str], None]) -> None:
        self._source = source
        self._on_taken = on_taken
        self._waiting: deque[Ending] = deque()
        self._with_effects: deque[Ending] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._count = 0

    def add(self, lease: Lease, job: Job, outcome: Outcome) -> None:
        """A job has ended."""
        task_id, token = lease.task.task_id, lease.task.token
        if not isinstance(outcome, Done):
            self._put(Ending(lease, job, Failed(task_id, token, outcome.error, outcome.may_retry, outcome.delay_ms)))
        else:
            effects = outcome.effects if outcome.effects else None
            self._put(Ending(lease, job, Completed(task_id, token, outcome.result), effects))

    def release(self, lease: Lease) -> None:
        """A task is given back that was not begun."""
        self._put(Ending(lease, None, Released(lease.task.task_id, lease.task.token)))

    def _put(self, ending: Ending) -> None:
        ending.lease.has_ended = True
        self._count += 1
        self._sent.clear()
        if ending.effects is None:
            self._waiting.append(ending)
            self._wanted.set()
        else:
            self._with_effects.append(ending)
            self._send_with_effects()

    async def all_sent(self) -> None:
        """Return when nothing is left to say."""
        await self._sent.wait()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._waiting:
                    await self._send(self._next_batch())
        finally:
            for task in self._under_way:
                task.cancel()

    def _next_batch(self) -> list[Ending]:
        batch: list[Ending] = []
        size = 0
        while self._waiting and len(batch) < REPORTED_MAX:
            size += self._waiting[0].size
            if batch and size > REPORTED_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[Ending]) -> None:
        """Until it is taken, or refused."""
        completed = [ending for ending in batch if isinstance(ending.said, Completed)]
        failed = [ending for ending in batch if isinstance(ending.said, Failed)]
        released = [ending for ending in batch if isinstance(ending.said, Released)]
        report = Report(
            [ending.said for ending in completed],  # type: ignore[misc]
            [ending.said for ending in failed],  # type: ignore[misc]
            [ending.said for ending in released],  # type: ignore[misc]
        )
        try:
            states = await _until_known(lambda: self._source.report(report))
        except CommandFailed as refusal:
            if len(batch) > 1:
                for ending in batch:
                    await self._send([ending])
            else:
                self._refused(batch[0], refusal)
            return
        for ending, state in zip((*completed, *failed, *released), states, strict=True):
            self._taken(ending, state)

    def _refused(self, ending: Ending, refusal: CommandFailed) -> None:
        """What the job said cannot be stored."""
        log.error("task %s: its outcome was refused: %s", ending.lease.task.task_id, refusal)
        if isinstance(ending.said, Completed):
            error = f"its result was refused: {refusal}"
            ending.said = Failed(ending.said.id, ending.said.token, error, may_retry=False)
            self._waiting.append(ending)
        else:
            self._taken(ending, STALE)

    # -- with effects ------------------------------------------------------------------------------------

    def _send_with_effects(self) -> None:
        while self._with_effects and len(self._under_way) < TOGETHER_MAX:
            task = asyncio.get_running_loop().create_task(self._complete(self._with_effects.popleft()))
            self._under_way.add(task)
            task.add_done_callback(self._completed)

    def _completed(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.result()
            self._send_with_effects()

    async def _complete(self, ending: Ending) -> None:
        completed, effects = ending.said, ending.effects
        assert isinstance(completed, Completed)
        assert effects is not None
        try:
            await _until_known(lambda: self._source.complete_with(completed, effects))
        except StaleToken:
            self._taken(ending, STALE)
        except (CommandFailed, TypeError, ValueError) as refusal:
            # What other tasks and clients do may let it pass the next time, unless it is wrong by itself: perhaps it
            # cannot even be said in JSON.
            error = f"its effects were refused: {refusal}"
            may_retry = isinstance(refusal, CommandFailed) and not isinstance(refusal, InvalidTask)
            ending.effects, ending.said = None, Failed(completed.id, completed.token, error, may_retry)
            self._waiting.append(ending)
            self._wanted.set()
        else:
            self._taken(ending, State.SUCCEEDED.label)

    def _taken(self, ending: Ending, state: str) -> None:
        self._count -= 1
        if not self._count:
            self._sent.set()
        self._on_taken(ending, state)


async def _until_known(send: Callable[[], Awaitable[T]]) -> T:
    """What it brings, asked for again until the cluster answers. Raises its refusals."""
    pause = PAUSE_SECONDS
    while True:
        try:
            return await send()
        except CommandFailed:
            raise
        except QuorateError as error:
            log.warning("outcomes are on their way, the cluster has not taken them: %s", error)
        await asyncio.sleep(pause)
        pause = min(PAUSE_SECONDS_MAX, 2 * pause)
