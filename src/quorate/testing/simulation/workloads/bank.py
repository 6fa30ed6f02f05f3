"""A bank: transfers in double entry, two postings each or none. Money is moved, never made, never lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from quorate.models.machine import MACHINE
from quorate.rest.http import RequestError
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.workloads.contract import Workload, text_of
from quorate.testing.simulation.workloads.declared import APP, Account, Posting, ask, everything

ACCOUNTS = 5


class Bank(Workload):
    """Accounts come and go, though none with postings on it; some transfers name accounts that do not exist."""

    name = "bank"
    machine = MACHINE
    apps = (APP,)

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        if chance < 0.2:
            return await self._open(client)
        if chance < 0.28:
            return await self._close(client)
        if chance < 0.75:
            return await self._transfer(client)
        return await self._audit(client)

    async def _open(self, client: Client) -> Operation:
        operation = client.begin("open", str(client.rng.randrange(ACCOUNTS)))

        async def create(process: Process, request_id: str | None) -> Any:
            body = {"id": int(operation.key), "owner": operation.name}
            return await ask(process, Account, "POST", body=body, request_id=request_id)

        return await client.write(operation, create)

    async def _close(self, client: Client) -> Operation:
        operation = client.begin("close", str(client.rng.randrange(ACCOUNTS)))

        async def delete(process: Process, request_id: str | None) -> Any:
            return await ask(process, Account, "DELETE", operation.key, request_id=request_id)

        return await client.write(operation, delete)

    async def _transfer(self, client: Client) -> Operation:
        source, target = client.rng.sample(range(ACCOUNTS), 2)
        operation = client.begin("transfer", f"{source}→{target}", client.rng.randint(1, 100))
        name, amount = operation.name, operation.argument
        body = [
            {"transfer": name, "side": f"{name} from", "account_id": source, "amount": -amount},
            {"transfer": name, "side": f"{name} to", "account_id": target, "amount": amount},
        ]

        async def create(process: Process, request_id: str | None) -> Any:
            return await ask(process, Posting, "POST", "_bulk", body, request_id=request_id)

        return await client.write(operation, create)

    async def _audit(self, client: Client) -> Operation:
        # Any state that a node ever had must be in balance, however old it is.
        consistency = client.rng.choice(("strong", "eventually"))

        async def look(process: Process) -> Any:
            return await everything(process, Posting, consistency)  # type: ignore[arg-type]

        operation = await client.read(client.begin("audit", consistency), look)
        if operation.ended is Ended.OK:
            self._check_balance(operation.result, text_of(operation))
            if consistency == "strong":
                self._check_fresh(operation)
        return operation

    def _check_balance(self, postings: list[dict[str, Any]], where: str) -> None:
        if sum(posting["amount"] for posting in postings):
            self.fail(f"the postings do not add up to nothing: {where}")
        sides = Counter(posting["transfer"] for posting in postings)
        if any(count != 2 for count in sides.values()):
            self.fail(f"a transfer has not two sides: {where}")

    def _check_fresh(self, audit: Operation) -> None:
        seen = {posting["transfer"] for posting in audit.result}
        for transfer in self.of("transfer"):
            if not transfer.refused and transfer.completed < audit.invoked and transfer.name not in seen:
                self.fail(f"an audit that began at {audit.invoked} misses {transfer}")

    def check(self, process: Process) -> None:
        machine: Any = process.machines[MACHINE]
        names = ("id", "transfer", "side", "account_id", "amount")
        postings = [dict(zip(names, row, strict=True)) for row in machine.tables["Posting"].page(100_000, 0)]
        accounts = {row[0] for row in machine.tables["Account"].page(1000, 0)}
        self._check_balance(postings, "in the end")
        if not {posting["account_id"] for posting in postings} <= accounts:
            self.fail("a posting names an account that does not exist")
        there = {posting["transfer"] for posting in postings}
        for transfer in (each for each in self.history if each.kind == "transfer"):
            expected = transfer.ended is Ended.OK and not transfer.refused
            if transfer.ended is not Ended.UNKNOWN and expected != (transfer.name in there):
                self.fail(f"{transfer}: in the end it is {'there' if transfer.name in there else 'not there'}")
            if transfer.refused and not (isinstance(transfer.result, RequestError) and transfer.result.status == 409):
                self.fail(f"{transfer} was refused for another reason than a missing account")
