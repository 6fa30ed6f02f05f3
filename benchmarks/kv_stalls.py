"""How long a node with a million keys stalls its event loop while it is written to, and how soon it is ready again.

    .venv/bin/python benchmarks/kv_stalls.py [KEYS]

One node with real files, proposed to as the Redis server proposes: batches of commands, several under way. It is
loaded, written to through checkpoints and cuts of the log, given deadlines that pass, emptied by FLUSHDB under load,
given large values, filled again and restarted. A stall is how much later than asked for a 1 ms timer fires; "own" is
the processor's time of the loop's thread since the last one did, without what other processes take on a busy machine.
It takes some minutes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import msgspec
import uvloop

from quorate import Node, RaftConfig
from quorate.kv.machine import MACHINE, KvMachine
from quorate.machine.garbage import rare_garbage_collections
from quorate.ops.ports import free_ports

KEYS = 1_000_000
VALUE = b"x" * 32
BATCH = 100
AT_ONCE = 4
PHASE_SECONDS = 8.0
ELEMENTS = 100_000
PAUSE = 0.008
"""Seconds between the batches of each, so that the loop is busy, but not all the time."""

Request = list[bytes]


class Stalls:
    """How late a 1 ms timer fires, how much the loop's thread did meanwhile, and what garbage collections took."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._collections: list[tuple[float, int]] = []
        self._collecting_since = 0.0
        gc.callbacks.append(self._collected)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._collections.append((time.thread_time() - self._collecting_since, info["generation"]))

    async def watch(self) -> None:
        last, own = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now, owns = time.perf_counter(), time.thread_time()
            self._late.append((max(0.0, now - last - 0.001), owns - own))
            last, own = now, owns

    def report(self, phase: str, done: str) -> None:
        """Print what was seen since the last report, in milliseconds."""
        parts = []
        for name, position in (("own", 1), ("raw", 0)):
            values = sorted(each[position] * 1000 for each in self._late) or [0.0]
            parts.append(f"{name}: longest {values[-1]:6.1f} ms, p99.9 {values[int(len(values) * 0.999)]:5.1f} ms")
        longest, generation = max(self._collections, default=(0.0, 0))
        gc_part = f"gc: {longest * 1000:.1f} ms (generation {generation})"
        print(f"{phase:34} {' · '.join(parts)} · {gc_part} · {done}", flush=True)
        self._late.clear()
        self._collections.clear()


class Load:
    """Proposes requests, ``AT_ONCE`` batches at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def all(self, requests: Iterator[Request], seconds: float = 1e9, pause: float = 0.0) -> str:
        """Propose them until there are no more, or for so long; says how many that were."""
        ends = time.perf_counter() + seconds
        done = 0

        async def propose() -> None:
            nonlocal done
            while time.perf_counter() < ends and (batch := list(islice(requests, BATCH))):
                await self.one(*batch)
                done += len(batch)
                await asyncio.sleep(pause)

        began = time.perf_counter()
        await asyncio.gather(*(propose() for _ in range(AT_ONCE)))
        return f"{done / (time.perf_counter() - began):,.0f} commands a second"

    async def one(self, *requests: Request) -> None:
        """Propose them as one command."""
        await self._node.propose(msgspec.msgpack.encode(requests), machine=MACHINE, timeout=60)


def key(number: int) -> bytes:
    return b"user:%09d" % (number * 7919 % 10**9)


def sets(numbers: Iterator[int], *options: bytes) -> Iterator[Request]:
    return ([b"SET", key(number), VALUE, *options] for number in numbers)


def some_keys(seed: int, keys: int) -> Iterator[int]:
    random = Random(seed)
    return (random.randrange(keys) for _ in count())


async def large_values(load: Load) -> None:
    """Fill, change, replace and delete values of many elements."""
    for first in range(0, ELEMENTS, BATCH):
        words = [b"%d" % number for number in range(first, first + BATCH)]
        await load.one([b"RPUSH", b"list", *words])
        await load.one([b"SADD", b"set", *words])
        await load.one([b"HSET", b"hash", *(word for each in words for word in (each, each))])
        await load.one([b"ZADD", b"zset", *(word for each in words for word in (each, each))])
    await asyncio.sleep(6)  # a checkpoint comes
    for name in (b"list", b"set", b"hash", b"zset"):
        await load.one([b"DEL", name])
        await asyncio.sleep(1)


async def phases(load: Load, machine: KvMachine, stalls: Stalls, keys: int) -> None:
    stalls.report("warming up", "")
    stalls.report(f"{keys:,} new keys", await load.all(sets(iter(range(keys)))))
    stalls.report("some of them again and again", await load.all(sets(some_keys(1, keys)), PHASE_SECONDS, PAUSE))
    soon = sets(iter(range(keys)), b"PX", b"3000")
    stalls.report("deadlines for all of them", await load.all(soon))
    swept = len(machine.keyspace)
    while machine.keyspace.next_deadline_us:
        await load.one([b"QUORATE.SWEEP"])
    stalls.report("all of them swept", f"{swept:,} keys")
    stalls.report(f"{keys:,} new keys", await load.all(sets(iter(range(keys)))))
    writing = asyncio.create_task(load.all(sets(some_keys(2, keys)), PHASE_SECONDS, PAUSE))
    await asyncio.sleep(1)
    await load.one([b"FLUSHDB"])
    stalls.report("FLUSHDB while written to", await writing)
    await large_values(load)
    stalls.report(f"values of {ELEMENTS:,} elements", "")
    await load.all(sets(iter(range(keys))))


async def run(root: Path, keys: int) -> None:
    config = RaftConfig(
        node_id=1,
        cluster_nodes=(f"1@127.0.0.1:{free_ports(1)[0]}",),
        data_dir=root,
        snapshot_threshold=1000,
        snapshot_trailing_entries=100,
    )
    machine, stalls = KvMachine(), Stalls()
    async with Node(config, machines={MACHINE: machine}) as node:
        await node.wait_for_leader(60)
        rare_garbage_collections()
        watching = asyncio.create_task(stalls.watch())
        await phases(Load(node), machine, stalls, keys)
        watching.cancel()
    del machine, node
    gc.collect()
    began = time.perf_counter()
    async with Node(config, machines={MACHINE: KvMachine()}) as node:
        await node.wait_for_leader(60)
        await node.read_barrier()
        print(f"ready again with {keys:,} keys after {time.perf_counter() - began:.2f} s", flush=True)


def main() -> None:
    """Run it."""
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    with tempfile.TemporaryDirectory(prefix="quorate-bench-") as root:
        uvloop.run(run(Path(root), keys))


if __name__ == "__main__":
    main()
