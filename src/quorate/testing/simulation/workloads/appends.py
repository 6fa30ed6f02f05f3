"""Lists that only grow: whoever reads one sees all that was acknowledged before, in one order that never changes."""

from __future__ import annotations

from typing import Any

from quorate.testing.linearizability import Append, ListAppend, Read
from quorate.testing.simulation.clients import Client, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.notebook import NOTEBOOK, append
from quorate.testing.simulation.workloads.contract import Judged, Workload

KEYS = ("a", "b")


class Appends(Workload):
    """Every value is appended once, and whoever appends is told its place."""

    name = "appends"
    machine = NOTEBOOK

    async def step(self, client: Client) -> Operation:
        key = client.rng.choice(KEYS)
        if client.rng.random() < 0.6:
            operation = client.begin("append", key)
            operation.argument = operation.client * 100_000 + operation.number
            command = append(operation.name, key, operation.argument)

            async def write(process: Process, request_id: str | None) -> Any:
                applied = await process.node.propose(command, machine=NOTEBOOK, request_id=request_id)
                return applied.result

            return await client.write(operation, write)

        async def read(process: Process) -> list[int]:
            return await process.node.read(lambda notebook: notebook.items(key), machine=NOTEBOOK)

        return await client.read(client.begin("items", key), read)

    def check(self, process: Process) -> None:
        notebook: Any = process.machines[NOTEBOOK]
        self.check_applied(notebook.times_applied(), ["append"])
        for key in KEYS:
            final = notebook.items(key)
            if len(set(final)) < len(final):
                self.fail(f"list {key} holds something twice: {final}")
            places = {value: place for place, value in enumerate(final, start=1)}
            for operation in self.of("append"):
                if operation.key == key and places.get(operation.argument) != operation.result:
                    self.fail(f"{operation} was told another place than {places.get(operation.argument)}")
        self.learn_outcomes(notebook.times_applied(), ["append"])
        self.check_linearizable(map(_judged, self.history), ListAppend())


def _judged(operation: Operation) -> Judged:
    asked = Read() if operation.kind == "items" else Append(operation.argument)
    return operation, operation.key, asked, operation.result
