"""The load generator counts right, ends in time, and does not pass over failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import pytest

from quorate.ops.bench import requests
from quorate.ops.bench.load import LoadFailed, LoadResult, run_load
from quorate.ops.ports import free_ports

REQUEST = requests.get("/", "localhost")


@asynccontextmanager
async def serving(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[str, int]]:
    """A server that gives ``answer(n)`` to the nth request of a connection; ``None`` closes it."""

    handlers: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        number = 0
        try:
            while (data := answer(number)) is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        await asyncio.gather(*filter(None, handlers))  # their clients have gone


def status(number: int) -> bytes:
    """An answer without a body."""
    return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % number


async def load(address: tuple[str, int], *, seconds: float = 5, operations: int = 1000) -> LoadResult:
    """Four connections."""
    return await run_load(
        [address], lambda: REQUEST, connections=4, expected=200, seconds=seconds, operations_max=operations
    )


async def test_it_sends_as_many_requests_as_it_may() -> None:
    async with serving(lambda number: status(200)) as address:
        result = await load(address, operations=100)
    assert result.operations == 100
    assert result.per_second == pytest.approx(100 / result.seconds)
    assert 0 < result.percentile_ms(50) <= result.percentile_ms(99) <= result.seconds * 1000


async def test_it_ends_when_time_is_over() -> None:
    began = perf_counter()
    async with serving(lambda number: status(200)) as address:
        result = await load(address, seconds=0.1, operations=10_000_000)
    assert result.operations > 4
    assert perf_counter() - began < 5


async def test_another_status_fails_the_run() -> None:
    async with serving(lambda number: status(503 if number == 3 else 200)) as address:
        with pytest.raises(LoadFailed, match="4 times 503"):
            await load(address, operations=100)


async def test_a_closed_connection_fails_the_run() -> None:
    async with serving(lambda number: status(200) if number < 3 else None) as address:
        with pytest.raises(LoadFailed, match="closed"):
            await load(address)


async def test_no_connection_fails_the_run() -> None:
    with pytest.raises(LoadFailed, match="cannot connect"):
        await load(("127.0.0.1", free_ports(1)[0]))


def test_percentiles_are_ranks() -> None:
    result = LoadResult(1.0, [number / 1000 for number in range(100, 0, -1)])
    assert (result.percentile_ms(50), result.percentile_ms(99), result.percentile_ms(100)) == (51, 100, 100)
    assert LoadResult().percentile_ms(50) == 0


def test_requests_state_their_length_and_never_repeat_a_name() -> None:
    names = set()
    products = requests.Products("/api/products", "h:1", "a-category")
    for next_request in (products.creates(), products.bulk_creates(3)):
        for _ in range(10):
            head, _, body = next_request().partition(b"\r\n\r\n")
            assert b"content-length: %d" % len(body) in head
            assert b'"category_id":"a-category"' in body
            rows = [part for part in body.split(b'"') if part.startswith(b"Bench product")]
            assert not names & set(rows)
            names |= set(rows)
    assert len(names) == 10 + 30
