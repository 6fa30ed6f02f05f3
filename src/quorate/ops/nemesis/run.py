"""A whole run: rounds of faults under load, healed and judged one by one, and a comparison of everything at the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from quorate.errors import QuorateError
from quorate.ops.calls.judge import ListVerdict, judge_calls, judge_lists
from quorate.ops.calls.record import Record
from quorate.ops.cluster_status import lacks
from quorate.ops.local_cluster import NoProgress
from quorate.ops.local_process import ProcessEnded
from quorate.ops.nemesis.clients import Clients
from quorate.ops.nemesis.cluster import NemesisCluster
from quorate.ops.nemesis.disk import Disk
from quorate.ops.nemesis.faults import Faults, Tell
from quorate.ops.nemesis.network import Network
from quorate.ops.nemesis.readback import Readback, read_back
from quorate.ops.nemesis.schedule import Kind, Round, Schedule, make_up_round
from quorate.rest.http_client import HttpClient

FORM_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 60.0
"""Once all faults are over, so long the cluster may take to have a leader, take writes, and be equal everywhere."""
ROUND_SECONDS_EXTRA = 240.0
MAKE_UP_ROUNDS_MAX = 3
FEW_ROUNDS = 3
"""After so few a log may be complete yet, and no node be in need of a snapshot."""
WATCH_SECONDS = 0.1
POLL_SECONDS = 0.1
CLOSING_CLIENT = 1000


@dataclass(kw_only=True)
class Outcome:
    """How a run ended."""

    seed: int
    findings: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    fired: Counter[Kind] = field(default_factory=Counter)
    never_fired: list[Kind] = field(default_factory=list)
    lists: ListVerdict | None = None
    longest_unavailable_seconds: float = 0.0
    slowest_settling_seconds: float = 0.0
    snapshots_installed: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was found, everything happened that was to, and something succeeded."""
        return not self.findings and not self.never_fired and bool(self.calls["ok"])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is done with."""

    nodes: int
    clients: int
    calls_max: int
    calls_per_second: float


class Run:
    """``await Run(…).run()``. Ends by itself: every wait in it is bounded."""

    def __init__(
        self,
        directory: Path,
        schedule: Schedule,
        settings: Settings,
        network: Network,
        disk: Disk,
        tell: Tell,
    ) -> None:
        self.record = Record()
        self.outcome = Outcome(seed=schedule.seed)
        self._schedule = schedule
        self._settings = settings
        self._started = time.monotonic()
        self._rounds_begun = 0
        self._say = tell
        flags = [*(["--lease-reads"] if schedule.lease_reads else [])]
        flags += ["--forward-writes"] if schedule.forward_writes else []
        self._cluster = NemesisCluster(directory, settings.nodes, network, disk, flags)
        self._faults = Faults(self._cluster, self._tell)
        self._directory = directory
        urls = [node.url for node in self._cluster.nodes.values()]
        self._clients = Clients(
            urls, self.record, Random(schedule.seed), clients=settings.clients, calls_max=settings.calls_max
        )

    def _tell(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._started:7.1f} s  {line}")

    async def run(self) -> Outcome:
        """The whole of it. Whatever goes wrong is a finding."""
        try:
            async with self._cluster:
                watch = asyncio.create_task(self._watch())
                try:
                    await self._rounds()
                    await self._finish()
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        except QuorateError as error:
            self._find(str(error))
        finally:
            await self._clients.aclose()
            self._sum_up()
        return self.outcome

    def _find(self, what: str) -> None:
        self.outcome.findings.append(what)
        self._tell(f"FOUND: {what}")

    async def _watch(self) -> None:
        """No process may end that was not asked to."""
        told: set[tuple[int, str]] = set()
        while True:
            for node in self._cluster.nodes.values():
                try:
                    node.check_running()
                except ProcessEnded as error:
                    if (node.node_id, str(error)) not in told:
                        told.add((node.node_id, str(error)))
                        self._find(str(error))
            await asyncio.sleep(WATCH_SECONDS)

    # -- rounds ------------------------------------------------------------------------------------------

    async def _rounds(self) -> None:
        await self._settle(FORM_SECONDS_MAX, "the cluster is formed")
        for each in self._schedule.rounds:
            await self._bounded_round(each)
        for _ in range(MAKE_UP_ROUNDS_MAX):
            # A fault may meet a node that was just hit by another, and have no effect.
            if missing := self._schedule.planned - self._faults.fired.keys():
                await self._bounded_round(make_up_round(self._schedule.seed, self._rounds_begun, sorted(missing)))

    async def _bounded_round(self, each: Round) -> None:
        if not self.outcome.findings:
            self._rounds_begun += 1
            try:
                async with asyncio.timeout(each.seconds + ROUND_SECONDS_EXTRA):
                    await self._round(each)
            except TimeoutError:
                raise NoProgress(f"round {each.number + 1} did not come to its end") from None

    async def _round(self, each: Round) -> None:
        kinds = ", ".join(each.kinds)
        planned = len(self._schedule.rounds)
        which = f"of {planned}" if each.number < planned else "to make up for what had no effect"
        self._tell(f"round {each.number + 1} {which}, {each.seconds:.0f} s: {kinds}")
        before = self.record.outcomes()
        await self._clients.prepare(each.number)
        stop = asyncio.Event()
        load = asyncio.create_task(self._clients.run(stop, self._settings.calls_per_second))
        try:
            await self._faults.run(each.events, each.seconds)
        finally:
            stop.set()
            await load
        for finding in self._faults.findings:
            self._find(finding)
        self._faults.findings.clear()
        took = await self._settle(SETTLE_SECONDS_MAX, "all is healed")
        self.outcome.slowest_settling_seconds = max(self.outcome.slowest_settling_seconds, took)
        await self._clients.close_round(CLOSING_CLIENT)
        await self._compare()
        await self._judge_round(each.number)
        done = self.record.outcomes() - before
        self._tell(f"round {each.number + 1}: {_listed(done)}; silent for {self._silence(each.number):.1f} s at most")

    def _silence(self, number: int) -> float:
        return self.record.longest_silence(since=number)

    async def _judge_round(self, number: int) -> None:
        calls = self.record.of_round(number)
        for finding in await asyncio.to_thread(judge_calls, calls):
            self._find(finding)
        for surprise in self.record.surprises:
            self._find(surprise)
        self.record.surprises.clear()
        if not any(call.outcome == "ok" for call in calls):
            self._find(f"nothing succeeded in round {number + 1}")

    # -- progress ----------------------------------------------------------------------------------------

    async def _settle(self, seconds: float, what: str) -> float:
        """Wait until every node is a whole member and takes a write; how long that took."""
        began = time.monotonic()
        missing = ["nothing was heard"]
        while missing:
            ended = [str(node_id) for node_id, node in self._cluster.nodes.items() if not node.is_running]
            if ended:
                raise NoProgress(f"{what}, but node {', '.join(ended)} does not run")
            if time.monotonic() > began + seconds:
                raise NoProgress(f"{what}, but after {seconds:g} s {'; '.join(missing)}")
            missing = await self._missing()
            await asyncio.sleep(POLL_SECONDS if missing else 0)
        took = time.monotonic() - began
        self._tell(f"{what}: every node is whole and takes writes after {took:.1f} s")
        return took

    async def _missing(self) -> list[str]:
        reports = await self._cluster.statuses()
        leading = [report for report in reports.values() if report.get("role") == "leader"]
        if len(leading) != 1:
            return [f"there are {len(leading)} leaders"]
        commit_index = leading[0]["commit_index"]
        found = [
            f"node {node_id} {why}"
            for node_id in self._cluster.nodes
            if (why := lacks(reports.get(node_id, {"error": "not running"}), commit_index))
        ]
        return found or await self._refusing()

    async def _refusing(self) -> list[str]:
        """Nodes that do not take a write, or cannot be asked for it."""
        async with HttpClient(timeout=2.0) as http:
            found = []
            for node in self._cluster.nodes.values():
                try:
                    key = {"idempotency-key": f"probe-{time.monotonic_ns()}"}
                    name = f"probe-{node.node_id}-{time.monotonic_ns()}"
                    answer = await http.post(f"{node.url}/api/claims", {"name": name, "owner": 0}, key)
                    if answer.status != 201:
                        found.append(f"node {node.node_id} answers a write with {answer.status}")
                except QuorateError as error:
                    found.append(f"node {node.node_id} takes no write: {error}")
            return found

    # -- the end -----------------------------------------------------------------------------------------

    async def _compare(self, *, every_list: bool = False) -> Readback:
        rounds = range(0 if every_list else self._clients.round, self._clients.round + 1)
        found = await read_back(self._cluster, rounds)
        for finding in found.differences:
            self._find(finding)
        return found

    async def _finish(self) -> None:
        """Read everything from every node, and judge the whole with that."""
        self._tell("reading everything back from every node")
        found = await self._compare(every_list=True)
        everything = [*self.record.calls, *found.calls(self.record.calls)]
        for finding in await asyncio.to_thread(judge_calls, everything):
            self._find(f"with everything read back: {finding}")
        self.outcome.lists = judge_lists(self.record.calls, found.lists)
        if not self.outcome.lists.good:
            self._find(f"the lists do not hold what was told: {self.outcome.lists}")
        self._tell(f"compared {found.rows:,} rows on each of {len(self._cluster.nodes)} nodes: digest {found.digest}")

    def _sum_up(self) -> None:
        outcome = self.outcome
        outcome.snapshots_installed = installs(node.log_path for node in self._cluster.nodes.values())
        losses = {Kind.WIPE, Kind.REPLACE} & self._faults.fired.keys()
        if losses and len(self._schedule.rounds) > FEW_ROUNDS and not outcome.snapshots_installed:
            self._find("no node ever installed a snapshot")
        outcome.calls = self.record.outcomes()
        outcome.retried = self.record.retried
        outcome.fired = self._faults.fired
        outcome.never_fired = sorted(self._schedule.planned - self._faults.fired.keys())
        outcome.longest_unavailable_seconds = self.record.longest_silence()
        outcome.seconds = time.monotonic() - self._started

    def keep(self) -> Path:
        """Save the histories and what else would be gone; where."""
        self.record.save(self._directory / "history.jsonl")
        summary: dict[str, Any] = {
            "seed": self.outcome.seed,
            "findings": self.outcome.findings,
            "fired": self.outcome.fired,
        }
        (self._directory / "summary.json").write_text(json.dumps(summary, indent=1))
        self._cluster.disk.rescue(self._directory)
        return self._directory


def installs(logs: Iterable[Path]) -> int:
    """How often nodes took over a snapshot, by what they logged."""
    return sum(log.read_text(errors="replace").count(INSTALLED) for log in logs if log.exists())


INSTALLED = "the state is now that of entry"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items())) or "nothing"
