"""The network between the nodes: one namespace each if the system allows it, else disturbed inside the processes.

In a network of namespaces every node has an interface and an address of its own on a bridge. A cut from one node to
another sends its frames to a hardware address that is nobody's: they are swallowed in one direction, connections
stay as they are, and TCP fends for itself. Frames that are swallowed are counted where that address leads.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence

from quorate.errors import QuorateError
from quorate.ops.local_node import HOST
from quorate.ops.ports import free_ports

SUBNET = "198.18.0"
PORT = 8080
SECONDS_MAX = 20.0

_TRY = (
    "set -e; ip link set lo up; mount -t tmpfs tmpfs /run; mkdir -p /run/netns; ip netns add try;"
    "ip link add br0 type bridge; ip link add v0 type veth peer name eth0 netns try; ip link set v0 master br0 up;"
    "ip -n try link set eth0 up; bridge link set dev v0 flood off; mkdir -p /run/disk;"
    "mount -t tmpfs -o size=1m tmpfs /run/disk"
)


class NetworkFailed(QuorateError):
    """The system refused what it seemed to allow."""


def isolation() -> tuple[str, ...] | None:
    """The beginning of a command line that runs the rest with networks and mounts of its own; ``None`` if refused.

    Whatever is made there is gone when the last process of it ends, however it ends.
    """
    for flags in (("-n", "-m"), ("-r", "-n", "-m")):
        command = ("unshare", *flags)
        if shutil.which("unshare") and _succeeds((*command, "sh", "-c", _TRY)):
            return command
    return None


def _succeeds(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class Network(ABC):
    """Where the nodes live, and how they are cut off from one another."""

    name: str

    @abstractmethod
    def address(self, node_id: int) -> str:
        """``host:port``, for peers and clients."""

    @abstractmethod
    def command_prefix(self, node_id: int) -> tuple[str, ...]:
        """What a command line begins with that is to run where the node lives."""

    @abstractmethod
    def set_cuts(self, cuts: frozenset[tuple[int, int]]) -> None:
        """Swallow what goes from the first to the second of each pair, and nothing else."""

    @abstractmethod
    def swallowed(self) -> int | None:
        """How many frames cuts swallowed so far; ``None`` if the nodes have to be asked."""


class LoopbackNetwork(Network):
    """All nodes are on 127.0.0.1; cuts are left to them."""

    name = "loopback, disturbed inside the processes"

    def __init__(self, nodes: int) -> None:
        self._ports = free_ports(nodes)

    def address(self, node_id: int) -> str:
        """Each has its own port."""
        return f"{HOST}:{self._ports[node_id - 1]}"

    def command_prefix(self, node_id: int) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def set_cuts(self, cuts: frozenset[tuple[int, int]]) -> None:
        """Nothing."""

    def swallowed(self) -> int | None:
        """The nodes know."""
        return None


class NamespaceNetwork(Network):
    """Must be made inside of what :func:`isolation` begins, and lasts as long."""

    name = "network namespaces"

    def __init__(self, nodes: int) -> None:
        self._nodes = range(1, nodes + 1)
        self._cuts: frozenset[tuple[int, int]] = frozenset()
        self._build()

    def _build(self) -> None:
        _run("ip link set lo up")
        _run("mount -t tmpfs tmpfs /run")
        _run("mkdir -p /run/netns")
        _run("ip link add br0 type bridge")
        _run(f"ip addr add {SUBNET}.254/24 dev br0")
        _run("ip link add hole type veth peer name sink")
        for device in ("br0", "hole", "sink"):
            _run(f"ip link set {device} addrgenmode none")  # or each would talk of itself
            _run(f"ip link set {device} up")
        _run("ip link set hole master br0")
        _run("bridge link set dev hole flood off mcast_flood off bcast_flood off")
        _run(f"bridge fdb add {_hardware(0)} dev hole master static")
        for node_id in self._nodes:
            _run(f"ip netns add n{node_id}")
            _run(f"ip link add v{node_id} type veth peer name eth0 netns n{node_id} address {_hardware(node_id)}")
            _run(f"ip link set v{node_id} master br0 up")
            _run(f"ip -n n{node_id} addr add {SUBNET}.{node_id}/24 dev eth0")
            _run(f"ip -n n{node_id} link set eth0 up")
            _run(f"ip -n n{node_id} link set lo up")
        for one in self._nodes:
            for other in self._nodes:
                if one != other:
                    self._lead(one, other, other)

    def _lead(self, source: int, target: int, where: int) -> None:
        place = f"lladdr {_hardware(where)} dev eth0 nud permanent"
        _run(f"ip -n n{source} neigh replace {SUBNET}.{target} {place}")

    def address(self, node_id: int) -> str:
        """Each has its own host."""
        return f"{SUBNET}.{node_id}:{PORT}"

    def command_prefix(self, node_id: int) -> tuple[str, ...]:
        """Enter the namespace."""
        return ("nsenter", f"--net=/run/netns/n{node_id}")

    def set_cuts(self, cuts: frozenset[tuple[int, int]]) -> None:
        """Lead what is cut to where nobody is."""
        for source, target in self._cuts - cuts:
            self._lead(source, target, target)
        for source, target in cuts - self._cuts:
            self._lead(source, target, 0)
        self._cuts = cuts

    def swallowed(self) -> int | None:
        """What arrived where nobody is."""
        (report,) = json.loads(_run("ip -s -j link show dev sink"))
        return int(report["stats64"]["rx"]["packets"])


def _hardware(number: int) -> str:
    return f"02:00:00:00:00:{number or 255:02x}"


def _run(command: str) -> str:
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode:
        raise NetworkFailed(f"{command}: {done.stderr.strip()}")
    return done.stdout
