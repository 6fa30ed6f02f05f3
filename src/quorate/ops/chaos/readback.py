"""What every node holds of what the clients wrote, when nothing is broken any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from quorate.errors import QuorateError
from quorate.ops.calls.record import OK, Call, Key, Thing, Verb
from quorate.ops.chaos.keys import Failed, KeysConnection

READ_SECONDS = 5.0
PAUSE_SECONDS = 0.1
BATCH_KEYS = 500
PASSWORD_MISTAKES = ("NOAUTH", "refused")
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
    addresses: Mapping[int, str],
    lists: Sequence[str],
    registers: Sequence[str],
    password: str | None,
    *,
    patience_seconds: float,
) -> tuple[dict[int, Held], list[str]]:
    """What each node holds, by its id; and of those that could not be read, why, for people."""
    reading = [_read(address, lists, registers, password, patience_seconds) for address in addresses.values()]
    answers = await asyncio.gather(*reading, return_exceptions=True)
    held: dict[int, Held] = {}
    failures = []
    for node_id, answer in zip(addresses, answers, strict=True):
        if isinstance(answer, Held):
            held[node_id] = answer
        elif isinstance(answer, QuorateError):
            failures.append(f"node {node_id} cannot be read, though nothing is broken any more: {answer}")
        else:
            raise answer
    return held, failures


async def _read(
    address: str, lists: Sequence[str], registers: Sequence[str], password: str | None, patience_seconds: float
) -> Held:
    """Raises :class:`QuorateError`."""
    held = Held(began=time.monotonic())
    connection = KeysConnection(address, password, timeout=READ_SECONDS)
    try:
        for name in lists:
            values = await _patiently(connection, patience_seconds, "LRANGE", name, 0, -1)
            if values:
                held.lists[name] = [_number(address, name, value) for value in values]
        for first in range(0, len(registers), BATCH_KEYS):
            names = registers[first : first + BATCH_KEYS]
            values = await _patiently(connection, patience_seconds, "MGET", *names)
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    held.registers[name] = _number(address, name, value)
    finally:
        connection.close()
    held.ended = time.monotonic()
    return held


def _number(address: str, name: str, value: bytes | None) -> int:
    try:
        return int(value or b"")
    except ValueError:
        raise QuorateError(f"{address} holds {value!r:.80} in {name}, which nobody wrote") from None


async def check_password(address: str, password: str | None) -> None:
    """Raises :class:`QuorateError` if the keys at ``address`` want another one."""
    connection = KeysConnection(address, password, timeout=READ_SECONDS)
    try:
        await connection.ask("TYPE", "chaos:")
    except Failed as error:
        if error.kind in PASSWORD_MISTAKES:
            told = "needs the --kv-password" if error.kind == "NOAUTH" else "does not accept the --kv-password"
            raise QuorateError(f"the node at {address} {told}: {str(error).removeprefix(f'{address}: ')}") from None
        # Whatever else is wrong may pass, or it shows under load.
    finally:
        connection.close()


async def remove(address: str, keys: Iterable[str], password: str | None, *, seconds_max: float) -> None:
    """Leave nothing of the run behind. Raises :class:`QuorateError`."""
    left = list(keys)
    connection = KeysConnection(address, password, timeout=READ_SECONDS)
    deadline = time.monotonic() + seconds_max
    try:
        for first in range(0, len(left), BATCH_KEYS):
            left_seconds = deadline - time.monotonic()
            await _patiently(connection, left_seconds, "DEL", *left[first : first + BATCH_KEYS])
    finally:
        connection.close()


async def _patiently(connection: KeysConnection, seconds: float, *command: str | int) -> list[bytes | None]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer: list[bytes | None] = await connection.ask(*command)
            return answer
        except Failed as error:
            if time.monotonic() > deadline:
                raise QuorateError(str(error)) from None
            await asyncio.sleep(PAUSE_SECONDS)
