"""The CRUD benchmark: creates, bulk creates, reads, a failover and a restart of three real nodes with fsync on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from quorate.ops.bench import requests
from quorate.ops.bench.convergence import Convergence, check_convergence, objects_of
from quorate.ops.bench.downloads import download_for
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import Deal, run_load
from quorate.ops.bench.seeding import create_category
from quorate.ops.bench.timings import Timings
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
    converged: Convergence
    """Products of both models at the end of the load, before the leader is killed."""


async def run_crud(directory: Path, ports: Sequence[int], plan: Plan, tell: Tell) -> CrudReport:
    """Run all cases. ``tell`` is told what is about to run."""
    environment = look_around(directory)
    tell("forming a cluster of three")
    async with LocalCluster(directory, ports, app=APP) as cluster, HttpClient() as http:
        await cluster.wait_formed()
        bench = _Crud(cluster, http, plan, tell)
        measurements = await bench.measure()
        converged = await bench.check_convergence()
        failover_ms, restart_ms = await bench.measure_failovers()
    return CrudReport(
        environment=environment,
        measurements=measurements,
        failover_ms=failover_ms,
        restart_ms=restart_ms,
        converged=converged,
    )


class _Crud:
    def __init__(self, cluster: LocalCluster, http: HttpClient, plan: Plan, tell: Tell) -> None:
        self._cluster = cluster
        self._http = http
        self._plan = plan
        self._tell = tell
        self._measurements: list[Measurement] = []
        self._created = 0
        """Products, by what clients were answered."""

    async def measure(self) -> list[Measurement]:
        leader = await self._cluster.leader()
        category = await create_category(self._http, leader)
        for model in self._plan.models:
            products = requests.Products(_PATHS[model], leader.address, category)
            await self._warm_up(leader, products)
            await self._writes(leader, products, _IN_WORDS[model])
        await self._reads(leader, _PATHS[self._plan.models[0]])
        return self._measurements

    async def _warm_up(self, leader: LocalNode, products: requests.Products) -> None:
        self._tell("warming up")
        warmed_up = await run_load(
            [(HOST, leader.port)],
            products.creates(),
            connections=WARM_UP_CONNECTIONS,
            seconds=WARM_UP_SECONDS,
            operations_max=self._plan.operations_max,
        )
        self._created += warmed_up.rows

    async def _writes(self, leader: LocalNode, products: requests.Products, in_words: str) -> None:
        for connections in self._plan.connections:
            self._created += await self._case(f"create{in_words}", [leader], products.creates(), connections)
        bulk = products.bulk_creates(BULK_ROWS)
        name = f"bulk create of {BULK_ROWS}{in_words}"
        self._created += await self._case(name, [leader], bulk, BULK_CONNECTIONS)

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
            await self._case(name, nodes, requests.gets(targets, leader.address), READ_CONNECTIONS)
        count = requests.gets([f"{path}/count"], leader.address)
        for connections in (READ_CONNECTIONS, COUNT_CONNECTIONS):
            await self._case("count, strong, the leader", [leader], count, connections)
        await self._list(leader, path, f"{path}/{ids[0]}?consistency=eventually")

    async def _list(self, leader: LocalNode, path: str, other: str) -> None:
        """The whole list, streamed; the latencies are those of one client who reads an object again and again."""
        self._tell("list all")
        seconds = self._plan.seconds
        reading = run_load(
            [(HOST, leader.port)],
            requests.gets([other], leader.address),
            connections=1,
            seconds=seconds,
            operations_max=self._plan.operations_max,
        )
        result, (size, taken) = await asyncio.gather(
            reading, download_for(HOST, leader.port, f"{path}?limit=all", seconds)
        )
        self._note("list all; latencies of reads beside it", 1, result.all(), size / taken / 1e6, "MB/s")

    async def _case(self, name: str, nodes: Sequence[LocalNode], deal: Deal, connections: int) -> int:
        """Run it, and note what it gave. How many objects its requests were about."""
        self._tell(f"{name}, {connections} connection{'s' if connections > 1 else ''}")
        result = await run_load(
            [(HOST, node.port) for node in nodes],
            deal,
            connections=connections,
            seconds=self._plan.seconds,
            operations_max=self._plan.operations_max,
        )
        timings = result.all()
        many = result.rows > timings.operations
        per_second = result.rows / result.seconds if many else timings.per_second
        self._note(name, connections, timings, per_second, "rows/s" if many else "requests/s")
        return result.rows

    def _note(self, name: str, connections: int, timings: Timings, per_second: float, unit: str) -> None:
        p50_ms, p95_ms, p99_ms = timings.percentiles_ms(50, 95, 99)
        self._measurements.append(
            Measurement(
                name=name,
                connections=connections,
                operations=timings.operations,
                per_second=round(per_second, 1),
                unit=unit,
                p50_ms=p50_ms,
                p95_ms=p95_ms,
                p99_ms=p99_ms,
            )
        )

    async def check_convergence(self) -> Convergence:
        """Raises :class:`LoadFailed` if the nodes do not hold the same products, as many as were created."""
        self._tell("comparing the nodes")
        return await check_convergence(
            self._cluster,
            "three nodes",
            lambda node: objects_of(self._http, node.url, list(_PATHS.values())),
            least=self._created,
            most=self._created,
        )

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
