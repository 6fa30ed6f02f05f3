"""How long a million keys take to load, and to write while more are written, and how long that stalls an event loop.

    .venv/bin/python benchmarks/kv_restart.py [KEYS]

One router without a log or a network: it applies batches of SET, writes checkpoints in slices as a node does, and is
opened anew as after a crash. Each flush and each batch is timed: an event loop waits for the longest of them; "own" is
the processor's time alone, without what other processes take on a busy machine. It takes about a minute.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from quorate.kv.machine import MACHINE, KvMachine
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.router import Router
from quorate.raft.entry import Entry, EntryKind

KEYS = 1_000_000
KEYS_AT_ONCE = 100
FLUSH_EVERY = 20


class Load:
    """A router that is written to."""

    def __init__(self, path: Path) -> None:
        self.router = Router({MACHINE: KvMachine()})
        began = time.perf_counter()
        self.router.open(path)
        self.open_seconds = time.perf_counter() - began
        self.index = self.router.applied
        self.flushes: list[tuple[float, float]] = []
        self.batches: list[tuple[float, float]] = []

    def write(self, numbers: range) -> None:
        """SET of these keys, as one entry."""
        self.index += 1
        requests = [(b"SET", b"user:%09d" % (number * 7919 % 10**9), b"x" * 100) for number in numbers]
        payload = encode_batch(Batch(self.index, 1, [Command(MACHINE, msgspec.msgpack.encode(requests))]))
        began, own = time.perf_counter(), time.thread_time()
        self.router.apply(Entry(self.index, 1, EntryKind.COMMANDS, payload))
        self.batches.append((time.perf_counter() - began, time.thread_time() - own))

    def flush(self) -> None:
        """A slice."""
        began, own = time.perf_counter(), time.thread_time()
        self.router.flush()
        self.flushes.append((time.perf_counter() - began, time.thread_time() - own))

    def report(self, title: str, seconds: float) -> None:
        """Print the times since the last report."""
        text = f"{title}: {seconds:.2f} s"
        for name, times in (("flush", self.flushes), ("batch", self.batches)):
            if times:
                text += f"\n    {len(times)} x {name}"
                for kind, each in (("", sorted(time for time, _ in times)), (" own", sorted(own for _, own in times))):
                    at_99 = each[len(each) * 99 // 100]
                    text += f";{kind} 99 % within {at_99 * 1e3:.1f} ms, longest {each[-1] * 1e3:.1f} ms"
        print(text, flush=True)
        self.flushes, self.batches = [], []


def main() -> None:
    """Run it."""
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.sqlite"
        load = Load(path)
        began = time.perf_counter()
        for first in range(0, keys, KEYS_AT_ONCE):
            load.write(range(first, first + KEYS_AT_ONCE))
            if first // KEYS_AT_ONCE % FLUSH_EVERY == 0:
                load.flush()
        load.report(f"{keys} keys applied", time.perf_counter() - began)
        began = time.perf_counter()
        while load.router.is_checkpointing or load.router.begin_checkpoint():
            load.flush()
        load.report("the rest of the checkpoints", time.perf_counter() - began)
        load.router.sync()
        load.router.close(flush=False)
        del load
        gc.collect()

        load = Load(path)
        print(f"opened in {load.open_seconds:.2f} s; the file has {path.stat().st_size >> 20} MiB", flush=True)
        began = time.perf_counter()
        for first in range(0, keys // 4, KEYS_AT_ONCE):
            load.write(range(first * 3, first * 3 + KEYS_AT_ONCE))
            if first // KEYS_AT_ONCE % FLUSH_EVERY == 0:
                load.flush()
        load.report(f"{keys // 4} keys changed", time.perf_counter() - began)
        for number in range(0, keys, KEYS_AT_ONCE):
            load.write(range(number, number + KEYS_AT_ONCE))
        load.batches = []
        began = time.perf_counter()
        while load.router.is_checkpointing or load.router.begin_checkpoint():
            load.flush()
        load.report(f"a checkpoint of {keys} keys", time.perf_counter() - began)
        load.router.close(flush=False)


if __name__ == "__main__":
    main()
