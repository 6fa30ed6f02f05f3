"""Tasks as the contract in ``commands.py`` has them, in plain Python: slow, without tables, and short.

It takes the same commands at the same times as the machine. What it cannot know is the jitter of a back-off: it says
between which moments a task is to be tried again, and takes the machine's word for the moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

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
    Spec,
    Submit,
    Tick,
    Unschedule,
    Waive,
)
from quorate.tasks.errors import (
    DoneBefore,
    IdTaken,
    InvalidTask,
    NoSuchQueue,
    NoSuchSchedule,
    NoSuchTask,
    NoSuchWorker,
    NotUnique,
    QueueFull,
    QueueInUse,
    StaleToken,
    UnknownDependency,
    WrongState,
)
from quorate.tasks.lifecycle import State
from quorate.tasks.store.schedules import task_id_of

PENDING = (State.SCHEDULED, State.WAITING, State.READY, State.FAILED)
ENDED = (State.SUCCEEDED, State.DEAD, State.CANCELLED)
DEAD_KEPT_US = 30 * 86_400_000_000
Kind = tuple[str, str, tuple[str, ...]]


@dataclass
class Task:
    sequence: int
    new: New
    spec: Spec
    submitted_us: int
    state: State
    run_at_us: int
    expires_us: int | None
    next_us: int | None
    waits_for: set[int] = field(default_factory=set)
    attempt: int = 0
    token: int | None = None
    worker: str | None = None
    started_us: int = 0
    reason: str | None = None
    error: str | None = None
    result: bytes | None = None
    waived: set[str] = field(default_factory=set)
    backoff: tuple[int, int] | None = None
    """Earliest and latest moment of the next attempt, before the machine's word is taken."""

    @property
    def kind(self) -> Kind:
        return (self.spec.queue, self.spec.type, self.capabilities)

    @property
    def capabilities(self) -> tuple[str, ...]:
        return tuple(each for each in self.spec.capabilities if each not in self.waived)

    @property
    def holds(self) -> tuple[str, str] | None:
        """The unique key that nobody else may have."""
        key = self.new.unique_key
        return None if key is None or self.state in ENDED else (self.spec.queue, key)


@dataclass
class Planned:
    command: Schedule
    next_us: int


