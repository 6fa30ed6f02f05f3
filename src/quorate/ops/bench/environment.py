"""What a measurement was made on; numbers without it mean nothing."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from quorate._version import __version__

FSYNC_SAMPLES = 200
FSYNC_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the software."""

    quorate: str
    python: str
    system: str
    cores: int
    load: float
    """How many processes wanted to run, on average, in the minute before: none of them ours."""
    fsync_us: int
    """The median time of appending half a KiB to a file and making it durable, in microseconds."""

    @property
    def place(self) -> str:
        """Where it was, within a sentence."""
        return f"{self.cores} cores, fsync on ({self.fsync_us} µs each), load average {self.load} before"


def look_around(directory: Path) -> Environment:
    """Describe this machine and the disk that ``directory`` is on."""
    return Environment(
        quorate=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 1),
        fsync_us=round(_fsync_seconds(directory) * 1e6),
    )


def _fsync_seconds(directory: Path) -> float:
    samples = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(FSYNC_SAMPLES):
            began = perf_counter()
            file.write(bytes(FSYNC_BYTES))
            file.flush()
            os.fsync(file.fileno())
            samples.append(perf_counter() - began)
    return statistics.median(samples)
