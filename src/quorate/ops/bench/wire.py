"""What the key-value benchmark itself says to servers that speak the Redis protocol, to fill them and look at them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import hiredis

from quorate.ops.bench.cases import VALUE
from quorate.ops.bench.convergence import ANSWER_SECONDS_MAX, DIGEST_ROWS_MAX, Held
from quorate.ops.bench.load import LoadFailed
from quorate.ops.local_node import HOST

FILL_SECONDS_MAX = 60.0
KEYS_AT_ONCE = 100
"""Keys written by one request that fills a system."""
SCAN_KEYS = b"1000"


class Wire:
    """``async with Wire(port) as wire``: one connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._replies = hiredis.Reader()

    async def ask(self, *words: bytes) -> Any:
        """The reply. Raises :class:`LoadFailed` if it is an error, or the connection ends."""
        self._writer.write(_packed(words))
        while (reply := self._replies.gets()) is False:
            if not (received := await self._reader.read(1 << 16)):
                raise LoadFailed(f"a server closed the connection at {words[0].decode()}")
            self._replies.feed(received)
        if isinstance(reply, hiredis.ReplyError):
            raise LoadFailed(f"a server answered {words[0].decode()} with {str(reply)!r}")
        return reply

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()


async def fill(port: int, keys: int) -> None:
    """Write the keys that ``redis-benchmark -r`` is going to read. Raises :class:`LoadFailed`."""
    try:
        async with asyncio.timeout(FILL_SECONDS_MAX), Wire(port) as wire:
            for first in range(0, keys, KEYS_AT_ONCE):
                words = [b"MSET"]
                for number in range(first, min(first + KEYS_AT_ONCE, keys)):
                    words += (key_name(number), VALUE)
                await wire.ask(*words)
    except TimeoutError:
        raise LoadFailed(f"a server did not take {keys:,} keys within {FILL_SECONDS_MAX:g} s") from None


async def keys_of(port: int) -> Held:
    """The keys that a node has itself, with their values. Raises :class:`LoadFailed`."""
    pairs: list[tuple[bytes, bytes]] = []
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX), Wire(port) as wire:
            await wire.ask(b"READONLY")
            if (keys := int(await wire.ask(b"DBSIZE"))) > DIGEST_ROWS_MAX:
                return Held(objects=keys)
            cursor = b""
            while cursor != b"0":
                cursor, names = await wire.ask(b"SCAN", cursor or b"0", b"COUNT", SCAN_KEYS)
                if names:
                    pairs += zip(names, await wire.ask(b"MGET", *names), strict=True)
    except TimeoutError:
        raise LoadFailed(f"a node did not show its keys within {ANSWER_SECONDS_MAX:g} s") from None
    digest = hashlib.sha256()
    for pair in sorted(pairs):
        digest.update(_packed(pair))
    return Held(objects=keys, digest=digest.hexdigest())


def _packed(words: Sequence[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def key_name(number: int) -> bytes:
    """As ``redis-benchmark`` names them."""
    return b"key:%012d" % number
