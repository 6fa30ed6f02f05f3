"""What the key-value workloads have in common: how clients ask, and what the log says that the answers must be."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from random import Random
from typing import Any

import msgspec

from quorate.kv.keyspace import Keyspace
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError, NullArray, Reply
from quorate.machine.contract import ApplyContext
from quorate.node.reads import Consistency
from quorate.raft.entry import Entry
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.keys import SimulatedKv
from quorate.testing.simulation.workloads.contract import Workload
from quorate.testing.simulation.workloads.replaying import commands_for

Request = list[bytes]

_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(list[list[bytes]]).decode

_TIMES = b"times:"


def plain(reply: Reply) -> Any:
    """A reply in what compares by value: an error as its line behind a dash, no array as ``None``."""
    match reply:
        case CommandError():
            return f"-{reply.line}"
        case NullArray():
            return None
        case list():
            return [plain(each) for each in reply]
        case _:
            return reply


def ask(keyspace: Keyspace, *request: bytes) -> Any:
    """The reply to a command that only reads."""
    spec = COMMANDS[request[0]]
    assert not spec.write
    return plain(spec.handler(keyspace, request))


@dataclass(frozen=True, slots=True)
class Carried:
    """How an operation was carried out, by the log."""

    time_us: int
    replies: list[Any]
    revision: int
    """The keyspace's, behind it."""


@dataclass(slots=True)
class Replay:
    """The one true log, applied once more from its beginning, by a machine that was never closed or restored."""

    machine: KvMachine = field(default_factory=KvMachine)
    carried: dict[str, Carried] = field(default_factory=dict)
    """By the names of operations, in the log's order. Of what was carried out twice, the first time."""
    times: Counter[str] = field(default_factory=Counter)
    """How often each was."""
    changes: dict[bytes, list[tuple[int, Any, int]]] = field(default_factory=dict)
    """Of each key, (revision, value, deadline in µs) behind each command that changed it."""
    _changed: set[bytes] = field(default_factory=set)

    def run(self, entries: Iterable[Entry]) -> Replay:
        """Apply them, from the first on."""
        self.machine.keyspace.on_change = lambda change: self._changed.add(change[1])
        for body, context in commands_for(MACHINE, entries):
            self._carry_out(body, context)
        return self

    def _carry_out(self, body: bytes, context: ApplyContext) -> None:
        requests = _decode_requests(body)
        replies = plain(self.machine.apply(body, context))
        keyspace = self.machine.keyspace
        last = requests[-1][-1]
        if last.startswith(_TIMES):
            name = last.removeprefix(_TIMES).decode()
            self.carried.setdefault(name, Carried(context.time_us, replies[:-1], keyspace.revision))
            self.times[name] += 1
        if b"" in self._changed:  # a flush names none
            self._changed.update(self.changes)
            self._changed.discard(b"")
        for key in sorted(self._changed):
            item = keyspace.find(key)
            value, deadline_us = (item.value, item.expires_us) if item is not None else (None, 0)
            self.changes.setdefault(key, []).append((keyspace.revision, value, deadline_us))
        self._changed.clear()

    def value_at(self, key: bytes, revision: int, time_us: int) -> Any:
        """What was at a key when the keyspace was at ``revision``, and the log at ``time_us``."""
        held, until_us = None, 0
        for at, value, deadline_us in self.changes.get(key, ()):
            if at <= revision:
                held, until_us = value, deadline_us
        return held if not until_us or until_us > time_us else None


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a read saw of a node besides what it asked for."""

    node_id: int
    life: int
    """The number of the node's process."""
    revision: int
    time_us: int
    since: float | None
    """When it began, if it was a strong one."""


