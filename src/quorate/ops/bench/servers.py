"""Processes that the benchmarks start beside our own nodes, and what they and the nodes use of the machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import clock_gettime

from quorate.errors import ConfigError
from quorate.ops import tether
from quorate.ops.bench.load import LoadFailed
from quorate.ops.local_process import LOG_TAIL_BYTES

PACKAGES: Mapping[str, str] = {
    "redis-benchmark": "redis-tools",
    "redis-server": "redis-server",
    "etcd": "etcd-server",
    "h2load": "nghttp2-client",
}
"""The programs that the benchmarks use, and the packages of Debian and Ubuntu that bring them."""

QUIET_CORES = 0.2
QUIET_POLL_SECONDS = 0.1
QUIET_SECONDS_MAX = 2.0

_BECOME = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


def missing_packages(programs: Iterable[str]) -> list[str]:
    """The packages to install for those of ``programs`` that are not here."""
    return [PACKAGES[program] for program in programs if shutil.which(program) is None]


def version_of(program: str) -> str:
    """What it calls its own version."""
    told = subprocess.run([path_of(program), "--version"], capture_output=True, text=True, timeout=10).stdout
    found = re.search(r"\d+(\.\d+)+", told)
    return found[0] if found else "of an unknown version"


def path_of(program: str) -> str:
    """Where ``program`` is. Raises :class:`ConfigError` with what to install."""
    if (path := shutil.which(program)) is None:
        raise ConfigError(f"there is no {program} here: install it (Debian, Ubuntu: apt install {PACKAGES[program]})")
    return path


class Server:
    """A server's process, which never outlives this one. What it prints is in ``directory.log``."""

    def __init__(self, directory: Path, program: str, arguments: Sequence[str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._program = program
        self._log_path = directory.with_name(f"{directory.name}.log")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", tether.__file__, str(os.getpid()), "-S", "-E", "-c", _BECOME,
                 path_of(program), *arguments],
                cwd=directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("ETCD_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C in the terminal is for us, who then stop the servers
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def check_running(self) -> None:
        """Raises :class:`LoadFailed` if the process has ended, with the last that it printed."""
        if (code := self._process.poll()) is not None:
            told = self._log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
            last = told[-1] if told else "(it said nothing)"
            raise LoadFailed(f"{self._program} ended with exit code {code}: {last}")

    def kill(self) -> None:
        """End it at once: nobody will read its data again."""
        self._process.kill()
        self._process.wait()


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """How long the processes have run on any core so far; ``None`` where that is not known.

    Raises :class:`LoadFailed` if one of them has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        # A process's own clock, by the nanosecond: what clock_getcpuclockid(3) makes of its id.
        return sum(clock_gettime(~pid << 3 | 2) for pid in pids)
    except OSError:
        raise LoadFailed("a process that was measured has ended") from None


def resident_mb(pid: int) -> float | None:
    """The memory that a process has; ``None`` where there is no ``/proc``."""
    path = Path(f"/proc/{pid}/statm")
    if not path.exists():
        return None
    return round(int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def threads(pid: int) -> int | None:
    """How many a process has; ``None`` where there is no ``/proc``."""
    return _entries(Path(f"/proc/{pid}/task"))


def open_files(pid: int) -> int | None:
    """How many descriptors a process has; ``None`` where there is no ``/proc``."""
    return _entries(Path(f"/proc/{pid}/fd"))


def _entries(directory: Path) -> int | None:
    return len(os.listdir(directory)) if directory.exists() else None


async def wait_quiet(pids: Sequence[int]) -> None:
    """Return once the processes have done what they put off; after :data:`QUIET_SECONDS_MAX` at the latest.

    That is when they use less than :data:`QUIET_CORES`; where that is not known, at once.
    """
    before = cpu_seconds(pids)
    for _ in range(round(QUIET_SECONDS_MAX / QUIET_POLL_SECONDS)):
        if before is None:
            return
        await asyncio.sleep(QUIET_POLL_SECONDS)
        now = cpu_seconds(pids)
        if now is not None and now - before < QUIET_CORES * QUIET_POLL_SECONDS:
            return
        before = now
