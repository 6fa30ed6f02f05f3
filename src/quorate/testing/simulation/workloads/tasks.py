"""What the workloads of tasks have in common: how clients ask, and what the log says they must be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

import msgspec

from quorate.errors import CommandFailed, ReadUnavailable
from quorate.machine.joint import Part
from quorate.node.reads import Consistency
from quorate.tasks.commands import Claim, Claims, Command, Completed, Configure, Report
from quorate.tasks.feed import Gone
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import MACHINE
from quorate.testing.simulation import tasks as happened
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.tasks import SimulatedTasks
from quorate.testing.simulation.workloads.contract import Workload, text_of
from quorate.testing.simulation.workloads.task_facts import Told, named
from quorate.testing.simulation.workloads.task_leases import check_leases
from quorate.testing.simulation.workloads.task_reference import Reference

SOON_US = 5_000_000
"""What time does to tasks so soon, by the leader's clock, is waited for."""
CHANGES_MAX = 20
"""So many of the latest changes are looked at by a read, if the node's process has seen them come."""
PAUSE_SECONDS = 0.1

_TASKS = (
    "SELECT sequence, id, state, next_us, attempt, token, worker, "
    "substr(unique_key, 1 + instr(unique_key, ':')), reason, error, result, "
    "coalesce(payload, (SELECT payload FROM task_payload WHERE sequence = task.sequence)) FROM task ORDER BY sequence"
)
_SEEN = "SELECT id, state, attempt, token, result FROM task WHERE id = ?"
_TIMED = f"({State.SCHEDULED:d}, {State.RUNNING:d}, {State.FAILED:d})"
_LEFT = (
    f"SELECT (SELECT count(*) FROM task WHERE state = {State.READY:d} AND coalesce(expires_us, 0) <= :soon), "
    f"(SELECT count(*) FROM task WHERE state IN {_TIMED} AND next_us <= :soon), "
    f"(SELECT count(*) FROM task WHERE (state = {State.READY:d} OR state IN {_TIMED}) AND next_us > :soon), "
    f"(SELECT count(*) FROM task WHERE state = {State.WAITING:d})"
)


def plain(result: object) -> Any:
    """A result in what compares by value, wherever it was answered."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(result))


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a read saw of a node: the number of the last change, and the changes up to it that the node told of."""

    node_id: int
    life: int
    """The number of the node's process."""
    last: int
    told: Sequence[tuple[Any, ...]]
    since: float | None
    """When it began, if it was a strong one."""


