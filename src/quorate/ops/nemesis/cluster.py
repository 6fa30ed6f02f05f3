"""The processes under attack, and what can be done to each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quorate.ops.cluster_status import Report, fetch_status, lacks, leading
from quorate.ops.local_node import LocalNode
from quorate.ops.local_process import stop_processes
from quorate.ops.nemesis.disk import Disk
from quorate.ops.nemesis.network import Network
from quorate.rest.http_client import HttpClient

APP = "quorate.ops.nemesis.app:app"
SNAPSHOT_THRESHOLD = 100
STATUS_SECONDS = 1.0
CONTROL_SECONDS = 0.5
POLL_SECONDS = 0.05

Link = Mapping[str, Any]
"""How one node's link is disturbed, as :mod:`quorate.ops.nemesis.node` takes it."""


class NemesisNode(LocalNode):
    """A node that runs where its network and its disk are, with a way to have faults injected."""

    def __init__(self, node_id: int, directory: Path, data_dir: Path, network: Network, flags: Iterable[str]) -> None:
        host, _, port = network.address(node_id).rpartition(":")
        super().__init__(node_id, int(port), data_dir, tuple(flags), host=host)
        self.log_path = directory / f"node{node_id}.log"
        self.control_path = directory / f"node{node_id}.sock"
        self.joining = False
        """Whether it is to be started with ``--join``."""
        self._prefix = network.command_prefix(node_id)

    def _command(self) -> list[str]:
        """The same node by another way in, where its network is."""
        command = self._node_command("quorate.ops.nemesis.node", str(self.control_path))
        return [*self._prefix, *command, "--allow-faults", *(["--join"] if self.joining else [])]

    async def control(self, request: Mapping[str, Any]) -> dict[str, int] | None:
        """Have the process set a fault; what its faults did so far, or ``None`` if it does not answer."""
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self.control_path))
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    answer: dict[str, int] = json.loads(await reader.readline())
                    return answer
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return None


class Weather:
    """What is wrong with the network and the clocks just now. Processes that are started find it as it is."""

    def __init__(self, nodes: Mapping[int, NemesisNode], network: Network) -> None:
        self._nodes = nodes
        self._network = network
        self._cuts: Counter[tuple[int, int]] = Counter()
        self._links: dict[int, list[Link]] = {}
        self._offsets_us: dict[int, int] = {}
        self._told: dict[int, tuple[int | None, str]] = {}
        self._fired: dict[int, dict[str, int]] = {}

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Swallow what goes from the first to the second of each pair; undone as often as it was done."""
        self._cuts.update(pairs)
        self._apply_cuts()

    def mend(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Undo :meth:`cut`."""
        self._cuts.subtract(pairs)
        self._apply_cuts()

    def _apply_cuts(self) -> None:
        self._network.set_cuts(frozenset(pair for pair, times in self._cuts.items() if times > 0))

    def disturb(self, node_id: int, link: Link) -> None:
        """Add a fault to one node's links."""
        self._links.setdefault(node_id, []).append(link)

    def calm(self, node_id: int, link: Link) -> None:
        """Undo :meth:`disturb`."""
        self._links[node_id].remove(link)

    def set_clock(self, node_id: int, offset_us: int) -> None:
        """How far one node's wall clock is off."""
        self._offsets_us[node_id] = offset_us

    async def tell(self) -> None:
        """Let every process know of it that does not yet."""
        await asyncio.gather(*(self._tell(node) for node in self._nodes.values()))

    async def _tell(self, node: NemesisNode) -> None:
        links = list(self._links.get(node.node_id, []))
        if self._network.swallowed() is None:
            pairs = [pair for pair, times in self._cuts.items() if times > 0 and pair[0] == node.node_id]
            links += [{"peer": target, "direction": "outgoing", "cut": True} for _, target in pairs]
        request = {"links": links, "clock_offset_us": self._offsets_us.get(node.node_id, 0)}
        known = (node.pid, json.dumps(request))
        if node.pid is not None and not node.is_paused and self._told.get(node.node_id) != known:
            answer = await node.control(request)
            if answer is not None:
                self._told[node.node_id] = known
                self._fired[node.pid or 0] = answer

    async def fired(self) -> Counter[str]:
        """What the faults inside the processes did so far, as far as those can be asked, and the cuts."""
        for node in self._nodes.values():
            pid = node.pid
            if pid is not None and not node.is_paused and (answer := await node.control({})) is not None:
                self._fired[pid] = answer
        total: Counter[str] = Counter()
        for counts in self._fired.values():
            total.update(counts)
        if (swallowed := self._network.swallowed()) is not None:
            total["cut"] += swallowed
        return total


class NemesisCluster:
    """``async with NemesisCluster(…) as cluster``: leaving it stops every process."""

    def __init__(self, directory: Path, nodes: int, network: Network, disk: Disk, flags: Iterable[str]) -> None:
        self.directory = directory
        self.disk = disk
        ids = range(1, nodes + 1)
        self.nodes: dict[int, NemesisNode] = {}
        for node_id in ids:
            peers = ",".join(f"{other}@{network.address(other)}" for other in ids if other != node_id)
            options = ("--peers", peers, "--app", APP, "--snapshot-threshold", str(SNAPSHOT_THRESHOLD), *flags)
            data_dir = disk.directory_of(directory, node_id)
            self.nodes[node_id] = NemesisNode(node_id, directory, data_dir, network, options)
        self.weather = Weather(self.nodes, network)
        self.http = HttpClient(timeout=STATUS_SECONDS)
        self.addresses = [node.address for node in self.nodes.values()]
        self._telling: asyncio.Task[None] | None = None

    async def _keep_telling(self) -> None:
        while True:
            await self.weather.tell()
            await asyncio.sleep(POLL_SECONDS)

    async def __aenter__(self) -> Self:
        for node in self.nodes.values():
            node.start()
        self._telling = asyncio.create_task(self._keep_telling())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._telling is not None:
                self._telling.cancel()
            await stop_processes(self.nodes.values())
        finally:
            await self.http.aclose()

    async def statuses(self) -> dict[int, Report]:
        """The reports of the nodes that run."""
        asked = [node for node in self.nodes.values() if node.is_running and not node.is_paused]
        reports = await asyncio.gather(*(fetch_status(self.http, node.address) for node in asked))
        return {node.node_id: report for node, report in zip(asked, reports, strict=True)}

    async def leader(self) -> Report | None:
        """The report of who leads the highest term, if anyone says so."""
        return leading((await self.statuses()).values())

    async def serves(self, node: NemesisNode) -> bool:
        """Whether a node has got so far in its start that it answers."""
        return "error" not in await fetch_status(self.http, node.address)

    async def whole(self, node_id: int) -> bool:
        """Whether a node votes, and has applied what the leader has committed by now."""
        reports = await self.statuses()
        leader = leading(reports.values())
        return leader is not None and not lacks(reports.get(node_id, {"error": "ended"}), leader["commit_index"])
