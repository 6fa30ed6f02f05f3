"""Everything that can happen to tasks, and workers who die, fall asleep, and report what is not theirs any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

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
)
from quorate.tasks.lifecycle import State
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import EPOCH_US
from quorate.testing.simulation.tasks import SimulatedTasks
from quorate.testing.simulation.workloads.tasks import TasksWorkload

QUEUES = ("mail", "films")
TYPES = ("send", "cut")
SCHEDULES = ("hourly", "daily")
LEASES_MS = (100, 500, 1500, 4000)
SECOND_US = 1_000_000
RECENT = 12
"""Of so many of the latest tasks one is chosen to be depended on, cancelled, looked at."""
LONG = 1500
"""Bytes of a payload that is kept apart."""


class TaskLives(TasksWorkload):
    """In the end each task is what the log makes of it, everybody was told so, and whatever could be done is done."""

    name = "task lives"

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.submitted: list[str] = []
        """The ids of all tasks that anybody tried to submit."""

    def queues(self) -> Iterable[str]:
        return QUEUES

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        if chance < 0.22:
            return await self._submit(client)
        if chance < 0.27:
            return await self._submit_again(client)
        if chance < 0.45:
            return await self._claim(client)
        if chance < 0.67:
            return await self._report(client)
        if chance < 0.75:
            return await self._heartbeat(client)
        if chance < 0.83:
            return await self._operate(client)
        if chance < 0.89:
            return await self._turn(client)
        return await self.look(client, self._any_id(client.rng))

    # -- submitting --------------------------------------------------------------------------------------

    async def _submit(self, client: Client) -> Operation:
        rng = client.rng
        operation = client.begin("submit", "")
        specs = [_spec(rng) for _ in range(rng.choice((1, 1, 2)))]
        now_us = EPOCH_US + int(operation.invoked * SECOND_US)
        tasks: list[New] = []
        for number in range(rng.choice((1, 1, 2, 5))):
            task = New(
                rng.randrange(len(specs)),
                f"{operation.name}/{number}",
                b'"%s"' % (b"x" * rng.choice((1, 1, 1, LONG))),
                run_at_us=now_us + rng.randint(-SECOND_US, 2 * SECOND_US) if rng.random() < 0.1 else 0,
                delay_us=rng.choice((0, 0, 0, 0, 100_000, SECOND_US)),
                unique_key=rng.choice(("red", "green")) if rng.random() < 0.15 else None,
                depends_on=self._targets(rng, [each.id for each in tasks]),
            )
            tasks.append(task)
        self.submitted += [task.id for task in tasks]
        operation.argument = client.memory["submit"] = Submit(specs, tasks)
        return await self.write(client, operation, operation.argument)

    def _targets(self, rng: Random, earlier: list[str]) -> tuple[str, ...]:
        """What a task is to depend on."""
        known = [*earlier, *self.submitted[-RECENT:]]
        if not known or rng.random() > 0.25:
            return ()
        return tuple(sorted({rng.choice(known) for _ in range(rng.choice((1, 1, 2, 3)))}))

    async def _submit_again(self, client: Client) -> Operation:
        """The same tasks, whether they were added or not; seldom other ones by the same names."""
        command: Submit | None = client.memory.get("submit")
        if command is None:
            return await self._submit(client)
        if client.rng.random() < 0.2:
            first, *others = command.tasks
            command = Submit(command.specs, [*others, New(first.spec, first.id, b'"another"')])
        return await self.write(client, client.begin("submit again", "", command), command)

    # -- workers -----------------------------------------------------------------------------------------

    async def _claim(self, client: Client) -> Operation:
        rng = client.rng
        claims = [
            Claim(
                f"worker {client.number}",
                rng.choice((1, 1, 2, 5)),
                rng.choice((None, None, *((queue,) for queue in QUEUES))),
                rng.choice((None, None, *((kind,) for kind in TYPES))),
                rng.choice(((), ("gpu",))),
                rng.choice(LEASES_MS),
            )
            for _ in range(rng.choice((1, 1, 2)))
        ]
        operation = await self.write(client, client.begin("claim", "", claims), Claims(claims))
        if operation.ended is Ended.OK and rng.random() < 0.85:  # or it dies without a word
            _held(client).extend((task_id, token) for leases in operation.result for _, task_id, token, _ in leases)
        return operation

    async def _report(self, client: Client) -> Operation:
        """Of its leases some have ended, for better or worse; it does not look whether they still are its own."""
        rng, held = client.rng, _held(client)
        if not held:
            return await self._claim(client)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice(LEASES_MS) / 1000)
        completed: list[Completed] = []
        failed: list[Failed] = []
        released: list[Released] = []
        is_strict = rng.random() < 0.2
        operation = client.begin("report", "")
        for task_id, token in rng.sample(held, 1 if is_strict else rng.randint(1, min(3, len(held)))):
            chance = rng.random()
            if chance < 0.5:
                completed.append(Completed(task_id, token, b'"%s"' % operation.name.encode()))
            elif chance < 0.8:
                delay_ms = rng.choice((-1, -1, 50))
                failed.append(Failed(task_id, token, f"failed by {operation.name}", rng.random() < 0.8, delay_ms))
            else:
                released.append(Released(task_id, token))
            if rng.random() < 0.7:  # or it will be reported once more
                held.remove((task_id, token))
        operation.argument = Report(completed, failed, released, is_strict)
        return await self.write(client, operation, operation.argument)

    async def _heartbeat(self, client: Client) -> Operation:
        rng, worker = client.rng, f"worker {client.number}"
        command: Command
        if rng.random() < 0.3:
            command = Enlist(worker, None, None, (), 3, rng.choice(LEASES_MS))
            if rng.random() < 0.2:
                command = Dismiss(worker)
        else:
            command = Heartbeat(worker, list(_held(client)), rng.choice(LEASES_MS))
        operation = await self.write(client, client.begin("heartbeat", worker, command), command)
        if isinstance(operation.result, list) and rng.random() < 0.5:
            lost = set(operation.result)
            client.memory["held"] = [lease for lease in _held(client) if lease[0] not in lost]
        return operation

    # -- operators ---------------------------------------------------------------------------------------

    async def _operate(self, client: Client) -> Operation:
        rng = client.rng
        task_id = self._any_id(rng)
        queue = rng.choice((None, *QUEUES))
        command: Command
        match rng.randrange(9):
            case 0 | 1:
                command = Cancel(task_id, force=rng.random() < 0.5)
            case 2:
                command = Retry(task_id)
            case 3:
                command = RetryAll(queue, rng.choice((1, 10)))
            case 4:
                states = rng.sample([state for state in State if state is not State.RUNNING], 2)
                command = Purge(tuple(map(int, states)), queue, rng.choice((1, 5)))
            case 5:
                command = Configure(
                    rng.choice(QUEUES), paused=rng.choice((None, None, False, True)),
                    pending_max=rng.choice((None, 3, 10, 1000)),
                )  # fmt: skip
            case 6:
                command = Waive("gpu", queue, rng.choice((1, 10)))
            case 7:
                command = RemoveQueue(rng.choice(QUEUES), rng.choice((1, 10)))
            case _:
                command = Tick(rng.choice((1, 2, 5)))
        return await self.write(client, client.begin("operate", "", command), command)

    def _any_id(self, rng: Random) -> str:
        return rng.choice(self.submitted[-RECENT:] or ["nobody"])

    async def _turn(self, client: Client) -> Operation:
        """As leaders do, of whom two may take a turn, and one late: that of a schedule that was seen a while ago."""
        rng = client.rng
        name = rng.choice(SCHEDULES)
        chance = rng.random()
        if chance < 0.3:
            next_us = EPOCH_US + 3600 * SECOND_US
            schedule = Schedule(name, rng.choice(("0 * * * *", "0 0 * * *")), "UTC", _spec(rng), b"null", next_us)
            return await self.write(client, client.begin("schedule", name, schedule), schedule)
        if chance < 0.35:
            return await self.write(client, client.begin("unschedule", name), Unschedule(name))

        def look(machine: SimulatedTasks) -> int | None:
            return next((row.next_us for row in machine.schedules.all() if row.name == name), None)

        seen = await self.read(client, client.begin("see", name), look)
        if seen.ended is not Ended.OK or seen.result[1] is None:
            return seen
        slot = Slot(name, seen.result[1], seen.result[1] + rng.choice((1, 2)) * SECOND_US)
        await asyncio.sleep(rng.choice((0, 0.5)))
        turn = await self.write(client, client.begin("turn", name, slot), Tick(5, [slot]))
        if rng.random() < 0.5:
            turn = await self.write(client, client.begin("turn", name, slot), Tick(5, [slot]))
        return turn


def _held(client: Client) -> list[tuple[str, int]]:
    """The leases that a client takes for its own, as (task, token)."""
    held: list[Any] = client.memory.setdefault("held", [])
    return held


def _spec(rng: Random) -> Spec:
    return Spec(
        rng.choice(QUEUES),
        rng.choice(TYPES),
        rng.choice(((), (), ("gpu",))),
        priority=rng.choice((0, 0, 5, 255)),
        timeout_ms=rng.choice((0, 0, 300)),
        max_retries=rng.choice((0, 1, 3)),
        backoff_ms=rng.choice((20, 200)),
        backoff_ms_max=rng.choice((100, 1000)),
        ttl_ms=rng.choice((0, 0, 0, 300, 3000)),
        retention_ms=rng.choice((1000, 3_600_000, 3_600_000)),
    )