class TasksWorkload(Workload):
    """Every command names its operation behind what the machine reads of it, so the log says which it was."""

    machine = MACHINE

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.writes: list[Operation] = []
        self.glimpses: list[Glimpse] = []
        """In the order in which they were caught."""

    # -- what clients do ---------------------------------------------------------------------------------

    async def write(self, client: Client, operation: Operation, command: Command) -> Operation:
        """Propose a command; the operation's result is the machine's, in plain data."""
        body = named(command, operation.name)

        async def propose(process: Process, request_id: str | None) -> Any:
            return plain((await process.node.propose(body, machine=MACHINE, request_id=request_id)).result)

        self.writes.append(operation)
        return await client.write(operation, propose)

    async def read(
        self,
        client: Client,
        operation: Operation,
        look: Callable[[SimulatedTasks], Any],
        consistency: Consistency = "strong",
    ) -> Operation:
        """Have a node ``look`` at its tasks; the operation's result is the number of the last change, and that."""

        def seen(process: Process, machine: SimulatedTasks) -> Any:
            last = machine.tables.numbers.change
            since = operation.invoked if consistency == "strong" else None
            self.glimpses.append(Glimpse(process.host.node_id, process.number, last, _latest(machine, last), since))
            return last, look(machine)

        async def read(process: Process) -> Any:
            return await process.node.read(lambda machine: seen(process, machine), machine=MACHINE,
                                           consistency=consistency)  # fmt: skip

        return await client.read(operation, read)

    async def look(self, client: Client, task_id: str) -> Operation:
        """Read one task: (id, state, attempt, token, result), or ``None``."""
        return await self.read(
            client,
            client.begin("look", task_id),
            lambda machine: machine.tables.connection.execute(_SEEN, (task_id,)).fetchone(),
            client.rng.choice(("strong", "eventually")),
        )

    # -- the end -----------------------------------------------------------------------------------------

    @property
    def finishing_seconds(self) -> float:
        return 0.2 * len(self.writes)

    async def finish(self, clients: Sequence[Client]) -> None:
        """Workers go on until every task has ended whose time comes soon."""
        client = clients[0]
        for queue in self.queues():
            operation = client.begin("resume", queue)
            while (await self.write(client, operation, Configure(queue, paused=False))).ended is not Ended.OK:
                operation = client.begin("resume", queue)
        while await self._is_anything_left(client):
            leases = await self.claim_anything(client)
            await asyncio.gather(*(self._be_done_with(client, *lease) for lease in leases))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _be_done_with(self, client: Client, task_id: str, token: int) -> None:
        pause = PAUSE_SECONDS
        while (ended := (await self.complete(client, task_id, token)).ended) is not Ended.OK:
            await asyncio.sleep(pause)
            if ended is Ended.UNKNOWN:  # it may still be on its way: to ask as often would only make the way longer
                pause *= 2

    def queues(self) -> Iterable[str]:
        """Those that may be paused."""
        return ()

    async def claim_anything(self, client: Client) -> list[tuple[str, int]]:
        """(task, token) of whatever is ready."""
        claim = Claim(f"worker {client.number}", 8, None, None, ("gpu",), lease_ms=2000)
        claimed = await self.write(client, client.begin("claim", "", claim), Claims([claim]))
        if claimed.ended is not Ended.OK:
            return []
        return [(task_id, token) for _, task_id, token, _ in claimed.result[0]]

    async def complete(self, client: Client, task_id: str, token: int) -> Operation:
        """Be done with a task."""
        operation = client.begin("complete", task_id, token)
        return await self.write(client, operation, Report([Completed(task_id, token, b"%d" % token)]))

    async def _is_anything_left(self, client: Client) -> bool:
        """As the leader sees it, whose clock is what counts. What waits for a task whose time is far off is excused."""

        async def ask(process: Process) -> tuple[int, int, int, int]:
            if not process.node.is_leader:
                raise ReadUnavailable("another leads")
            soon = process.host.wall_clock_us() + SOON_US
            found: tuple[int, int, int, int] = await process.node.read(
                lambda machine: machine.tables.connection.execute(_LEFT, {"soon": soon}).fetchone(), machine=MACHINE
            )
            return found

        operation = await client.read(client.begin("what is left", ""), ask)
        if operation.ended is not Ended.OK:
            return True
        ready, timed, later, waiting = operation.result
        return bool(ready or timed or (waiting and not later))

    # -- what must be true of it -------------------------------------------------------------------------

    def check(self, process: Process) -> None:
        machine = process.tasks
        assert machine is not None
        reference = Reference(self.is_refused).run(process.host.invariants.known.committed)
        self._check_state(machine, reference)
        self.check_applied(reference.times, {operation.kind for operation in self.writes})
        for operation in self.writes:
            self._check_answer(operation, reference)
        self.check_order(reference.carried, self.writes)
        self._check_glimpses(reference)
        self._check_looks(reference)
        check_leases(reference.carried, self.fail)
        self._count(machine, reference)
        self.judge(process, reference)

    def is_refused(self, parts: Sequence[Part]) -> bool:
        """Whether a joint command is refused by another part than that of the tasks."""
        return False

    def judge(self, process: Process, reference: Reference) -> None:
        """Judge the history, of which every write has an outcome by now. Raises :class:`Violation`."""

    def _check_state(self, machine: SimulatedTasks, reference: Reference) -> None:
        tables = machine.tables
        query = tables.connection.execute
        self._compare("tasks", {row[0]: row for row in query(_TASKS)}, {
            task.number: (
                task.number, task.id, int(task.state), task.next_us, task.attempt, task.token, task.worker,
                task.unique_key, task.reason, task.error, task.result, task.payload,
            )
            for task in reference.tasks.values()
        })  # fmt: skip
        waits = dict.fromkeys(query("SELECT target, dependent FROM task_dependency"), True)
        self._compare("dependencies", waits, dict.fromkeys(reference.waits, True))
        numbers = tables.numbers
        found = {"sequence": numbers.sequence, "token": numbers.token, "change": numbers.change,
                 "dependencies": numbers.dependencies}  # fmt: skip
        self._compare("numbers", found, {
            "sequence": reference.number, "token": reference.token, "change": len(reference.told),
            "dependencies": len(reference.waits),
        })  # fmt: skip
        self._compare("queues", {
            name: (queue.paused, queue.pending_max, queue.pending) for name, queue in tables.queues.items()
        }, {
            name: (queue.paused, queue.pending_max, reference.pending(name))
            for name, queue in reference.queues.items()
        })  # fmt: skip
        self._compare("counts", _counted(machine), _counts(reference))
        self._compare("workers", dict(query("SELECT id, leaves_us FROM task_worker")), reference.workers)
        schedules = {row.name: (row.next_us, row.last_us, row.last_task) for row in machine.schedules.all()}
        self._compare("schedules", schedules, {name: each[1:] for name, each in reference.schedules.items()})

    def _compare(self, what: str, found: dict[Any, Any], wanted: dict[Any, Any]) -> None:
        for key in sorted({*found, *wanted}, key=repr):
            if found.get(key) != wanted.get(key):
                self.fail(f"{what}: there is {text_of(found.get(key))}, and by the log {text_of(wanted.get(key))}")

    def _check_answer(self, operation: Operation, reference: Reference) -> None:
        carried = reference.carried.get(operation.name)
        if operation.ended is Ended.OK:
            if carried is None:
                self.fail(f"{text_of(operation)} is not in the log")
            told = type(operation.result).__name__ if isinstance(operation.result, CommandFailed) else ""
            if told != carried.refusal or (not told and operation.result != plain(carried.result)):
                self.fail(f"{text_of(operation)}: by the log it is {text_of(carried)}")
        elif carried is not None:
            if operation.ended is Ended.NOT_APPLIED:
                self.fail(f"{text_of(operation)}: by the log it is {text_of(carried)}")
            # What the client never learned the log knows, though not when it happened.
            operation.ended, operation.completed = Ended.OK, inf
        else:
            operation.ended = Ended.NOT_APPLIED

    def _check_glimpses(self, reference: Reference) -> None:
        """A strong read sees all that had ended when it began; nobody who stays with one node sees it go back."""
        latest: dict[tuple[int, int], Glimpse] = {}
        changes = [(each.completed, reference.carried[each.name].change)
                   for each in self.writes if each.name in reference.carried]  # fmt: skip
        for glimpse in self.glimpses:
            before = latest.setdefault((glimpse.node_id, glimpse.life), glimpse)
            if glimpse.last < before.last:
                self.fail(f"a node went back, from change {before.last} to {text_of(glimpse)}")
            latest[glimpse.node_id, glimpse.life] = glimpse
            since = glimpse.since
            if since is not None:
                least = max((change for completed, change in changes if completed < since), default=0)
                if glimpse.last < least:
                    self.fail(f"a strong read had to see change {least}: {text_of(glimpse)}")
            for told in glimpse.told:
                if told != tuple(reference.told[told[0] - 1]):
                    self.fail(f"a node told of {told}, by the log it is {reference.told[told[0] - 1]}")

    def _check_looks(self, reference: Reference) -> None:
        """What was seen of a task is how the log had it then."""
        for operation in self.of("look"):
            last, found = operation.result
            if found is None:
                continue
            task_id, state, attempt, token, result = found
            told = [each for each in reference.told[:last] if each.id == task_id]
            if not told or (told[-1].state, told[-1].attempt) != (state, attempt):
                self.fail(f"{text_of(operation)}: by the log it is {told[-1:]}")
            if state == State.SUCCEEDED and reference.results.get((task_id, token)) != result:
                self.fail(f"{text_of(operation)}: its worker said {reference.results.get((task_id, token))!r}")

    def _count(self, machine: SimulatedTasks, reference: Reference) -> None:
        """What was there to go wrong."""
        fired = machine.fired
        results = [each.result for each in reference.carried.values()]
        refusals = [each.refusal for each in reference.carried.values()]
        fired[happened.LOST] += _told_for(reference.told, "lease lost")
        fired[happened.TOLD] += _told_for(reference.told, "dependency")
        fired[happened.LATE] += sum(isinstance(each, list) and "stale" in each for each in results)
        fired[happened.FULL] += refusals.count("QueueFull")
        fired[happened.TURNS] += reference.turns[True]
        fired[happened.STALE_TURNS] += reference.turns[False]


