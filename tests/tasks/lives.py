"""Random commands for two replicas and the reference, which are compared after each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext
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
    encode_command,
)
from quorate.tasks.lifecycle import State

from .reference import ENDED, PENDING, Reference
from .support import FIRST_US, SECOND_US, Replica

QUEUES, TYPES, WORKERS, SCHEDULES = ("q", "r"), ("x", "y"), ("w1", "w2"), ("hourly", "daily")
CAPABILITIES: tuple[tuple[str, ...], ...] = ((), (), ("gpu",), ("gpu", "ssd"))
SOME_QUEUES, SOME_TYPES = (None, None, ("q",), QUEUES, ()), (None, None, ("x",), TYPES, ())


class Lives:
    """Two replicas that are flushed and opened again at different moments, and the reference."""

    def __init__(self, path: Path) -> None:
        self.one, self.other = Replica(path / "one"), Replica(path / "other")
        self.reference = Reference()
        self.highest_token = self.ids = 0
        self.jointly = 0
        self.changes = 0
        self.seen: Counter[str] = Counter()
        """Commands by how they ended, and states by the one before."""

    def close(self) -> None:
        assert self.one.digest() == self.other.digest()
        self.one.close()
        self.other.close()

    # -- commands ----------------------------------------------------------------------------------------

    def submit(self, random: Random) -> None:
        spec = a_spec(random)
        self.step(Submit([spec], [New(0, self.new_id(), b"1") for _ in range(random.randint(1, 3))]))

    def submit_dependent(self, random: Random) -> None:
        delay_us = random.choice((0, 60, 7_200)) * SECOND_US
        first = New(0, self.new_id(), b"1", 0, delay_us, depends_on=self.some_ids(random, 2))
        second = New(0, self.new_id(), b"1", depends_on=(first.id, *self.some_ids(random, 1)))
        self.step(Submit([a_spec(random)], [first, second]))

    def submit_anything(self, random: Random) -> None:
        specs = [a_spec(random), a_spec(random)]
        self.step(Submit(specs, [self.a_new_task(random) for _ in range(random.randint(0, 4))]))

    def submit_again(self, random: Random) -> None:
        task = self.reference.tasks.get(self.an_id(random))
        if task is not None:
            ((state, known),) = self.step(Submit([task.spec], [New(0, task.new.id, task.new.payload)]))
            assert (state, known) == (task.state, True)

    def claim(self, random: Random) -> None:
        lease_ms = random.choice((1_000, 30_000))
        self.leased([Claim(random.choice(WORKERS), 4, capabilities=("gpu", "ssd"), lease_ms=lease_ms)])

    def claim_anything(self, random: Random) -> None:
        self.leased([a_claim(random) for _ in range(random.randint(1, 3))])

    def leased(self, claims: list[Claim]) -> None:
        for leases in self.step(Claims(claims)):
            for lease in leases:
                assert lease.token > self.highest_token, "a token is given once"
                self.highest_token = lease.token

    def complete(self, random: Random) -> None:
        leases = self.some_leases(random)
        self.step(Report(completed=[Completed(*lease, random.choice((b"null", b"1", b""))) for lease in leases]))

    def fail(self, random: Random) -> None:
        delay_ms, may_retry = random.choice((-1, -1, -1, 0, 4_000)), random.random() < 0.8
        self.step(Report(failed=[Failed(*lease, "no", may_retry, delay_ms) for lease in self.some_leases(random)]))

    def report_several(self, random: Random) -> None:
        completed, failed, released = (self.a_lease(random) for _ in range(3))
        self.step(Report([Completed(*completed)], [Failed(*failed, "no")], [Released(*released)]))

    def report_strictly(self, random: Random) -> None:
        lease = self.a_lease(random)
        ends = ([Completed(*lease)], [Failed(*lease, "no")], [Released(*lease)])
        kind = random.randrange(3)
        self.step(Report(*(end if number == kind else [] for number, end in enumerate(ends)), strict=True))

    def heartbeat(self, random: Random) -> None:
        worker, lease_ms = random.choice(WORKERS), random.choice((1_000, 30_000))
        if random.random() < 0.7:
            self.step(Enlist(worker, None, None, (), 1, lease_ms))
        self.step(Heartbeat(worker, [*self.leases(), self.a_lease(random)], lease_ms))

    def cancel(self, random: Random) -> None:
        unfinished = [task.new.id for task in self.reference.tasks.values() if task.state not in ENDED]
        task_id = random.choice(unfinished) if unfinished and random.random() < 0.8 else self.an_id(random)
        self.step(Cancel(task_id, random.random() < 0.5))

    def retry(self, random: Random) -> None:
        ended = [task for task in self.reference.tasks.values() if task.state > State.SUCCEEDED]
        keyed = [task for task in ended if task.new.unique_key is not None and task.state is not State.FAILED]
        some = keyed if keyed and random.random() < 0.4 else ended
        self.step(Retry(random.choice(some).new.id if some else self.an_id(random)))

    def remove_queue(self, random: Random) -> None:
        """What has not ended in it is ended before, sometimes."""
        queue, limit = random.choice(QUEUES), random.choice((1, 250))
        tasks = [task for task in self.reference.tasks.values() if task.spec.queue == queue]
        for task in tasks if random.random() < 0.4 else ():
            if task.state not in ENDED:
                self.step(Cancel(task.new.id, force=task.state is State.RUNNING))
        while self.step(RemoveQueue(queue, limit)) == limit:
            pass

    def keep_up(self, random: Random) -> None:
        self.step(some_upkeep(random))

    # -- time --------------------------------------------------------------------------------------------

    def leap(self, random: Random) -> None:
        self.go_on(random.choice((1, 4, 31, 3_601, 31 * 86_400)))

    def time_passes(self, random: Random) -> None:
        """Nothing that is due stays undone, however often it takes."""
        self.go_on(random.choice((1, 4, 6, 31, 3_601)))
        limit = random.choice((250, 7, 1))
        for _ in range(1_000):
            next_us = self.one.machine.upkeep.next_us
            if next_us is None or next_us > self.one.time_us:
                break
            self.step(Tick(limit))
        else:
            raise AssertionError("it never ends")
        assert not self.reference.news
        due = [task.next_us for task in self.reference.tasks.values() if task.next_us is not None]
        assert all(next_us > self.one.time_us for next_us in due)

    def go_on(self, seconds: int) -> None:
        self.one.later(seconds)
        self.other.later(seconds)

    # -- nodes -------------------------------------------------------------------------------------------

    def flush_one(self, _: Random) -> None:
        self.one.state.commit()

    def reopen_other(self, _: Random) -> None:
        self.other.reopen()
        assert self.other.memory() == self.one.memory(), "what is in memory is what the file says"
        assert self.other.digest() == self.one.digest()

    def undo_some(self, random: Random) -> None:
        """The next commands are tried in joint commands first, which others refuse."""
        self.jointly = random.randint(1, 4)

    # -- looking -----------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids}é\0"

    def an_id(self, random: Random) -> str:
        """Of a task that there is, if there is any."""
        return random.choice(list(self.reference.tasks) or [""])

    def some_ids(self, random: Random, count_max: int) -> tuple[str, ...]:
        return tuple(self.an_id(random) for _ in range(random.randint(0, count_max)) if self.reference.tasks)

    def a_new_task(self, random: Random) -> New:
        """It may be known, depend on what there is not, and have the key of another."""
        some = ["", "a", "b", "c", *self.reference.tasks]
        return New(
            spec=random.randrange(2),
            id=random.choice((self.new_id(), self.new_id(), random.choice(some[:4]), self.an_id(random))),
            payload=random.choice((b"1", b"1", b"", b"x" * 1025)),
            run_at_us=random.choice((0, 0, 1, FIRST_US + 30 * SECOND_US)),
            delay_us=random.choice((0, 2 * SECOND_US)),
            unique_key=random.choice((None, "k", "0:k")),
            depends_on=tuple(random.choice(some) for _ in range(random.choice((0, 0, 1, 2)))),
        )

    def leases(self) -> list[tuple[str, int]]:
        running = (task for task in self.reference.tasks.values() if task.state is State.RUNNING)
        return [(task.new.id, task.token or 0) for task in running]

    def some_leases(self, random: Random) -> list[tuple[str, int]]:
        leases = self.leases()
        return random.sample(leases, min(len(leases), random.randint(1, 3)))

    def a_lease(self, random: Random) -> tuple[str, int]:
        """One that there is, was, or never was."""
        held = [(task.new.id, task.token) for task in self.reference.tasks.values() if task.token is not None]
        if held and random.random() < 0.7:
            return random.choice(held)
        return self.an_id(random), random.randint(0, self.highest_token + 1)

    def step(self, command: Command) -> Any:
        if self.jointly:
            self.jointly -= 1
            self.undone(command)
        result, other = self.one.outcome(command), self.other.outcome(command)
        assert repr(other) == repr(result)
        expected = self.expected(command)
        if isinstance(expected, CommandFailed):
            assert type(result) is type(expected)
            assert self.one.machine.feed.last == self.changes
        else:
            assert result == expected
        self.note(type(command).__name__, result)
        self.check()
        return [] if isinstance(result, CommandFailed) else result

    def note(self, command: str, result: object) -> None:
        self.seen[f"{command}: {type(result).__name__}" if isinstance(result, CommandFailed) else command] += 1

    def expected(self, command: Command) -> object:
        try:
            return self.reference.do(command, self.one.time_us)
        except CommandFailed as refusal:
            return refusal

    def undone(self, command: Command) -> None:
        replica = self.one
        replica.state.begin()
        before, digest, last = replica.memory(), replica.digest(), replica.machine.feed.last
        mark = replica.machine.mark()
        try:
            with replica.state.savepoint():
                context = ApplyContext(replica.index + 1, 1, replica.time_us + 1, seed=1)
                replica.machine.apply(encode_command(command), context)
                raise CommandFailed("another part of it is refused")
        except CommandFailed:
            replica.machine.undo(mark)
        assert replica.memory() == before
        assert replica.digest() == digest
        assert replica.machine.feed.last == last

    def check(self) -> None:
        stored = self.one.all()
        assert list(stored) == list(self.reference.tasks), "no task is lost, none is invented"
        for task_id, task in self.reference.tasks.items():
            row = stored[task_id]
            if task.backoff is not None:
                earliest, latest = task.backoff
                assert row.next_us is not None
                assert earliest <= row.next_us <= latest
                task.next_us, task.backoff = row.next_us, None
            assert row.attempt <= task.spec.max_retries + 1
            seen = (row.sequence, row.state, row.attempt, row.next_us, row.reason, row.error, row.result, row.payload)
            assert seen == (
                task.sequence, task.state, task.attempt, task.next_us, task.reason, task.error, task.result,
                task.new.payload,
            )  # fmt: skip
            assert (row.token, row.worker) == (task.token, task.worker)
            if row.state is State.WAITING:
                assert row.blockers == len(task.waits_for) > 0
        tokens = [row.token for row in stored.values() if row.state is State.RUNNING]
        assert None not in tokens
        assert len(set(tokens)) == len(tokens), "no token stands for two leases"
        self.check_counts()
        self.check_rest()

    def check_counts(self) -> None:
        tables = self.one.machine.tables
        tasks = self.reference.tasks.values()
        assert [(lane.queue.name, lane.type, tuple(sorted(lane.capabilities))) for lane in tables.lanes.values()] == (
            self.reference.kinds
        ), "there are the lanes of the tasks that there are"
        expected = Counter((task.kind, task.state) for task in tasks)
        for lane, kind in zip(tables.lanes.values(), self.reference.kinds, strict=True):
            assert lane.counts == [expected[kind, state] for state in State]
        assert list(tables.queues) == list(self.reference.paused), "and the queues of those, and of what was set"
        for name, queue in tables.queues.items():
            assert queue.pending == sum(task.spec.queue == name and task.state in PENDING for task in tasks)
            assert (queue.paused, queue.pending_max) == (self.reference.paused[name], self.reference.pending_max[name])
        counted = self.one.state.connection.execute("SELECT lane, state, tasks FROM task_count").fetchall()
        assert all(tables.lanes[lane].counts[state] == count for lane, state, count in counted)
        assert sum(count for _, _, count in counted) == len(tasks)

    def check_rest(self) -> None:
        connection = self.one.state.connection
        waits = {(target, task.sequence) for task in self.reference.tasks.values() for target in task.waits_for}
        assert set(connection.execute("SELECT target, dependent FROM task_dependency")) == waits
        assert self.one.machine.tables.numbers.dependencies == len(waits)
        assert dict(connection.execute("SELECT sequence, succeeded FROM task_news")) == self.reference.news
        assert dict(connection.execute("SELECT id, leaves_us FROM task_worker")) == self.reference.workers
        planned = {name: each.next_us for name, each in self.reference.schedules.items()}
        assert dict(connection.execute("SELECT name, next_us FROM task_schedule")) == planned
        long = sum(len(task.new.payload) > 1024 for task in self.reference.tasks.values())
        assert self.one.count("task_payload") == long, "payloads go with their tasks"
        changes = self.one.machine.feed.after(self.changes, 10_000)
        assert [change.number for change in changes] == list(range(self.changes + 1, self.one.machine.feed.last + 1))
        self.changes = self.one.machine.feed.last


def a_spec(random: Random) -> Spec:
    return Spec(
        queue=random.choice(QUEUES),
        type=random.choice(TYPES),
        capabilities=random.choice(CAPABILITIES),
        priority=random.choice((0, 0, 1, 255)),
        timeout_ms=random.choice((0, 2_000)),
        max_retries=random.choice((0, 1, 3)),
        backoff_ms=random.choice((0, 5_000)),
        backoff_ms_max=random.choice((8_000, 3_600_000)),
        ttl_ms=random.choice((0, 0, 3_000, 40_000)),
        retention_ms=random.choice((0, 3_600_000)),
    )


def a_claim(random: Random) -> Claim:
    return Claim(
        random.choice(WORKERS),
        random.choice((-1, 0, 1, 2, 250)),
        random.choice(SOME_QUEUES),
        random.choice(SOME_TYPES),
        random.choice(CAPABILITIES),
        random.choice((1_000, 30_000)),
    )


def some_upkeep(random: Random) -> Command:
    name, slot_us = random.choice(SCHEDULES), FIRST_US + random.randrange(3) * 60 * SECOND_US
    states = tuple(map(int, random.choices(list(State), k=random.randint(0, 3))))
    queue, worker = random.choice((None, *QUEUES, "unknown")), random.choice(WORKERS)
    most = random.choice((None, 100, 12, 4))
    commands: list[Command] = [
        Purge(states, queue, random.choice((1, 250))),
        RetryAll(queue, random.choice((1, 2, 250))),
        Waive(random.choice(("gpu", "ssd", "arm")), queue, random.choice((1, 250))),
        Configure(random.choice(QUEUES), random.choice((None, False, False, True)), most),
        RemoveQueue(random.choice((*QUEUES, "unknown"))),
        Enlist(worker, None, ("x",), (), 2, 1_000),
        Dismiss(worker),
        Schedule(name, random.choice("ab"), "UTC", a_spec(random), b"1", slot_us),
        Unschedule(name),
        Tick(random.choice((-1, 0, 1, 2, 250)), [Slot(name, slot_us, slot_us + 60 * SECOND_US)]),
    ]
    return random.choice(commands)


RULES = {
    Lives.submit: 3, Lives.submit_dependent: 2, Lives.submit_anything: 4, Lives.submit_again: 1, Lives.claim: 3,
    Lives.claim_anything: 3, Lives.complete: 2, Lives.fail: 3, Lives.report_several: 2, Lives.report_strictly: 2,
    Lives.heartbeat: 2, Lives.cancel: 2, Lives.retry: 3, Lives.remove_queue: 1, Lives.keep_up: 3, Lives.leap: 1,
    Lives.time_passes: 2, Lives.flush_one: 1, Lives.reopen_other: 1, Lives.undo_some: 1,
}  # fmt: skip
"""What may be done, and how often."""
