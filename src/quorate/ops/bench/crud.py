"""The CRUD benchmark: creates, bulk creates, reads, a failover and a restart of three real nodes with fsync on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from quorate.ops.bench import requests
from quorate.ops.bench.downloads import download_for
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import LoadFailed, LoadResult, run_load
from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.writers import Writers, kill_leader
from quorate.rest.http_client import HttpClient

APP = "quorate.ops.bench.shop:app"
BULK_ROWS = 500
BULK_CONNECTIONS = 8
READ_CONNECTIONS = 64
COUNT_CONNECTIONS = 256
WARM_UP_SECONDS = 1.0
WARM_UP_CONNECTIONS = 32
FAILOVER_CLIENTS = 16
FAILOVER_WRITES = 500
OPERATIONS_MAX = 1_000_000
IDS_READ = 1000

Tell = Callable[[str], None]


class Declared(StrEnum):
    """The models whose objects are created: see :mod:`quorate.ops.bench.shop`."""

    PLAIN = "plain"
    FULL = "full"
    BOTH = "both"


_PATHS = {Declared.PLAIN: "/api/plain-products", Declared.FULL: "/api/products"}
_IN_WORDS = {Declared.PLAIN: "", Declared.FULL: " with history, unique, index, foreign key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    seconds: float
    """How long each case runs."""
    operations_max: int
    """Requests after which a case ends early."""
    connections: tuple[int, ...]
    """The numbers of connections at which creates are measured."""
    failovers: int
    model: Declared = Declared.BOTH
    """Of what creates are measured. What is read is plain, unless only the other is wanted."""

    @property
    def models(self) -> tuple[Declared, ...]:
        """Each of them."""
        return (Declared.PLAIN, Declared.FULL) if self.model is Declared.BOTH else (self.model,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One case: its requests, and what they give in its own unit."""

    name: str
    connections: int
    operations: int
    per_second: float
    unit: str
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrudReport:
    """All of it."""

    environment: Environment
    measurements: list[Measurement]
    failover_ms: list[int]
    """For each ``kill -9`` of the leader, the longest time in which no client had a write acknowledged."""
    restart_ms: list[int]
    """For each of them, how long its process then took from its start until it was ready to serve."""
    rows: int
    """Products of both models on every node at the end of the load."""


async def run_crud(directory: Path, ports: Sequence[int], plan: Plan, tell: Tell) -> CrudReport:
    """Run all cases. ``tell`` is told what is about to run."""
    environment = look_around(directory)
    tell("forming a cluster of three")
    async with LocalCluster(directory, ports, app=APP) as cluster, HttpClient() as http:
        await cluster.wait_formed()
        bench = _Crud(cluster, http, plan, tell)
        measurements = await bench.measure()
        rows = await bench.count_rows()
        failover_ms, restart_ms = await bench.measure_failovers()
    return CrudReport(
        environment=environment, measurements=measurements, failover_ms=failover_ms, restart_ms=restart_ms, rows=rows
    )


