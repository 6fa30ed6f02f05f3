"""Whether the cluster can decide: a majority, a leader, and one that stays."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, names

FLAPPING_TERMS = 2
"""So many terms more while one looks are no accident."""


def quorum_is_lost(evidence: Evidence) -> Iterator[Finding]:
    """Too few voters answer for anything to be decided."""
    alive, everyone = _alive(evidence)
    if evidence.leader is None and evidence.answers and alive < evidence.majority:
        missing = [
            f"{node_id}@{evidence.members[node_id]['address']}"
            for node_id in sorted(evidence.voters - evidence.answering)
        ] or [look.address for look in evidence.looks if look.error is not None]
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"The quorum is lost: {alive} of {everyone} voters answer, and {evidence.majority} are needed. "
            "Nothing is written, and strong reads fail.",
            cause=f"No answer from {names(missing)}.",
            mend="Start them. Only if their data is gone for good: quorate recover --help, which may lose writes",
        )


def no_spare_voter(evidence: Evidence) -> Iterator[Finding]:
    """It still works, and with one node less it would not."""
    alive, everyone = _alive(evidence)
    if evidence.leader is not None and everyone > 2 and alive <= evidence.majority:
        yield Finding(
            severity=Severity.WARNING,
            what=f"{alive} of {everyone} voters answer: one failure more, and nothing is decided.",
            cause=f"No answer from node {names(sorted(map(str, evidence.voters - evidence.answering)))}.",
            mend="Start what does not run; replace what is lost: quorate members remove ID, quorate members add",
        )


def no_leader(evidence: Evidence) -> Iterator[Finding]:
    """A majority is there, and nobody leads it."""
    alive, _ = _alive(evidence)
    if evidence.leader is None and evidence.answers and alive >= evidence.majority:
        seen = any(look.report.get("role") == "leader" for look in evidence.before)
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{alive} voters answer, but none of them leads.",
            cause="An election is under way." if seen else "The nodes do not hear each other, or none can win.",
            mend="See 'nodes cannot reach each other' above, or what the nodes' logs say of refused connections; "
            f"then quorate doctor {evidence.cluster_flag()} again",
        )


def two_leaders(evidence: Evidence) -> Iterator[Finding]:
    """Two nodes lead one term: no correct cluster can do that. In different terms, the older one was deposed."""
    leaders = [report for report in evidence.reports if report["role"] == "leader"]
    if len(leaders) < 2:
        return
    told = names([f"node {report['node_id']} (term {report['term']})" for report in leaders])
    terms = {report["term"] for report in leaders}
    clusters = {report.get("cluster_id") for report in leaders}
    if len(terms) < len(leaders) and len(clusters) == 1:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"Two nodes lead at the same time: {told}.",
            cause="They are of two clusters under one name: a copied data directory, or one recovered by force.",
            mend="Stop the one whose data is not to be kept; then quorate members list, at the other",
        )
    else:
        yield Finding(
            severity=Severity.WARNING,
            what=f"More than one node believes that it leads: {told}.",
            cause="The one with the lower term is cut off and steps down by itself; or these are several clusters.",
            mend=f"quorate doctor {evidence.cluster_flag()} again; if it stays so, see the network between them",
        )


def leaders_disagree(evidence: Evidence) -> Iterator[Finding]:
    """Nodes follow different leaders, or none."""
    if evidence.leader is None:
        return
    astray = []
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        follows = report["leader"] == evidence.leader["node_id"]
        if not follows and earlier is not None and earlier["leader"] == report["leader"] and report.get("member_role"):
            whom = f"follows node {report['leader']}" if report["leader"] is not None else "knows no leader"
            astray.append(f"node {report['node_id']} {whom}")
    if astray:
        yield Finding(
            severity=Severity.WARNING,
            what=f"Node {evidence.leader['node_id']} leads, but {names(astray)}.",
            cause="Heartbeats do not reach them: they are cut off from the leader, or go by another membership.",
            mend=f"On the leader's machine: nc -vz to their addresses; quorate status {evidence.cluster_flag()}",
        )


def terms_rise(evidence: Evidence) -> Iterator[Finding]:
    """Elections while one looks."""
    before = max((look.report["term"] for look in evidence.before if look.error is None), default=0)
    more = max((report["term"] for report in evidence.reports), default=0) - before
    if more > 0 and evidence.before:
        yield Finding(
            severity=Severity.CRITICAL if more >= FLAPPING_TERMS else Severity.WARNING,
            what=f"The term rose by {more} within {evidence.seconds:.0f} s: leaders do not last.",
            cause="Heartbeats come too late: a slow or lossy network, a disk that takes long to sync, or too little "
            "processor time. A node that was restarted just now makes one election, too.",
            mend="If the network is that slow: quorate node --preset wan, on all nodes; else mend the disk or the load",
        )


def node_failed(evidence: Evidence) -> Iterator[Finding]:
    """A node says that it has given up."""
    for report in evidence.reports:
        if report["role"] == "failed" or report.get("failure"):
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"Node {report['node_id']} has given up: {report.get('failure')}.",
                cause="What it stores cannot be trusted any more, or a write to its disk failed.",
                mend="Mend what it says, then start it again; quorate inspect DIR shows what its disk holds",
            )


def node_does_not_serve(evidence: Evidence) -> Iterator[Finding]:
    """There is a leader, and still a node cannot serve a strong read."""
    for look in evidence.answers:
        serves = look.unhealthy is None or look.report.get("member_role") in (None, "witness")
        if evidence.leader is not None and not serves and look.report["role"] not in ("joining", "failed"):
            yield Finding(
                severity=Severity.WARNING,
                what=f"{look.called.capitalize()} cannot serve strong reads: {look.unhealthy}",
                cause="It is cut off from the leader, far behind, or about to stop.",
                mend=f"quorate status {evidence.cluster_flag()}, and look at its log",
            )


def _alive(evidence: Evidence) -> tuple[int, int]:
    """(voters that answer, all of them); of nodes while the voters are not known."""
    if evidence.voters:
        return len(evidence.voters & evidence.answering), len(evidence.voters)
    return len(evidence.answers), len(evidence.looks)
