"""Shelves with items, tags on them and orders for them: unique values, and references that never dangle."""

from __future__ import annotations

from typing import Any

from quorate.models.rest.transactions import PATH
from quorate.testing.simulation.clients import Client, Operation
from quorate.testing.simulation.workloads.models import ModelsWorkload
from quorate.testing.simulation.workloads.reference import Reference

SHELVES, ITEMS, CODES, PLACES, ORDERS = 3, 6, 5, 2, 3


class ModelReferences(ModelsWorkload):
    """Clients race for the same few codes and places, and delete what others refer to meanwhile."""

    name = "model references"

    async def step(self, client: Client) -> Operation:
        rng, chance = client.rng, client.rng.random()
        item = rng.randrange(ITEMS)
        if chance < 0.15:
            return await self.look(client, "Item", item)
        if chance < 0.27:
            number = rng.randrange(SHELVES)
            body = {"id": number, "label": f"label {rng.randrange(SHELVES)}"}
            return await self.write(client, client.begin("put up", f"shelves/{number}"), "POST", "shelves", body)
        if chance < 0.47:
            operation = client.begin("bring", f"items/{item}")
            return await self.write(client, operation, "POST", "items", self._item(client, item))
        if chance < 0.6:
            body = self._item(client, item)
            change = {name: body[name] for name in rng.sample(("code", "shelf_id", "place"), 2)}
            return await self.write(client, client.begin("move", f"items/{item}"), "PATCH", f"items/{item}", change)
        if chance < 0.7:
            body = {"text": "one", "item_id": item}
            return await self.write(client, client.begin("tag", f"items/{item}"), "POST", "tags", body)
        if chance < 0.8:
            number = rng.randrange(ORDERS)
            body = {"id": number, "item_id": item}
            return await self.write(client, client.begin("order", f"orders/{number}"), "POST", "orders", body)
        return await self._delete(client, item)

    def _item(self, client: Client, number: int) -> dict[str, Any]:
        rng = client.rng
        return {
            "id": number,
            "code": f"code {rng.randrange(CODES)}",
            "shelf_id": rng.choice((None, *range(SHELVES))),
            "place": rng.randrange(PLACES),
        }

    async def _delete(self, client: Client, item: int) -> Operation:
        rng = client.rng
        path = rng.choice((f"shelves/{rng.randrange(SHELVES)}", f"items/{item}", f"orders/{rng.randrange(ORDERS)}"))
        operation = client.begin("take away", path)
        if rng.random() < 0.3:  # and something in its place, or neither
            resource, _, number = path.partition("/")
            body = self._item(client, item)
            operations = [
                {"op": "delete", "resource": resource, "id": int(number)},
                {"op": "create", "resource": "items", "body": body},
            ]
            return await self.write(client, operation, "POST", PATH, {"operations": operations})
        return await self.write(client, operation, "DELETE", path)

    def judge(self, reference: Reference) -> None:
        """That values are unique and references fulfilled is what the reference checks with each change."""
