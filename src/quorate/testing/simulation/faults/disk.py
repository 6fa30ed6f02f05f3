"""Faults of disks."""

from __future__ import annotations

import errno
from pathlib import Path

from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.host import Host

UNCHECKED = ("state.sqlite", "identity.json")
"""The files without checksums: a flipped bit in them is taken for the truth, and no node can know better."""


def _failed_sync(nemesis: Nemesis) -> str:
    host = nemesis.any_host()
    host.disk.fail_next("sync", errno.EIO)
    return f"node {host.node_id}"


def _failed_write(nemesis: Nemesis) -> str:
    host = nemesis.any_host()
    host.disk.fail_next("write", errno.EIO)
    return f"node {host.node_id}"


def _full(nemesis: Nemesis) -> str:
    host, seconds = nemesis.any_host(), nemesis.seconds()
    host.disk.is_full = True

    def end() -> None:
        host.disk.is_full = False

    nemesis.later(seconds, end)
    return f"node {host.node_id} for {seconds:.3f} s"


def _stall(nemesis: Nemesis) -> str:
    host, seconds = nemesis.any_host(), nemesis.seconds(1.0)
    host.disk.stalled_until = nemesis.scheduler.now + seconds
    return f"node {host.node_id} for {seconds:.3f} s"


def _bit_flip(nemesis: Nemesis) -> str | None:
    """Decay of a file at rest: the process is killed first, and the machine stays on."""
    host = nemesis.any_running()
    if host is None or not nemesis.may_lose_a_disk:
        return None
    host.kill()
    files = _files(host)
    if not files:
        return None
    path, size = nemesis.rng.choice(files)
    offset, bit = nemesis.rng.randrange(size), nemesis.rng.randrange(8)
    host.disk.flip_bit(path, offset, bit)
    host.decayed = True
    host.invariants.known.damaged.add(host.node_id)
    return f"node {host.node_id}: {path.name}, byte {offset} of {size}"


def _files(host: Host) -> list[tuple[Path, int]]:
    """The files that detect decay, with the bytes in use."""
    return [(path, size) for path, size in host.disk.used() if not path.name.endswith(UNCHECKED)]


FAULTS = (
    Fault("failed sync", _failed_sync),
    Fault("failed write", _failed_write),
    Fault("full disk", _full),
    Fault("disk stall", _stall),
    Fault("bit flip", _bit_flip, weight=0.5, nodes_min=3),
)
"""Kinds of faults."""
