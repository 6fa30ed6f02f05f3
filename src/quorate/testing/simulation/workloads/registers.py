"""Registers that are set, compared and set, and read: linearizable, each of them (Herlihy and Wing)."""

from __future__ import annotations

from typing import Any

from quorate.testing.linearizability import CompareAndSet, Read, Register, Write
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.notebook import NOTEBOOK, compare_and_set, put
from quorate.testing.simulation.workloads.contract import Judged, Workload

KEYS = ("x", "y", "z")


class Registers(Workload):
    """Every value is written once, so a read says whose write it saw."""

    name = "registers"
    machine = NOTEBOOK

    async def step(self, client: Client) -> Operation:
        rng, key = client.rng, client.rng.choice(KEYS)
        chance = rng.random()
        if chance < 0.4:

            async def read(process: Process) -> int | None:
                return await process.node.read(lambda notebook: notebook.register(key), machine=NOTEBOOK)

            operation = await client.read(client.begin("read", key), read)
            if operation.ended is Ended.OK:
                client.memory[key] = operation.result
            return operation
        operation = client.begin("put" if chance < 0.7 else "cas", key)
        value = operation.client * 100_000 + operation.number
        if operation.kind == "put":
            operation.argument = value
            command = put(operation.name, key, value)
        else:
            operation.argument = (client.memory.get(key), value)
            command = compare_and_set(operation.name, key, *operation.argument)

        async def write(process: Process, request_id: str | None) -> Any:
            applied = await process.node.propose(command, machine=NOTEBOOK, request_id=request_id)
            return applied.result

        await client.write(operation, write)
        if operation.ended is Ended.OK and not operation.refused:
            client.memory[key] = value
        return operation

    def check(self, process: Process) -> None:
        notebook: Any = process.machines[NOTEBOOK]
        self.check_applied(notebook.times_applied(), ["put", "cas"])
        self.learn_outcomes(notebook.times_applied(), ["put", "cas"])
        self.check_linearizable(map(_judged, self.history), Register())


def _judged(operation: Operation) -> Judged:
    match operation.kind:
        case "read":
            return operation, operation.key, Read(), operation.result
        case "put":
            return operation, operation.key, Write(operation.argument), None
        case _:
            return operation, operation.key, CompareAndSet(*operation.argument), not operation.refused
