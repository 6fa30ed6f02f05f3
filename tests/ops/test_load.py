"""The load generator counts right, ends in time, hides no delay, and does not pass over failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import pytest

from quorate.ops.bench import load as generator
from quorate.ops.bench import requests
from quorate.ops.bench.load import LoadFailed, LoadResult, Operation, run_load
from quorate.ops.bench.timings import Timings
from quorate.ops.local_node import HOST
from quorate.ops.ports import free_ports

PING = Operation("ping", 200)
REQUEST = requests.get("/status", "h")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Answer = Callable[[int], Awaitable[bytes | None]]
LOOPS = pytest.mark.parametrize("rate", [None, 10_000.0])


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[str, int]]:
    """A server that gives ``answer(n)`` to its nth request, whoever asks; ``None`` closes the connection."""
    asked = iter(range(1_000_000))
    handlers: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if (data := await answer(next(asked))) is None:
                    return
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        await asyncio.gather(*filter(None, handlers))  # their clients have gone


async def at_once(number: int) -> bytes:
    """No delay."""
    return OK


async def load(address: tuple[str, int], *, seconds: float = 5.0, rate: float | None = None,
               operations: int = 100, connections: int = 4) -> LoadResult:  # fmt: skip
    """Pings."""
    return await run_load([address], lambda: (PING, REQUEST, b""), connections=connections, seconds=seconds,
                          operations_max=operations, rate=rate)  # fmt: skip


@LOOPS
async def test_it_sends_as_many_as_it_may_and_counts_bytes(rate: float | None) -> None:
    async with serving(at_once) as address:
        result = await load(address, rate=rate, operations=100)
    timings = result.all()
    assert timings.operations == result.rows == len(result.of("ping").latencies) == 100
    assert timings.per_second == pytest.approx(100 / result.seconds)
    p50_ms, p99_ms = timings.percentiles_ms(50, 99)
    assert 0 < p50_ms <= p99_ms <= result.seconds * 1000
    assert result.sent_bytes == 100 * len(REQUEST)
    assert result.received_bytes == 100 * len(OK)


@LOOPS
async def test_it_needs_fewer_requests_than_connections(rate: float | None) -> None:
    async with serving(at_once) as address:
        result = await load(address, rate=rate, operations=2, connections=4)
    assert result.rows == 2


async def test_kinds_are_counted_apart_with_what_they_are_about_and_told_when_done() -> None:
    bulk, told = Operation("bulk", 200, rows=5), list[tuple[str, bytes]]()
    dealt = iter([(PING, REQUEST, b"a"), (bulk, REQUEST, b"b"), (bulk, REQUEST, b"c")])
    async with serving(at_once) as address:
        result = await run_load([address], lambda: next(dealt), connections=1, seconds=5, operations_max=3,
                                done=lambda operation, key: told.append((operation.kind, key)))  # fmt: skip
    assert {kind: len(latencies) for kind, latencies in result.latencies.items()} == {"ping": 1, "bulk": 2}
    assert result.rows == 11
    assert told == [("ping", b"a"), ("bulk", b"b"), ("bulk", b"c")]


async def test_it_ends_when_time_is_over() -> None:
    began = perf_counter()
    async with serving(at_once) as address:
        result = await load(address, seconds=0.1, operations=10_000_000)
    assert result.rows > 4
    assert perf_counter() - began < 5


async def test_an_open_loop_keeps_its_rate() -> None:
    async with serving(at_once) as address:
        result = await load(address, rate=200.0, seconds=0.5, operations=1_000_000)
    assert result.rows == 100
    assert result.seconds == pytest.approx(0.5, abs=0.2)


async def test_a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() -> None:
    async def stalls_once(number: int) -> bytes:
        if number == 10:
            await asyncio.sleep(0.4)
        return OK

    slow = {}
    for rate in (None, 200.0):
        async with serving(stalls_once) as address:
            result = await load(address, rate=rate, operations=100, connections=1)
        slow[rate] = sum(latency > 0.2 for latency in result.all().latencies)
    assert slow[None] <= 2
    assert slow[200.0] >= 30, "40 requests fell due in the first 200 ms of the stall"


async def test_a_rate_that_is_not_kept_up_with_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "DRAIN_SECONDS_MAX", 0.1)

    async def slowly(number: int) -> bytes:
        await asyncio.sleep(0.02)
        return OK

    async with serving(slowly) as address:
        with pytest.raises(LoadFailed, match=r"^1000 requests/s are too many: \d+ were not sent"):
            await load(address, rate=1000.0, seconds=0.2, operations=1000, connections=1)


@LOOPS
async def test_requests_without_an_answer_fail_the_run(rate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "DRAIN_SECONDS_MAX", 0.1)
    free = asyncio.Event()

    async def never(number: int) -> bytes:
        await free.wait()
        return OK

    async with serving(never) as address:
        with pytest.raises(LoadFailed, match=r"^requests had no answer for 0\.1 s"):
            await load(address, rate=rate, seconds=0.1, operations=2, connections=2)
        free.set()


@LOOPS
async def test_another_status_or_a_closed_connection_fails_the_run(rate: float | None) -> None:
    async def refuses(number: int) -> bytes:
        return OK.replace(b"200", b"503") if number == 3 else OK

    async def closes(number: int) -> bytes | None:
        return OK if number < 3 else None

    async with serving(refuses) as address:
        with pytest.raises(LoadFailed, match="1 times 503 to ping"):
            await load(address, rate=rate, operations=10)
    async with serving(closes) as address:
        with pytest.raises(LoadFailed, match="closed a connection"):
            await load(address, rate=rate, operations=10)


async def test_a_busy_node_is_no_failure_where_it_may_be_busy() -> None:
    async def refuses(number: int) -> bytes:
        return OK.replace(b"200", b"503") if number in (3, 4) else OK

    listing = Operation("list", 200, busy=503)
    async with serving(refuses) as address:
        result = await run_load([address], lambda: (listing, REQUEST, b""), connections=2, seconds=5, operations_max=9)
    assert (result.rows, result.turned_away) == (7, 2)


async def test_no_connection_fails_the_run() -> None:
    with pytest.raises(LoadFailed, match="cannot connect"):
        await load((HOST, free_ports(1)[0]))


@pytest.mark.parametrize(
    ("many", "ranks"),
    [
        (100, (50, 95, 99, 100)),
        (1000, (500, 950, 990, 1000)),
        (10, (5, 10, 10, 10)),
        (2, (1, 2, 2, 2)),
        (1, (1, 1, 1, 1)),
        (0, (0, 0, 0, 0)),
    ],
)
def test_percentiles_are_the_nearest_rank(many: int, ranks: tuple[int, ...]) -> None:
    assert Timings(1.0, [number / 1000 for number in range(many, 0, -1)]).percentiles_ms(50, 95, 99, 100) == ranks


def test_requests_state_their_length_and_never_repeat_a_name() -> None:
    names = set[bytes]()
    products = requests.Products("/api/products", "h:1", "a-category")
    for deal, many in ((products.creates(), 1), (products.bulk_creates(3), 3)):
        for _ in range(10):
            operation, request, _ = deal()
            head, _, body = request.partition(b"\r\n\r\n")
            assert b"content-length: %d" % len(body) in head
            assert b'"category_id":"a-category"' in body
            rows = [part for part in body.split(b'"') if part.startswith(b"Bench product")]
            assert operation.rows == len(rows) == many
            assert not names & set(rows)
            names |= set(rows)
    assert len(names) == 10 + 30
