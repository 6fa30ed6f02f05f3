"""Tasks whose ends go into the log together with what they did: each effect is there once, if the task succeeded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from quorate import App, Model, field
from quorate.kv.machine import MACHINE as KEYS
from quorate.machine.joint import Part
from quorate.models.machine import MACHINE as MODELS
from quorate.tasks.commands import Claim, Completed, New, Released, Report, Spec, Submit
from quorate.tasks.effects import Effect
from quorate.tasks.lifecycle import State
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.keys import SimulatedKv
from quorate.testing.simulation.models import SimulatedModels
from quorate.testing.simulation.tasks import TOGETHER, UNDONE
from quorate.testing.simulation.workloads.contract import text_of
from quorate.testing.simulation.workloads.keys import ask
from quorate.testing.simulation.workloads.task_reference import Reference
from quorate.testing.simulation.workloads.tasks import TasksWorkload

SPEC = Spec("orders", "pay", max_retries=1000, backoff_ms=20, backoff_ms_max=100, retention_ms=10**10)
LEASES_MS = (200, 1000, 3000)
TOTAL = b"paid"
NONSENSE = b"no number"
"""What the keys do not count up by."""
NOBODY = UUID("0197a1b2-0000-7000-8000-000000000000")
"""What is no receipt."""
REFUSALS = ("KeysRefused", "InTransaction")
"""How these two are refused."""

_encode = msgspec.msgpack.Encoder().encode


class Receipt(Model):
    """A task was done."""

    id: UUID = field(primary_key=True)
    task: str


class TaskEffects(TasksWorkload):
    """The counter of each task is 1 if it has succeeded, and not there if it has not; their sum is the total. The same
    with receipts, of which each has an id that is made when it is carried out.

    The token of a lease says which of these its worker asks for. In vain it asks for both, one of which is refused.
    """

    name = "task effects"
    others = (KEYS, MODELS)
    apps = (App(models=[Receipt], title="Receipts"),)

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        held: list[tuple[str, int]] = client.memory.setdefault("held", [])
        if chance < 0.25:
            return await self._submit(client)
        if chance < 0.3:
            return await self.look(client, client.rng.choice(held or [("nobody", 0)])[0])
        if chance < 0.35:
            return await self._look_at_receipts(client)
        if not held or chance < 0.5:
            return await self._claim(client)
        lease = client.rng.choice(held)
        if client.rng.random() < 0.7:  # or it is reported once more
            held.remove(lease)
        if client.rng.random() < 0.3:
            await asyncio.sleep(client.rng.choice(LEASES_MS) / 1000)
        if chance < 0.57:
            return await self.write(client, client.begin("release", *lease), Report(released=[Released(*lease)]))
        # Under one lease a worker asks for one thing, however often: of another it would not learn whether it was done.
        return await self._end(client, *lease, is_refused=lease[1] % 4 == 0)

    async def _submit(self, client: Client) -> Operation:
        operation = client.begin("submit", "")
        tasks = [New(0, f"{operation.name}/{number}", b"null") for number in range(client.rng.choice((1, 3)))]
        return await self.write(client, operation, Submit([SPEC], tasks))

    async def _claim(self, client: Client) -> Operation:
        """As workers do, who wait at a node until there is something. The worker's name says whose operation it is."""
        rng = client.rng
        operation = client.begin("wait for work", "")
        claim = Claim(operation.name, rng.choice((1, 3)), lease_ms=rng.choice(LEASES_MS))
        seconds = rng.choice((0, 0.1, 0.5))

        async def wait(process: Process, _: str | None) -> list[tuple[str, int]]:
            return [(lease.task_id, lease.token) for lease in await process.broker.claim(claim, seconds)]

        await client.write(operation, wait)
        if operation.ended is Ended.OK and rng.random() < 0.9:
            client.memory["held"] += operation.result
        return operation

    async def _look_at_receipts(self, client: Client) -> Operation:
        """The operation's result is the tasks that have one."""
        consistency = client.rng.choice(("strong", "eventually"))

        async def get(process: Process) -> list[str]:
            answer = await process.face.ask("GET", "receipts/", query=f"limit=1000&consistency={consistency}")
            return [receipt["task"] for receipt in answer.body]

        return await client.read(client.begin("look at receipts", "", consistency), get)

    async def _end(self, client: Client, task_id: str, token: int, *, is_refused: bool) -> Operation:
        """End a lease together with its effects, or with one that is refused."""

        async def complete(process: Process, _: str | None) -> None:
            effects: list[Effect] = []
            if is_refused or has_receipt(token):
                operations = [{"op": "create", "resource": "receipts", "body": {"task": task_id}}]
                if is_refused and token % 8:
                    operations.append({"op": "check", "resource": "receipts", "id": str(NOBODY)})
                effects.append((MODELS, process.face.command(operations)))
            if is_refused or has_counter(token):
                requests = [[b"INCR", _counter(task_id)], [b"INCR", TOTAL]]
                if is_refused and not token % 8:
                    requests.append([b"INCRBY", TOTAL, NONSENSE])
                effects.append((KEYS, _encode(requests)))
            await process.broker.complete_with(Completed(task_id, token), effects)

        kind = "end in vain" if is_refused else "end"
        return await client.write(client.begin(kind, task_id, token), complete)

    async def complete(self, client: Client, task_id: str, token: int) -> Operation:
        operation = await self._end(client, task_id, token, is_refused=False)
        self.history.append(operation)
        return operation

    # -- what must be true of it -------------------------------------------------------------------------

    def is_refused(self, parts: Sequence[Part]) -> bool:
        return any(
            (part.machine == KEYS and NONSENSE in part.body) or (part.machine == MODELS and NOBODY.bytes in part.body)
            for part in parts
        )

    def judge(self, process: Process, reference: Reference) -> None:
        keys, models, tasks = process.keys, process.models, process.tasks
        assert keys is not None
        assert models is not None
        assert tasks is not None
        succeeded = {task.id: task.token or 0 for task in reference.tasks.values() if task.state is State.SUCCEEDED}
        self._check_counters(keys, reference, succeeded)
        self._check_receipts(models, succeeded)
        self._check_looks_at_receipts(succeeded)
        for operation in self.of("end"):
            self._check_told(operation, succeeded)
        for operation in self.of("wait for work"):
            for task_id, token in operation.result:
                if reference.leases.get(token) != (task_id, operation.name):
                    self.fail(f"{operation}: by the log {token} is the lease of {reference.leases.get(token)}")
        for operation in self.of("end in vain"):
            if not operation.refused:
                self.fail(f"{operation}: one of its effects is refused")
            tasks.fired[UNDONE] += type(operation.result).__name__ in REFUSALS
        tasks.fired[TOGETHER] += len(succeeded)

    def _check_counters(self, keys: SimulatedKv, reference: Reference, succeeded: dict[str, int]) -> None:
        counted = {task_id for task_id, token in succeeded.items() if has_counter(token)}
        for task in reference.tasks.values():
            count = ask(keys.keyspace, b"GET", _counter(task.id))
            if count != (b"1" if task.id in counted else None):
                self.fail(f"the effect of {task.id} is there {count!r} times: it is {task.state.label}")
        total = int(ask(keys.keyspace, b"GET", TOTAL) or 0)
        if total != len(counted):
            self.fail(f"{len(counted)} tasks have succeeded, and {total} effects are there")

    def _check_receipts(self, models: SimulatedModels, succeeded: dict[str, int]) -> None:
        """Nothing else is ever done to the models, so that their changes have the numbers of the receipts."""
        table = models.tables["Receipt"]
        place = table.schema.names.index("task")
        found = Counter(str(row[place]) for row in table.page(100_000, 0))
        wanted = Counter(task_id for task_id, token in succeeded.items() if has_receipt(token))
        for task_id in sorted({*found, *wanted}):
            if found[task_id] != wanted[task_id]:
                self.fail(f"there are {found[task_id]} receipts of {task_id}, which has earned {wanted[task_id]}")
        numbers = {"receipts": found.total(), "receipts counted": table.count, "changes": models.events.last}
        if len(set(numbers.values())) > 1:
            self.fail(f"the models are at odds with themselves: {numbers}")

    def _check_looks_at_receipts(self, succeeded: dict[str, int]) -> None:
        """Nobody saw a receipt that was taken back, or twice; a strong read saw those that were acknowledged."""
        ends = [each for each in self.of("end") if not each.refused and has_receipt(each.argument)]
        for look in self.of("look at receipts"):
            for task_id, count in Counter(look.result).items():
                if count > 1 or task_id not in succeeded or not has_receipt(succeeded[task_id]):
                    self.fail(f"{text_of(look)}: {count} receipts of {task_id} were seen")
            if look.argument == "strong":
                missed = {each.key for each in ends if each.completed < look.invoked} - set(look.result)
                if missed:
                    self.fail(f"{text_of(look)}: a strong read had to see the receipts of {missed}")

    def _check_told(self, operation: Operation, succeeded: dict[str, Any]) -> None:
        is_its_own = succeeded.get(operation.key) == operation.argument
        if operation.refused and type(operation.result).__name__ not in ("StaleToken", "DoneBefore"):
            self.fail(f"{operation}: nothing else refuses it")
        if is_its_own != (not operation.refused or type(operation.result).__name__ == "DoneBefore"):
            self.fail(f"{operation}: the task has ended under lease {succeeded.get(operation.key)}")


def has_counter(token: int) -> bool:
    """Whether what ends under this lease has a counter among the keys."""
    return token % 3 != 1


def has_receipt(token: int) -> bool:
    """Whether what ends under this lease has a receipt."""
    return token % 3 != 2


def _counter(task_id: str) -> bytes:
    return f"effect:{task_id}".encode()
