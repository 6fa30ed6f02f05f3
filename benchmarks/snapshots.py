"""How a follower that is a million rows behind catches up, and how long that stalls the leader's event loop.

    .venv/bin/python benchmarks/snapshots.py [ROWS]

Three processes with real disks and sockets on this machine. The first two load the example shop with ROWS products
(1,000,000 by default), then go on writing with eight writers while the log is cut; then the third starts, empty, and is
brought a snapshot. A stall is how much later than asked for a 1 ms timer fires; "own" leaves out the time the loop
waited for a processor, as that is the machine's, not the node's. It takes about a minute, and ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import uvloop

from quorate import Node, RaftConfig
from quorate.models.commands import Create, encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.ops.ports import free_ports

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.shop import app

ROWS = 1_000_000
ROWS_AT_ONCE = 100
WRITERS = 8
PHASE_SECONDS = 8.0
TIMEOUT_SECONDS = 300.0
COLUMNS = ("id", "name", "price", "stock", "category_id")


class Stalls:
    """How late a 1 ms timer fires, per phase."""

    def __init__(self) -> None:
        self.phase = ""
        self._late: dict[str, list[tuple[float, float]]] = {}
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def _waited(self) -> float:
        """Seconds this thread has waited for a processor, ever."""
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9

    async def watch(self) -> None:
        last, waited = time.perf_counter(), self._waited()
        while True:
            await asyncio.sleep(0.001)
            now, waits = time.perf_counter(), self._waited()
            late = max(0.0, now - last - 0.001)
            self._late.setdefault(self.phase, []).append((late, max(0.0, late - (waits - waited))))
            last, waited = now, waits

    def describe(self, phase: str) -> str:
        """The worst and the 99.9th percentile of a phase, in milliseconds."""
        parts = []
        for name, position in (("raw", 0), ("own", 1)):
            values = sorted(each[position] * 1000 for each in self._late.get(phase, [(0.0, 0.0)]))
            parts.append(f"{name}: worst {values[-1]:5.1f} ms, p99.9 {values[int(len(values) * 0.999)]:5.1f} ms")
        return f"{phase:22} {' · '.join(parts)}"


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what another process does sets no event here
        await asyncio.sleep(0.005)


class Load:
    """Products with names that nobody had before."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._number = 0
        self.latencies: list[float] = []

    async def create(self, count: int) -> None:
        rows = []
        for _ in range(count):
            self._number += 1
            rows.append((None, f"product {self._node.node_id}.{self._number}", 999, self._number % 1000, None))
        await self._node.propose(encode_command(Create("Product", COLUMNS, rows)), machine=MACHINE, timeout=60)

    async def write(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.perf_counter()
            await self.create(1)
            self.latencies.append(time.perf_counter() - began)
            await asyncio.sleep(0.004)

    def describe(self) -> str:
        values = sorted(self.latencies) or [0.0]
        self.latencies = []
        p50, p99 = (values[int(len(values) * each)] * 1000 for each in (0.5, 0.99))
        return f"{len(values)} writes, p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {values[-1] * 1000:.1f} ms"


async def lead(node: Node, stalls: Stalls, rows: int, parent: Connection) -> None:
    """What the first leader does: load, then write through a cut of the log and the third node's catching up."""
    load, stop = Load(node), asyncio.Event()
    began = time.perf_counter()
    for _ in range(0, rows, 20 * ROWS_AT_ONCE):
        await asyncio.gather(*(load.create(ROWS_AT_ONCE) for _ in range(20)))
    print(f"{rows} rows loaded in {time.perf_counter() - began:.1f} s", flush=True)
    await asyncio.sleep(PHASE_SECONDS)
    load.latencies.clear()
    writers = [asyncio.create_task(load.write(stop)) for _ in range(WRITERS)]
    stalls.phase = "writing, log being cut"
    await asyncio.sleep(PHASE_SECONDS)
    print(f"leader    {stalls.describe(stalls.phase)}\n          {load.describe()}", flush=True)
    stalls.phase = "sending the snapshot"
    parent.send("start the third")
    await until(parent.poll)
    parent.recv()
    print(f"leader    {stalls.describe(stalls.phase)}\n          {load.describe()}", flush=True)
    stop.set()
    await asyncio.gather(*writers)


async def catch_up(node: Node, stalls: Stalls) -> None:
    stalls.phase = "catching up"
    began = time.perf_counter()
    await until(lambda: node.status.log_first_index > 1 and node.status.applied_index + 100 >= node.status.commit_index)
    print(f"follower  caught up {time.perf_counter() - began:.2f} s after it knew the leader", flush=True)
    print(f"follower  {stalls.describe(stalls.phase)}", flush=True)


async def run(node_id: int, ports: list[int], root: Path, rows: int, channel: Connection) -> None:
    config = RaftConfig(
        node_id=node_id,
        cluster_nodes=tuple(f"{number}@127.0.0.1:{port}" for number, port in enumerate(ports, start=1)),
        data_dir=root / f"node{node_id}",
        snapshot_threshold=500,
        snapshot_trailing_entries=100,
        snapshot_bytes=1 << 40,
    )
    stalls = Stalls()
    async with Node(config, machines={MACHINE: ModelsMachine(app.schemas)}) as node, asyncio.timeout(TIMEOUT_SECONDS):
        watching = asyncio.create_task(stalls.watch())
        await node.wait_for_leader(60)
        if node_id == 3:
            await catch_up(node, stalls)
            channel.send("caught up")
        elif node.is_leader:
            await lead(node, stalls, rows, channel)
            channel.send("done")
        await until(channel.poll)  # the parent says when all are done
        watching.cancel()


def child(node_id: int, ports: list[int], root: Path, rows: int, channel: Connection) -> None:
    sys.setswitchinterval(0.0005)
    uvloop.run(run(node_id, ports, root, rows, channel))


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    context = get_context("spawn")
    ports = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="quorate-bench-") as root:
        channels: dict[int, Connection] = {}
        processes = []

        def start(node_id: int) -> None:
            channels[node_id], theirs = context.Pipe()
            process = context.Process(target=child, args=(node_id, ports, Path(root), rows, theirs), daemon=True)
            process.start()
            processes.append(process)

        start(1)
        start(2)
        done = False
        while not done and all(process.is_alive() for process in processes):
            for ready in wait(list(channels.values()), timeout=1.0):
                assert isinstance(ready, Connection)
                try:
                    told = ready.recv()
                except EOFError:
                    sys.exit("a node has failed")
                match told:
                    case "start the third":
                        start(3)
                    case "caught up":
                        for node_id in (1, 2):
                            channels[node_id].send("go on")
                    case "done":
                        done = True
        for channel in channels.values():
            channel.send("end")
        for process in processes:
            process.join(30)


if __name__ == "__main__":
    main()
