"""The faults that a node does to itself while it is asked to: what a node started with ``--allow-faults`` is made with.

They are set by :mod:`quorate.web.faults`. Each ends by itself: a node whose links are cut cannot be told any more by
its peers, and one that is paused by nobody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from quorate.node.node import wall_clock_us
from quorate.storage.faulty import DiskFaults, FaultyFileSystem
from quorate.storage.real import RealFileSystem
from quorate.transport.faults import Direction, LinkFaults

log = logging.getLogger(__name__)

CRASH_CODE = 137
"""What a process that was killed by SIGKILL is said to have ended with."""
LAST_WORD_SECONDS = 0.05
"""The answer to what ends the process gets so long to leave."""

PAUSE = (
    "import os,signal,sys,time\n"
    "parent,seconds=int(sys.argv[1]),float(sys.argv[2])\n"
    "def tell(number):\n"
    "    if os.getppid()==parent: os.kill(parent,number)\n"
    "tell(signal.SIGSTOP)\n"
    "try: time.sleep(seconds)\n"
    "finally: tell(signal.SIGCONT)\n"
)
"""Stops its parent, and lets it go on: in a process of its own, for one that is stopped does nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """What is wrong with the links to ``peer``, or to all peers."""

    peer: int | None
    direction: Direction
    drop: float
    """The share of messages that is lost: 1 cuts the link."""
    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A set of faults, for ``seconds``."""

    links: Sequence[LinkFault] = ()
    disk_delay_seconds: float = 0.0
    disk_full: bool = False
    clock_offset_ms: int = 0
    pause_seconds: float = 0.0
    seconds: float


class InjectedFaults:
    """The faults of one node: hand out its ports before it is made, then :meth:`put` and :meth:`clear`."""

    def __init__(self) -> None:
        self.links = LinkFaults(Random())
        self.disk = DiskFaults()
        self.file_system = FaultyFileSystem(RealFileSystem(), self.disk)
        self._clock_offset_us = 0
        self._wanted: Wanted | None = None
        self._ends_at = 0.0
        self._end: asyncio.TimerHandle | None = None
        self._pausing: list[subprocess.Popen[bytes]] = []

    def wall_clock_us(self) -> int:
        """The time, as far off as it is to be."""
        return wall_clock_us() + self._clock_offset_us

    def report(self) -> dict[str, Any]:
        """What is wrong just now, for how many seconds more, and how often it had an effect since the start."""
        self._pausing = [each for each in self._pausing if each.poll() is None]  # what has ended is no zombie for long
        wanted = self._wanted
        active: dict[str, Any] = {}
        if wanted is not None:
            active = {
                "links": [
                    {
                        "peer": link.peer,
                        "direction": (link.direction.name or "").lower(),
                        "drop": link.drop,
                        "delay_ms": round(link.delay_seconds * 1000),
                    }
                    for link in wanted.links
                ],
                "disk": {"delay_ms": round(wanted.disk_delay_seconds * 1000), "full": wanted.disk_full},
                "clock_offset_ms": wanted.clock_offset_ms,
                "seconds_left": round(max(0.0, self._ends_at - time.monotonic()), 3),
            }
        return {"active": active, "fired": {**self.links.fired, "disk": self.disk.fired}}

    def put(self, wanted: Wanted) -> None:
        """Have these faults and no others, until their time is over. Needs a running event loop."""
        self._forget()
        for link in wanted.links:
            if link.drop >= 1:
                self.links.cut(link.peer, link.direction)
            elif link.drop:
                self.links.drop(link.peer, link.drop, link.direction)
            if link.delay_seconds:
                self.links.delay(link.peer, link.delay_seconds, link.direction)
        self.disk.delay_seconds, self.disk.full = wanted.disk_delay_seconds, wanted.disk_full
        self._clock_offset_us = wanted.clock_offset_ms * 1000
        self._wanted, self._ends_at = wanted, time.monotonic() + wanted.seconds
        self._end = asyncio.get_running_loop().call_later(wanted.seconds, self._over)
        log.warning("FAULTS ARE INJECTED for %g s: %s", wanted.seconds, self.report()["active"])
        if wanted.pause_seconds:
            self.pause(wanted.pause_seconds)

    def clear(self) -> None:
        """Be well again."""
        if self._wanted is not None:
            log.warning("the injected faults are taken back")
        self._forget()

    def pause(self, seconds: float) -> None:
        """Stop the whole process (SIGSTOP), soon after this returns, for so long."""
        log.warning("FAULTS ARE INJECTED: the process stops for %g s", seconds)
        command = [sys.executable, "-I", "-S", "-c", PAUSE, str(os.getpid()), str(seconds)]
        # A session of its own: what ends the node's terminal must not leave the node stopped for good.
        pausing = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        self._pausing.append(pausing)

    def crash(self) -> None:
        """End the process without a word to anybody, soon after this returns."""
        log.critical("FAULTS ARE INJECTED: the process ends at once")
        asyncio.get_running_loop().call_later(LAST_WORD_SECONDS, os._exit, CRASH_CODE)

    def stop(self) -> None:
        """Have the process end in order (SIGTERM), soon after this returns."""
        log.warning("FAULTS ARE INJECTED: the process is asked to stop")
        asyncio.get_running_loop().call_later(LAST_WORD_SECONDS, os.kill, os.getpid(), signal.SIGTERM)

    def _over(self) -> None:
        log.warning("the injected faults are over")
        self._forget()

    def _forget(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = self._wanted = None
        self.links.heal()
        self.disk.delay_seconds, self.disk.full = 0.0, False
        self._clock_offset_us = 0
