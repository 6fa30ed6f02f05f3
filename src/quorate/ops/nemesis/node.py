"""``python -m quorate.ops.nemesis.node CONTROL ARGUMENTS…``: ``quorate ARGUMENTS…`` with faults that can be injected.

The program is the one that operators run, with ``--allow-faults``. Only this way in gives it a wall clock that can be
set everywhere in the process, and a log that is cut early; and requests come over the Unix socket ``CONTROL``, one JSON
document each, so that they arrive whatever the load.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from quorate.config import NodeConfig, RaftConfig
from quorate.transport.faults import Direction
from quorate.web import server
from quorate.web.injected import InjectedFaults

TRAILING_ENTRIES = 50
SEGMENT_BYTES = 16 * 1024


class Clock:
    """The wall clock, set forward or back by ``offset_us``. What is measured with it is counted by ``readings``."""

    def __init__(self) -> None:
        self.offset_us = 0
        self.readings = 0
        self._time_ns = time.time_ns

    def time_ns(self) -> int:
        """In place of :func:`time.time_ns`."""
        if self.offset_us:
            self.readings += 1
        return self._time_ns() + self.offset_us * 1000


class Control:
    """Does what the socket says, and tells what the faults did so far."""

    def __init__(self, path: Path) -> None:
        self.injected = InjectedFaults()
        self.faults = self.injected.links
        self.clock = Clock()
        self._path = path

    def start(self) -> None:
        """Listen in a thread of its own, which takes nothing from the node while nobody asks."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen()
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, ValueError):
                connection.settimeout(1)
                request = json.loads(connection.makefile("rb").readline())
                connection.sendall(json.dumps(self.apply(request)).encode() + b"\n")

    def apply(self, request: dict[str, Any]) -> dict[str, int]:
        """Set what ``request`` names; how often each fault had its effect since the process began."""
        if "clock_offset_us" in request:
            self.clock.offset_us = request["clock_offset_us"]
        if "links" in request:
            self.faults.heal()
            for rule in request["links"]:
                self._disturb(**rule)
        return {**self.faults.fired, "clock": self.clock.readings}

    def _disturb(
        self, peer: int, direction: str, *, cut: bool = False, drop: float = 0, delay: float = 0, jitter: float = 0
    ) -> None:
        way = Direction[direction.upper()]
        if cut:
            self.faults.cut(peer, way)
        if drop:
            self.faults.drop(peer, drop, way)
        if delay or jitter:
            self.faults.delay(peer, delay, way, jitter_seconds=jitter)


def with_short_log(settings: NodeConfig, raft_config: Any = NodeConfig.raft_config) -> RaftConfig:
    """What ``settings`` say, but so little of the log is kept that who lags needs a snapshot."""
    made: RaftConfig = raft_config(settings)
    return made.model_copy(update={"snapshot_trailing_entries": TRAILING_ENTRIES, "segment_bytes": SEGMENT_BYTES})


def main() -> None:
    """Become ``quorate`` with the faults in place."""
    control = Control(Path(sys.argv[1]))
    sys.argv = ["quorate", *sys.argv[2:]]
    with (
        patch.object(server, "injected_faults", lambda: control.injected),
        patch.object(time, "time_ns", control.clock.time_ns),
        patch.object(NodeConfig, "raft_config", with_short_log),
    ):
        control.start()
        runpy.run_module("quorate", run_name="__main__")


if __name__ == "__main__":
    main()
