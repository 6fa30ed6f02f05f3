"""What a node uses of its machine: processor, memory, files, disk; looked at once a second at most."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from quorate.node.node import Node

FRESH_SECONDS = 1.0

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Vitals:
    """Of this process and the disk that its node writes to."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen: dict[str, Any] = {}
        self._seen_at = -FRESH_SECONDS

    def report(self) -> dict[str, Any]:
        """``process`` and ``disk``, for ``/status``: at most a second old, and the same object until then."""
        now = time.monotonic()
        if now - self._seen_at >= FRESH_SECONDS:
            self._seen_at = now
            self._seen = {"process": process(), "disk": self._disk()}
        return self._seen

    def _disk(self) -> dict[str, Any]:
        free, total = disk_bytes(self._node.config.data_dir)
        running = self._node.running
        storage = running.store.stats if running is not None else None
        return {
            "free_bytes": free,
            "total_bytes": total,
            "sync_seconds_last": storage.sync_seconds_last if storage is not None else None,
            "sync_seconds_p99": storage.sync_seconds.quantile(0.99) if storage is not None else None,
            "sync_seconds_sum": storage.sync_seconds.sum if storage is not None else None,
            "syncs": storage.sync_seconds.count if storage is not None else None,
        }


def process() -> dict[str, Any]:
    """``cpu_seconds`` of all threads, ``resident_bytes``, ``open_files``; ``None`` what the system does not tell."""
    return {
        "cpu_seconds": round(time.process_time(), 3),
        "resident_bytes": _resident_bytes(),
        "open_files": _open_files(),
    }


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE_BYTES
    except OSError:
        return None


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:
        return None


def disk_bytes(directory: Path) -> tuple[int | None, int | None]:
    """(those that an ordinary user may still write, all) of the file system that a directory is on."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None, None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
