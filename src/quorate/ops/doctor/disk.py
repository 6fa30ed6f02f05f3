"""Whether there is room on the disks, and whether they are quick."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, size_text

FREE_BYTES_CRITICAL = 256 * 2**20
"""Sixteen files of the log."""
FREE_BYTES_MIN = 2 * 2**30
FREE_SHARE_MIN = 0.05
FREE_BYTES_ENOUGH = 20 * 2**30
"""Whoever has this much has room, whatever part of the disk it is."""
SYNC_SECONDS_SLOW = 0.1
SYNC_SECONDS_CRITICAL = 1.0


def free_space_severity(free: int, total: int) -> Severity | None:
    """How bad it is to have only ``free`` of ``total`` bytes; ``None`` if that is enough."""
    if free < FREE_BYTES_CRITICAL:
        return Severity.CRITICAL
    scarce = free < FREE_BYTES_MIN or (free < FREE_SHARE_MIN * total and free < FREE_BYTES_ENOUGH)
    return Severity.WARNING if scarce else None


def disk_fills(evidence: Evidence) -> Iterator[Finding]:
    """A disk is full, or soon will be."""
    for report in evidence.reports:
        disk = report.get("disk") or {}
        free, total = disk.get("free_bytes"), disk.get("total_bytes")
        if free is None or total is None or (severity := free_space_severity(free, total)) is None:
            continue
        yield Finding(
            severity=severity,
            what=f"The disk of node {report['node_id']} has {size_text(free)} left of {size_text(total)}.",
            cause="Data, logs or something else fills it. A node whose write fails stops.",
            mend="On its machine: du -xh --max-depth=2 on that disk; free some, or move --data-dir to a larger one",
        )


def disk_is_slow(evidence: Evidence) -> Iterator[Finding]:
    """fsync takes long."""
    for report in evidence.reports:
        seconds = (report.get("disk") or {}).get("sync_seconds_p99")
        if seconds is None or seconds <= SYNC_SECONDS_SLOW:
            continue
        yield Finding(
            severity=Severity.CRITICAL if seconds > SYNC_SECONDS_CRITICAL else Severity.WARNING,
            what=f"The disk of node {report['node_id']} takes {seconds * 1000:.0f} ms for a sync (p99).",
            cause="The disk is slow, worn, shared with something busy, or on a network. Every write waits for it.",
            mend="On its machine: iostat -x 1 5; move --data-dir to a local SSD, or accept less with "
            "--storage-profile balanced",
        )
