"""Whether everybody follows, and whether the log is cut behind them."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence, host_and_port
from quorate.ops.doctor.findings import Finding, Severity, size_text

LAG_ENTRIES_MAX = 1_000
KEPT_ENTRIES = 10_000
"""Applied entries that stay in the log by default, for peers that lag."""
GROWTH_TIMES = 2
"""The log may be so many times as long as its settings say: it is cut every now and then, not all the time."""
LOG_BYTES_MAX = 4 * 64 * 2**20
"""Beyond 64 MiB the log is cut, and beyond three times that without regard to peers that lag."""


def nothing_commits(evidence: Evidence) -> Iterator[Finding]:
    """The leader has entries that were there the first time, too, and none has been committed since."""
    leader = evidence.leader
    earlier = evidence.earlier(leader) if leader else None
    if leader is None or earlier is None or earlier["role"] != "leader" or earlier["term"] != leader["term"]:
        return
    stuck = leader["commit_index"] == earlier["commit_index"] < earlier["last_index"]
    if stuck:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"Nothing was committed for {evidence.seconds:.0f} s: the leader has entries up to "
            f"{leader['last_index']}, and {leader['commit_index']} is the last that is committed.",
            cause="No majority acknowledges what it sends: nodes are missing, cut off, or their disks stand still.",
            mend="Mend what is said of the other nodes here; if it is the leader's own disk or network: "
            f"quorate members transfer-leader {evidence.cluster_flag()}",
        )


def member_lags(evidence: Evidence) -> Iterator[Finding]:
    """A member lacks many entries."""
    leader = evidence.leader
    earlier = evidence.earlier(leader) if leader else None
    before = {
        member["node_id"]: member["lag"] for member in ((earlier or {}).get("membership") or {}).get("members", ())
    }
    ping = f", ping -c 10 {host_and_port(leader['address'])[0]}" if leader else ""
    for node_id, member in evidence.members.items():
        lag, was = member["lag"], before.get(node_id)
        if lag is None or lag <= LAG_ENTRIES_MAX or member["snapshot"] or node_id not in evidence.answering:
            continue
        catches_up = was is not None and lag < was
        yield Finding(
            severity=Severity.NOTE if catches_up else Severity.WARNING,
            what=f"Node {node_id} lacks {lag} entries, {'and catches up' if catches_up else 'and gains nothing'} "
            f"({was if was is not None else 'unknown'} before, {evidence.seconds:.0f} s ago).",
            cause="It was away."
            if catches_up
            else "Its disk, its processor or the network to it is too slow for what is written.",
            mend=f"On its machine: top, iostat -x 1 5{ping}",
        )


def gets_a_snapshot(evidence: Evidence) -> Iterator[Finding]:
    """A member lacks entries that the log does not have any more."""
    for node_id, member in evidence.members.items():
        if member["snapshot"]:
            yield Finding(
                severity=Severity.NOTE,
                what=f"Node {node_id} is being brought a snapshot.",
                cause="It is new, or was away for longer than the log reaches back.",
                mend=f"Nothing; whether it goes on, and its log: quorate members list {evidence.cluster_flag()}",
            )


def applies_slowly(evidence: Evidence) -> Iterator[Finding]:
    """A node has much that is committed, and not applied."""
    for report in evidence.reports:
        waiting = report["commit_index"] - report["applied_index"]
        if waiting > LAG_ENTRIES_MAX:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} has {waiting} entries to apply that are committed.",
                cause="It has just started and replays its log, does a migration, or has too little processor time.",
                mend=f"See whether it falls, else top on its machine: quorate status {evidence.cluster_flag()}",
            )


def log_is_not_cut(evidence: Evidence) -> Iterator[Finding]:
    """The log is longer, or larger, than its settings let it become."""
    for report in evidence.reports:
        settings = (report.get("storage") or {}).get("settings") or {}
        entries = report["last_index"] - report["snapshot_index"]
        kept = (report.get("settings") or {}).get("snapshot_trailing_entries", KEPT_ENTRIES)
        bound = GROWTH_TIMES * (settings.get("snapshot_threshold", KEPT_ENTRIES) + kept)
        if entries > bound or report["log_bytes"] > LOG_BYTES_MAX:
            yield Finding(
                severity=Severity.WARNING,
                what=f"The log of node {report['node_id']} grows and is not cut: {entries} entries, "
                f"{size_text(report['log_bytes'])}.",
                cause="What is applied cannot be made durable (see its log), it lags far behind itself, or entries "
                "are kept for a member that is being brought a snapshot.",
                mend=f"On its machine: quorate inspect DIR; a lower --snapshot-threshold than "
                f"{settings.get('snapshot_threshold', KEPT_ENTRIES)} at its start cuts it sooner",
            )