class _Crud:
    def __init__(self, cluster: LocalCluster, http: HttpClient, plan: Plan, tell: Tell) -> None:
        self._cluster = cluster
        self._http = http
        self._plan = plan
        self._tell = tell
        self._measurements: list[Measurement] = []

    async def measure(self) -> list[Measurement]:
        leader = await self._cluster.leader()
        category = (await self._http.post(f"{leader.url}/api/categories", {"name": "All"})).json()["id"]
        for model in self._plan.models:
            products = requests.Products(_PATHS[model], leader.address, category)
            await self._warm_up(leader, products)
            await self._writes(leader, products, _IN_WORDS[model])
        await self._reads(leader, _PATHS[self._plan.models[0]])
        return self._measurements

    async def _warm_up(self, leader: LocalNode, products: requests.Products) -> None:
        self._tell("warming up")
        await run_load(
            [(HOST, leader.port)],
            products.creates(),
            connections=WARM_UP_CONNECTIONS,
            expected=201,
            seconds=WARM_UP_SECONDS,
            operations_max=self._plan.operations_max,
        )

    async def _writes(self, leader: LocalNode, products: requests.Products, in_words: str) -> None:
        for connections in self._plan.connections:
            await self._case(f"create{in_words}", [leader], products.creates(), connections, expected=201)
        bulk = products.bulk_creates(BULK_ROWS)
        name = f"bulk create of {BULK_ROWS}{in_words}"
        await self._case(name, [leader], bulk, BULK_CONNECTIONS, expected=201, rows=BULK_ROWS)

    async def _reads(self, leader: LocalNode, path: str) -> None:
        everyone = list(self._cluster.nodes.values())
        rows = (await self._http.get(f"{leader.url}{path}?limit={IDS_READ}")).json()
        ids = [row["id"] for row in rows]
        for consistency, where, nodes in (
            ("strong", "the leader", [leader]),
            ("strong", "all nodes", everyone),
            ("eventually", "all nodes", everyone),
        ):
            targets = [f"{path}/{key}?consistency={consistency}" for key in ids]
            name = f"read one, {consistency}, {where}"
            await self._case(name, nodes, requests.gets(targets, leader.address), READ_CONNECTIONS, expected=200)
        count = requests.gets([f"{path}/count"], leader.address)
        for connections in (READ_CONNECTIONS, COUNT_CONNECTIONS):
            await self._case("count, strong, the leader", [leader], count, connections, expected=200)
        await self._list(leader, path, f"{path}/{ids[0]}?consistency=eventually")

    async def _list(self, leader: LocalNode, path: str, other: str) -> None:
        """The whole list, streamed; the latencies are those of one client who reads an object again and again."""
        self._tell("list all")
        seconds = self._plan.seconds
        reading = run_load(
            [(HOST, leader.port)],
            requests.gets([other], leader.address),
            connections=1,
            expected=200,
            seconds=seconds,
            operations_max=self._plan.operations_max,
        )
        result, (size, taken) = await asyncio.gather(
            reading, download_for(HOST, leader.port, f"{path}?limit=all", seconds)
        )
        self._measurements.append(
            Measurement(
                name="list all; latencies of reads beside it",
                connections=1,
                operations=result.operations,
                per_second=round(size / taken / 1e6, 1),
                unit="MB/s",
                p50_ms=round(result.percentile_ms(50), 3),
                p95_ms=round(result.percentile_ms(95), 3),
                p99_ms=round(result.percentile_ms(99), 3),
            )
        )

    async def _case(
        self,
        name: str,
        nodes: Sequence[LocalNode],
        next_request: Callable[[], bytes],
        connections: int,
        *,
        expected: int,
        rows: int = 1,
    ) -> None:
        self._tell(f"{name}, {connections} connection{'s' if connections > 1 else ''}")
        result: LoadResult = await run_load(
            [(HOST, node.port) for node in nodes],
            next_request,
            connections=connections,
            expected=expected,
            seconds=self._plan.seconds,
            operations_max=self._plan.operations_max,
        )
        self._measurements.append(
            Measurement(
                name=name,
                connections=connections,
                operations=result.operations,
                per_second=round(result.per_second * rows, 1),
                unit="rows/s" if rows > 1 else "requests/s",
                p50_ms=round(result.percentile_ms(50), 3),
                p95_ms=round(result.percentile_ms(95), 3),
                p99_ms=round(result.percentile_ms(99), 3),
            )
        )

    async def count_rows(self) -> int:
        """How many products every node has. Raises :class:`LoadFailed` if they do not agree."""
        self._tell("counting the rows of every node")
        try:
            await self._cluster.wait_caught_up()
        except TimeoutError:
            raise LoadFailed("a node did not catch up after the load") from None
        counts = []
        for url in self._cluster.urls:
            answers = [await self._http.get(f"{url}{path}/count?consistency=eventually") for path in _PATHS.values()]
            counts.append(sum(answer.json()["count"] for answer in answers))
        if len(set(counts)) > 1:
            raise LoadFailed(f"the nodes do not hold the same number of rows: {counts}")
        return int(counts[0])

    async def measure_failovers(self) -> tuple[list[int], list[int]]:
        """Kill the leader under write load, a few times, each time the whole cluster is up, and start it again."""
        failovers, restarts = [], []
        history = History()
        writers = Writers(self._cluster, self._http, history, clients=FAILOVER_CLIENTS)
        for number in range(1, self._plan.failovers + 1):
            self._tell(f"kill -9 of the leader under load, {number} of {self._plan.failovers}")
            async with writers.running(products_max=OPERATIONS_MAX):
                await writers.wait_for_writes(FAILOVER_WRITES)
                kill = await kill_leader(self._cluster)
                await writers.wait_for_writes(FAILOVER_WRITES)
                failovers.append(round(history.longest_silence(kill.at, time.monotonic()) * 1000))
            began = time.monotonic()
            kill.node.start()
            await self._cluster.wait_formed()
            restarts.append(round((time.monotonic() - began) * 1000))
            await asyncio.wait_for(self._cluster.wait_caught_up(), 60)
        return failovers, restarts
