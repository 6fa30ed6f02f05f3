"""What a node tells the service manager that started it, by the protocol of systemd: sd_notify(3).

A datagram of ``NAME=value`` lines to the socket in ``NOTIFY_SOCKET``. ``READY=1`` is said once the node could serve a
strong read: it knows a leader, a quorum answers that, and its state has caught up. So ``systemctl restart`` of one node
after the other, each of which returns when its node is ready, is a rolling restart. ``STATUS=`` follows what the node
does, and with ``WatchdogSec=`` the turning of the event loop is reported in time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

from quorate.errors import ReadUnavailable
from quorate.node.node import Node

log = logging.getLogger(__name__)

READY_POLL_SECONDS = 0.1
STATUS_POLL_SECONDS = 1.0
BARRIER_SECONDS_MAX = 1.0


class ServiceManager:
    """The other end of the socket; where there is none, nothing is told to anybody."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._failed = False
        self.watchdog_seconds = _watchdog_seconds(environment)
        """A sign of life is expected this often; ``None`` if it is not."""

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def tell(self, *lines: str) -> None:
        """Send ``lines``, each ``NAME=value``, as one message. Never raises: a deaf manager is no reason to stop."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.setblocking(False)
                own.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("cannot tell the service manager: %s", error.strerror or error)
            self._failed = True


def _socket_address(named: str) -> str | None:
    """A path, or with ``@`` a name in Linux' abstract namespace, which begins with a zero byte."""
    if named.startswith("@"):
        return f"\0{named[1:]}"
    if named and not named.startswith("/"):
        log.warning("NOTIFY_SOCKET is %s: only sockets of this machine are told", named)
    return named if named.startswith("/") else None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """What ``WATCHDOG_USEC`` asks for, if it is this process that it asks."""
    micros = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not micros.isdecimal():
        return None
    return int(micros) / 1e6 or None


async def keep_told(node: Node, manager: ServiceManager) -> None:
    """Tell ``manager`` of ``node`` whatever it should know, until the task is cancelled."""
    ready, told = False, ""
    while manager.listens:
        lines = ["WATCHDOG=1"] if manager.watchdog_seconds is not None else []
        if not ready and (ready := await is_ready(node)):
            lines.append("READY=1")
        if (words := in_words(node, ready)) != told:
            lines.append(f"STATUS={words}")
            told = words
        if lines:
            manager.tell(*lines)
        pause = STATUS_POLL_SECONDS if ready else READY_POLL_SECONDS
        await asyncio.sleep(min(pause, (manager.watchdog_seconds or pause * 3) / 3))


async def is_ready(node: Node) -> bool:
    """Whether ``node`` could serve a strong read just now; a witness, which serves none, whether it knows a leader."""
    if node.is_witness:
        return node.leader is not None
    try:
        await node.read_barrier(timeout=BARRIER_SECONDS_MAX)
    except ReadUnavailable:
        return False
    return True


def in_words(node: Node, ready: bool) -> str:
    """What ``node`` does, in a line for people."""
    if node.is_draining:
        return "stopping"
    if node.leader is None:
        return "has lost the leader" if ready else "waits for the others: there is no leader yet"
    if not ready:
        return f"catches up with node {node.leader}"
    return "leads" if node.is_leader else f"follows node {node.leader}"