def _latest(machine: SimulatedTasks, last: int) -> Sequence[tuple[Any, ...]]:
    try:
        return [tuple(change) for change in machine.feed.after(max(0, last - CHANGES_MAX), CHANGES_MAX)]
    except Gone:
        return []


def _told_for(told: Iterable[Told], reason: str) -> int:
    return sum(each.reason == reason for each in told)


def _counted(machine: SimulatedTasks) -> dict[Any, Any]:
    """In memory and in the file."""
    lanes = machine.tables.lanes
    stored = machine.tables.connection.execute("SELECT lane, state, tasks FROM task_count WHERE tasks != 0")
    return {
        **{("there", lane.queue.name, lane.type, tuple(sorted(lane.capabilities)), state): lane.counts[state]
           for lane in lanes.values() for state in State if lane.counts[state]},
        **{("stored", lanes[lane].queue.name, lanes[lane].type, tuple(sorted(lanes[lane].capabilities)), state): tasks
           for lane, state, tasks in stored},
    }  # fmt: skip


def _counts(reference: Reference) -> dict[Any, Any]:
    counts: dict[Any, Any] = {}
    for task in reference.tasks.values():
        for where in ("there", "stored"):
            key = (where, *task.lane, task.state)
            counts[key] = counts.get(key, 0) + 1
    return counts
