"""Whether there is room on the disks, and whether they are quick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
        if free is None or not total or (severity := free_space_severity(free, total)) is None:
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
        earlier = evidence.earlier(report) or {}
        seconds = sync_seconds(report.get("disk") or {}, earlier.get("disk") or {})
        if seconds is None or seconds <= SYNC_SECONDS_SLOW:
            continue
        yield Finding(
            severity=Severity.CRITICAL if seconds > SYNC_SECONDS_CRITICAL else Severity.WARNING,
            what=f"The disk of node {report['node_id']} takes {seconds * 1000:.0f} ms for a sync.",
            cause="The disk is slow, worn, shared with something busy, or on a network. Every write waits for it.",
            mend="On its machine: iostat -x 1 5; move --data-dir to a local SSD, or accept less with "
            "--storage-profile balanced",
        )


def sync_seconds(now: Mapping[str, Any], before: Mapping[str, Any]) -> float | None:
    """How long a sync took, on average, between two reports of a disk.

    Without one in that time, as long as both the last and nearly all before it were no longer: a disk that was slow
    once is not slow, nor is one whose last sync was an exception. ``None`` if there never was one.
    """
    syncs = (now.get("syncs") or 0) - (before.get("syncs") or 0) if before.get("syncs") is not None else 0
    if syncs > 0:  # not so if the node was started anew meanwhile
        return float(now["sync_seconds_sum"] - before["sync_seconds_sum"]) / syncs
    known = [now[name] for name in ("sync_seconds_last", "sync_seconds_p99") if now.get(name) is not None]
    return min(known, default=None)


def disk_stands_still(evidence: Evidence) -> Iterator[Finding]:
    """A sync was begun before one looked, and has not ended since."""
    for report in evidence.reports:
        earlier = evidence.earlier(report) or {}
        waits = [_waits_for_a_sync(each) for each in (earlier, report)]
        same = earlier.get("fsyncs") == report.get("fsyncs")
        if all(waits) and same and evidence.seconds > SYNC_SECONDS_CRITICAL:
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"The disk of node {report['node_id']} stands still: a sync takes longer than "
                f"{evidence.seconds:.0f} s.",
                cause="The disk, or what it is attached to, does not answer. Nothing that the node is sent is "
                "acknowledged.",
                mend="On its machine: dmesg | tail, iostat -x 1 5; if it leads: quorate members transfer-leader "
                f"{evidence.cluster_flag()}",
            )


def _waits_for_a_sync(report: Mapping[str, Any]) -> bool:
    storage = report.get("storage") or {}
    return bool(storage and storage["settings"]["fsync_on_append"] and storage.get("unsynced_entries"))
