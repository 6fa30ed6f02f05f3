"""The load: clients that write and read keys at a steady pace, do not give up early, and write everything down."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Call, Key, Record, Thing, Verb
from quorate.ops.chaos.keys import Failed, KeysConnection

TRY_SECONDS = 1.0
"""One node gets so long for an answer, before another one is asked."""
PAUSE_SECONDS = (0.01, 0.05)
"""Between two tries."""
PIECE_SECONDS = 2.0
"""So long the clients share the same registers: histories that are short are quick to check."""
REGISTERS = 16
OPERATIONS_MAX = 400_000
"""So much can be remembered and judged."""
LOOK_SECONDS = 0.25
"""A client that has nothing to do looks this often whether all is over."""
MEANWHILE = "due meanwhile"
"""The class of operations that came due while their client was at one that failed: so would they have."""
STAY_OPERATIONS = 50
"""A client looks for a node anew after so many, or all would gather on the one that was not broken for longest."""
MIXED = {Verb.APPEND: 2, Verb.WRITE: 1, Verb.READ: 1}
WRITES = {Verb.APPEND: 2, Verb.WRITE: 1}
READER_EACH = 4
"""One client of so many does nothing but read: one that writes hangs at once where there is no quorum, and would never
learn that stale answers are to be had there."""
LIST_VALUES_MAX = 1000
"""A client goes on with a list of its own after so many values."""
RETRIED = frozenset({"CLUSTERDOWN", "TRYAGAIN", "UNKNOWN", "LOADING"})
"""Refusals that another try can be better than."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How much there is to be."""

    clients: int
    rate: float
    """Operations per second, of all clients together."""
    deadline_seconds: float
    """An operation fails that has not succeeded for so long, however often it was tried."""
    password: str | None = None


