"""Whether the nodes' clocks agree: times in the log, deadlines, leases and schedules are the leader's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from statistics import median

from quorate.ops.doctor.evidence import Evidence, Look
from quorate.ops.doctor.findings import Finding, Severity

OFFSET_SECONDS_MAX = 0.5
OFFSET_SECONDS_CRITICAL = 30.0


def clock_offset(look: Look) -> float | None:
    """Seconds by which a node's clock is ahead of the one here; right to half of the round trip."""
    text = look.report.get("time")
    if not isinstance(text, str):
        return None
    try:
        there = datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
    return there - (look.asked_at + look.round_trip / 2)


def _agreed(offsets: Iterable[float]) -> float:
    """What most clocks say. Where two nodes contradict each other, the clock here decides."""
    found = list(offsets)
    return median(found if len(found) % 2 else [*found, 0.0])


def clocks_differ(evidence: Evidence) -> Iterator[Finding]:
    """A node's clock is not that of the others."""
    offsets = {look.address: offset for look in evidence.answers if (offset := clock_offset(look)) is not None}
    if len(offsets) < 2:
        return
    agreed = _agreed(offsets.values())
    for look in evidence.answers:
        if look.address not in offsets:
            continue
        off = offsets[look.address] - agreed
        sure = abs(off) - look.round_trip / 2
        if sure > OFFSET_SECONDS_MAX:
            yield Finding(
                severity=Severity.CRITICAL if sure > OFFSET_SECONDS_CRITICAL else Severity.WARNING,
                what=f"The clock of {look.called} is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'}.",
                cause="Its time is not synchronised. When the leader changes, deadlines of keys, leases of tasks and "
                "schedules come so much earlier or later.",
                mend="On its machine: timedatectl set-ntp true && timedatectl timesync-status",
            )


def own_clock_differs(evidence: Evidence) -> Iterator[Finding]:
    """The machine where this runs has another time than all the nodes."""
    looks = [(look, offset) for look in evidence.answers if (offset := clock_offset(look)) is not None]
    if not looks:
        return
    off = _agreed(offset for _, offset in looks)
    if abs(off) - max(look.round_trip for look, _ in looks) / 2 > OFFSET_SECONDS_MAX:
        yield Finding(
            severity=Severity.NOTE,
            what=f"This machine's clock is {abs(off):.1f} s {'behind' if off > 0 else 'ahead of'} the nodes' clocks.",
            cause="This machine's time, or that of all the nodes, is not synchronised.",
            mend="timedatectl set-ntp true && timedatectl timesync-status",
        )
