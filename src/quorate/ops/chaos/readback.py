"""What every node holds of what the clients wrote, when nothing is broken any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from quorate.errors import QuorateError
from quorate.ops.calls.record import OK, Call, Key, Thing, Verb
from quorate.ops.chaos.keys import Failed, KeysConnection

READ_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.1
BATCH_KEYS = 500
READBACK_CLIENT = 1_000_000
"""As a client of the histories: apart from those of the load."""


@dataclass(slots=True)
class Held:
    """One node's keys, read strongly. Keys that are not there are left out."""

    lists: dict[str, list[int]] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0

    def calls(self, made: Iterable[Call]) -> Iterator[Call]:
        """It as one more read of everything that ``made`` is about."""
        keys: dict[Key, None] = dict.fromkeys(call.key for call in made)
        for at, key in enumerate(keys):
            name = key[1]
            is_list = key[0] == Thing.LIST
            yield Call(
                client=READBACK_CLIENT + at, key=key, verb=Verb.READ,
                answer=tuple(self.lists.get(name, ())) if is_list else self.registers.get(name, 0),
                invoked=self.began, returned=self.ended, outcome=OK,
            )  # fmt: skip


async def read_back(
    addresses: Mapping[int, str], lists: Iterable[str], registers: Iterable[str], password: str | None
) -> dict[int, Held]:
    """By the nodes' ids. Raises :class:`QuorateError` if one of them does not answer."""
    lists, registers = list(lists), list(registers)
    found = {}
    for node_id, address in addresses.items():
        held = found[node_id] = Held(began=time.monotonic())
        connection = KeysConnection(address, password, timeout=READ_SECONDS)
        try:
            for name in lists:
                values = await _patiently(connection, "LRANGE", name, 0, -1)
                if values:
                    held.lists[name] = [int(value) for value in values if value]
            for first in range(0, len(registers), BATCH_KEYS):
                names = registers[first : first + BATCH_KEYS]
                values = await _patiently(connection, "MGET", *names)
                held.registers |= {name: int(value) for name, value in zip(names, values, strict=True) if value}
        finally:
            connection.close()
        held.ended = time.monotonic()
    return found


async def remove(address: str, keys: Iterable[str], password: str | None) -> None:
    """Leave nothing of the run behind. Raises :class:`QuorateError`."""
    left = list(keys)
    connection = KeysConnection(address, password, timeout=READ_SECONDS)
    try:
        for first in range(0, len(left), BATCH_KEYS):
            await _patiently(connection, "DEL", *left[first : first + BATCH_KEYS])
    finally:
        connection.close()


async def _patiently(connection: KeysConnection, *command: str | int) -> list[bytes | None]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer: list[bytes | None] = await connection.ask(*command)
            return answer
        except Failed as error:
            if time.monotonic() > deadline:
                raise QuorateError(f"{connection.address} cannot be read, though nothing is broken: {error}") from None
            await asyncio.sleep(PAUSE_SECONDS)
