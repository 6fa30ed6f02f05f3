"""The benchmark of tasks: submits, batches, workers, and what 100,000 pending tasks take, on three real nodes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any

from quorate.ops.bench.convergence import Convergence, Held, check_convergence, fetch
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.load import Deal, Dealt, LoadFailed, Operation, run_load
from quorate.ops.bench.requests import post_head
from quorate.ops.bench.servers import cpu_seconds, resident_mb, wait_quiet
from quorate.ops.bench.timings import Timings
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import HOST, LocalNode
from quorate.ops.local_process import stop_processes
from quorate.ops.writers import kill_leader
from quorate.rest.http_client import HttpClient, RequestFailed

APP = "quorate.ops.bench.queue:app"
BATCH_TASKS = 500
BATCH_CONNECTIONS = 8
PENDING = 100_000
WARM_UP_SECONDS = 1.0
WARM_UP_CONNECTIONS = 32
POLL_SECONDS = 0.1
WORKERS_SECONDS_MAX = 60.0
WARM_TASKS = 500
"""So many tasks for each worker are done before time is taken: Python has to be started, too."""
WORKER_JOBS = "100"
"""So many tasks a worker does at a time."""
PAGE_TASKS = 1000
DIGEST_PAGES = 20
"""So many pages of the newest tasks are compared at the end, beside what the nodes count of all."""
FAILOVER_CLIENTS = 16
FAILOVER_SUBMITS = 500

_SUBMIT = Operation("submit", 201)
_SUBMIT_BATCH = Operation("submit a batch", 201, BATCH_TASKS)
_TASK = b'{"type":"nothing","payload":{"number":%d,"text":"a short text"}}'

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    seconds: float
    """How long each case runs."""
    operations_max: int
    """Requests after which a case ends early."""
    connections: int
    """So many submit one task at a time."""
    workers: int
    """Processes that do the tasks."""
    pending: int = PENDING
    """So many tasks wait when the memory is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksReport:
    """All of it. Rates are per second, times milliseconds, memory is in MB on the largest node."""

    environment: Environment
    submits_per_s: float
    submit_p50_ms: float
    submit_p95_ms: float
    submit_p99_ms: float
    batch_submits_per_s: float
    batch_p99_ms: float
    completed_per_s: float
    """Tasks that workers claimed, did and reported, from the first to the last of what was there."""
    completed: int
    connections: int
    workers: int
    idle_mb: float | None
    pending: int
    pending_mb: float | None
    cpu_us_per_submit: float | None
    """Processor time of all nodes together, in microseconds."""
    cpu_us_per_completed: float | None
    failover_ms: int
    """The longest time without an acknowledged submit around a ``kill -9`` of the leader."""
    converged: Convergence
    """All tasks at the end, with the node that was killed."""


async def run_tasks(directory: Path, ports: Sequence[int], plan: Plan, tell: Tell) -> TasksReport:
    """Run all cases. ``tell`` is told what is about to run."""
    environment = look_around(directory)
    tell("forming a cluster of three")
    async with LocalCluster(directory, ports, app=APP) as cluster, HttpClient() as http:
        await cluster.wait_formed()
        return await _Tasks(cluster, http, plan, tell).measure(environment)


