"""Tasks whose ends go into the log together with what they did: each effect is there once, if the task succeeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from quorate.kv.machine import MACHINE as KEYS
from quorate.machine.joint import Part
from quorate.tasks.commands import Claim, Completed, New, Released, Report, Spec, Submit
from quorate.tasks.lifecycle import State
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.tasks import TOGETHER, UNDONE
from quorate.testing.simulation.workloads.keys import ask
from quorate.testing.simulation.workloads.task_reference import Reference
from quorate.testing.simulation.workloads.tasks import TasksWorkload

SPEC = Spec("orders", "pay", max_retries=1000, backoff_ms=20, backoff_ms_max=100, retention_ms=10**10)
LEASES_MS = (200, 1000, 3000)
TOTAL = b"paid"
NONSENSE = b"no number"
"""What the keys do not count up by."""

_encode = msgspec.msgpack.Encoder().encode


class TaskEffects(TasksWorkload):
    """The counter of each task is 1 if it has succeeded, and not there if it has not; their sum is the total."""

    name = "task effects"
    others = (KEYS,)

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        held: list[tuple[str, int]] = client.memory.setdefault("held", [])
        if chance < 0.25:
            return await self._submit(client)
        if chance < 0.33:
            return await self.look(client, client.rng.choice(held or [("nobody", 0)])[0])
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

    async def _end(self, client: Client, task_id: str, token: int, *, is_refused: bool) -> Operation:
        """End a lease together with its effect, or with one that the keys refuse."""
        requests = [[b"INCR", _counter(task_id)], [b"INCR", TOTAL]]
        if is_refused:
            requests.append([b"INCRBY", TOTAL, NONSENSE])

        async def complete(process: Process, _: str | None) -> None:
            await process.broker.complete_with(Completed(task_id, token), [(KEYS, _encode(requests))])

        kind = "end in vain" if is_refused else "end"
        return await client.write(client.begin(kind, task_id, token), complete)

    async def complete(self, client: Client, task_id: str, token: int) -> Operation:
        operation = await self._end(client, task_id, token, is_refused=False)
        self.history.append(operation)
        return operation

    # -- what must be true of it -------------------------------------------------------------------------

    def is_refused(self, parts: Sequence[Part]) -> bool:
        return any(part.machine == KEYS and NONSENSE in part.body for part in parts)

    def judge(self, process: Process, reference: Reference) -> None:
        keys, tasks = process.keys, process.tasks
        assert keys is not None
        assert tasks is not None
        succeeded = {task.id: task.token for task in reference.tasks.values() if task.state is State.SUCCEEDED}
        for task in reference.tasks.values():
            count = ask(keys.keyspace, b"GET", _counter(task.id))
            if count != (b"1" if task.id in succeeded else None):
                self.fail(f"the effect of {task.id} is there {count!r} times: it is {task.state.label}")
        total = int(ask(keys.keyspace, b"GET", TOTAL) or 0)
        if total != len(succeeded):
            self.fail(f"{len(succeeded)} tasks have succeeded, and {total} effects are there")
        for operation in self.of("end"):
            self._check_told(operation, succeeded)
        for operation in self.of("wait for work"):
            for task_id, token in operation.result:
                if reference.leases.get(token) != (task_id, operation.name):
                    self.fail(f"{operation}: by the log {token} is the lease of {reference.leases.get(token)}")
        for operation in self.of("end in vain"):
            if not operation.refused:
                self.fail(f"{operation}: the keys refuse it")
            tasks.fired[UNDONE] += type(operation.result).__name__ == "KeysRefused"
        tasks.fired[TOGETHER] += total

    def _check_told(self, operation: Operation, succeeded: dict[str, Any]) -> None:
        is_its_own = succeeded.get(operation.key) == operation.argument
        if operation.refused and type(operation.result).__name__ not in ("StaleToken", "DoneBefore"):
            self.fail(f"{operation}: nothing else refuses it")
        if is_its_own != (not operation.refused or type(operation.result).__name__ == "DoneBefore"):
            self.fail(f"{operation}: the task has ended under lease {succeeded.get(operation.key)}")


def _counter(task_id: str) -> bytes:
    return f"effect:{task_id}".encode()
