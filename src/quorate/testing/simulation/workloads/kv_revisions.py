"""Keys that are replaced and removed by who knows their latest revision, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.kv.keyspace import Keyspace
from quorate.testing.linearizability import Read, RemoveRevision, ReplaceRevision, VersionedRegister
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import Judged
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, ask, unique

KEYS = ("one", "two")


class KvRevisions(KeysWorkload):
    """Each key is linearizable. What a client compares with is what it saw last, on any node, however stale."""

    name = "kv revisions"

    async def step(self, client: Client) -> Operation:
        rng, key = client.rng, client.rng.choice(KEYS)
        encoded, chance = key.encode(), client.rng.random()
        if chance < 0.4:
            return await self._look(client, key)
        revision = client.memory.get(key, 0) if rng.random() < 0.9 else 0
        if chance < 0.85:
            operation = client.begin("replace", key)
            operation.argument = (revision, unique(operation))
            request = [b"QUORATE.CAS", encoded, b"%d" % revision, unique(operation)]
        else:
            operation = client.begin("remove", key, revision)
            request = [b"QUORATE.CAD", encoded, b"%d" % revision]
        await self.write(client, operation, request)
        if operation.ended is Ended.OK and operation.result[0]:
            client.memory[key] = operation.result[0] if operation.kind == "replace" else 0
        return operation

    async def _look(self, client: Client, key: str) -> Operation:
        def look(keyspace: Keyspace) -> tuple[bytes, int] | None:
            shown = ask(keyspace, b"QUORATE.GET", key.encode())
            return None if shown is None else (shown[0], shown[1])

        stale = client.rng.random() < 0.3
        operation = client.begin("look here" if stale else "look", key)
        await self.read(client, operation, look, "eventually" if stale else "strong")
        if operation.ended is Ended.OK:
            client.memory[key] = operation.result[1] if operation.result is not None else 0
        return operation

    def judge(self, replay: Replay) -> None:
        self.check_linearizable(self._judged(), VersionedRegister())

    def _judged(self) -> Iterator[Judged]:
        for operation in self.history:
            if operation.ended is not Ended.OK:
                continue
            match operation.kind:
                case "look":
                    yield operation, operation.key, Read(), operation.result
                case "replace":
                    yield operation, operation.key, ReplaceRevision(*operation.argument), operation.result[0]
                case "remove":
                    removed = operation.result[0] == 1
                    yield operation, operation.key, RemoveRevision(operation.argument), removed
