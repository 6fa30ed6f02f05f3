"""Money that is moved between wallets by transactions, some of which are refused when they are half done."""

from __future__ import annotations

from typing import Any

from quorate.models.rest.transactions import PATH
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import text_of
from quorate.testing.simulation.workloads.models import ModelsWorkload
from quorate.testing.simulation.workloads.reference import Reference

WALLETS = 4


class ModelTransfers(ModelsWorkload):
    """Wallets are empty at first, so there is nothing in all of them together, whoever looks, on any node."""

    name = "model transfers"

    async def step(self, client: Client) -> Operation:
        chance = client.rng.random()
        if chance < 0.12:
            return await self._open(client)
        if chance < 0.3:
            return await self.look(client, "Wallet", client.rng.randrange(WALLETS))
        if chance < 0.45:
            return await self._audit(client)
        source, target = client.rng.sample(range(WALLETS), 2)
        amount = client.rng.randint(1, 40)
        operations = self._by_versions(client, source, target, amount) if chance < 0.65 else None
        if operations is None:
            operations = self._by_events(client, source, target, amount)
        if client.rng.random() < 0.2:  # what is done by then must be undone, if this owner is there already
            number = client.rng.randrange(WALLETS)
            body = {"id": number, "owner": f"owner {client.rng.randrange(WALLETS)}"}
            operations.append({"op": "create", "resource": "wallets", "body": body})
        operation = client.begin("transfer", f"wallets/{source}", (target, amount))
        return await self.write(client, operation, "POST", PATH, {"operations": operations})

    def _by_events(self, client: Client, source: int, target: int, amount: int) -> list[dict[str, Any]]:
        moves = [(target, amount), (source, -amount)]  # there may not be enough: which turns out last, or first
        client.rng.shuffle(moves)
        operations: list[dict[str, Any]] = [
            {"op": "call", "resource": "wallets", "id": key, "event": "moved", "arguments": {"amount": change}}
            for key, change in moves
        ]
        other = client.rng.randrange(WALLETS)
        seen = self.seen(client, "Wallet", other)
        if seen is not None and client.rng.random() < 0.3:
            check = {"op": "check", "resource": "wallets", "id": other, "version": seen.version}
            operations.insert(client.rng.choice((0, 0, 1, 2)), check)
        return operations

    def _by_versions(self, client: Client, source: int, target: int, amount: int) -> list[dict[str, Any]] | None:
        operations: list[dict[str, Any]] = []
        for key, change in ((source, -amount), (target, amount)):
            seen = self.seen(client, "Wallet", key)
            if seen is None:
                return None
            body = {"balance": seen.body["balance"] + change}
            operations.append({"op": "update", "resource": "wallets", "id": key, "version": seen.version, "body": body})
        return operations

    async def _open(self, client: Client) -> Operation:
        number = client.rng.randrange(WALLETS)
        operation = client.begin("open wallet", f"wallets/{number}")
        return await self.write(client, operation, "POST", "wallets", {"id": number, "owner": f"owner {number}"})

    async def _audit(self, client: Client) -> Operation:
        operation = await self.everything(client, "Wallet", client.rng.choice(("strong", "eventually")))
        if operation.ended is Ended.OK:
            self._check_sum(operation.result, text_of(operation))
        return operation

    def _check_sum(self, wallets: list[Any], where: str) -> None:
        if sum(wallet["balance"] for wallet in wallets):
            self.fail(f"money was made, or lost: {where}")

    def judge(self, reference: Reference) -> None:
        self._check_sum([held.values for held in reference.objects["Wallet"].values()], "in the end")
