"""Mixed loads deal what they should, count what was done, hide no delay, and end with a look at all nodes."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from quorate.errors import ConfigError
from quorate.ops.bench import mixed_load, servers, suites, workload_report
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.mixed_load import MixedResult, run_mixed
from quorate.ops.bench.mixes import LightReads, Mode, mix
from quorate.ops.bench.operations import WRITES, Deck, Kind, Operation
from quorate.ops.bench.requests import get
from quorate.ops.bench.suites import Suite
from quorate.ops.bench.workload import Limits, Place, Workload, run_workloads
from quorate.ops.local_node import HOST
from quorate.storage.settings import StorageProfile

MIX = {Kind.CREATE: 20, Kind.READ: 50, Kind.UPDATE: 20, Kind.DELETE: 10}
PATH = "/api/products"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
PING = Operation(Kind.STATUS, get("/status", "h"), 200)
Answer = Callable[[int], Awaitable[bytes | None]]


def deck(weights: dict[Kind, int], keys: int = 0) -> Deck:
    """One with so many objects."""
    made = Deck(weights, PATH, "h:1", "a-category", bulk_rows=3, rng=Random(1))
    made.begin_with([b"key-%d" % number for number in range(keys)], keys)
    return made


def ignore(operation: Operation) -> None:
    """Of no consequence."""


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
        await asyncio.gather(*filter(None, handlers))


async def at_once(number: int) -> bytes:
    """No delay."""
    return OK


async def load(address: tuple[str, int], *, seconds: float = 5.0, rate: float | None = None,
               operations: int = 100, connections: int = 1) -> MixedResult:  # fmt: skip
    """Pings."""
    return await run_mixed([address], lambda: PING, ignore, connections=connections, seconds=seconds,
                           operations_max=operations, rate=rate)  # fmt: skip


# -- what is dealt ------------------------------------------------------------------------------------------


def test_operations_are_dealt_by_their_shares() -> None:
    cards = deck(MIX, keys=5000)
    dealt = Counter(cards.deal().kind for _ in range(4000))
    for kind, share in MIX.items():
        assert dealt[kind] == pytest.approx(40 * share, rel=0.2)


def test_what_is_deleted_is_neither_read_nor_updated_nor_deleted_again() -> None:
    cards, deleted, used = deck(MIX, keys=50), Counter[bytes](), set[bytes]()
    for _ in range(3000):
        operation = cards.deal()
        if operation.kind is Kind.DELETE:
            deleted[operation.key] += 1
        elif operation.kind in (Kind.READ, Kind.UPDATE):
            used.add(operation.request.split(b" ")[1].rpartition(b"/")[2])
        cards.done(operation)
    assert len(deleted) > 200
    assert set(deleted.values()) == {1}
    assert not set(deleted) & used
    assert any(not key.startswith(b"key-") for key in used), "new objects are read, too"


def test_how_many_objects_there_are_is_known() -> None:
    cards = deck(MIX, keys=50)
    done = [cards.deal() for _ in range(500)]
    for operation in done:
        cards.done(operation)
    cards.done(cards.bulk(7))
    kinds = Counter(operation.kind for operation in done)
    assert cards.objects == 50 + kinds[Kind.CREATE] - kinds[Kind.DELETE] + 7


@pytest.mark.parametrize("kind", [Kind.READ, Kind.UPDATE, Kind.DELETE])
def test_where_there_is_no_object_one_is_created(kind: Kind) -> None:
    assert deck({kind: 1}).deal().kind is Kind.CREATE


@pytest.mark.parametrize("kind", Kind)
def test_requests_are_whole(kind: Kind) -> None:
    operation = deck({kind: 1}, keys=4).deal()
    assert operation.kind is kind
    head, _, body = operation.request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert (int(length[1]) if length else 0) == len(body)
    if body:
        assert json.loads(body)
    assert operation.rows == (3 if kind is Kind.BULK else 1)


@pytest.mark.parametrize(
    ("mode", "light_reads", "kinds"),
    [
        (Mode.SINGLE, None, {Kind.CREATE: 100}),
        (Mode.BULK, None, {Kind.BULK: 100}),
        (Mode.RANDOM, None, {Kind.CREATE: 30, Kind.READ: 70}),
        (Mode.RANDOM, LightReads.OFF, {Kind.CREATE: 30, Kind.LIST: 70}),
        (Mode.RANDOM, LightReads.STATUS, {Kind.CREATE: 30, Kind.STATUS: 70}),
        (Mode.RANDOM, LightReads.COUNT, {Kind.CREATE: 30, Kind.COUNT: 70}),
    ],
)
def test_modes_are_shares(mode: Mode, light_reads: LightReads | None, kinds: dict[Kind, int]) -> None:
    assert mix(mode, create=30, read=70, update=0, delete=0, light_reads=light_reads) == kinds


def test_shares_make_a_hundred_percent() -> None:
    with pytest.raises(ConfigError, match="not 101"):
        mix(Mode.RANDOM, create=31, read=70, update=0, delete=0, light_reads=None)


# -- how it is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 10_000.0])
async def test_it_sends_as_many_as_it_may_and_counts_bytes(rate: float | None) -> None:
    async with serving(at_once) as address:
        result = await load(address, rate=rate, operations=100, connections=4)
    assert result.operations == result.rows == len(result.of(Kind.STATUS).latencies) == 100
    assert result.sent_bytes == 100 * len(PING.request)
    assert result.received_bytes == 100 * len(OK)


async def test_an_open_loop_keeps_its_rate() -> None:
    async with serving(at_once) as address:
        result = await load(address, rate=200.0, seconds=0.5, operations=1_000_000, connections=4)
    assert result.operations == 100
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
    monkeypatch.setattr(mixed_load, "DRAIN_SECONDS_MAX", 0.1)

    async def slowly(number: int) -> bytes:
        await asyncio.sleep(0.02)
        return OK

    async with serving(slowly) as address:
        with pytest.raises(LoadFailed, match=r"^1000 requests/s are too many: \d+ were not sent"):
            await load(address, rate=1000.0, seconds=0.2, operations=1000)


@pytest.mark.parametrize("rate", [None, 500.0])
async def test_another_status_or_a_closed_connection_fails_the_run(rate: float | None) -> None:
    async def refuses(number: int) -> bytes:
        return OK.replace(b"200", b"503") if number == 3 else OK

    async def closes(number: int) -> bytes | None:
        return OK if number < 3 else None

    async with serving(refuses) as address:
        with pytest.raises(LoadFailed, match="1 times 503 to status"):
            await load(address, rate=rate, operations=10)
    async with serving(closes) as address:
        with pytest.raises(LoadFailed, match="closed a connection"):
            await load(address, rate=rate, operations=10)


# -- what is measured ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Suite)
def test_every_suite_has_loads_of_different_names(name: Suite) -> None:
    loads = suites.suite(name, Place(), 64, 500)
    assert len({(each.name, each.connections) for each in loads}) == len(loads) > 1


def test_what_the_suites_are_about() -> None:
    profiles = suites.suite(Suite.DURABILITY_PROFILES, Place(), 64, 500)
    assert {each.place.profile for each in profiles} == set(StorageProfile)
    bulks = suites.suite(Suite.BULK_VS_SINGLE, Place(), 64, 200)
    assert [each.bulk_rows for each in bulks if Kind.BULK in each.weights] == [10, 100, 200, 500, 1000]
    for each in (*suites.suite(Suite.HEAVY_VS_LIGHT_READS, Place(), 64, 500), *suites.reads(Place(), 64, None)):
        assert not WRITES & set(each.weights)
        assert each.place.preseed == suites.SUITE_PRESEED


@pytest.mark.e2e
async def test_workloads_run_on_real_nodes_and_the_nodes_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "QUIET_SECONDS_MAX", 0.2)
    place = Place(preseed=60)
    mixed = Workload(name="mixed", weights=MIX, connections=4, place=place)
    reads = [Workload(name=kind.value, weights={kind: 1}, connections=2, place=place)
             for kind in Kind if kind not in WRITES]  # fmt: skip
    loads = [mixed, replace(mixed, name="open", rate=100.0), *reads]
    told: list[str] = []
    report = await run_workloads(tmp_path, "Loads", loads, Limits(seconds=20, operations_max=40), told.append)
    assert [item.name for item in report.measurements] == [each.name for each in loads]
    for item in report.measurements:
        assert item.all.operations == 40
        assert 0 < item.all.p50_ms <= item.all.p95_ms <= item.all.p99_ms <= item.all.max_ms
        assert item.sent_bytes > 40
        assert item.received_bytes > 40
    assert {each.kind for each in report.measurements[0].kinds} <= {kind.value for kind in MIX}
    assert report.measurements[0].fsyncs > 0
    assert report.measurements[0].peer_bytes > 100, "two followers get what is created"
    (converged,) = report.converged
    assert (converged.objects > 40, converged.digest is not None) == (True, True)
    rows = sum(1 + len(item.kinds) for item in report.measurements)
    assert workload_report.as_table(report).row_count == rows
    assert workload_report.as_markdown(report).count("\n|") == rows + 2
    assert json.loads(workload_report.as_json(report))["measurements"][0]["name"] == "mixed"
    assert os.listdir(tmp_path) == []


@pytest.mark.e2e
async def test_nodes_that_hold_other_than_clients_were_told_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Deck.done
    monkeypatch.setattr(Deck, "done", lambda deck, each: count(deck, each) if each.kind is Kind.BULK else None)
    place = Place(nodes=1, profile=StorageProfile.BALANCED)
    loads = [Workload(name=kind.value, weights={kind: 1}, connections=2, bulk_rows=20, place=place)
             for kind in (Kind.BULK, Kind.CREATE)]  # fmt: skip
    with pytest.raises(LoadFailed, match=r"the nodes hold \[105\] objects, and should hold 100"):
        await run_workloads(tmp_path, "Loads", loads, Limits(seconds=20, operations_max=5), lambda line: None)