class KeysWorkload(Workload):
    """Writes leave their names behind in keys of their own, which count how often each took its place in the log.

    Whether it did anything there is in its answer, which the log must bear out.
    """

    machine = MACHINE

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.writes: list[Operation] = []
        self.glimpses: list[Glimpse] = []
        """In the order in which they were caught."""

    # -- what clients do ---------------------------------------------------------------------------------

    async def write(self, client: Client, operation: Operation, *requests: Request) -> Operation:
        """Have ``requests`` applied as one command; the operation's result are their replies in plain data."""
        body = _encode([*requests, [b"INCR", _TIMES + operation.name.encode()]])

        async def propose(process: Process, request_id: str | None) -> Any:
            applied = await process.node.propose(body, machine=MACHINE, request_id=request_id)
            return plain(applied.result)

        self.writes.append(operation)
        await client.write(operation, propose)
        if operation.ended is Ended.OK and (not isinstance(operation.result, list) or operation.result.pop() != 1):
            self.fail(f"{operation} was not applied exactly once")
        return operation

    async def read(
        self,
        client: Client,
        operation: Operation,
        look: Callable[[Keyspace], Any],
        consistency: Consistency = "strong",
    ) -> Operation:
        """Have a node ``look`` at its keys; the operation's result is what that returns."""

        async def read(process: Process) -> Any:
            return await process.node.read(lambda machine: seen(process, machine), machine=MACHINE,
                                           consistency=consistency)  # fmt: skip

        def seen(process: Process, machine: SimulatedKv) -> Any:
            keyspace = machine.keyspace
            since = operation.invoked if consistency == "strong" else None
            self.glimpses.append(
                Glimpse(process.host.node_id, process.number, keyspace.revision, keyspace.time_us, since)
            )
            return look(keyspace)

        return await client.read(operation, read)

    # -- what must be true of it -------------------------------------------------------------------------

    def check(self, process: Process) -> None:
        self._check_glimpses()
        machine = process.machines[MACHINE]
        assert isinstance(machine, KvMachine)
        replay = Replay().run(process.host.invariants.known.committed)
        if _digest(machine) != _digest(replay.machine):
            self.fail(f"node {process.host.node_id} is in another state than the log leads to")
        self._check_applied(replay)
        self.check_order(replay.carried, self.writes)
        self._check_fresh(replay)
        self.judge(replay)

    @abstractmethod
    def judge(self, replay: Replay) -> None:
        """Judge the history, of which every operation has an outcome by now. Raises :class:`Violation`."""

    def _check_applied(self, replay: Replay) -> None:
        self.check_applied(replay.times, {operation.kind for operation in self.writes})
        for operation in self.writes:
            carried = replay.carried.get(operation.name)
            if operation.ended is Ended.OK:
                if carried is None or operation.result != carried.replies:
                    self.fail(f"{operation}: by the log it is {carried}")
            elif carried is not None:
                # What the client never learned the log knows, though not when it happened.
                operation.ended, operation.completed, operation.result = Ended.OK, inf, carried.replies
            else:
                operation.ended = Ended.NOT_APPLIED

    def _check_fresh(self, replay: Replay) -> None:
        """A strong read sees all that had ended when it began (Herlihy and Wing)."""
        ended = sorted(
            (operation.completed, replay.carried[operation.name].revision)
            for operation in self.writes
            if operation.name in replay.carried
        )
        for glimpse in self.glimpses:
            if glimpse.since is not None:
                least = max((revision for completed, revision in ended if completed < glimpse.since), default=0)
                if glimpse.revision < least:
                    self.fail(f"a strong read had to see revision {least}: {glimpse}")

    def check_stale(self, operation: Operation, replay: Replay) -> None:
        """Whatever :func:`at_key` saw, be it long ago, was there by the log."""
        revision, time_us, value = operation.result
        if value != replay.value_at(operation.key.encode(), revision, time_us):
            self.fail(f"{operation} is not what the key held at that revision")

    def _check_glimpses(self) -> None:
        """Whoever stays with one node, while it runs, never sees it go back, however stale its reads are."""
        latest: dict[tuple[int, int], Glimpse] = {}
        for glimpse in self.glimpses:
            before = latest.setdefault((glimpse.node_id, glimpse.life), glimpse)
            if glimpse.revision < before.revision or glimpse.time_us < before.time_us:
                self.fail(f"a node went back, from {before} to {glimpse}")
            latest[glimpse.node_id, glimpse.life] = glimpse


def _digest(machine: KvMachine) -> bytes:
    digest = blake2b(digest_size=16)
    machine.digest_into(digest)
    return digest.digest()


def unique(operation: Operation) -> bytes:
    """A value that no other operation writes."""
    return operation.name.encode()


def at_key(key: bytes) -> Callable[[Keyspace], tuple[int, int, Any]]:
    """A look at a string key: the keyspace's revision, the log's time in µs, and what is there."""
    return lambda keyspace: (keyspace.revision, keyspace.time_us, ask(keyspace, b"GET", key))
