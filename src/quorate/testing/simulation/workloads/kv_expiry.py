"""Keys that live for a short time: gone from the same entry of the log on everywhere, and never before.

What is promised goes by the log's time, which is the leader's clock made to grow with every entry, and by that alone: a
clock that jumps ahead ends keys early by everybody else's reckoning, and one that is set back lets them live. A key is
there in every state before its deadline in that time, and in none behind; and when the leader's own clock has passed
the deadline, in a cluster that works, the key is deleted without anybody asking for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate.testing.linearizability import ExpiringRegister, Prolong, PutUntil, ReadAt, Take
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.contract import Judged
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, at_key, unique

KEYS = ("brief", "short")
MILLISECOND_US = 1000
LIVES_MS = (1, 50, 300, 1000, 4000)


class KvExpiry(KeysWorkload):
    """Every value is written once, and each key is linearizable with its deadline."""

    name = "kv expiry"

    async def step(self, client: Client) -> Operation:
        rng, key = client.rng, client.rng.choice(KEYS)
        encoded = key.encode()
        chance, life_ms = rng.random(), rng.choice(LIVES_MS)
        if chance < 0.35:
            return await self.read(client, client.begin("read", key), at_key(encoded))
        if chance < 0.45:
            operation = client.begin("read here", key)
            return await self.read(client, operation, at_key(encoded), "eventually")
        if chance < 0.75:
            operation = client.begin("put", key)
            operation.argument = (unique(operation), life_ms)
            return await self.write(client, operation, [b"SET", encoded, unique(operation), b"PX", b"%d" % life_ms])
        if chance < 0.8:
            operation = client.begin("put", key)
            operation.argument = (unique(operation), 0)
            return await self.write(client, operation, [b"SET", encoded, unique(operation)])
        if chance < 0.92:
            operation = client.begin("prolong", key, life_ms)
            return await self.write(client, operation, [b"PEXPIRE", encoded, b"%d" % life_ms])
        return await self.write(client, client.begin("take", key), [b"GETDEL", encoded])

    def judge(self, replay: Replay) -> None:
        for operation in self.of("read here"):
            self.check_stale(operation, replay)
        self.check_linearizable(self._judged(replay), ExpiringRegister())

    def _judged(self, replay: Replay) -> Iterator[Judged]:
        for operation in self.history:
            if operation.ended is not Ended.OK:
                continue
            if operation.kind == "read":
                _, time_us, value = operation.result
                yield operation, operation.key, ReadAt(time_us), value
                continue
            if operation.kind == "read here":
                continue
            time_us, (reply, *_) = replay.carried[operation.name].time_us, operation.result
            match operation.kind:
                case "put":
                    value, life_ms = operation.argument
                    deadline_us = time_us + life_ms * MILLISECOND_US if life_ms else 0
                    yield operation, operation.key, PutUntil(value, deadline_us), None
                case "prolong":
                    deadline_us = time_us + operation.argument * MILLISECOND_US
                    yield operation, operation.key, Prolong(time_us, deadline_us), reply == 1
                case "take":
                    yield operation, operation.key, Take(time_us), reply