class Load:
    """``await load.run(stop)``; ``record`` has then what was done, ``errors`` what went wrong on the way."""

    def __init__(self, addresses: Sequence[str], prefix: str, settings: LoadSettings, rng: Random) -> None:
        """Every key begins with ``prefix``, which no other run uses."""
        self.record = Record()
        self.errors: Counter[str] = Counter()
        """Tries that failed, by class."""
        self.failed = 0
        """Operations that did not succeed, or may not have."""
        self.waits: list[float] = []
        """How many seconds each operation took that succeeded, from when it was due."""
        self.prefix = prefix
        self.keys: dict[str, None] = {}
        """Every key that may have been written, in the order of the first writes."""
        self.began = 0.0
        self.exhausted = False
        """Whether there was no more load, though the run went on: more could not be judged."""
        self._over = math.inf
        self._addresses = list(addresses)
        self._settings = settings
        self._rng = rng
        self._values = count(1)
        self._ids = count(1)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set and what was begun is ended."""
        self.began = time.monotonic()
        clients = [_Client(self, number) for number in range(self._settings.clients)]
        turns = self._rng.sample(range(len(clients)), len(clients))
        try:
            async with asyncio.TaskGroup() as group:
                for client, turn in zip(clients, turns, strict=True):
                    # Evenly: an interruption is not to be what chance left between two operations.
                    group.create_task(self._work(client, self.began + turn / self._settings.rate, stop))
                await stop.wait()
                self._over = min(self._over, time.monotonic())
                self.record.active.append((self.began, self._over))
        finally:
            for client in clients:
                client.close()
            await asyncio.sleep(0)  # the loop ends the connections in its next turn

    async def _work(self, client: _Client, due: float, stop: asyncio.Event) -> None:
        pace = self._settings.clients / self._settings.rate
        while not stop.is_set():
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(min(early, LOOK_SECONDS))
                continue
            if len(self.record.calls) >= OPERATIONS_MAX:
                self.exhausted, self._over = True, min(self._over, time.monotonic())
                return
            succeeded = await client.operate(due)
            # What became due in the meantime is made up for, or a long wait would count as a single one; or it has
            # failed as well, or a long outage would count as the few operations that clients hung in.
            due += pace
            while not succeeded and due < min(self._over, time.monotonic()):
                client.miss(due)
                due += pace

    def connections(self) -> list[KeysConnection]:
        """One to every node, for one client."""
        return [KeysConnection(each, self._settings.password, timeout=TRY_SECONDS) for each in self._addresses]

    def choose(self, among: Sequence[KeysConnection]) -> KeysConnection:
        """Which node a client asks."""
        return self._rng.choice(among)

    def draw(self, client: int, own: int) -> tuple[Key, Verb, Any]:
        """What a client does next; ``own`` is how much it has appended to its own lists."""
        verb = self._verb(client)
        if verb is Verb.APPEND:
            return (str(Thing.LIST), f"{self.prefix}own:{client}:{own // LIST_VALUES_MAX}"), verb, next(self._values)
        piece = int((time.monotonic() - self.began) / PIECE_SECONDS)
        register = (str(Thing.REGISTER), f"{self.prefix}shared:{piece}:{self._rng.randrange(REGISTERS)}")
        return register, verb, next(self._values) if verb is Verb.WRITE else None

    def _verb(self, client: int) -> Verb:
        if self._settings.clients >= READER_EACH:
            weights = {Verb.READ: 1} if client % READER_EACH == 0 else WRITES
        else:
            weights = MIXED
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def new_id(self) -> str:
        """For a write that may be sent again."""
        return f"{self.prefix}{next(self._ids)}"

    def pause(self) -> float:
        """Seconds until the next try."""
        return self._rng.uniform(*PAUSE_SECONDS)

    @property
    def deadline_seconds(self) -> float:
        """See :class:`LoadSettings`."""
        return self._settings.deadline_seconds


class _Client:
    """One of them: stays with a node for a while, as long as that answers."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number = number
        self._connections = load.connections()
        self._asked = self._connections[number % len(self._connections)]
        self._operations = 0
        self._appended = 0

    def miss(self, due: float) -> None:
        """Count one as failed, and do not try it."""
        load = self._load
        key, verb, value = load.draw(self._number, self._appended)
        load.failed += 1
        load.errors[MEANWHILE] += 1
        load.record.add(
            Call(
                client=self._number, key=key, verb=verb, value=value, invoked=due, returned=None, outcome=NOT_APPLIED,
                tries=0,
            )
        )  # fmt: skip

    async def operate(self, due: float) -> bool:
        """Whether it succeeded, one that was ``due`` at that time."""
        load = self._load
        self._operations += 1
        if self._operations % STAY_OPERATIONS == 0:
            self._asked = load.choose(self._connections)
        key, verb, value = load.draw(self._number, self._appended)
        command, read = _said(key[1], verb, value, load.new_id())
        if verb is Verb.APPEND:
            self._appended += 1
        if verb is not Verb.READ:
            load.keys.setdefault(key[1])
        invoked = time.monotonic()
        outcome, answer, tries = await self._tried(command, read, invoked + load.deadline_seconds)
        if outcome == OK:
            load.waits.append(time.monotonic() - due)
        else:
            load.failed += 1
            if verb is Verb.READ:
                outcome = NOT_APPLIED
        load.record.add(
            Call(
                client=self._number, key=key, verb=verb, value=value, answer=answer, invoked=invoked,
                returned=time.monotonic() if outcome == OK else None, outcome=outcome, tries=tries,
            )
        )  # fmt: skip
        return outcome == OK

    async def _tried(
        self, command: tuple[str | int, ...], read: Callable[[Any], int | None], deadline: float
    ) -> tuple[str, Any, int]:
        """(outcome, answer, tries): the command is one that may be sent again, to any node."""
        outcome, tries = NOT_APPLIED, 0
        while True:
            tries += 1
            try:
                answer = await self._asked.ask(*command, timeout=deadline - time.monotonic())
                return OK, read(answer), tries
            except (ValueError, TypeError):
                self._load.record.surprises.append(f"{command[0]} was answered: {answer!r:.200}")
                return UNKNOWN, None, tries
            except Failed as error:
                self._load.errors[error.kind] += 1
                if error.unknown:
                    # That a later try has no effect says nothing about this one.
                    outcome = UNKNOWN
                if not error.broken and error.kind not in RETRIED:
                    self._load.record.surprises.append(f"{command[0]} was answered: {error}")
                    return outcome, None, tries
            self._asked = self._load.choose([each for each in self._connections if each is not self._asked])
            await asyncio.sleep(self._load.pause())
            if time.monotonic() >= deadline:
                return outcome, None, tries

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def _said(
    key: str, verb: Verb, value: int | None, request_id: str
) -> tuple[tuple[str | int, ...], Callable[[Any], int | None]]:
    """The command for it, and how the answer is read."""
    if verb is Verb.READ:
        return ("GET", key), lambda answer: 0 if answer is None else int(answer)
    name = "SET" if verb is Verb.WRITE else "RPUSH"
    return ("QUORATE.ONCE", request_id, name, key, value or 0), lambda answer: None
