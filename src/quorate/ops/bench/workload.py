"""Runs workloads on clusters of real processes: what each is, and what it gives.

Workloads that agree on what cluster they want share one, one after the other. At the end of each cluster it is checked
that all nodes hold the same objects, and as many as the answers said.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import LoadFailed, LoadResult
from quorate.ops.bench.mixed_load import MixedResult, run_mixed
from quorate.ops.bench.operations import WRITES, Deck, Kind
from quorate.ops.bench.servers import cpu_seconds, wait_quiet
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient
from quorate.storage.settings import StorageProfile

APP = "quorate.ops.bench.shop:app"
SEED_ROWS = 500
"""Objects in one request of those that are there beforehand."""
KNOWN_MAX = 10_000
"""So many of these are picked from, at most, for reads, updates and deletes."""
KNOWN_PAGE = 1000
PEER_BYTES = re.compile(r"^quorate_peer_sent_bytes_total\{[^}]*\} ([\d.e+]+)$", re.MULTILINE)
DIGEST_ROWS_MAX = 100_000
"""Up to so many objects, the nodes' whole lists are compared at the end; beyond, their numbers."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """One cluster at the end of its loads, when all nodes had applied everything."""

    place: str
    objects: int
    """On every node, and by what clients were answered."""
    digest: str | None
    """The SHA-256 of the list of all objects, the same from every node; ``None`` if there were too many to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadsReport:
    """All of it."""

    title: str
    environment: Environment
    measurements: list[Measurement]
    converged: list[Convergence]


async def run_workloads(
    directory: Path, title: str, workloads: Sequence[Workload], limits: Limits, tell: Tell, *, seed: int = 1
) -> WorkloadsReport:
    """Run ``workloads`` in their order; ``tell`` is told what is about to run.

    Raises :class:`LoadFailed` if requests fail, or nodes do not hold the same in the end.
    """
    environment = look_around(directory)
    measurements: list[Measurement] = []
    converged = []
    for place, group in groupby(workloads, key=lambda each: each.place):
        with TemporaryDirectory(dir=directory, prefix="workloads-") as folder:
            tell(f"forming a cluster: {place.in_words}")
            arguments = ("--storage-profile", place.profile.value)
            cluster = LocalCluster(Path(folder), free_ports(place.nodes), app=APP, arguments=arguments)
            async with cluster, HttpClient() as http:
                await cluster.wait_formed()
                bench = _Bench(cluster, http, place, limits, tell, Random(seed))
                measurements += await bench.run(group)
                converged.append(await bench.check_convergence())
    return WorkloadsReport(title=title, environment=environment, measurements=measurements, converged=converged)


class _Bench:
    """One cluster and its loads."""

    def __init__(
        self, cluster: LocalCluster, http: HttpClient, place: Place, limits: Limits, tell: Tell, rng: Random
    ) -> None:
        self._cluster = cluster
        self._http = http
        self._place = place
        self._limits = limits
        self._tell = tell
        self._rng = rng
        self._objects = 0
        self._category = ""

    async def run(self, workloads: Iterable[Workload]) -> list[Measurement]:
        leader = await self._cluster.leader()
        answer = await self._http.post(f"{leader.url}/api/categories", {"name": "All"})
        if answer.status != 201:
            raise LoadFailed(f"a category was answered with {answer.status}: {answer.text[:200]}")
        self._category = answer.json()["id"]
        await self._seed(leader)
        return [await self._measure(workload) for workload in workloads]

    async def _seed(self, leader: LocalNode) -> None:
        if not self._place.preseed:
            return
        self._tell(f"creating {self._place.preseed:,} objects beforehand")
        deck = self._deck({Kind.BULK: 1}, leader)
        left = self._place.preseed
        while left:
            operation = deck.bulk(min(left, SEED_ROWS))
            _, _, body = operation.request.partition(b"\r\n\r\n")
            answer = await self._http.request("POST", f"{leader.url}{self._place.path}/_bulk", body)
            if answer.status != 201:
                raise LoadFailed(f"a bulk create was answered with {answer.status}: {answer.text[:200]}")
            deck.done(operation)
            left -= operation.rows
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
        result = await run_mixed(
            [(HOST, node.port) for node in nodes],
            deck.deal,
            deck.done,
            connections=workload.connections,
            seconds=self._limits.seconds,
            operations_max=self._limits.operations_max,
            rate=workload.rate,
        )
        self._objects = deck.objects
        await wait_quiet(self._pids)
        cpu_after, fsyncs_after = cpu_seconds(self._pids), await self._fsyncs()
        if not result.operations:
            raise LoadFailed(f"{workload.name}: nothing was answered")
        spent = None if cpu is None or cpu_after is None else cpu_after - cpu
        sent = await self._peer_bytes() - peer_bytes
        return _measurement(workload, result, spent, fsyncs_after - fsyncs, sent)

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
        pages = [await self._http.get(f"{url}/metrics") for url in self._cluster.urls]
        if wrong := [page.status for page in pages if page.status != 200]:
            raise LoadFailed(f"/metrics was answered with {wrong[0]}")
        return sum(float(sent) for page in pages for sent in PEER_BYTES.findall(page.text))

    async def check_convergence(self) -> Convergence:
        """Raises :class:`LoadFailed` if the nodes do not hold the same objects, or other than clients were told."""
        self._tell("comparing the nodes")
        try:
            await self._cluster.wait_caught_up()
        except TimeoutError:
            raise LoadFailed("a node did not catch up after the load") from None
        counts, digests = set(), set()
        for url in self._cluster.urls:
            answer = await self._http.get(f"{url}{self._place.path}/count?consistency=eventually")
            counts.add(answer.json()["count"])
            if self._objects <= DIGEST_ROWS_MAX:
                listed = await self._http.get(f"{url}{self._place.path}?limit=all&consistency=eventually")
                digests.add(hashlib.sha256(listed.body).hexdigest() if listed.status == 200 else str(listed.status))
        if counts != {self._objects}:
            raise LoadFailed(f"the nodes hold {sorted(counts)} objects, and should hold {self._objects}")
        if len(digests) > 1:
            raise LoadFailed("the nodes do not hold the same objects")
        return Convergence(place=self._place.in_words, objects=self._objects, digest=next(iter(digests), None))


def _measurement(
    workload: Workload, result: MixedResult, cpu: float | None, fsyncs: int, peer_bytes: float
) -> Measurement:
    operations = result.operations
    kinds = [_latencies(kind.value, result.of(kind)) for kind in Kind if kind in result.latencies]
    return Measurement(
        name=workload.name,
        place=workload.place.in_words,
        profile=workload.place.profile,
        nodes=workload.place.nodes,
        connections=workload.connections,
        rate=workload.rate,
        all=replace(_latencies("all", result.all()), kind="all" if len(kinds) > 1 else kinds[0].kind),
        kinds=kinds if len(kinds) > 1 else [],
        rows_per_second=round(result.rows / result.seconds, 1),
        cpu_us=None if cpu is None else round(cpu * 1e6 / operations, 1),
        fsyncs=round(fsyncs / operations, 3),
        sent_bytes=round(result.sent_bytes / operations, 1),
        received_bytes=round(result.received_bytes / operations, 1),
        peer_bytes=round(peer_bytes / operations, 1),
    )


def _latencies(kind: str, result: LoadResult) -> Latencies:
    ordered = LoadResult(result.seconds, sorted(result.latencies))
    return Latencies(
        kind=kind,
        operations=ordered.operations,
        per_second=round(ordered.per_second, 1),
        p50_ms=round(ordered.percentile_ms(50), 3),
        p95_ms=round(ordered.percentile_ms(95), 3),
        p99_ms=round(ordered.percentile_ms(99), 3),
        max_ms=round(ordered.percentile_ms(100), 3),
    )
