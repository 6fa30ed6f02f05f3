"""A story that a cluster tells about itself: its leader is killed with ``kill -9`` under load, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from quorate.errors import ConfigError
from quorate.ops.checker import Verdict, judge
from quorate.ops.first_task import do_first_task
from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster, NoProgress
from quorate.ops.shop import SHOP_APP, shop_directory
from quorate.ops.shop_client import read_products
from quorate.ops.writers import Kill, Writers, kill_leader
from quorate.rest.http_client import HttpClient

CLIENTS = 24
CATCH_UP_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryResult:
    """How it ended."""

    verdict: Verdict
    failover_ms: float
    """The longest time without an acknowledged write around the kill, as clients saw it."""
    new_leader_ms: float
    """From the kill until another node said that it leads."""
    unknown_outcomes: int
    rows: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing is lost, duplicated or different."""
        return self.verdict.good

    def as_json(self) -> dict[str, Any]:
        """The last line of the story."""
        verdict = asdict(self.verdict)
        first = {name: verdict.pop(name) for name in ("acknowledged", "lost", "duplicated")}
        return {
            **first,
            "failover_ms": round(self.failover_ms),
            "identical": verdict.pop("identical"),
            "new_leader_ms": round(self.new_leader_ms),
            **verdict,
            "unknown_retried": self.unknown_outcomes,
            "rows": self.rows,
            "seconds": round(self.seconds, 1),
        }


async def run_story(console: Console, directory: Path, ports: Sequence[int], *, products: int) -> StoryResult:
    """Tell the story on ``console``. Raises a :class:`~quorate.errors.QuorateError` if the cluster gets stuck."""
    if (directory / "node1").exists():
        raise ConfigError(f"{directory} already holds the data of nodes: the story begins with an empty directory")
    started = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - started:6.1f} s  {line}", highlight=False, markup=False, soft_wrap=True)

    tell(f"starting three nodes with examples/shop.py on ports {', '.join(map(str, ports))}")
    async with LocalCluster(directory, ports, app=SHOP_APP, cwd=shop_directory()) as cluster, HttpClient() as http:
        result = await _Story(cluster, http, tell, products).run(started)
        tell("stopping the nodes")
    return result


class _Story:
    def __init__(self, cluster: LocalCluster, http: HttpClient, tell: Callable[[str], None], products: int) -> None:
        self._cluster = cluster
        self._http = http
        self._tell = tell
        self._products = products
        self._history = History()
        self._writers = Writers(cluster, http, self._history, clients=CLIENTS)

    async def run(self, started: float) -> StoryResult:
        await self._cluster.wait_formed()
        self._tell(f"the cluster is formed, node {(await self._cluster.leader()).node_id} leads")
        await self._create_products()
        await self._read_everywhere()
        await self._do_tasks("before")
        kill, failover_seconds = await self._kill_under_load()
        await self._catch_up(kill.node.node_id)
        await self._do_tasks("behind")
        verdict, rows = await self._compare()
        return StoryResult(
            verdict=verdict,
            failover_ms=failover_seconds * 1000,
            new_leader_ms=kill.leader_seconds * 1000,
            unknown_outcomes=self._history.unknown_outcomes,
            rows=rows,
            seconds=time.monotonic() - started,
        )

    async def _create_products(self) -> None:
        began = time.monotonic()
        await self._writers.create(self._products)
        created = len(self._history.acknowledged)
        rate = created / (time.monotonic() - began)
        self._tell(f"created {created:,} products through all three nodes, {CLIENTS} clients at once ({rate:,.0f}/s)")

    async def _read_everywhere(self) -> None:
        counts = []
        for node in self._cluster.nodes.values():
            rows = await read_products(self._http, node.url, consistency="strong")
            counts.append(f"{len(rows):,} on node {node.node_id}")
        self._tell(f"read them back, strongly consistent: {', '.join(counts)}")

    async def _do_tasks(self, when: str) -> None:
        if not self._cluster.workers:
            self._cluster.start_worker()
        done = await do_first_task(self._cluster, self._http, f"offer-{when}-the-kill")
        self._tell(done.as_sentence())

    async def _kill_under_load(self) -> tuple[Kill, float]:
        """The kill, and the longest time in seconds that clients waited for an acknowledgement around it."""
        async with self._writers.running(products_max=100 * self._products):
            await self._writers.wait_for_writes(self._products // 10)
            kill = await kill_leader(self._cluster, self._tell)
            milliseconds = round(kill.leader_seconds * 1000)
            self._tell(f"node {kill.successor.node_id} leads now, {milliseconds} ms after the kill")
            await self._writers.wait_for_writes(self._products // 4)
            silence = self._history.longest_silence(kill.at, time.monotonic())
            self._tell(f"writes go on; the longest time without an acknowledged one was {silence * 1000:.0f} ms")
            kill.node.start()
            self._tell(f"node {kill.node.node_id} is started again, writes go on")
            await self._cluster.wait_formed()
            await self._writers.wait_for_writes(self._products // 10)
        self._tell(f"the clients stop: {len(self._history.acknowledged):,} creates are acknowledged by now")
        return kill, silence

    async def _catch_up(self, node_id: int) -> None:
        try:
            index = await self._cluster.wait_caught_up(CATCH_UP_SECONDS_MAX)
        except TimeoutError:
            raise NoProgress(f"node {node_id} did not catch up within {CATCH_UP_SECONDS_MAX:g} s") from None
        self._tell(f"node {node_id} has caught up: all nodes have applied log entry {index:,}")

    async def _compare(self) -> tuple[Verdict, int]:
        """Every row of every node, as it is stored there."""
        rows = {
            node.node_id: await read_products(self._http, node.url, consistency="eventually")
            for node in self._cluster.nodes.values()
        }
        verdict = judge(self._history, rows)
        held = max(map(len, rows.values()))
        self._tell(
            f"compared {held:,} rows on each node: {verdict.lost} lost, {verdict.duplicated} duplicated, "
            f"{verdict.altered + verdict.unexpected} different; the nodes are "
            f"{'identical' if verdict.identical else 'NOT IDENTICAL'}"
        )
        for refusal in self._history.refused[:3]:
            self._tell(f"refused: {refusal}")
        return verdict, held
