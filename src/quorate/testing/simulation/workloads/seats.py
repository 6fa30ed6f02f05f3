"""Seats, each of which can be taken once: a unique constraint that clients race for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quorate.models.machine import MACHINE
from quorate.rest.http import RequestError
from quorate.testing.linearizability import Contains, Delete, Insert, UniqueSet
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.workloads.contract import Judged, Workload, text_of
from quorate.testing.simulation.workloads.declared import APP, Seat, ask, everything

SEATS = 6


class Seats(Workload):
    """Clients take seats, give them up again, and look who sits where."""

    name = "seats"
    machine = MACHINE
    apps = (APP,)

    async def step(self, client: Client) -> Operation:
        mine: dict[str, str] = client.memory.setdefault("seats", {})
        chance = client.rng.random()
        if chance < 0.35:
            return await self._look(client)
        if mine and chance < 0.6:
            return await self._give_up(client, mine)
        operation = client.begin("take", str(client.rng.randrange(SEATS)))

        async def take(process: Process, request_id: str | None) -> Any:
            body = {"number": int(operation.key), "holder": operation.name}
            return await ask(process, Seat, "POST", body=body, request_id=request_id)

        await client.write(operation, take)
        if operation.ended is Ended.OK and not operation.refused:
            mine[operation.result["id"]] = operation.key
        return operation

    async def _give_up(self, client: Client, mine: dict[str, str]) -> Operation:
        seat = client.rng.choice(sorted(mine))
        operation = client.begin("give up", mine.pop(seat), seat)

        async def delete(process: Process, request_id: str | None) -> Any:
            return await ask(process, Seat, "DELETE", seat, request_id=request_id)

        return await client.write(operation, delete)

    async def _look(self, client: Client) -> Operation:
        async def look(process: Process) -> Any:
            return await everything(process, Seat)

        operation = await client.read(client.begin("look", "all"), look)
        if operation.ended is Ended.OK:
            numbers = [seat["number"] for seat in operation.result]
            if len(set(numbers)) < len(numbers):
                self.fail(f"a seat was taken twice: {text_of(operation)}")
        return operation

    def check(self, process: Process) -> None:
        machine: Any = process.machines[MACHINE]
        rows = machine.tables["Seat"].page(1000, 0)
        numbers = [number for _, number, _ in rows]
        if len(set(numbers)) < len(numbers):
            self.fail(f"in the end a seat is taken twice: {rows}")
        holders = {holder for _, _, holder in rows}
        given_up = {each.argument for each in self.history if each.kind == "give up"}
        for operation in self.history:
            if operation.kind == "take":
                self._check_take(operation, holders, given_up)
            elif operation.kind == "give up" and operation.ended is Ended.OK and operation.refused:
                self.fail(f"{operation}: a seat that was taken was not there")

        self.check_linearizable(self._judged(), UniqueSet())

    def _judged(self) -> Iterator[Judged]:
        for operation in self.history:
            match operation.kind:
                case "take":
                    yield operation, operation.key, Insert(operation.key), not operation.refused
                case "give up":
                    yield operation, operation.key, Delete(operation.key), True
                case _ if operation.ended is Ended.OK:
                    taken = {str(seat["number"]) for seat in operation.result}
                    for number in map(str, range(SEATS)):
                        yield operation, number, Contains(number), number in taken

    def _check_take(self, operation: Operation, holders: set[str], given_up: set[str]) -> None:
        there = operation.name in holders
        if operation.ended is Ended.NOT_APPLIED and there:
            self.fail(f"{operation} was applied all the same")
        if operation.ended is not Ended.OK:
            return
        if not operation.refused:
            if operation.result["id"] not in given_up and not there:
                self.fail(f"{operation} was acknowledged, and is gone")
        else:
            refusal: Any = operation.result
            if not isinstance(refusal, RequestError) or refusal.status != 409:
                self.fail(f"{operation} was refused for another reason than that the seat is taken")
            if there:
                self.fail(f"{operation} was refused, and is there")