class Reference:
    """What there is, and what commands do to it."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.kinds: list[Kind] = []
        """Of the tasks that there are, in the order in which they came."""
        self.paused: dict[str, bool] = {}
        self.pending_max: dict[str, int] = {}
        self.workers: dict[str, int] = {}
        """Until when each is there."""
        self.schedules: dict[str, Planned] = {}
        self.news: dict[int, bool] = {}
        self.sequence = self.token = 0
        self.now = 0

    def do(self, command: Command, now: int) -> object:
        """Its result. Raises its refusal."""
        self.now = now
        result = self.result_of(command)
        there = {task.kind for task in self.tasks.values()}
        self.kinds = [kind for kind in self.kinds if kind in there]
        for queue in list(self.paused):
            settings = (self.paused[queue], self.pending_max[queue])
            if settings == (False, 1_000_000) and queue not in {each for each, _, _ in there}:
                del self.paused[queue], self.pending_max[queue]
        return result

    def result_of(self, command: Command) -> object:
        now = self.now
        match command:
            case Submit():
                return self.submit(command)
            case Claims():
                return [self.claim(claim) for claim in command.claims]
            case Heartbeat():
                return self.heartbeat(command)
            case Report():
                return self.report(command)
            case Cancel():
                return self.cancel(command)
            case Retry():
                return self.retry(command)
            case RetryAll():
                return self.retry_all(command)
            case Purge():
                return self.purge(command)
            case Waive():
                return self.waive(command)
            case Configure():
                return self.configure(command)
            case RemoveQueue():
                return self.remove_queue(command)
            case Enlist():
                self.workers[command.worker] = now + 3 * command.lease_ms * 1000
            case Dismiss():
                self.workers.pop(command.worker, None)
            case Schedule():
                self.schedule(command)
            case Unschedule():
                if self.schedules.pop(command.name, None) is None:
                    raise NoSuchSchedule(command.name)
            case Tick():
                return self.tick(command)
        return None

    # -- looking -----------------------------------------------------------------------------------------

    def get(self, task_id: str) -> Task:
        if task_id not in self.tasks:
            raise NoSuchTask(task_id)
        return self.tasks[task_id]

    def holder(self, key: tuple[str, str] | None, besides: Task | None = None) -> Task | None:
        if key is None:
            return None
        return next((task for task in self.tasks.values() if task.holds == key and task is not besides), None)

    def pending(self, queue: str) -> int:
        return sum(task.spec.queue == queue and task.state in PENDING for task in self.tasks.values())

    # -- submitting --------------------------------------------------------------------------------------

    def submit(self, command: Submit) -> list[tuple[int, bool]]:
        known = {new.id: self.tasks[new.id].state for new in command.tasks if new.id in self.tasks}
        added: dict[str, tuple[int, New]] = {}
        for position, new in enumerate(command.tasks):
            old, spec = self.tasks.get(new.id), command.specs[new.spec]
            if old is not None:
                if (*old.kind[:2], old.new.payload) != (spec.queue, spec.type, new.payload):
                    raise IdTaken(new.id, position)
            elif added.setdefault(new.id, (position, new))[1] != new:
                raise IdTaken(new.id, position)
        self.check_unique(command, list(added.values()))
        self.check_dependencies(list(added.values()))
        self.check_room([command.specs[new.spec].queue for _, new in added.values()])
        for spec in command.specs:
            self.know(spec)
        for _, new in added.values():
            self.add(new, command.specs[new.spec])
        for _, new in added.values():
            broken = next((self.tasks[target] for target in new.depends_on if self.failed(target)), None)
            if broken is not None:
                self.end(self.tasks[new.id], State.DEAD, reason="dependency", error=why(broken))
        return [(int(known.get(new.id, self.tasks[new.id].state)), new.id in known) for new in command.tasks]

    def check_unique(self, command: Submit, added: list[tuple[int, New]]) -> None:
        seen: set[tuple[str, str]] = set()
        for position, new in added:
            if new.unique_key is not None:
                key = (command.specs[new.spec].queue, new.unique_key)
                if key in seen or self.holder(key) is not None:
                    raise NotUnique(new.unique_key, "", position)
                seen.add(key)

    def check_dependencies(self, added: list[tuple[int, New]]) -> None:
        earlier = set(self.tasks)
        for position, new in added:
            for target in new.depends_on:
                if target not in earlier:
                    raise UnknownDependency(target, position)
            earlier.add(new.id)

    def check_room(self, queues: list[str]) -> None:
        for queue in dict.fromkeys(queues):
            most = self.pending_max.get(queue, 1_000_000)
            if self.pending(queue) + queues.count(queue) > most:
                raise QueueFull(queue, most)

    def know(self, spec: Spec) -> None:
        kind = (spec.queue, spec.type, spec.capabilities)
        if kind not in self.kinds:
            self.kinds.append(kind)
        self.configure(Configure(spec.queue))

    def failed(self, target: str) -> bool:
        """Whether it had ended in vain before those came that are being added."""
        task = self.tasks[target]
        return task.state in (State.DEAD, State.CANCELLED) and task.submitted_us < self.now

    def add(self, new: New, spec: Spec) -> None:
        self.sequence += 1
        run_at_us = new.run_at_us or (self.now + new.delay_us if new.delay_us else 0)
        expires_us = max(run_at_us, self.now) + spec.ttl_ms * 1000 if spec.ttl_ms else None
        unfinished = {self.tasks[each].sequence for each in new.depends_on if self.tasks[each].state not in ENDED}
        is_blocked = bool(unfinished) or any(self.failed(target) for target in new.depends_on)
        early = run_at_us > self.now
        state = State.WAITING if is_blocked else State.SCHEDULED if early else State.READY
        next_us = run_at_us if state is State.SCHEDULED else expires_us
        self.tasks[new.id] = Task(self.sequence, new, spec, self.now, state, run_at_us, expires_us, next_us, unfinished)

    # -- leases ------------------------------------------------------------------------------------------

    def claim(self, claim: Claim) -> list[tuple[int, str, int, int]]:
        ready = [task for task in self.tasks.values() if self.may_have(claim, task)]
        ready.sort(key=lambda task: (-task.spec.priority, task.sequence))
        leases = []
        for task in ready[: max(claim.limit, 0)]:
            self.token += 1
            task.state, task.token, task.worker = State.RUNNING, self.token, claim.worker
            task.attempt += 1
            task.started_us = self.now
            task.next_us = self.now + claim.lease_ms * 1000
            leases.append((task.sequence, task.new.id, task.token, task.next_us))
        return leases

    def may_have(self, claim: Claim, task: Task) -> bool:
        return (
            task.state is State.READY
            and (task.expires_us is None or task.expires_us > self.now)
            and not self.paused[task.spec.queue]
            and (claim.queues is None or task.spec.queue in claim.queues)
            and (claim.types is None or task.spec.type in claim.types)
            and set(task.capabilities) <= set(claim.capabilities)
        )

    def heartbeat(self, command: Heartbeat) -> list[str]:
        if command.worker not in self.workers:
            raise NoSuchWorker(command.worker)
        lease_us = command.lease_ms * 1000
        self.workers[command.worker] = self.now + 3 * lease_us
        lost = []
        for task_id, token in command.leases:
            task = self.tasks.get(task_id)
            if task is None or task.state is not State.RUNNING or task.token != token:
                lost.append(task_id)
                continue
            end_us = self.now + lease_us
            if task.spec.timeout_ms:
                end_us = min(end_us, task.started_us + task.spec.timeout_ms * 1000 + lease_us)
            if end_us > self.now:
                task.next_us = end_us
            else:
                lost.append(task_id)
        return lost

    def report(self, command: Report) -> list[str]:
        return [
            self.reported(each, command.strict) for each in (*command.completed, *command.failed, *command.released)
        ]

    def reported(self, end: Completed | Failed | Released, strict: bool) -> str:
        task = self.tasks.get(end.id)
        if task is None or task.token != end.token:
            if strict:
                raise StaleToken(end.id, end.token)
            return "stale"
        if task.state is not State.RUNNING:
            again = isinstance(end, Completed) == (task.state is State.SUCCEEDED)
            if strict:
                raise (DoneBefore if again else StaleToken)(end.id, end.token)
        elif isinstance(end, Completed):
            self.end(task, State.SUCCEEDED, result=end.result, token=end.token)
        elif isinstance(end, Released):
            task.attempt -= 1
            self.ready(task)
        else:
            self.fail(task, end)
        return task.state.label

    def fail(self, task: Task, failed: Failed) -> None:
        if not failed.may_retry or task.attempt > task.spec.max_retries:
            reason = "failed" if failed.may_retry else "rejected"
            self.end(task, State.DEAD, reason=reason, error=failed.error, token=failed.token)
            return
        task.state, task.error = State.FAILED, failed.error
        pause_us = min(task.spec.backoff_ms_max, task.spec.backoff_ms * 2 ** (task.attempt - 1)) * 1000
        longest_us = min(task.spec.backoff_ms_max * 1000, pause_us * 6 // 5)
        if failed.delay_ms >= 0:
            pause_us = longest_us = failed.delay_ms * 1000
        never = 1 << 62
        expires_us = never if task.expires_us is None else task.expires_us
        task.backoff = (min(self.now + pause_us, expires_us), min(self.now + longest_us, expires_us))

    def ready(self, task: Task) -> None:
        """Again, or at last; not before its time."""
        early = task.run_at_us > self.now
        task.state = State.SCHEDULED if early else State.READY
        task.next_us = task.run_at_us if early else task.expires_us
        task.token = task.worker = task.reason = None

    def end(
        self,
        task: Task,
        state: State,
        *,
        reason: str | None = None,
        error: str | None = None,
        result: bytes | None = None,
        token: int | None = None,
        keep: bool = True,
    ) -> None:
        kept_us = DEAD_KEPT_US if state is State.DEAD else task.spec.retention_ms * 1000
        task.state, task.reason, task.result, task.token = state, reason, result, token
        task.error = error if error is not None else task.error
        task.next_us = self.now + (kept_us if keep else 0)
        task.expires_us = None
        task.waits_for = set()
        if any(task.sequence in other.waits_for for other in self.tasks.values()):
            self.news[task.sequence] = state is State.SUCCEEDED

    # -- administration ----------------------------------------------------------------------------------

    def cancel(self, command: Cancel) -> None:
        task = self.get(command.id)
        if task.state in ENDED or (task.state is State.RUNNING and not command.force):
            raise WrongState(task.new.id, task.state.label, "cancel")
        self.end(task, State.CANCELLED, reason="cancelled")

    def retry(self, command: Retry) -> None:
        task = self.get(command.id)
        if task.state not in (State.FAILED, State.DEAD, State.CANCELLED):
            raise WrongState(task.new.id, task.state.label, "retry")
        key = task.new.unique_key
        if key is not None and self.holder((task.spec.queue, key), besides=task) is not None:
            raise NotUnique(key, "")
        self.begin_anew(task)

    def begin_anew(self, task: Task) -> None:
        task.expires_us, task.run_at_us, task.attempt, task.result = None, 0, 0, None
        self.ready(task)
        self.news.pop(task.sequence, None)

    def retry_all(self, command: RetryAll) -> int:
        def key_is_free(task: Task) -> bool:
            key = task.new.unique_key
            return key is None or self.holder((task.spec.queue, key), besides=task) is None

        dead = [task for task in self.in_states((State.DEAD,), command.queue) if key_is_free(task)][: command.limit]
        for task in dead:
            if key_is_free(task):
                self.begin_anew(task)
        return len(dead)

    def in_states(self, states: tuple[int, ...], queue: str | None) -> list[Task]:
        found = [task for task in self.tasks.values() if task.state in states and queue in (None, task.spec.queue)]

        def place(task: Task) -> tuple[int, int, int, int]:
            before_lower = -task.spec.priority if task.state is State.READY else 0
            return (self.kinds.index(task.kind), states.index(task.state), before_lower, task.sequence)

        return sorted(found, key=place)

    def purge(self, command: Purge) -> int:
        if State.RUNNING in command.states:
            raise InvalidTask("state", "running", "")
        found = [task for task in self.in_states(command.states, command.queue) if task.next_us != 0][: command.limit]
        for task in found:
            if task.state not in ENDED:
                self.end(task, State.CANCELLED, reason="purged", keep=False)
            elif task.sequence in self.news:
                task.next_us = 0
            else:
                del self.tasks[task.new.id]
        return len(found)

    def waive(self, command: Waive) -> int:
        done = 0
        for queue, kind, capabilities in list(self.kinds):
            if command.capability in capabilities and command.queue in (None, queue):
                found = [task for task in self.in_states(PENDING, queue) if task.kind == (queue, kind, capabilities)]
                for task in found[: command.limit - done]:
                    task.waived.add(command.capability)
                    done += 1
                    if task.kind not in self.kinds:
                        self.kinds.append(task.kind)
        return done

    def configure(self, command: Configure) -> None:
        queue = command.queue
        self.paused[queue] = self.paused.get(queue, False) if command.paused is None else command.paused
        before = self.pending_max.get(queue, 1_000_000)
        self.pending_max[queue] = before if command.pending_max is None else command.pending_max

    def remove_queue(self, command: RemoveQueue) -> int:
        queue = command.queue
        if queue not in self.paused:
            raise NoSuchQueue(queue)
        unfinished = [task for task in self.tasks.values() if task.spec.queue == queue and task.state not in ENDED]
        if unfinished:
            raise QueueInUse(queue, len(unfinished))
        count = self.purge(Purge(ENDED, queue, command.limit))
        if count < command.limit:
            self.configure(Configure(queue, False, 1_000_000))
        return count

    def schedule(self, command: Schedule) -> None:
        old = self.schedules.get(command.name)
        same = old is not None and (old.command.cron, old.command.timezone) == (command.cron, command.timezone)
        self.schedules[command.name] = Planned(command, cast("Planned", old).next_us if same else command.next_us)

    # -- time --------------------------------------------------------------------------------------------

    def tick(self, command: Tick) -> int:
        done = sum(self.take_turn(slot.name, slot.slot_us, slot.next_us) for slot in command.slots)
        self.workers = {worker: until for worker, until in self.workers.items() if until > self.now}
        done += self.tell_dependents(command.limit)
        due = [task for task in self.tasks.values() if task.next_us is not None and task.next_us <= self.now]
        due.sort(key=lambda task: (task.next_us, task.sequence))
        for task in due[: max(command.limit - done, 0)]:
            self.come_due(task)
            done += 1
        return done

    def take_turn(self, name: str, slot_us: int, next_us: int) -> int:
        planned = self.schedules.get(name)
        if planned is None or planned.next_us != slot_us:
            return 0
        planned.next_us = next_us
        self.know(planned.command.spec)
        try:
            self.submit(Submit([planned.command.spec], [New(0, task_id_of(name, slot_us), planned.command.payload)]))
        except (QueueFull, IdTaken):
            pass
        return 1

    def tell_dependents(self, limit: int) -> int:
        told = 0
        while told < limit and self.news:
            target = min(self.news)
            succeeded = self.news[target]
            waiting = sorted(
                (task for task in self.tasks.values() if target in task.waits_for), key=lambda task: task.sequence
            )
            some = waiting[: limit - told]
            ended = next(task for task in self.tasks.values() if task.sequence == target)
            for task in some:
                task.waits_for.discard(target)
            for task in some:
                if not succeeded:
                    self.end(task, State.DEAD, reason="dependency", error=why(ended))
                elif not task.waits_for:
                    self.ready(task)
            if len(some) < limit - told:
                del self.news[target]
            told += max(1, len(some))
        return told

    def come_due(self, task: Task) -> None:
        if task.state in ENDED:
            del self.tasks[task.new.id]
        elif task.state is State.RUNNING:
            if task.attempt <= task.spec.max_retries:
                self.ready(task)
            else:
                error = f"the worker {task.worker} was not heard of until its lease was over"
                self.end(task, State.DEAD, reason="lease lost", error=error)
        elif task.expires_us is not None and task.expires_us <= self.now:
            self.end(task, State.DEAD, reason="expired")
        else:
            self.ready(task)


def why(broken: Task) -> str:
    end = "is dead" if broken.state is State.DEAD else "was cancelled"
    return f"it depends on the task {broken.new.id}, which {end}"
