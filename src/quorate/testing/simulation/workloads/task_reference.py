"""What tasks promise, said once more in short: a dict of tasks instead of tables, no indexes, no counts kept.

The reference carries out the committed log from its beginning. What it comes to is what every node must hold, and what
clients and workers must have been told. It shares nothing with the machine but how commands are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from quorate.machine.contract import ApplyContext
from quorate.machine.joint import Part
from quorate.raft.entry import Entry
from quorate.tasks.commands import (
    Cancel,
    Claim,
    Claims,
    Command,
    Completed,
    Configure,
    Dismiss,
    Enlist,
    Failed,
    Heartbeat,
    New,
    Purge,
    Released,
    RemoveQueue,
    Report,
    Retry,
    RetryAll,
    Schedule,
    Slot,
    Spec,
    Submit,
    Tick,
    Unschedule,
    Waive,
    decode_command,
)
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import DEAD_RETENTION_US, WORKER_LEASES
from quorate.tasks.machine import MACHINE
from quorate.testing.simulation.workloads.replaying import commands_for
from quorate.testing.simulation.workloads.task_facts import (
    BY_REPORT,
    ENDED,
    FAILURES,
    MILLISECOND_US,
    OPEN,
    Carried,
    Ended,
    Lane,
    Queue,
    Refused,
    S,
    Task,
    Told,
    lane_of,
    name_in,
)


@dataclass(slots=True)
class Reference:
    """The state that a log leads to. ``is_refused`` says which joint commands another part refuses."""

    is_refused: Callable[[Sequence[Part]], bool] = lambda _: False
    tasks: dict[str, Task] = field(default_factory=dict)
    """In the order of their numbers."""
    queues: dict[str, Queue] = field(default_factory=dict)
    lanes: dict[Lane, None] = field(default_factory=dict)
    """Those of the tasks that there are, in the order of their first tasks."""
    workers: dict[str, int] = field(default_factory=dict)
    """When each is taken for gone."""
    schedules: dict[str, tuple[Schedule, int, int | None, str | None]] = field(default_factory=dict)
    """With the next slot, the last, and the task of that."""
    waits: set[tuple[int, int]] = field(default_factory=set)
    """(task, task that waits for it)"""
    news: dict[int, bool] = field(default_factory=dict)
    """Tasks that have ended, which was not told to all that wait for them; whether they succeeded."""
    number: int = 0
    token: int = 0
    told: list[Told] = field(default_factory=list)
    """All changes there ever were: number n is at n - 1."""
    carried: dict[str, Carried] = field(default_factory=dict)
    """By the names of operations, in the log's order. Of what was carried out twice, the first time."""
    times: Counter[str] = field(default_factory=Counter)
    """How often each was carried out, and not refused."""
    leases: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By their tokens, (task, worker) of all that were ever given."""
    results: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """By task and token, with what it was completed."""
    turns: Counter[bool] = field(default_factory=Counter)
    """Slots of schedules that came, and whether it was their turn."""

    def run(self, entries: Iterable[Entry]) -> Reference:
        """Carry out a log, from its first entry on."""
        for body, context in commands_for(MACHINE, entries, is_refused=self.is_refused):
            command = decode_command(body)
            refusal, result = "", None
            try:
                result = self._do(command, context)
                self._clear()
            except Refused as refused:
                refusal = str(refused)
            name = name_in(body, command)
            if name is not None:
                self.carried.setdefault(name, Carried(context.time_us, command, refusal, result, len(self.told)))
                self.times[name] += not refusal
        return self

    def pending(self, queue: str) -> int:
        """How many tasks count against a queue's bound."""
        return sum(task.spec.queue == queue and task.state in OPEN for task in self.tasks.values())

    def _do(self, command: Command, context: ApplyContext) -> Any:
        now = context.time_us
        match command:
            case Submit():
                return self._submit(command, now)
            case Claims():
                return [self._claim(claim, now) for claim in command.claims]
            case Heartbeat():
                return self._heartbeat(command, now)
            case Report():
                return self._report(command, now, Random(context.random_seed))
            case Tick():
                return self._tick(command, now)
            case Cancel():
                self._cancel(command, now)
            case Retry():
                task = self._in((S.FAILED, *FAILURES), command.id)
                if not self._is_key_free(task):
                    raise Refused("NotUnique")
                self._retry(task, now)
            case RetryAll():
                return self._retry_all(command, now)
            case Purge():
                return self._purge(command, now)
            case Waive():
                return self._waive(command, now)
            case Configure():
                self._configure(command)
            case RemoveQueue():
                return self._remove_queue(command)
            case Enlist():
                self.workers[command.worker] = now + WORKER_LEASES * command.lease_ms * MILLISECOND_US
            case Dismiss():
                self.workers.pop(command.worker, None)
            case Schedule():
                self._schedule(command)
            case Unschedule():
                if self.schedules.pop(command.name, None) is None:
                    raise Refused("NoSuchSchedule")
        return None

    # -- changes -----------------------------------------------------------------------------------------

    def _tell(self, task: Task, now: int, worker: str | None = None, reason: str = "") -> None:
        spec, number = task.spec, len(self.told) + 1
        told = Told(number, now, task.id, spec.queue, spec.type, task.state, task.attempt, worker, reason)
        self.told.append(told)

    def _ready(self, task: Task, now: int, reason: str = "") -> None:
        is_early = (task.run_at_us or 0) > now
        task.state = S.SCHEDULED if is_early else S.READY
        task.next_us = task.run_at_us if is_early else task.expires_us
        task.token = task.worker = task.reason = None
        self._tell(task, now, reason=reason)

    def _end(self, task: Task, state: State, now: int, reason: str | None, *, error: str | None = None,
             result: bytes | None = None, keep: bool = True) -> None:  # fmt: skip
        retention_us = DEAD_RETENTION_US if state is S.DEAD else task.spec.retention_ms * MILLISECOND_US
        if task.state is S.WAITING:
            self.waits = {pair for pair in self.waits if pair[1] != task.number}
        task.state, task.reason, task.result, task.error = state, reason, result, error or task.error
        task.next_us, task.expires_us = now + (retention_us if keep else 0), None
        if reason not in (None, *BY_REPORT):
            task.token = None
        self._tell(task, now, task.worker, reason or "")
        if any(target == task.number for target, _ in self.waits):
            self.news[task.number] = state is S.SUCCEEDED

    def _in(self, states: Iterable[State], task_id: str) -> Task:
        task = self.tasks.get(task_id)
        if task is None:
            raise Refused("NoSuchTask")
        if task.state not in states:
            raise Refused("WrongState")
        return task

    # -- submitting --------------------------------------------------------------------------------------

    def _submit(self, command: Submit, now: int) -> list[tuple[int, bool]]:
        known: dict[str, State] = {}
        added: dict[str, New] = {}
        for new in command.tasks:
            spec, held = command.specs[new.spec], self.tasks.get(new.id)
            if held is None:
                if added.setdefault(new.id, new) != new:
                    raise Refused("IdTaken")
            elif (*held.lane[:2], held.payload) == (spec.queue, spec.type, new.payload):
                known[new.id] = held.state
            else:
                raise Refused("IdTaken")
        self._check_unique(command.specs, added)
        blockers = self._blockers(added)
        for queue, count in Counter(command.specs[new.spec].queue for new in added.values()).items():
            if self.pending(queue) + count > self.queues.get(queue, Queue()).pending_max:
                raise Refused("QueueFull")
        self._open(command.specs)
        tasks = [self._add(command.specs[new.spec], new, blockers[new.id], now) for new in added.values()]
        for task in tasks:
            if None in blockers[task.id]:
                targets = (self.tasks[target] for target in added[task.id].depends_on if target not in added)
                broken = next(each for each in targets if each.state in FAILURES)
                self._end(task, S.DEAD, now, "dependency", error=_why(broken))
        return [(known.get(new.id, self.tasks[new.id].state), new.id in known) for new in command.tasks]

    def _open(self, specs: Iterable[Spec]) -> None:
        for spec in specs:
            self.queues.setdefault(spec.queue, Queue())
            self.lanes.setdefault(lane_of(spec))

    def _check_unique(self, specs: Sequence[Spec], added: dict[str, New]) -> None:
        taken = {(task.spec.queue, task.unique_key) for task in self.tasks.values() if task.state not in ENDED}
        for new in added.values():
            if new.unique_key is not None:
                key = specs[new.spec].queue, new.unique_key
                if key in taken:
                    raise Refused("NotUnique")
                taken.add(key)

    def _blockers(self, added: dict[str, New]) -> dict[str, set[int | None]]:
        """The numbers of those that each task waits for; ``None`` is one that will not succeed."""
        blockers: dict[str, set[int | None]] = {}
        numbers: dict[str, int] = {}
        for number, new in enumerate(added.values(), self.number + 1):
            mine = blockers[new.id] = set()
            for target in new.depends_on:
                held = self.tasks.get(target)
                if held is None and target not in numbers:
                    raise Refused("UnknownDependency")
                if held is None:
                    mine.add(numbers[target])
                elif held.state is not S.SUCCEEDED:
                    mine.add(None if held.state in FAILURES else held.number)
            numbers[new.id] = number
        return blockers

    def _add(self, spec: Spec, new: New, blockers: set[int | None], now: int) -> Task:
        self.number += 1
        run_at_us = new.run_at_us or (now + new.delay_us if new.delay_us else 0)
        expires_us = max(run_at_us, now) + spec.ttl_ms * MILLISECOND_US if spec.ttl_ms else None
        state = S.WAITING if blockers else S.SCHEDULED if run_at_us > now else S.READY
        targets = {target for target in blockers if target is not None}
        task = Task(
            self.number, new.id, spec, new.payload, state, run_at_us if state is S.SCHEDULED else expires_us,
            run_at_us or None, expires_us, new.unique_key, len(targets),
        )  # fmt: skip
        self.tasks[new.id] = task
        self.waits |= {(target, task.number) for target in targets}
        self._tell(task, now)
        return task

    # -- leases ------------------------------------------------------------------------------------------

    def _claim(self, claim: Claim, now: int) -> list[tuple[int, str, int, int]]:
        def fits(task: Task) -> bool:
            queue, kind, capabilities = task.lane
            offered = (claim.queues is None or queue in claim.queues) and (claim.types is None or kind in claim.types)
            return offered and set(capabilities) <= set(claim.capabilities) and not self.queues[queue].paused

        ready = [task for task in self.tasks.values() if task.state is S.READY and fits(task)]
        ready = [task for task in ready if task.expires_us is None or task.expires_us > now]
        leases = []
        for task in sorted(ready, key=lambda each: (-each.spec.priority, each.number))[: claim.limit]:
            self.token += 1
            task.state, task.token, task.worker, task.started_us = S.RUNNING, self.token, claim.worker, now
            task.attempt += 1
            task.next_us = now + claim.lease_ms * MILLISECOND_US
            self.leases[self.token] = task.id, claim.worker
            self._tell(task, now, claim.worker)
            leases.append((task.number, task.id, self.token, task.next_us))
        return leases

    def _leased(self, task_id: str, token: int) -> Task | None:
        task = self.tasks.get(task_id)
        return task if task is not None and task.state is S.RUNNING and task.token == token else None

    def _heartbeat(self, command: Heartbeat, now: int) -> list[str]:
        lease_us = command.lease_ms * MILLISECOND_US
        if command.worker not in self.workers:
            raise Refused("NoSuchWorker")
        self.workers[command.worker] = now + WORKER_LEASES * lease_us
        lost = []
        for task_id, token in command.leases:
            task, until_us = self._leased(task_id, token), now + lease_us
            if task is not None and task.spec.timeout_ms:
                until_us = min(until_us, task.started_us + task.spec.timeout_ms * MILLISECOND_US + lease_us)
            if task is None or until_us <= now:
                lost.append(task_id)
            else:
                task.next_us = until_us
        return lost

    def _report(self, command: Report, now: int, random: Random) -> list[str]:
        answers = []
        ends: list[Ended] = [*command.completed, *command.failed, *command.released]
        for ended in ends:
            task = self._leased(ended.id, ended.token)
            if task is None:
                answers.append(self._late(ended, is_strict=command.strict))
                continue
            match ended:
                case Completed():
                    self.results[ended.id, ended.token] = ended.result
                    self._end(task, S.SUCCEEDED, now, None, result=ended.result)
                case Failed():
                    self._fail(task, ended, now, random)
                case Released():
                    task.attempt -= 1
                    self._ready(task, now, "released")
            answers.append(task.state.label)
        return answers

    def _late(self, ended: Ended, *, is_strict: bool) -> str:
        """What is told to who does not hold the lease: if it was this lease by which the task ended, the same again."""
        task = self.tasks.get(ended.id)
        if task is None or task.token != ended.token:
            if is_strict:
                raise Refused("StaleToken")
            return "stale"
        if is_strict:
            raise Refused("DoneBefore" if isinstance(ended, Completed) == (task.state is S.SUCCEEDED) else "StaleToken")
        return task.state.label

    def _fail(self, task: Task, failed: Failed, now: int, random: Random) -> None:
        if not (failed.may_retry and task.has_attempts):
            self._end(task, S.DEAD, now, "failed" if failed.may_retry else "rejected", error=failed.error)
            return
        if failed.delay_ms >= 0:
            pause_us = failed.delay_ms * MILLISECOND_US
        else:  # doubled each time, longer by up to a fifth, and never beyond its bound
            longest_us = task.spec.backoff_ms_max * MILLISECOND_US
            pause_us = min(longest_us, task.spec.backoff_ms * MILLISECOND_US * 2 ** (task.attempt - 1))
            pause_us = min(longest_us, round(pause_us * (1 + 0.2 * random.random())))
        task.state, task.error = S.FAILED, failed.error
        task.next_us = now + pause_us if task.expires_us is None else min(now + pause_us, task.expires_us)
        self._tell(task, now, task.worker, "failed")

    # -- on demand ---------------------------------------------------------------------------------------

    def _cancel(self, command: Cancel, now: int) -> None:
        states = (*OPEN, S.RUNNING) if command.force else OPEN
        self._end(self._in(states, command.id), S.CANCELLED, now, "cancelled")

    def _retry(self, task: Task, now: int) -> None:
        task.attempt, task.expires_us, task.run_at_us, task.result = 0, None, None, None
        self.news.pop(task.number, None)
        self._ready(task, now)

    def _is_key_free(self, task: Task) -> bool:
        others = [each for each in self.tasks.values() if each is not task and each.state not in ENDED]
        held = {(each.spec.queue, each.unique_key) for each in others}
        return task.unique_key is None or (task.spec.queue, task.unique_key) not in held

    def _retry_all(self, command: RetryAll, now: int) -> int:
        tasks = self._some((S.DEAD,), command.queue, self._is_key_free)[: command.limit]
        for task in tasks:
            if self._is_key_free(task):  # which one of those before it may have taken
                self._retry(task, now)
        return len(tasks)

    def _some(self, states: Iterable[State], queue: str | None, condition: Callable[[Task], bool]) -> list[Task]:
        """Lane by lane and state by state the oldest first, of those that are ready the next in turn."""
        found: list[Task] = []
        for lane in self.lanes:
            for state in states if queue in (None, lane[0]) else ():
                found += filter(condition, self._in_lane(lane, state))
        return found

    def _in_lane(self, lane: Lane, state: State) -> list[Task]:
        tasks = [each for each in self.tasks.values() if each.lane == lane and each.state is state]
        return sorted(tasks, key=lambda each: -each.spec.priority) if state is S.READY else tasks

    def _waive(self, command: Waive, now: int) -> int:
        done = 0
        for lane in [each for each in self.lanes if command.capability in each[2]]:
            less = tuple(each for each in lane[2] if each != command.capability)
            for state in sorted(OPEN) if command.queue in (None, lane[0]) else ():
                for task in self._in_lane(lane, state)[: command.limit - done]:
                    task.spec = msgspec.structs.replace(task.spec, capabilities=less)
                    self._open([task.spec])
                    done += 1
                    if state is S.READY:
                        self._tell(task, now, reason="waived")
        return done

    def _purge(self, command: Purge, now: int) -> int:
        if S.RUNNING in command.states:
            raise Refused("InvalidTask")
        states = [S(state) for state in dict.fromkeys(command.states)]
        tasks = self._some(states, command.queue, lambda task: task.next_us != 0)[: command.limit]
        resting = [task for task in tasks if task.state in OPEN]
        for task in tasks:
            if task.state in ENDED and task.number in self.news:
                task.next_us = 0
            elif task.state in ENDED:
                del self.tasks[task.id]
        for task in resting:
            self._end(task, S.CANCELLED, now, "purged", keep=False)
        return len(tasks)

    def _configure(self, command: Configure) -> None:
        queue = self.queues.setdefault(command.queue, Queue())
        if command.paused is not None:
            queue.paused = command.paused
        if command.pending_max is not None:
            queue.pending_max = command.pending_max

    def _remove_queue(self, command: RemoveQueue) -> int:
        name = command.queue
        if name not in self.queues:
            raise Refused("NoSuchQueue")
        if any(task.spec.queue == name and task.state not in ENDED for task in self.tasks.values()):
            raise Refused("QueueInUse")
        count = self._purge(Purge(tuple(map(int, ENDED)), name, command.limit), 0)
        if count < command.limit:
            self.queues[name] = Queue()
        return count

    def _clear(self) -> None:
        """What nothing is left of goes: lanes without tasks, queues without tasks or settings."""
        lanes = {task.lane for task in self.tasks.values()}
        self.lanes = {lane: None for lane in self.lanes if lane in lanes}
        names = {lane[0] for lane in lanes}
        self.queues = {name: queue for name, queue in self.queues.items() if name in names or queue != Queue()}

    def _schedule(self, command: Schedule) -> None:
        before = self.schedules.get(command.name)
        next_us, last_us, last_task = command.next_us, None, None
        if before is not None:
            last_us, last_task = before[2:]
            if (before[0].cron, before[0].timezone) == (command.cron, command.timezone):
                next_us = before[1]
        self.schedules[command.name] = command, next_us, last_us, last_task

    # -- time --------------------------------------------------------------------------------------------

    def _tick(self, command: Tick, now: int) -> int:
        done = sum([self._take_turn(slot, now) for slot in command.slots])
        self.workers = {worker: leaves_us for worker, leaves_us in self.workers.items() if leaves_us > now}
        done += self._tell_dependents(command.limit, now)
        due = [(task.next_us, task.number, task) for task in self.tasks.values() if task.next_us is not None]
        for next_us, _, task in sorted(due, key=lambda each: each[:2])[: max(0, command.limit - done)]:
            if next_us <= now:
                self._be_due(task, now)
                done += 1
        return done

    def _be_due(self, task: Task, now: int) -> None:
        if task.state in ENDED:
            del self.tasks[task.id]
        elif task.state is S.RUNNING and task.has_attempts:
            self._ready(task, now, "lease lost")
        elif task.state is S.RUNNING:
            error = f"the worker {task.worker} was not heard of until its lease was over"
            self._end(task, S.DEAD, now, "lease lost", error=error)
        elif task.expires_us is not None and task.expires_us <= now:
            self._end(task, S.DEAD, now, "expired")
        else:
            self._ready(task, now)

    def _tell_dependents(self, limit: int, now: int) -> int:
        done = 0
        while done < limit and self.news:
            target = min(self.news)
            waiting = sorted(number for each, number in self.waits if each == target)[: limit - done]
            for number in waiting:
                self.waits.remove((target, number))
                self._learn(number, next(each for each in self.tasks.values() if each.number == target), now)
            if len(waiting) < limit - done:
                del self.news[target]
            done += max(1, len(waiting))
        return done

    def _learn(self, number: int, target: Task, now: int) -> None:
        task = next((each for each in self.tasks.values() if each.number == number), None)
        if task is None or task.state is not S.WAITING:
            return
        if target.state is not S.SUCCEEDED:
            self._end(task, S.DEAD, now, "dependency", error=_why(target))
            return
        task.blockers -= 1
        if not task.blockers:
            self._ready(task, now)

    def _take_turn(self, slot: Slot, now: int) -> int:
        schedule, next_us, *_ = self.schedules.get(slot.name, (None, 0, None, None))
        self.turns[schedule is not None and next_us == slot.slot_us] += 1
        if schedule is None or next_us != slot.slot_us:
            return 0
        task_id: str | None = turn_id(slot.name, slot.slot_us)
        self._open([schedule.spec])
        try:
            self._submit(Submit([schedule.spec], [New(0, task_id or "", schedule.payload)]), now)
        except Refused:
            task_id = None
        self.schedules[slot.name] = schedule, slot.next_us, slot.slot_us, task_id
        return 1


def turn_id(name: str, slot_us: int) -> str:
    """The id of a turn's task: the second of its slot."""
    return f"{name}@{datetime.fromtimestamp(slot_us // 1_000_000, UTC).isoformat().removesuffix('+00:00')}Z"


def _why(broken: Task) -> str:
    end = "is dead" if broken.state is S.DEAD else "was cancelled"
    return f"it depends on the task {broken.id}, which {end}"
