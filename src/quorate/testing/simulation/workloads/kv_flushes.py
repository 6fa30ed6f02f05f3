"""Many keys, and now and then none: what is deleted all at once reaches the file otherwise than what is deleted."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.testing.linearizability import Read, Register, Write
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import Judged
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, ask, at_key, unique

KEYS = tuple(f"key:{number}" for number in range(30))
SET_AT_ONCE = 8
PADDING = (0, 0, 10, 5000)


class KvFlushes(KeysWorkload):
    """Each key is linearizable, where a flush sets all of them to nothing. No other workload on keys bears that."""

    name = "kv flushes"

    async def step(self, client: Client) -> Operation:
        rng, chance = client.rng, client.rng.random()
        key = rng.choice(KEYS)
        encoded = key.encode()
        if chance < 0.2:
            return await self.read(client, client.begin("read", key), lambda keyspace: ask(keyspace, b"GET", encoded))
        if chance < 0.35:
            return await self.read(client, client.begin("read here", key), at_key(encoded), "eventually")
        if chance < 0.4:
            return await self.write(client, client.begin("flush", "all"), [b"FLUSHALL"])
        some = tuple(rng.sample(KEYS, rng.randint(1, SET_AT_ONCE)))
        if chance < 0.6:
            operation = client.begin("delete", "some", (some, None))
            return await self.write(client, operation, [b"DEL", *(each.encode() for each in some)])
        operation = client.begin("set", "some")
        value = unique(operation) + b"." * rng.choice(PADDING)
        operation.argument = (some, value)
        return await self.write(client, operation, *([b"SET", each.encode(), value] for each in some))

    def judge(self, replay: Replay) -> None:
        for operation in self.of("read here"):
            self.check_stale(operation, replay)
        self.check_linearizable(self._judged(), Register())

    def _judged(self) -> Iterator[Judged]:
        for operation in self.history:
            if operation.ended is not Ended.OK or operation.kind == "read here":
                continue
            if operation.kind == "read":
                yield operation, operation.key, Read(), operation.result
                continue
            keys, value = (KEYS, None) if operation.kind == "flush" else operation.argument
            for key in keys:
                yield operation, key, Write(value), None
