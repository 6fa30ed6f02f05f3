"""Counters that are raised by whoever says which version was read: optimistic concurrency, and no lost update."""

from __future__ import annotations

from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.models import ModelsWorkload
from quorate.testing.simulation.workloads.reference import Reference

COUNTERS = 3
COLOURS = ("red", "blue")


class ModelVersions(ModelsWorkload):
    """A client raises what it saw, on any node and however long ago, by one."""

    name = "model versions"

    async def step(self, client: Client) -> Operation:
        key, chance = client.rng.randrange(COUNTERS), client.rng.random()
        path = f"counters/{key}"
        if chance < 0.1:
            body = {"id": key, "colour": client.rng.choice(COLOURS)}
            return await self.write(client, client.begin("create counter", path), "POST", "counters", body)
        if chance < 0.15:
            seen = self.seen(client, "Counter", key)
            expected = seen.version if seen is not None and client.rng.random() < 0.7 else None
            operation = client.begin("delete counter", path, expected)
            return await self.write(client, operation, "DELETE", path, expected=expected)
        if chance < 0.3:
            # Often it has that colour already, and nothing changes: no event, and the same version.
            body = {"colour": client.rng.choice(COLOURS)}
            return await self.write(client, client.begin("paint", path, body), "PATCH", path, body)
        if chance < 0.45 or self.seen(client, "Counter", key) is None:
            return await self.look(client, "Counter", key)
        return await self._raise(client, key, path)

    async def _raise(self, client: Client, key: int, path: str) -> Operation:
        seen = self.seen(client, "Counter", key)
        assert seen is not None
        hits = seen.body["hits"] + 1
        operation = client.begin("raise", path, (hits, seen.version))
        if client.rng.random() < 0.3:
            body = {"id": key, "hits": hits, "colour": seen.body["colour"]}
            await self.write(client, operation, "PUT", path, body, expected=seen.version)
        else:
            await self.write(client, operation, "PATCH", path, {"hits": hits}, expected=seen.version)
        if operation.ended is Ended.OK and not operation.refused:
            client.memory[f"Counter {key}"] = operation.result
        return operation

    def judge(self, reference: Reference) -> None:
        raised = [each for each in self.writes if each.kind == "raise" and each.ended is Ended.OK and not each.refused]
        for key in range(COUNTERS):
            numbers = sorted(reference.carried[each.name].sequence for each in raised if each.key == f"counters/{key}")
            for began, (last, hits) in _lives(reference, key).items():
                count = sum(began < number <= last for number in numbers)
                if hits != count:
                    self.fail(f"counter {key} was at {hits} at change {last}, and had been raised {count} times")


def _lives(reference: Reference, key: int) -> dict[int, tuple[int, int]]:
    """By the number of the change that began a life of a counter, that of its last change and its hits behind it."""
    lives: dict[int, tuple[int, int]] = {}
    began = 0
    for number, values in reference.states.get(("Counter", key), ()):
        if values is None:
            began = 0
            continue
        began = began or number
        lives[began] = (number, int(values["hits"] or 0))
    return lives
