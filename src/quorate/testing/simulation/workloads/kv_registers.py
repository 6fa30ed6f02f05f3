"""Keys that are set, read, swapped and deleted; one that is counted up, and one that is appended to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quorate.testing.linearizability import Append, CompareAndSet, Counter, Increment, ListAppend, Read, Register, Write
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import Judged
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, ask, at_key, unique

KEYS = ("x", "y")
COUNTER = "hits"
TEXT = "text"
END = b";"


class KvRegisters(KeysWorkload):
    """Each key is linearizable. Every value is written once, so a read says whose write it saw."""

    name = "kv registers"

    async def step(self, client: Client) -> Operation:
        rng, chance = client.rng, client.rng.random()
        if chance < 0.15:
            return await self._count(client)
        if chance < 0.3:
            return await self._append(client)
        key = rng.choice(KEYS)
        encoded = key.encode()
        if chance < 0.5:
            return await self.read(client, client.begin("read", key), lambda keyspace: ask(keyspace, b"GET", encoded))
        if chance < 0.65:
            operation = client.begin("read here", key)
            return await self.read(client, operation, at_key(encoded), "eventually")
        if chance < 0.8:
            operation = client.begin("set", key)
            operation.argument = unique(operation)
            return await self.write(client, operation, [b"SET", encoded, operation.argument])
        if chance < 0.92:
            operation = client.begin("swap", key)
            operation.argument = unique(operation)
            return await self.write(client, operation, [b"GETSET", encoded, operation.argument])
        return await self.write(client, client.begin("take", key), [b"GETDEL", encoded])

    async def _count(self, client: Client) -> Operation:
        key = COUNTER.encode()
        if client.rng.random() < 0.4:
            return await self.read(client, client.begin("count", COUNTER), lambda keyspace: ask(keyspace, b"GET", key))
        operation = client.begin("increment", COUNTER, client.rng.randint(1, 9))
        return await self.write(client, operation, [b"INCRBY", key, b"%d" % operation.argument])

    async def _append(self, client: Client) -> Operation:
        key = TEXT.encode()
        if client.rng.random() < 0.4:
            return await self.read(client, client.begin("text", TEXT), lambda keyspace: ask(keyspace, b"GET", key))
        operation = client.begin("append", TEXT)
        operation.argument = unique(operation)
        return await self.write(client, operation, [b"APPEND", key, operation.argument + END])

    def judge(self, replay: Replay) -> None:
        for operation in self.of("read here"):
            self.check_stale(operation, replay)
        self.check_linearizable(self._of_registers(), Register())
        self.check_linearizable(self._of_counter(), Counter())
        self.check_linearizable(self._of_text(), ListAppend())

    def _of_registers(self) -> Iterator[Judged]:
        for operation in self.history:
            result = _only(operation)
            match operation.kind:
                case "read":
                    yield operation, operation.key, Read(), operation.result
                case "set":
                    yield operation, operation.key, Write(operation.argument), None
                case "swap" | "take":
                    yield operation, operation.key, CompareAndSet(result, operation.argument), True

    def _of_counter(self) -> Iterator[Judged]:
        for operation in self.history:
            match operation.kind:
                case "count":
                    yield operation, COUNTER, Read(), int(operation.result or 0)
                case "increment":
                    yield operation, COUNTER, Increment(operation.argument), _only(operation)

    def _of_text(self) -> Iterator[Judged]:
        for operation in self.history:
            match operation.kind:
                case "text":
                    yield operation, TEXT, Read(), (operation.result or b"").split(END)[:-1]
                case "append":
                    yield operation, TEXT, Append(operation.argument), None


def _only(operation: Operation) -> Any:
    """The reply to a write of one request, if there was any."""
    return operation.result[0] if operation.ended is Ended.OK and isinstance(operation.result, list) else None
