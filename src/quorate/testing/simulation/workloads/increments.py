"""Counters: every increment counts once, however often it was sent."""

from __future__ import annotations

from typing import Any

from quorate.testing.linearizability import Counter, Increment, Read
from quorate.testing.simulation.clients import Client, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.notebook import NOTEBOOK, add
from quorate.testing.simulation.workloads.contract import Judged, Workload

KEYS = ("hits", "misses")


class Increments(Workload):
    """Amounts are positive, so a counter never goes back."""

    name = "increments"
    machine = NOTEBOOK

    async def step(self, client: Client) -> Operation:
        key = client.rng.choice(KEYS)
        if client.rng.random() < 0.7:
            operation = client.begin("add", key, client.rng.randint(1, 9))
            command = add(operation.name, key, operation.argument)

            async def write(process: Process, request_id: str | None) -> Any:
                applied = await process.node.propose(command, machine=NOTEBOOK, request_id=request_id)
                return applied.result

            return await client.write(operation, write)

        async def read(process: Process) -> int:
            return await process.node.read(lambda notebook: notebook.total(key), machine=NOTEBOOK)

        return await client.read(client.begin("total", key), read)

    def check(self, process: Process) -> None:
        notebook: Any = process.machines[NOTEBOOK]
        times = notebook.times_applied()
        self.check_applied(times, ["add"])
        for key in KEYS:
            adds = [operation for operation in self.history if operation.kind == "add" and operation.key == key]
            applied = sum(operation.argument for operation in adds if times.get(operation.name))
            if notebook.total(key) != applied:
                self.fail(f"counter {key} is {notebook.total(key)}, what was applied comes to {applied}")
        self.learn_outcomes(times, ["add"])
        self.check_linearizable(map(_judged, self.history), Counter())


def _judged(operation: Operation) -> Judged:
    asked = Read() if operation.kind == "total" else Increment(operation.argument)
    return operation, operation.key, asked, operation.result
