"""What the node's process uses of its machine."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, size_text

RESIDENT_BYTES_MAX = 500_000_000
GROWTH_BYTES_PER_SECOND = 10_000_000
CPU_SHARE_MAX = 0.9
"""Of one core: a node's event loop has no more."""
SECONDS_MIN = 1.0
"""Less time than this says nothing about a rate."""


def memory_is_high(evidence: Evidence) -> Iterator[Finding]:
    """A process has more memory than a cluster of modest size needs."""
    for report in evidence.reports:
        resident = _number(report, "resident_bytes")
        if resident is not None and resident > RESIDENT_BYTES_MAX:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} uses {size_text(int(resident))} of memory.",
                cause="Keys are kept in memory, and so are objects that are cached; or the log is not cut.",
                mend="If it is the keys: quorate node --maxmemory 400mb, and expiry times; else see the log's growth",
            )


def memory_grows(evidence: Evidence) -> Iterator[Finding]:
    """It rises quickly while one looks."""
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        now, before = _number(report, "resident_bytes"), _number(earlier or {}, "resident_bytes")
        if now is None or before is None or evidence.seconds < SECONDS_MIN:
            continue
        rate = (now - before) / evidence.seconds
        if rate > GROWTH_BYTES_PER_SECOND:
            yield Finding(
                severity=Severity.WARNING,
                what=f"The memory of node {report['node_id']} grows by {size_text(int(rate))} a second.",
                cause="Much is being written into keys, a large snapshot is taken in, or clients do not take answers.",
                mend=f"quorate doctor {evidence.cluster_flag()} --seconds 30; if it goes on: --maxmemory",
            )


def processor_is_busy(evidence: Evidence) -> Iterator[Finding]:
    """It uses all of a core."""
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        now, before = _number(report, "cpu_seconds"), _number(earlier or {}, "cpu_seconds")
        if now is None or before is None or evidence.seconds < SECONDS_MIN:
            continue
        share = (now - before) / evidence.seconds
        if share > CPU_SHARE_MAX:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} used {share:.0%} of a core.",
                cause="It has as much to do as one event loop can: reads, writes, or large queries.",
                mend="Read from the other nodes (X-Consistency: eventual), write in bulk, or add a learner for reads",
            )


def _number(report: dict[str, object], name: str) -> float | None:
    process = report.get("process")
    value = process.get(name) if isinstance(process, dict) else None
    return float(value) if isinstance(value, int | float) else None
