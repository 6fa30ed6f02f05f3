"""Runs workloads on clusters of real processes: what each is, and what it gives.

Workloads that agree on what cluster they want share one, one after the other. At the end of each cluster it is checked
that all nodes hold the same objects, and as many as the answers said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from quorate.ops.bench.convergence import Convergence, check_convergence, fetch, objects_of
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import LoadFailed, LoadResult, run_load
from quorate.ops.bench.operations import WRITES, Deck, Kind
from quorate.ops.bench.repeats import Repeats
from quorate.ops.bench.scraping import peer_bytes
from quorate.ops.bench.seeding import SEED_ROWS, create_category, create_rows
from quorate.ops.bench.servers import cpu_seconds, wait_quiet
from quorate.ops.bench.timings import Timings
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient
from quorate.storage.settings import StorageProfile

APP = "quorate.ops.bench.shop:app"
KNOWN_MAX = 10_000
"""So many of these are picked from, at most, for reads, updates and deletes."""
KNOWN_PAGE = 1000

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What cluster a workload wants."""

    nodes: int = 3
    profile: StorageProfile = StorageProfile.DURABLE
    path: str = "/api/plain-products"
    """Of the objects, which says of which model they are: see :mod:`quorate.ops.bench.shop`."""
    preseed: int = 0
    """So many objects are there beforehand."""

    @property
    def in_words(self) -> str:
        """For people."""
        many = f"{self.nodes} nodes" if self.nodes > 1 else "one node"
        seeded = f", {self.preseed:,} objects" if self.preseed else ""
        return f"{many}, {self.profile.value}{seeded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One load."""

    name: str
    weights: Mapping[Kind, int]
    """The shares of the kinds of operations."""
    connections: int = 64
    bulk_rows: int = 500
    rate: float | None = None
    """Requests per second that fall due by the clock (an open loop); none: as fast as answers come."""
    everywhere: bool | None = None
    """Whether connections are spread over all nodes; by default if there are no writes, which go to the leader."""
    place: Place = field(default_factory=Place)

    @property
    def is_spread(self) -> bool:
        """See :attr:`everywhere`."""
        return not WRITES & set(self.weights) if self.everywhere is None else self.everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each workload runs, and after how many requests it ends early."""

    seconds: float
    operations_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """How operations of one kind went, or of all kinds; times are milliseconds."""

    kind: str
    operations: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One workload. What is per operation counts requests, and what all nodes together took."""

    name: str
    place: str
    profile: StorageProfile
    nodes: int
    connections: int
    rate: float | None
    all: Latencies
    kinds: list[Latencies]
    """Each kind, where there are several."""
    rows_per_second: float
    """Objects: a bulk create has many."""
    cpu_us: float | None
    """Microseconds of the processors' time, with what was put off until right after the load."""
    fsyncs: float
    sent_bytes: float
    """What clients sent and received, with the heads of requests and answers."""
    received_bytes: float
    peer_bytes: float
    """What the nodes sent each other, with the heartbeats of that time."""
    turned_away: int
    """Requests for a whole list that a node refused because it gave others already; they count nowhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadsReport:
    """All of it."""

    title: str
    environment: Environment
    measurements: list[Measurement]
    converged: list[Convergence]
    repeated: list[str]
    """What was done once more, and why."""


async def run_workloads(
    directory: Path, title: str, workloads: Sequence[Workload], limits: Limits, tell: Tell, *, seed: int = 1
) -> WorkloadsReport:
    """Run ``workloads`` in their order; ``tell`` is told what is about to run.

    A load in which requests fail is run once more. Raises :class:`LoadFailed` if that happens again and again, or nodes
    do not hold the same in the end.
    """
    environment = look_around(directory)
    measurements: list[Measurement] = []
    converged = []
    repeats = Repeats(tell)
    for place, group in groupby(workloads, key=lambda each: each.place):
        with TemporaryDirectory(dir=directory, prefix="workloads-") as folder:
            tell(f"forming a cluster: {place.in_words}")
            arguments = ("--storage-profile", place.profile.value)
            cluster = LocalCluster(Path(folder), free_ports(place.nodes), app=APP, arguments=arguments)
            async with cluster, HttpClient() as http:
                await cluster.wait_formed()
                bench = _Bench(cluster, http, place, limits, tell, Random(seed), repeats)
                measurements += await bench.run(group)
                converged.append(await bench.check_convergence())
    return WorkloadsReport(
        title=title,
        environment=environment,
        measurements=measurements,
        converged=converged,
        repeated=repeats.told,
    )


class _Bench:
    """One cluster and its loads."""

    def __init__(
        self,
        cluster: LocalCluster,
        http: HttpClient,
        place: Place,
        limits: Limits,
        tell: Tell,
        rng: Random,
        repeats: Repeats,
    ) -> None:
        self._cluster = cluster
        self._http = http
        self._place = place
        self._limits = limits
        self._tell = tell
        self._rng = rng
        self._repeats = repeats
        self._objects = 0
        self._category = ""

    async def run(self, workloads: Iterable[Workload]) -> list[Measurement]:
        leader = await self._cluster.leader()
        self._category = await create_category(self._http, leader)
        await self._seed(leader)
        return [await self._repeats.run(each.name, partial(self._measure, each)) for each in workloads]

    async def _seed(self, leader: LocalNode) -> None:
        if not self._place.preseed:
            return
        self._tell(f"creating {self._place.preseed:,} objects beforehand")
        deck = self._deck({Kind.BULK: 1}, leader)
        await create_rows(self._http, leader, self._place.path, deck, self._place.preseed)
        self._objects = deck.objects
        await self._cluster.wait_caught_up()

    def _deck(self, weights: Mapping[Kind, int], leader: LocalNode, bulk_rows: int = SEED_ROWS) -> Deck:
        return Deck(weights, self._place.path, leader.address, self._category, bulk_rows=bulk_rows, rng=self._rng)

    async def _known(self, leader: LocalNode) -> list[bytes]:
        """Ids of objects that are there."""
        keys: list[bytes] = []
        url = f"{leader.url}{self._place.path}?limit={KNOWN_PAGE}&order_by=id&fields=id"
        while len(keys) < min(KNOWN_MAX, self._objects):
            answer = await self._http.get(url if not keys else f"{url}&id__gt={keys[-1].decode()}")
            if answer.status != 200 or not (page := answer.json()):
                raise LoadFailed(f"a list was answered with {answer.status}: {answer.text[:200]}")
            keys += [row["id"].encode() for row in page]
        return keys

    async def _measure(self, workload: Workload) -> Measurement:
        self._tell(f"{workload.name}, {workload.connections} connection{'s' if workload.connections > 1 else ''}")
        leader = await self._cluster.leader()
        nodes = list(self._cluster.nodes.values()) if workload.is_spread else [leader]
        deck = self._deck(workload.weights, leader, workload.bulk_rows)
        deck.begin_with(await self._known(leader), self._objects)
        peer_bytes, fsyncs, cpu = await self._peer_bytes(), await self._fsyncs(), cpu_seconds(self._pids)
        try:
            result = await run_load(
                [(HOST, node.port) for node in nodes],
                deck.deal,
                done=deck.done,
                connections=workload.connections,
                seconds=self._limits.seconds,
                operations_max=self._limits.operations_max,
                rate=workload.rate,
            )
        except LoadFailed:
            await self._count_again()
            raise
        self._objects = deck.objects
        await wait_quiet(self._pids)
        cpu_after, fsyncs_after = cpu_seconds(self._pids), await self._fsyncs()
        if not result.latencies:
            raise LoadFailed(f"{workload.name}: nothing was answered")
        spent = None if cpu is None or cpu_after is None else cpu_after - cpu
        sent = await self._peer_bytes() - peer_bytes
        return _measurement(workload, result, spent, fsyncs_after - fsyncs, sent)

    async def _count_again(self) -> None:
        """A load failed: of some writes it is not known whether they came about."""
        self._cluster.check_running()
        await self._cluster.wait_caught_up()
        leader = await self._cluster.leader()
        answer = await fetch(self._http, f"{leader.url}{self._place.path}/count")
        self._objects = int(answer.json()["count"])

    @property
    def _pids(self) -> list[int]:
        return [node.pid for node in self._cluster.nodes.values() if node.pid is not None]

    async def _fsyncs(self) -> int:
        reports = await self._cluster.statuses()
        if silent := [report["address"] for report in reports if "fsyncs" not in report]:
            raise LoadFailed(f"a node does not say how it is: {', '.join(silent)}")
        return sum(report["fsyncs"] for report in reports)

    async def _peer_bytes(self) -> float:
        """What all nodes have sent each other since they started."""
        return sum([await peer_bytes(self._http, url) for url in self._cluster.urls])

    async def check_convergence(self) -> Convergence:
        """Raises :class:`LoadFailed` if the nodes do not hold the same objects, or other than clients were told."""
        self._tell("comparing the nodes")
        path, objects = self._place.path, self._objects
        return await check_convergence(
            self._cluster,
            self._place.in_words,
            lambda node: objects_of(self._http, node.url, [path]),
            least=objects,
            most=objects,
        )


def _measurement(
    workload: Workload, result: LoadResult, cpu: float | None, fsyncs: int, peer_bytes: float
) -> Measurement:
    timings = result.all()
    operations = timings.operations
    kinds = [_latencies(kind.value, result.of(kind)) for kind in Kind if kind in result.latencies]
    return Measurement(
        name=workload.name,
        place=workload.place.in_words,
        profile=workload.place.profile,
        nodes=workload.place.nodes,
        connections=workload.connections,
        rate=workload.rate,
        all=replace(_latencies("all", timings), kind="all" if len(kinds) > 1 else kinds[0].kind),
        kinds=kinds if len(kinds) > 1 else [],
        rows_per_second=round(result.rows / result.seconds, 1),
        cpu_us=None if cpu is None else round(cpu * 1e6 / operations, 1),
        fsyncs=round(fsyncs / operations, 3),
        sent_bytes=round(result.sent_bytes / operations, 1),
        received_bytes=round(result.received_bytes / operations, 1),
        peer_bytes=round(peer_bytes / operations, 1),
        turned_away=result.turned_away,
    )


def _latencies(kind: str, timings: Timings) -> Latencies:
    p50_ms, p95_ms, p99_ms, max_ms = timings.percentiles_ms(50, 95, 99, 100)
    return Latencies(
        kind=kind,
        operations=timings.operations,
        per_second=round(timings.per_second, 1),
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        max_ms=max_ms,
    )
