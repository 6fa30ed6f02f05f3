"""Locks with fencing tokens, whose holders fall asleep beyond their time and go on to write all the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.workloads.keys import KeysWorkload, Replay, ask

LOCKS = ("lock", "bolt")
LIVES_MS = (50, 300, 1000, 4000)
MILLISECOND_US = 1000
REFUSED = "-FENCED"


class KvLocks(KeysWorkload):
    """In the log's order every answer is that of a lock which one owner holds at a time, with a token of its own.

    Tokens grow; the same owner is given the same one while it holds the lock; and in what is written with them none
    comes behind a higher one.
    """

    name = "kv locks"

    async def step(self, client: Client) -> Operation:
        rng, name = client.rng, client.rng.choice(LOCKS)
        encoded, life_ms = name.encode(), rng.choice(LIVES_MS)
        token = client.memory.get(name)
        chance = rng.random()
        if chance < 0.15:
            return await self.read(
                client, client.begin("look", name), lambda keyspace: ask(keyspace, b"QUORATE.LOCKED", encoded)
            )
        if token is None or chance < 0.35:
            operation = client.begin("lock", name, life_ms)
            await self.write(client, operation, [b"QUORATE.LOCK", encoded, _owner(client.number), b"%d" % life_ms])
            if operation.ended is Ended.OK and operation.result[0] is not None:
                client.memory[name] = operation.result[0]
            return operation
        number = b"%d" % token
        if chance < 0.75:
            if rng.random() < 0.4:
                await asyncio.sleep(rng.choice(LIVES_MS) / 1000)  # it does not look whether it still holds the lock
            request = [b"QUORATE.FENCED", encoded, number, b"RPUSH", _written(name), number]
            return await self.write(client, client.begin("write", name, token), request)
        if chance < 0.88:
            operation = client.begin("renew", name, (token, life_ms))
            return await self.write(client, operation, [b"QUORATE.RENEW", encoded, number, b"%d" % life_ms])
        operation = client.begin("unlock", name, token)
        return await self.write(client, operation, [b"QUORATE.UNLOCK", encoded, number])

    def judge(self, replay: Replay) -> None:
        locks = {name: _Lock() for name in LOCKS}
        by_name = {operation.name: operation for operation in self.writes}
        tokens: list[int] = []
        for name, carried in replay.carried.items():
            operation = by_name.get(name)
            if operation is None:
                continue  # another workload's
            lock, reply = locks[operation.key], carried.replies[0]
            if not lock.answers(operation, reply, carried.time_us):
                self.fail(f"a lock answered {reply} at {carried.time_us}, when it is {lock}: {operation}")
            if operation.kind == "lock" and reply is not None and reply not in lock.tokens:
                if tokens and reply <= tokens[-1]:
                    self.fail(f"token {reply} comes behind {tokens[-1]}: {operation}")
                lock.tokens.append(reply)
                tokens.append(reply)
        for name, lock in locks.items():
            written = [int(each) for each in ask(replay.machine.keyspace, b"LRANGE", _written(name), b"0", b"-1")]
            if written != lock.written or written != sorted(written):
                self.fail(f"with {name} was written {written}, by the answers it is {lock.written}")
        for operation in self.of("look"):
            if operation.result is not None and operation.result[1] not in locks[operation.key].tokens:
                self.fail(f"{operation}: nobody was given this token")


@dataclass(slots=True)
class _Lock:
    """What a lock has to be by the answers before."""

    owner: int = 0
    token: int = 0
    until_us: int = 0
    tokens: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    def answers(self, operation: Operation, reply: Any, now_us: int) -> bool:
        """Whether an operation may be answered so now; takes in what it does."""
        is_held = self.until_us > now_us
        match operation.kind:
            case "lock":
                return self._locked(operation.client, reply, is_held, now_us + operation.argument * MILLISECOND_US)
            case "write":
                if not (is_held and operation.argument == self.token):
                    return isinstance(reply, str) and reply.startswith(REFUSED)
                self.written.append(self.token)
                return isinstance(reply, int)
            case "renew":
                token, life_ms = operation.argument
                holds = is_held and token == self.token
                if holds:
                    self.until_us = now_us + life_ms * MILLISECOND_US
                return bool(reply == int(holds))
            case _:
                holds = is_held and operation.argument == self.token
                if holds:
                    self.until_us = 0
                return bool(reply == int(holds))

    def _locked(self, client: int, reply: Any, is_held: bool, until_us: int) -> bool:
        if is_held and self.owner != client:
            return reply is None
        if reply is None or (is_held and reply != self.token) or (not is_held and reply in self.tokens):
            return False
        self.owner, self.token, self.until_us = client, reply, until_us
        return True


def _owner(client: int) -> bytes:
    return b"client %d" % client


def _written(name: str) -> bytes:
    """The key of what is written while holding the lock."""
    return f"written:{name}".encode()
