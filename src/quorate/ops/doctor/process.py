"""What the node's process uses of its machine."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.cluster_status import Report
from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, size_text

RESIDENT_BYTES_MAX = 500_000_000
GROWTH_BYTES_PER_SECOND = 10_000_000
GROWTH_FROM_BYTES = RESIDENT_BYTES_MAX // 2
"""A process that has less than this is filling its caches."""
CPU_SHARE_MAX = 0.9
"""Of one core: a node's event loop has no more."""
SECONDS_MIN = 1.0
"""Less time than this says nothing about a rate."""


def memory_is_high(evidence: Evidence) -> Iterator[Finding]:
    """A process has more memory than a cluster of modest size needs."""
    for report in evidence.reports:
        resident = _number(report, "resident_bytes") or 0
        if resident > RESIDENT_BYTES_MAX:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} uses {size_text(int(resident))} of memory.",
                cause="Keys are kept in memory, and so are objects that are cached; or the log is not cut.",
                mend="If it is the keys, start it with --maxmemory 400mb, and give them expiry times; else see the "
                "log's growth",
            )


def memory_grows(evidence: Evidence) -> Iterator[Finding]:
    """It rises quickly while one looks."""
    for report in evidence.reports:
        rate = _rate(evidence, report, "resident_bytes") or 0
        resident = _number(report, "resident_bytes") or 0
        if rate > GROWTH_BYTES_PER_SECOND and resident > GROWTH_FROM_BYTES:
            yield Finding(
                severity=Severity.WARNING,
                what=f"The memory of node {report['node_id']} grows by {size_text(int(rate))} a second.",
                cause="Much is being written into keys, a large snapshot is taken in, or clients do not take answers.",
                mend=f"See whether it goes on: quorate doctor --seconds 30 {evidence.cluster_flag()}; if so, start it "
                "with --maxmemory",
            )


def processor_is_busy(evidence: Evidence) -> Iterator[Finding]:
    """It uses all of a core."""
    for report in evidence.reports:
        share = _rate(evidence, report, "cpu_seconds") or 0
        if share > CPU_SHARE_MAX:
            yield Finding(
                severity=Severity.NOTE,
                what=f"Node {report['node_id']} used {share:.0%} of a core.",
                cause="It has as much to do as one event loop can: reads, writes, or large queries.",
                mend="Read from the other nodes (X-Consistency: eventual), write in bulk, or add a learner for reads",
            )


def _rate(evidence: Evidence, report: Report, name: str) -> float | None:
    """How much a number of the process rose per second, if it was looked at for long enough to say so."""
    now, before = _number(report, name), _number(evidence.earlier(report) or {}, name)
    if now is None or before is None or evidence.seconds < SECONDS_MIN:
        return None
    return (now - before) / evidence.seconds


def _number(report: Report, name: str) -> float | None:
    value = (report.get("process") or {}).get(name)
    return float(value) if isinstance(value, int | float) else None
