"""What a node does for those who submit tasks, and for those who do them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from quorate.errors import OutcomeUnknown
from quorate.machine.outcome import Applied
from quorate.node.ports import Engine
from quorate.node.reads import Consistency
from quorate.tasks.clockwork import Clockwork
from quorate.tasks.commands import (
    Cancel,
    Claim,
    Command,
    Completed,
    Configure,
    Dismiss,
    Enlist,
    Heartbeat,
    Purge,
    RemoveQueue,
    Report,
    Retry,
    RetryAll,
    Submit,
    Unschedule,
    Waive,
    encode_command,
)
from quorate.tasks.dispatching import Dispatching
from quorate.tasks.effects import Effect
from quorate.tasks.errors import DoneBefore, NoSuchQueue, TaskRefusal
from quorate.tasks.feed import Feed
from quorate.tasks.gathering import States, Submits
from quorate.tasks.lifecycle import BY_LABEL, PENDING, State
from quorate.tasks.limits import PURGE_TASKS_MAX
from quorate.tasks.machine import MACHINE, TasksMachine
from quorate.tasks.reading import PAGE_MAX, Reading, TaskFilter, empty_queue
from quorate.tasks.records import (
    LeasedTask,
    QueueRecord,
    SchedulePage,
    ScheduleRecord,
    Stats,
    Submitted,
    TaskPage,
    TaskRecord,
    WorkerPage,
    WorkerRecord,
)
from quorate.tasks.submission import Kind, Submissions, TaskRequest

_LABELS = [state.label for state in State]


class JointEngine(Engine, Protocol):
    """An engine that can have several machines carry out commands together."""

    async def propose_together(self, parts: Sequence[tuple[str, bytes]], *, timeout: float | None = None) -> Applied:
        """All of them or none; the results in a list. Raises what ``propose`` raises."""
        ...


class LeadingEngine(JointEngine, Protocol):
    """An engine that knows whether it leads."""

    @property
    def is_leader(self) -> bool:
        """As far as it knows."""
        ...


class Broker:
    """The tasks of a cluster, as one node has them.

    Every method may be asked of every node. Writes raise a :class:`~quorate.tasks.errors.TaskRefusal`,
    :class:`~quorate.errors.NotApplied` or :class:`~quorate.errors.OutcomeUnknown`; reads
    :class:`~quorate.errors.ReadUnavailable`.
    """

    def __init__(
        self,
        engine: JointEngine,
        machine: TasksMachine,
        *,
        leads: Callable[[], bool],
        now_us: Callable[[], int],
        kinds: Mapping[str, Kind] | None = None,
        queues: Collection[str] = (),
    ) -> None:
        """With ``kinds`` tasks of no other types, and in no other queues than theirs and ``queues``, are taken."""
        self._engine = engine
        self._machine = machine
        self._now_us = now_us
        self._submissions = Submissions(kinds, queues)
        self._dispatching = Dispatching(engine, machine)
        self._clockwork = Clockwork(engine, machine, leads, now_us, kinds)
        self._ticking: asyncio.Task[None] | None = None
        self._reading = Reading(machine)
        self._submits = Submits(self._applied_again)

    @classmethod
    def of(
        cls,
        node: LeadingEngine,
        machine: TasksMachine,
        now_us: Callable[[], int],
        kinds: Mapping[str, Kind],
        queues: Collection[str],
    ) -> Broker:
        """That of a node; see there for the rest."""
        return cls(node, machine, leads=lambda: node.is_leader, now_us=now_us, kinds=kinds, queues=queues)

    def begin(self) -> None:
        """The node runs: have done what is due, while it leads."""
        self._machine.feed.begin()
        self._ticking = asyncio.get_running_loop().create_task(self._clockwork.run())

    async def end(self) -> None:
        """Idempotent."""
        self._dispatching.end()
        await self._submits.end()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
            self._ticking = None

    @property
    def feed(self) -> Feed:
        """The changes that are applied here."""
        return self._machine.feed

    async def _applied(self, command: Command) -> Applied:
        return await self._engine.propose(encode_command(command), machine=MACHINE)

    async def _applied_again(self, command: Command) -> Applied:
        """Of what may be asked for twice, with the same outcome."""
        try:
            return await self._applied(command)
        except OutcomeUnknown:
            return await self._applied(command)

    async def _propose(self, command: Command) -> Any:
        return (await self._applied(command)).result

    async def _propose_again(self, command: Command) -> Any:
        return (await self._applied_again(command)).result

    # -- submitting --------------------------------------------------------------------------------------

    async def submit(self, request: TaskRequest) -> Submitted:
        """Add a task. With an id of the caller's it may be submitted again, and is added once."""
        command = self._submissions.of_one(request, self._now_us())
        return _submitted(command, cast("States", (await self._submits.submit(command)).result))[0]

    async def submit_many(self, requests: Sequence[TaskRequest]) -> list[Submitted]:
        """Add all tasks or none, in one entry of the log. Refusals say the ``position`` of the task."""
        command, order = self._submissions.of_many(requests, self._now_us())
        try:
            submitted = _submitted(command, await self._propose_again(command))
        except TaskRefusal as refusal:
            position = getattr(refusal, "position", None)
            if position is not None:
                refusal.position = order[position]  # type: ignore[attr-defined]
            raise
        by_position = dict(zip(order, submitted, strict=True))
        return [by_position[position] for position in range(len(order))]

    # -- reading -----------------------------------------------------------------------------------------

    async def task(self, task_id: str, *, consistency: Consistency = "strong") -> TaskRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchTask`."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.task(task_id)

    async def wait(self, task_id: str, seconds: float) -> TaskRecord:
        """The task, as soon as it has ended, or when time is over. Raises :class:`~quorate.tasks.errors.NoSuchTask`."""
        ends = asyncio.get_running_loop().time() + seconds
        consistency: Consistency = "strong"
        while True:
            await self._engine.read_barrier(consistency=consistency)
            consistency = "eventually"  # from now on what is applied here is new enough
            record = self._reading.task(task_id)
            left = ends - asyncio.get_running_loop().time()
            if BY_LABEL[record.status].is_ended or left <= 0:
                return record
            await self._machine.feed.until_ended(task_id, left)

    async def tasks(self, wanted: TaskFilter, *, consistency: Consistency = "strong") -> TaskPage:
        """A page of tasks, newest first. Raises :class:`~quorate.machine.queries.TooExpensive`."""
        await self._engine.read_barrier(consistency=consistency)
        reading = self._reading
        return await self._machine.queries.answer(lambda db: reading.page(db, wanted), self._engine.flush)

    async def stats(self, *, consistency: Consistency = "strong") -> Stats:
        """How many tasks are in which state."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.stats()

    async def queues(self, *, consistency: Consistency = "strong") -> list[QueueRecord]:
        """All queues that have tasks, or settings of their own."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.queues()

    async def queue(self, name: str, *, consistency: Consistency = "strong") -> QueueRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchQueue` for one that has neither."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.queue(name)

    async def workers(self, *, consistency: Consistency = "strong") -> list[WorkerRecord]:
        """The workers that were heard of lately."""
        page = await self.worker_page(consistency=consistency)
        found = page.workers
        while page.next is not None:
            page = await self.worker_page(page.next, consistency="eventually")
            found += page.workers
        return found

    async def worker_page(
        self, after: str = "", limit: int = PAGE_MAX, *, consistency: Consistency = "strong"
    ) -> WorkerPage:
        """Some of them, by their ids; ``after`` is the ``next`` of the page before."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.workers(after, limit)

    # -- what operators do -------------------------------------------------------------------------------

    async def cancel(self, task_id: str, *, force: bool = False) -> None:
        """End a task before it is done; with ``force`` also one that is running, whose worker is told to stop."""
        await self._propose(Cancel(task_id, force))

    async def retry(self, task_id: str) -> None:
        """Have a dead, failed or cancelled task tried, with all its attempts."""
        await self._propose(Retry(task_id))

    async def retry_dead(self, queue: str | None = None) -> int:
        """Have all dead tasks tried, of one queue or all; returns how many."""
        return await self._bit_by_bit(RetryAll(queue, PURGE_TASKS_MAX))

    async def purge(self, states: Iterable[State], queue: str | None = None) -> int:
        """Remove all tasks in these states, of one queue or all; returns how many. Not those that are running."""
        return await self._bit_by_bit(Purge(tuple(sorted(map(int, states))), queue, PURGE_TASKS_MAX))

    async def waive(self, capability: str, queue: str | None = None) -> int:
        """Have all pending tasks, of one queue or all, do without a capability; returns how many."""
        return await self._bit_by_bit(Waive(capability, queue, PURGE_TASKS_MAX))

    def needs(self, states: Collection[State] = PENDING) -> dict[str, int]:
        """How many tasks in these states need which capability, as far as is known here."""
        found: dict[str, int] = {}
        for lane in self._machine.tables.lanes.values():
            if lane.capabilities and (count := sum(lane.counts[state] for state in states)):
                for capability in lane.capabilities:
                    found[capability] = found.get(capability, 0) + count
        return found

    def pending(self, queue: str) -> int:
        """How many tasks wait in a queue, as far as is known here."""
        known = self._machine.tables.queues.get(queue)
        return 0 if known is None else known.pending

    async def _bit_by_bit(self, command: RetryAll | Purge | Waive) -> int:
        """What is added meanwhile is left alone: it ends when it has done as many as there were."""
        await self._engine.read_barrier(consistency="strong")
        most = sum(sum(lane.counts) for lane in self._machine.tables.lanes.values())
        done = 0
        while done <= most:
            count = cast("int", await self._propose(command))
            done += count
            if count < command.limit:
                break
        return done

    async def configure(self, queue: str, *, paused: bool | None = None, pending_max: int | None = None) -> QueueRecord:
        """Pause or resume a queue, or set how many tasks may wait in it."""
        await self._propose_again(Configure(queue, paused, pending_max))
        await self._engine.read_barrier(consistency="eventually")
        try:
            return self._reading.queue(queue)
        except NoSuchQueue:  # it is as any queue is of which nothing is known
            return empty_queue(queue)

    async def remove_queue(self, queue: str) -> int:
        """Remove a queue, its settings, and its tasks that have ended; returns how many those were.

        Raises :class:`~quorate.tasks.errors.NoSuchQueue`, and :class:`~quorate.tasks.errors.QueueInUse` as long as
        it has other tasks. Should some come meanwhile, some that have ended may be gone already.
        """
        command = RemoveQueue(queue, PURGE_TASKS_MAX)
        done = count = cast("int", await self._propose(command))
        while count == command.limit:
            try:
                done += (count := cast("int", await self._propose(command)))
            except NoSuchQueue:  # those were all
                break
        return done

    # -- schedules ---------------------------------------------------------------------------------------

    async def schedule(self, name: str, cron: str, request: TaskRequest, *, timezone: str = "UTC") -> ScheduleRecord:
        """Submit a task at each turn of a cron expression; replaces the schedule of that name."""
        await self._propose_again(self._submissions.of_schedule(name, cron, timezone, request, self._now_us()))
        await self._engine.read_barrier(consistency="eventually")
        return self._reading.schedule(name)

    async def unschedule(self, name: str) -> None:
        """Raises :class:`~quorate.tasks.errors.NoSuchSchedule`."""
        await self._propose(Unschedule(name))

    async def schedule_named(self, name: str, *, consistency: Consistency = "strong") -> ScheduleRecord:
        """Raises :class:`~quorate.tasks.errors.NoSuchSchedule`."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.schedule(name)

    async def schedules(self, *, consistency: Consistency = "strong") -> list[ScheduleRecord]:
        """All schedules."""
        page = await self.schedule_page(consistency=consistency)
        found = page.schedules
        while page.next is not None:
            page = await self.schedule_page(page.next, consistency="eventually")
            found += page.schedules
        return found

    async def schedule_page(
        self, after: str = "", limit: int = PAGE_MAX, *, consistency: Consistency = "strong"
    ) -> SchedulePage:
        """Some of them, by their names; ``after`` is the ``next`` of the page before."""
        await self._engine.read_barrier(consistency=consistency)
        return self._reading.schedules(after, limit)

    # -- workers -----------------------------------------------------------------------------------------

    async def enlist(self, worker: Enlist) -> None:
        """A worker comes."""
        await self._propose_again(worker)

    async def dismiss(self, worker_id: str) -> None:
        """A worker goes."""
        await self._propose_again(Dismiss(worker_id))

    async def claim(self, claim: Claim, seconds: float = 0.0) -> list[LeasedTask]:
        """Leases on tasks, as soon as there are some; none when time is over."""
        return await self._dispatching.claim(claim, seconds)

    async def heartbeat(self, heartbeat: Heartbeat) -> list[str]:
        """Prolong leases. Returns the tasks that are not the worker's any more, whose jobs it should stop.

        Raises :class:`~quorate.tasks.errors.NoSuchWorker`.
        """
        return cast("list[str]", await self._propose_again(heartbeat))

    async def report(self, report: Report) -> list[str]:
        """How leases have ended. Returns for each the task's state by now, or ``stale``."""
        return cast("list[str]", await self._propose_again(report))

    async def complete_with(self, completed: Completed, effects: Sequence[Effect]) -> None:
        """End a lease together with effects on other machines: all of it, once, or nothing. May be asked again.

        Raises :class:`~quorate.tasks.errors.StaleToken`, or the refusal of an effect.
        """
        parts = [(MACHINE, encode_command(Report([completed], strict=True))), *effects]
        try:
            try:
                await self._engine.propose_together(parts)
            except OutcomeUnknown:
                await self._engine.propose_together(parts)
        except DoneBefore:
            pass  # by an earlier request, whose answer was lost


def _submitted(command: Submit, states: States) -> list[Submitted]:
    return [
        Submitted(task.id, _LABELS[state], duplicate)
        for task, (state, duplicate) in zip(command.tasks, states, strict=True)
    ]
