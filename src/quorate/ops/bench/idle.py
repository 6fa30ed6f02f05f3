"""What a node costs that does nothing, and how soon one that was killed is back: three real nodes with fsync on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from quorate.ops.bench.convergence import Convergence, check_convergence, objects_of
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.operations import Deck, Kind
from quorate.ops.bench.scraping import peer_bytes, scrape
from quorate.ops.bench.seeding import create_category, create_rows
from quorate.ops.bench.servers import cpu_seconds, open_files, resident_mb, threads, wait_quiet
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.rest.http_client import HttpClient, RequestFailed

APP = "quorate.ops.bench.shop:app"
PATH = "/api/plain-products"
SCRAPES = 20
SNAPSHOT_SECONDS_MAX = 120.0
RESTART_SECONDS_MAX = 60.0
POLL_SECONDS = 0.005

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    seconds: float
    """How long the nodes are left alone."""
    rows: int
    """Objects that are there when nodes are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleNode:
    """One node. What the system does not tell is ``None``."""

    node_id: int
    role: str
    memory_mb: float | None
    """Before anybody asked for its metrics."""
    scraped_mb: float | None
    """After: what makes them is imported at the first request."""
    threads: int | None
    open_files: int | None
    cpu_ms_per_s: float | None
    """Milliseconds of a processor's time in each second that it was left alone."""
    sent_kb_per_s: float
    """What it sent to the other nodes then, in units of 1,000 bytes."""
    scrape_p50_ms: float
    """Of :data:`SCRAPES` requests for its metrics."""
    scrape_max_ms: float
    scrape_cpu_ms: float | None
    """The node's processor time for one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A node that was killed with ``kill -9`` and started again at once."""

    node_id: int
    role: str
    """When it was killed."""
    ready_ms: int
    """From its start until ``/health`` is 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleReport:
    """All of it."""

    environment: Environment
    seconds: float
    nodes: list[IdleNode]
    rows_mb: list[float | None]
    """The memory of each node with the rows, after its snapshot."""
    restarts: list[Restart]
    converged: Convergence
    """The rows at the end."""


async def run_idle(directory: Path, ports: Sequence[int], plan: Plan, tell: Tell) -> IdleReport:
    """Measure it. ``tell`` is told what is about to happen. Raises :class:`LoadFailed`."""
    environment = look_around(directory)
    tell("forming a cluster of three")
    async with LocalCluster(directory, ports, app=APP) as cluster, HttpClient() as http:
        await cluster.wait_formed()
        return await _Idle(cluster, http, plan, tell).measure(environment)


class _Idle:
    def __init__(self, cluster: LocalCluster, http: HttpClient, plan: Plan, tell: Tell) -> None:
        self._cluster = cluster
        self._http = http
        self._plan = plan
        self._tell = tell

    async def measure(self, environment: Environment) -> IdleReport:
        nodes = await self._leave_alone()
        await self._create_rows()
        rows_mb = [resident_mb(_pid(node)) for node in self._cluster.nodes.values()]
        leader = await self._cluster.leader()
        follower = next(node for node in self._cluster.nodes.values() if node is not leader)
        restarts = [await self._restart(follower, "follower"), await self._restart(leader, "leader")]
        self._tell("comparing the nodes")
        converged = await check_convergence(
            self._cluster,
            "three nodes",
            lambda node: objects_of(self._http, node.url, [PATH]),
            least=self._plan.rows,
            most=self._plan.rows,
        )
        return IdleReport(
            environment=environment,
            seconds=self._plan.seconds,
            nodes=nodes,
            rows_mb=rows_mb,
            restarts=restarts,
            converged=converged,
        )

    # -- doing nothing -----------------------------------------------------------------------------------

    async def _leave_alone(self) -> list[IdleNode]:
        everyone = list(self._cluster.nodes.values())
        pids = [_pid(node) for node in everyone]
        await wait_quiet(pids)
        memory = [resident_mb(pid) for pid in pids]
        for node in everyone:
            await scrape(self._http, node.url)
        await wait_quiet(pids)
        self._tell(f"leaving the nodes alone for {self._plan.seconds:g} s")
        sent = [await peer_bytes(self._http, node.url) for node in everyone]
        cpu, began = [cpu_seconds([pid]) for pid in pids], perf_counter()
        await asyncio.sleep(self._plan.seconds)
        self._cluster.check_running()
        cpu_after, seconds = [cpu_seconds([pid]) for pid in pids], perf_counter() - began
        sent_after = [await peer_bytes(self._http, node.url) for node in everyone]
        leader = await self._cluster.leader()
        nodes = []
        for at, node in enumerate(everyone):
            self._tell(f"{SCRAPES} scrapes of node {node.node_id}")
            scrapes, scrape_cpu = await self._scrapes(node)
            nodes.append(
                IdleNode(
                    node_id=node.node_id,
                    role="leader" if node is leader else "follower",
                    memory_mb=memory[at],
                    scraped_mb=resident_mb(pids[at]),
                    threads=threads(pids[at]),
                    open_files=open_files(pids[at]),
                    cpu_ms_per_s=_ms_each(cpu[at], cpu_after[at], seconds),
                    sent_kb_per_s=round((sent_after[at] - sent[at]) / seconds / 1000, 2),
                    scrape_p50_ms=round(median(scrapes) * 1000, 2),
                    scrape_max_ms=round(max(scrapes) * 1000, 2),
                    scrape_cpu_ms=scrape_cpu,
                )
            )
        return nodes

    async def _scrapes(self, node: LocalNode) -> tuple[list[float], float | None]:
        """How long each took, in seconds; the processor time of one, in milliseconds."""
        taken, cpu = [], cpu_seconds([_pid(node)])
        for _ in range(SCRAPES):
            began = perf_counter()
            await scrape(self._http, node.url)
            taken.append(perf_counter() - began)
        return taken, _ms_each(cpu, cpu_seconds([_pid(node)]), SCRAPES)

    # -- coming back -------------------------------------------------------------------------------------

    async def _create_rows(self) -> None:
        """Create them, and have every node make a snapshot."""
        leader = await self._cluster.leader()
        self._tell(f"creating {self._plan.rows:,} objects")
        category = await create_category(self._http, leader)
        deck = Deck({Kind.BULK: 1}, PATH, leader.address, category, bulk_rows=1, rng=Random(1))
        await create_rows(self._http, leader, PATH, deck, self._plan.rows)
        await self._cluster.wait_caught_up()
        self._tell("making snapshots")
        for node in self._cluster.nodes.values():
            url = f"{node.url}/cluster/snapshot"
            answer = await self._http.request("POST", url, b"", timeout=SNAPSHOT_SECONDS_MAX)
            if answer.status != 200:
                raise LoadFailed(f"a snapshot was answered with {answer.status}: {answer.text[:200]}")
        await wait_quiet([_pid(node) for node in self._cluster.nodes.values()])

    async def _restart(self, node: LocalNode, role: str) -> Restart:
        self._tell(f"kill -9 of the {role}, and its restart")
        node.kill_and_reap()
        began = perf_counter()
        node.start()
        try:
            async with asyncio.timeout(RESTART_SECONDS_MAX):
                while not await self._is_ready(node):
                    self._cluster.check_running()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise LoadFailed(f"the {role} was not back within {RESTART_SECONDS_MAX:g} s") from None
        restart = Restart(node_id=node.node_id, role=role, ready_ms=round((perf_counter() - began) * 1000))
        await self._cluster.wait_caught_up()
        return restart

    async def _is_ready(self, node: LocalNode) -> bool:
        try:
            return (await self._http.get(f"{node.url}/health")).status == 200
        except RequestFailed:
            return False


def _pid(node: LocalNode) -> int:
    if (pid := node.pid) is None:
        node.check_running()
        raise LoadFailed(f"{node.name} does not run")
    return pid


def _ms_each(before: float | None, after: float | None, each: float) -> float | None:
    return None if before is None or after is None else round((after - before) * 1000 / each, 2)
