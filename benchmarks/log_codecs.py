"""How much the two forms of the log cost: binary, and JSON in lines.

    .venv/bin/python benchmarks/log_codecs.py [MIB]

Entries as a models node writes them (a batch of one create) and as a keys node does (a batch of 16 SETs of 64 bytes)
are appended to a log of MIB (16 by default) binary mebibytes, 32 entries at a time, and the log is then recovered.
The ratio that is told is one of CPU time of this process: with a sync for each batch (fsync), and without (the
operating system's cache is where the bytes go). The median of three rounds is shown, in which the forms take turns. It
takes less than a minute and ends by itself; it writes below the directory for temporary files.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec

from quorate.machine.commands import Batch, Command, encode_batch
from quorate.models.commands import Change, Create, encode_command
from quorate.raft.entry import Entry, EntryKind
from quorate.storage import BINARY, JSON_LINES, Codec, RealFileSystem, Wal

MIB = 16
BATCH = 32
ROUNDS = 3
SYNCED_BATCHES = 200
TIME_US = 1_700_000_000_000_000


def models(index: int) -> bytes:
    """One create, as ``POST /api/products`` makes it."""
    row = (index, f"Product {index}", "19.99", index % 100, None)
    body = encode_command(Change([Create("Product", ("id", "name", "price", "stock", "category_id"), [row])]))
    return encode_batch(Batch(TIME_US + index, index * 7919, [Command("models", body, None, 1)]))


def keys(index: int) -> bytes:
    """Sixteen SETs, as clients that send at the same time get them."""
    sets = [[b"SET", b"key:%012d" % (index * 16 + at), bytes(range(at, at + 64))] for at in range(16)]
    return encode_batch(Batch(TIME_US + index, index * 7919, [Command("kv", msgspec.msgpack.encode(sets), None, 1)]))


def batches(kind: str, total_bytes: int) -> Iterator[list[Entry]]:
    """Fresh entries, so that none has its record already."""
    payload = models if kind == "models" else keys
    index = 0
    while total_bytes > 0:
        batch = [Entry(at, 1, EntryKind.COMMANDS, payload(at)) for at in range(index + 1, index + BATCH + 1)]
        index += BATCH
        total_bytes -= sum(25 + entry.size_bytes for entry in batch)
        yield batch


def measured(codec: Codec, kind: str, total_bytes: int, *, synced: bool) -> tuple[float, float, float, int]:
    """(CPU seconds, seconds) for each entry appended, CPU seconds for each recovered; bytes for each."""
    work = list(batches(kind, total_bytes))[: SYNCED_BATCHES if synced else None]
    directory = Path(tempfile.mkdtemp(prefix="quorate-codecs-"))
    try:
        wal = Wal.open(RealFileSystem(), directory, codec=codec)
        gc.collect()
        gc.disable()
        began, cpu = time.perf_counter(), time.process_time()
        for batch in work:
            wal.append(batch)
            if synced:
                wal.sync()
        seconds, append = time.perf_counter() - began, time.process_time() - cpu
        wal.sync()
        size = wal.size_bytes
        wal.close()
        cpu = time.process_time()
        wal = Wal.open(RealFileSystem(), directory)
        recover = time.process_time() - cpu
        assert wal.last_index == BATCH * len(work)
        wal.close()
    finally:
        gc.enable()
        shutil.rmtree(directory)
    count = BATCH * len(work)
    return append / count, seconds / count, recover / count, size // count


def main() -> None:
    """Print a table for docs/storage.md."""
    total_bytes = (int(sys.argv[1]) if len(sys.argv) > 1 else MIB) << 20
    print("| entries | sync | form | bytes | append, CPU µs | append, µs | recover, CPU µs |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("models", "keys"):
        for synced in (False, True):
            runs: dict[str, list[tuple[float, float, float, int]]] = {"binary": [], "json": []}
            for _ in range(ROUNDS):
                for codec in (BINARY, JSON_LINES):
                    runs[codec.name].append(measured(codec, kind, total_bytes, synced=synced))
            for name, rounds in runs.items():
                cpu, wall, recover = (median(run[at] for run in rounds) * 1e6 for at in range(3))
                sync = "each 32" if synced else "none"
                print(f"| {kind} | {sync} | {name} | {rounds[0][3]} | {cpu:.2f} | {wall:.2f} | {recover:.2f} |")
            binary, json = ([median(run[at] for run in rounds) for at in (0, 1)] for rounds in runs.values())
            ratios = [json[at] / binary[at] for at in (0, 1)]
            print(f"| | | **json : binary** | | **{ratios[0]:.1f}** | **{ratios[1]:.1f}** | |")


if __name__ == "__main__":
    main()
