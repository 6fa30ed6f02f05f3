"""Faults of disks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from quorate.raft.quorum import majority_size
from quorate.storage.codecs import BINARY, MARK_KIND, NoRecord
from quorate.storage.filesystem import read_bytes
from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.host import Host

UNCHECKED = "state.sqlite"
"""The file without checksums: a flipped bit in it is taken for the truth, and no node can know better."""
SECTOR_BYTES = 512


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


def _harmless(nemesis: Nemesis) -> Host | None:
    """A machine whose data may be lost: what it has is elsewhere, too, and a quorum can do without it."""
    hosts = [host for host in nemesis.hosts.values() if _may_lose_it(nemesis, host)]
    return nemesis.rng.choice(hosts) if hosts else None


def _may_lose_it(nemesis: Nemesis, host: Host) -> bool:
    known = nemesis.known
    if known.evidence[host.node_id].harmed:
        return True
    return not nemesis.administrator.shrinking and known.survives_without([host.node_id])


def _wipe(nemesis: Nemesis) -> str | None:
    host = _harmless(nemesis)
    if host is None:
        return None
    if not host.joining:
        # So many empty disks, of those who once began the cluster, would not know better than to begin another one.
        founders = [each for each in nemesis.everyone.values() if not each.joining and each.starts]
        empty = [each for each in founders if nemesis.known.evidence[each.node_id].harmed and each is not host]
        if len(empty) + 1 >= majority_size(nemesis.founders):
            return None
    host.wipe()
    return f"node {host.node_id}"


def _decay(nemesis: Nemesis, wanted: Callable[[Path], bool]) -> str | None:
    """Decay of a file at rest: the process is killed first, and the machine stays on."""
    host = _harmless(nemesis)
    if host is None or len(nemesis.founders) == 1:  # one that began a cluster alone knows nobody to be repaired by
        return None

    def decaying() -> list[tuple[Path, int]]:
        return [(path, size) for path, size in host.disk.used() if path.name != UNCHECKED and wanted(path)]

    if not decaying():
        return None
    host.kill()
    files = decaying()  # what the process was about to do to its files ends with it
    if not files:
        return None
    path, size = nemesis.rng.choice(files)
    end = min((size + 1) // 2, _proven_bytes(read_bytes(host.disk, path))) if _is_segment(path) else size
    offset = nemesis.rng.randrange(end)
    host.invariants.damaged(host.node_id)
    if nemesis.rng.random() < 0.3:
        start = offset - offset % SECTOR_BYTES
        host.disk.zero(path, start, min(SECTOR_BYTES, end - start) if _is_segment(path) else SECTOR_BYTES)
        return f"node {host.node_id}: {path.name}, {SECTOR_BYTES} bytes from {start} of {size} are zero"
    host.disk.flip_bit(path, offset, nemesis.rng.randrange(8))
    return f"node {host.node_id}: {path.name}, a bit of byte {offset} of {size}"


def _proven_bytes(data: bytes) -> int:
    """How far a log file is proven by its sync marks.

    Behind the last, nobody can tell decay from a write that was under way when the process died.
    """
    proven = len(data)  # without a header the node refuses all of it
    with suppress(NoRecord):
        _, _, proven = BINARY.read_header(data)
        offset = proven
        while True:
            stop, kind, *_ = BINARY.record_at(data, offset)
            if kind == MARK_KIND:
                proven = offset
            offset = stop
    return proven


def _missing_segment(nemesis: Nemesis) -> str | None:
    """One that is not the last: behind it nobody can know that there was more."""
    host = _harmless(nemesis)
    if host is None or len(nemesis.founders) == 1:
        return None

    def segments_left() -> list[Path]:
        return [path for path, _ in host.disk.used() if _is_segment(path)]

    if len(segments_left()) < 2:
        return None
    host.kill()
    segments = segments_left()
    if len(segments) < 2:
        return None
    path = nemesis.rng.choice(segments[:-1])
    host.disk.lose_file(path)
    host.invariants.damaged(host.node_id)
    return f"node {host.node_id}: {path.name} of {len(segments)}"


def _is_segment(path: Path) -> bool:
    return path.parent.name == "log" and path.parent.parent.name == "0"


def _named(name: str) -> Callable[[Nemesis], str | None]:
    return lambda nemesis: _decay(nemesis, lambda path: path.name == name)


def _in_directory(name: str) -> Callable[[Nemesis], str | None]:
    return lambda nemesis: _decay(nemesis, lambda path: path.parent.name == name)


FAULTS = (
    Fault("failed sync", _failed_sync),
    Fault("failed write", _failed_write),
    Fault("full disk", _full),
    Fault("disk stall", _stall),
    Fault("wiped disk", _wipe, nodes_min=2, harms=True),
    Fault("bit flip", lambda nemesis: _decay(nemesis, lambda path: True), nodes_min=2, harms=True),
    Fault("decay in the log", lambda nemesis: _decay(nemesis, _is_segment), nodes_min=2, harms=True),
    Fault("decay of the hard state", _named("hard_state"), nodes_min=2, harms=True),
    Fault("decay of the floor", _named("floor"), nodes_min=2, harms=True),
    Fault("decay of the identity", _named("identity.json"), nodes_min=2, harms=True),
    Fault("decay of a snapshot", _in_directory("snapshots"), nodes_min=2, harms=True),
    Fault("missing segment", _missing_segment, nodes_min=2, harms=True),
)
"""Kinds of faults."""