class _Tasks:
    def __init__(self, cluster: LocalCluster, http: HttpClient, plan: Plan, tell: Tell) -> None:
        self._cluster = cluster
        self._http = http
        self._plan = plan
        self._tell = tell
        self._numbers = count(1)
        self._submitted = 0
        """Tasks, by what clients were answered."""

    async def measure(self, environment: Environment) -> TasksReport:
        plan = self._plan
        await wait_quiet(self._pids)
        idle_mb = self._memory_mb()
        leader = await self._cluster.leader()
        self._tell("warming up")
        await self._load(leader, self._one, WARM_UP_CONNECTIONS, WARM_UP_SECONDS)
        self._tell(f"submit, {plan.connections} connections")
        before = cpu_seconds(self._pids)
        singles = await self._load(leader, self._one, plan.connections, plan.seconds)
        submit_us = self._cpu_us_each(before, singles.operations)
        self._tell(f"submit {BATCH_TASKS} at a time, {BATCH_CONNECTIONS} connections")
        batches = await self._load(leader, self._batch, BATCH_CONNECTIONS, plan.seconds)
        pending = await self._fill(leader)
        pending_mb = self._memory_mb()
        before = cpu_seconds(self._pids)
        completed, seconds = await self._work(leader)
        completed_us = self._cpu_us_each(before, completed)
        p50_ms, p95_ms, p99_ms = singles.percentiles_ms(50, 95, 99)
        return TasksReport(
            environment=environment,
            submits_per_s=round(singles.per_second, 1),
            submit_p50_ms=p50_ms,
            submit_p95_ms=p95_ms,
            submit_p99_ms=p99_ms,
            batch_submits_per_s=round(batches.per_second * BATCH_TASKS, 1),
            batch_p99_ms=batches.percentiles_ms(99)[0],
            completed_per_s=round(completed / seconds, 1),
            completed=completed,
            connections=plan.connections,
            workers=plan.workers,
            idle_mb=idle_mb,
            pending=pending,
            pending_mb=pending_mb,
            cpu_us_per_submit=submit_us,
            cpu_us_per_completed=completed_us,
            failover_ms=await self._fail_over(),
            converged=await self._check_convergence(),
        )

    # -- submitting --------------------------------------------------------------------------------------

    def _one(self) -> Dealt:
        return _SUBMIT, _post("/api/v1/tasks", _TASK % next(self._numbers)), b""

    def _batch(self) -> Dealt:
        return _SUBMIT_BATCH, _post("/api/v1/tasks/_batch", self._batch_of(BATCH_TASKS)), b""

    def _batch_of(self, tasks: int) -> bytes:
        return b'{"tasks":[%b]}' % b",".join([_TASK % next(self._numbers) for _ in range(tasks)])

    async def _load(self, node: LocalNode, deal: Deal, connections: int, seconds: float) -> Timings:
        result = await run_load(
            [(HOST, node.port)],
            deal,
            connections=connections,
            seconds=seconds,
            operations_max=self._plan.operations_max,
        )
        self._submitted += result.rows
        return result.all()

    async def _fill(self, leader: LocalNode) -> int:
        """Have at least so many tasks wait as the plan says; returns how many do."""
        while (pending := int((await self._stats(leader))["pending"])) < self._plan.pending:
            tasks = min(BATCH_TASKS, self._plan.pending - pending)
            response = await self._http.request("POST", f"{leader.url}/api/v1/tasks/_batch", self._batch_of(tasks))
            if response.status != 201:
                raise LoadFailed(f"a batch was answered with {response.status}: {response.text[:200]}")
            self._submitted += tasks
        return pending

    # -- working -----------------------------------------------------------------------------------------

    async def _work(self, leader: LocalNode) -> tuple[int, float]:
        """Have workers do what is there, for as long as a case takes; how many tasks they did in what time."""
        many = f"{self._plan.workers} worker process{'es' if self._plan.workers > 1 else ''}"
        self._tell(f"claim, do and complete, {many}")
        workers = [self._cluster.start_worker("--concurrency", WORKER_JOBS) for _ in range(self._plan.workers)]
        try:
            await self._until_some_are_done(leader)
            done, began = await self._succeeded(leader), time.perf_counter()
            now, at = done, began
            while at - began < self._plan.seconds and now < done + self._plan.pending:
                await asyncio.sleep(POLL_SECONDS)
                self._cluster.check_running()
                now, at = await self._succeeded(leader), time.perf_counter()
            return now - done, at - began
        finally:
            await stop_processes(workers)

    async def _until_some_are_done(self, leader: LocalNode) -> None:
        try:
            async with asyncio.timeout(WORKERS_SECONDS_MAX):
                while await self._succeeded(leader) < WARM_TASKS * self._plan.workers:
                    self._cluster.check_running()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise LoadFailed(f"the workers did nothing within {WORKERS_SECONDS_MAX:g} s") from None

    async def _succeeded(self, leader: LocalNode) -> int:
        return int((await self._stats(leader))["tasks"]["succeeded"])

    # -- failing over ------------------------------------------------------------------------------------

    async def _fail_over(self) -> int:
        """Kill the leader while some submit, each its next when the last is acknowledged."""
        self._tell("kill -9 of the leader under submits")
        acknowledged: list[float] = []
        clients = [asyncio.ensure_future(self._submit_for_ever(at, acknowledged)) for at in range(FAILOVER_CLIENTS)]
        try:
            await self._until_more(acknowledged, FAILOVER_SUBMITS)
            kill = await kill_leader(self._cluster)
            await self._until_more(acknowledged, FAILOVER_SUBMITS)
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        self._submitted += len(acknowledged)
        kill.node.start()
        await self._cluster.wait_formed()
        around = [at for at in acknowledged if at <= kill.at][-1:] + [at for at in acknowledged if at > kill.at]
        return round(max(later - earlier for earlier, later in pairwise(around)) * 1000)

    async def _check_convergence(self) -> Convergence:
        """Raises :class:`LoadFailed` if the nodes do not hold the same tasks, or other than clients were told.

        What clients had just sent when they were stopped may have come about.
        """
        self._tell("comparing the nodes")
        least, most = self._submitted, self._submitted + FAILOVER_CLIENTS
        return await check_convergence(self._cluster, "three nodes", self._held, least=least, most=most)

    async def _held(self, node: LocalNode) -> Held:
        """All that a node counts, and of its tasks the newest."""
        base = f"{node.url}/api/v1"
        stats = (await fetch(self._http, f"{base}/stats?consistency=eventually")).json()
        counted = {name: stats[name] for name in ("tasks", "queues", "changes")}
        digest = hashlib.sha256(json.dumps(counted, sort_keys=True).encode())
        url = f"{base}/tasks?consistency=eventually&limit={PAGE_TASKS}"
        for _ in range(DIGEST_PAGES):
            page = await fetch(self._http, url)
            digest.update(page.body)
            if (after := page.json()["next"]) is None:
                break
            url = f"{base}/tasks?consistency=eventually&limit={PAGE_TASKS}&after={after}"
        return Held(objects=sum(stats["tasks"].values()), digest=digest.hexdigest())

    async def _submit_for_ever(self, turn: int, acknowledged: list[float]) -> None:
        """With an id of its own a task is submitted again, at the next node, until that is acknowledged."""
        urls = self._cluster.urls
        while True:
            number = next(self._numbers)
            body = b'{"type":"nothing","id":"failover-%d","payload":{"number":%d}}' % (number, number)
            for url in cycle([*urls[turn % len(urls) :], *urls[: turn % len(urls)]]):
                with suppress(RequestFailed):
                    response = await self._http.request("POST", f"{url}/api/v1/tasks", body)
                    if response.status in (200, 201):
                        break
                await asyncio.sleep(POLL_SECONDS / 10)
            acknowledged.append(time.monotonic())

    async def _until_more(self, acknowledged: list[float], more: int) -> None:
        target = len(acknowledged) + more
        try:
            async with asyncio.timeout(WORKERS_SECONDS_MAX):
                while len(acknowledged) < target:  # noqa: ASYNC110 (they come by thousands)
                    await asyncio.sleep(POLL_SECONDS / 10)
        except TimeoutError:
            raise LoadFailed(f"{more} submits were not acknowledged within {WORKERS_SECONDS_MAX:g} s") from None

    # -- looking -----------------------------------------------------------------------------------------

    async def _stats(self, node: LocalNode) -> Any:
        response = await self._http.get(f"{node.url}/api/v1/stats")
        if response.status != 200:
            raise LoadFailed(f"/api/v1/stats was answered with {response.status}: {response.text[:200]}")
        return response.json()

    @property
    def _pids(self) -> list[int]:
        return [node.pid for node in self._cluster.nodes.values() if node.pid is not None]

    def _cpu_us_each(self, before: float | None, operations: int) -> float | None:
        now = cpu_seconds(self._pids)
        return None if before is None or now is None or not operations else round((now - before) * 1e6 / operations, 1)

    def _memory_mb(self) -> float | None:
        sizes = [resident_mb(pid) for pid in self._pids]
        return max((size for size in sizes if size is not None), default=None)


def _post(target: str, body: bytes) -> bytes:
    return post_head(target, HOST, len(body)) + body
