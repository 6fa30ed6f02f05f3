"""Measures everything that ``results/`` shows, each case for two seconds: less than ten minutes on a quiet machine.

    .venv/bin/python benchmarks/run_all.py DIRECTORY [--only NAME ...]

One table for each is written to DIRECTORY. ``make bench-all`` does it, too.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

MEASUREMENTS: Mapping[str, str] = {
    "idle": "idle",
    "crud": "crud --seconds 2",
    "mixed": "crud --mode random --preseed 5000 --connections 16,64,256 --seconds 2",
    "mixed_open_loop": "crud --mode random --preseed 5000 --connections 64 --rate 2000 --seconds 5",
    "durability_profiles": "crud --suite durability_profiles --connections 64 --seconds 2",
    "concurrency_scaling": "crud --suite concurrency_scaling --seconds 2",
    "heavy_vs_light_reads": "crud --suite heavy_vs_light_reads --connections 64 --seconds 2",
    "bulk_vs_single": "crud --suite bulk_vs_single --connections 64 --seconds 2",
    "reads": "reads --seconds 2",
    "stateless": "stateless --preseed 5000 --seconds 2",
    "tasks": "tasks --seconds 2",
    "kv": "kv --seconds 1",
}
"""What ``quorate bench`` is asked for, by the name of the file of results."""
SECONDS_MAX = 600.0
"""For one of them: on a quiet machine the longest takes two minutes."""
INTERRUPTED = 130


def measure(name: str, directory: Path) -> int:
    """Its exit code; if that is 0, its table is in ``directory``."""
    command = [sys.executable, "-m", "quorate", "bench", *MEASUREMENTS[name].split()]
    print(f"{name}: quorate bench {MEASUREMENTS[name]}", flush=True)
    began = time.monotonic()
    with subprocess.Popen([*command, "--markdown", directory / f"{name}.md"], stdout=subprocess.DEVNULL) as process:
        try:
            code = process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.terminate()  # it then ends its nodes
            code = process.wait()
    print(f"  exit code {code} after {time.monotonic() - began:.0f} s", flush=True)
    return code


def main() -> int:
    """The exit code: 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a Ctrl-C is for the one that runs, and shows in its code
    failed = []
    for name in arguments.only:
        if (code := measure(name, arguments.directory)) == INTERRUPTED:
            return INTERRUPTED
        if code:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
