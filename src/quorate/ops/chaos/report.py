"""What a run was worth: its numbers, and whether they are good enough."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Call, Record
from quorate.ops.chaos.judging import Consistency
from quorate.ops.chaos.scenarios import Fault

SLOT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a run must reach to pass."""

    availability_percent: float = 99.9
    interruption_ms: float = 500.0
    consistency_percent: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReport:
    """One fault; seconds since the load began."""

    scenario: str
    told: str
    began_seconds: float
    ended_seconds: float | None
    recovered_seconds: float | None
    """When every node was whole again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A tenth of a second: operations that succeeded in it, and those begun in it that failed."""

    ok: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosReport:
    """All of it. Lengths of time say their unit."""

    target: str
    scenarios: list[str]
    seed: int
    nodes: int
    clients: int
    rate: float
    """Operations that the clients tried for, per second."""
    deadline_seconds: float
    seconds: float
    """How long there was load."""
    machine: str
    operations: int
    succeeded: int
    failed: int
    """Operations that were not carried out, and of which the client knows that."""
    unknown: int
    """Operations of which the client does not know: they may have been carried out."""
    errors: dict[str, int]
    """Tries that failed, by class: most were followed by one that did not."""
    tries: int
    availability_percent: float
    """Of the operations, how many succeeded within their deadline."""
    slots_available_percent: float
    """Of the tenths of seconds, in how many at least one operation succeeded."""
    longest_interruption_ms: float
    """The longest time in which no operation of any client succeeded."""
    interrupted_at_seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    """How long operations took that succeeded, from when they were due."""
    acknowledged: int
    """Appends whose values must be there at the end."""
    lost: int
    duplicated: int
    refused_but_there: int
    never_sent: int
    differing_keys: int
    consistency_percent: float
    linearizable: str
    """``yes``, ``no``, or ``undecided``."""
    faults: list[FaultReport]
    slots: list[Slot]
    findings: list[str]
    """What must not happen whatever the thresholds."""
    thresholds: Thresholds
    missed: list[str]
    """What of the thresholds was not reached, and why else the run does not pass."""

    @property
    def passed(self) -> bool:
        """Whether it was good enough."""
        return not self.missed

    def as_json(self) -> dict[str, Any]:
        """It as plain data."""
        return {**asdict(self), "passed": self.passed}


def missed(
    thresholds: Thresholds,
    *,
    availability_percent: float,
    interruption_ms: float,
    consistency_percent: float,
    linearizable: bool | None,
    operations: int,
    findings: Sequence[str],
) -> list[str]:
    """Why a run with these numbers does not pass: a line for each reason."""
    reasons = []
    if not operations:
        reasons.append("nothing was measured: there were no operations")
    if availability_percent < thresholds.availability_percent:
        reasons.append(
            f"availability: {floored(availability_percent)} %, not {thresholds.availability_percent:g} % or more"
        )
    if interruption_ms > thresholds.interruption_ms:
        reasons.append(f"longest interruption: {interruption_ms:.0f} ms, not {thresholds.interruption_ms:g} ms or less")
    if consistency_percent < thresholds.consistency_percent:
        reasons.append(
            f"consistency: {floored(consistency_percent)} %, not {thresholds.consistency_percent:g} % or more"
        )
    if linearizable is not True:
        reasons.append("the answers are not linearizable" if linearizable is False else "linearizable: undecided")
    if findings:
        reasons.append(f"{len(findings)} finding(s)")
    return reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was run."""

    target: str
    scenarios: list[str]
    seed: int
    nodes: int
    clients: int
    rate: float
    deadline_seconds: float
    machine: str


def make_report(
    setup: Setup,
    record: Record,
    waits: Sequence[float],
    errors: Counter[str],
    faults: Iterable[Fault],
    consistency: Consistency,
    findings: Sequence[str],
    thresholds: Thresholds,
) -> ChaosReport:
    """Put everything together. There was one stretch of load."""
    began, ended = record.active[0]
    outcomes = record.outcomes()
    operations = outcomes.total()
    gap_seconds, gap_at = record.longest_gap()
    availability = 100.0 * outcomes[OK] / operations if operations else 0.0
    slots = _slots(record.calls, began, ended)
    everything = [*findings, *dict.fromkeys(record.surprises), *consistency.findings]
    ordered = sorted(waits)
    lists = consistency.lists
    return ChaosReport(
        **asdict(setup),
        seconds=round(ended - began, 3),
        operations=operations,
        succeeded=outcomes[OK],
        failed=outcomes[NOT_APPLIED],
        unknown=outcomes[UNKNOWN],
        errors=dict(errors.most_common()),
        tries=operations + record.retried,
        availability_percent=availability,
        slots_available_percent=100.0 * sum(1 for slot in slots if slot.ok) / max(1, len(slots)),
        longest_interruption_ms=round(gap_seconds * 1000, 1),
        interrupted_at_seconds=round(gap_at - began, 3),
        p50_ms=_percentile_ms(ordered, 50),
        p99_ms=_percentile_ms(ordered, 99),
        max_ms=_percentile_ms(ordered, 100),
        acknowledged=lists.acknowledged,
        lost=lists.lost,
        duplicated=lists.duplicated,
        refused_but_there=lists.refused_but_there,
        never_sent=lists.never_sent,
        differing_keys=consistency.differing,
        consistency_percent=consistency.percent,
        linearizable={True: "yes", False: "no", None: "undecided"}[consistency.linearizable],
        faults=[_fault_report(fault, began) for fault in faults],
        slots=slots,
        findings=everything,
        thresholds=thresholds,
        missed=missed(
            thresholds,
            availability_percent=availability,
            interruption_ms=gap_seconds * 1000,
            consistency_percent=consistency.percent,
            linearizable=consistency.linearizable,
            operations=operations,
            findings=everything,
        ),
    )


def look_at_machine() -> str:
    """What it runs on, and how busy that is: the load is the kernel's average of the last minute."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def floored(percent: float) -> str:
    """With three decimals at most, and never more than it is: 99.9999 is not 100."""
    return f"{math.floor(percent * 1000) / 1000:g}" if percent < 100 else "100"


def _slots(calls: Iterable[Call], began: float, ended: float) -> list[Slot]:
    """The whole tenths of seconds of the load."""
    count = max(1, int((ended - began) / SLOT_SECONDS))
    ok, failed = [0] * count, [0] * count
    for call in calls:
        into = ok if call.outcome == OK else failed
        # A call that failed has no end that says anything: it is shown where it began.
        slot = int(((call.invoked if call.returned is None else call.returned) - began) / SLOT_SECONDS)
        if 0 <= slot < count:
            into[slot] += 1
    return [Slot(ok=good, failed=bad) for good, bad in zip(ok, failed, strict=True)]


def _fault_report(fault: Fault, began: float) -> FaultReport:
    def since(at: float | None) -> float | None:
        return None if at is None else round(at - began, 3)

    return FaultReport(
        scenario=str(fault.scenario),
        told=fault.told,
        began_seconds=round(fault.began - began, 3),
        ended_seconds=since(fault.ended),
        recovered_seconds=since(fault.recovered),
    )


def _percentile_ms(ordered: Sequence[float], percent: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000, 1)
