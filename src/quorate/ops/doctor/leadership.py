"""Whether the cluster can decide: a majority, a leader, and one that stays."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence, awaits_admission, host_and_port
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
            mend="Start them, as is said below. Only if their data is gone for good, for it may lose writes: "
            "quorate recover --help",
        )


def no_spare_voter(evidence: Evidence) -> Iterator[Finding]:
    """It still works, and with one node less it would not."""
    alive, everyone = _alive(evidence)
    if evidence.leader is not None and len(evidence.voters) > 2 and alive <= evidence.majority:
        silent = sorted(evidence.voters - evidence.answering)
        yield Finding(
            severity=Severity.WARNING,
            what=f"{alive} of {everyone} voters answer: one failure more, and nothing is decided.",
            cause=f"No answer from node {names([str(node_id) for node_id in silent])}.",
            mend="Start what does not run, as is said below. What is lost for good is replaced: "
            f"quorate members remove {silent[0]} {evidence.cluster_flag()} && {evidence.add()}",
        )


def no_leader(evidence: Evidence) -> Iterator[Finding]:
    """A majority is there, and nobody leads it."""
    alive, everyone = _alive(evidence)
    if evidence.leader is None and evidence.answers and alive >= evidence.majority:
        if all(map(awaits_admission, evidence.reports)):
            return  # they are no cluster yet
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{alive} of {everyone} voters answer, and none of them leads, nor was one elected while one looked.",
            cause="The nodes do not hear each other, or their disks are too slow for an election.",
            mend="Mend what is found below of connections and disks; if that is nothing, see what the nodes' logs say "
            f"of connections that were refused or lost; then again: quorate doctor {evidence.cluster_flag()}",
        )


def two_leaders(evidence: Evidence) -> Iterator[Finding]:
    """Two nodes lead one term: no correct cluster can do that. In different terms, the older one was deposed."""
    leaders = [report for report in evidence.reports if report["role"] == "leader"]
    if len(leaders) < 2:
        return
    told = names([f"node {report['node_id']} (term {report['term']})" for report in leaders])
    terms = {report["term"] for report in leaders}
    if len(terms) < len(leaders):
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"Two nodes lead at the same time: {told}.",
            cause="They are of two clusters under one name: a copied data directory, or one recovered by force.",
            mend="Stop the one whose data is not to be kept; then see who is a member of the other: "
            "quorate members list --cluster HOST:PORT",
        )
    else:
        yield Finding(
            severity=Severity.WARNING,
            what=f"More than one node believes that it leads: {told}.",
            cause="The one with the lower term is cut off, and steps down by itself.",
            mend=f"Look again: quorate doctor {evidence.cluster_flag()}; if it stays so, see the network between them",
        )


def leaders_disagree(evidence: Evidence) -> Iterator[Finding]:
    """Nodes follow different leaders, or none."""
    if evidence.leader is None:
        return
    astray, probes = [], []
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        follows = report["leader"] == evidence.leader["node_id"]
        if not follows and earlier is not None and earlier["leader"] == report["leader"] and report.get("member_role"):
            whom = f"follows node {report['leader']}" if report["leader"] is not None else "knows no leader"
            astray.append(f"node {report['node_id']} {whom}")
            probes.append(f"nc -vz {' '.join(host_and_port(report['address']))}")
    if astray:
        yield Finding(
            severity=Severity.WARNING,
            what=f"Node {evidence.leader['node_id']} leads, but {names(astray)}.",
            cause="Heartbeats do not reach them: they are cut off from the leader, or go by another membership.",
            mend=f"On the leader's machine: {' && '.join(probes)}; then: quorate status {evidence.cluster_flag()}",
        )


def terms_rise(evidence: Evidence) -> Iterator[Finding]:
    """Elections while one looks."""
    before = max((look.report["term"] for look in evidence.before if look.error is None), default=0)
    more = max((report["term"] for report in evidence.reports), default=0) - before
    if more > 0 and evidence.before:
        yield Finding(
            severity=Severity.CRITICAL if more >= FLAPPING_TERMS else Severity.WARNING,
            what=f"The term rose by {more} within {evidence.seconds:.0f} s: "
            f"{'leaders do not last' if more >= FLAPPING_TERMS else 'a leader was lost or replaced'}.",
            cause="Heartbeats come too late: a slow or lossy network, a disk that takes long to sync, or too little "
            "processor time. One election is no trouble where a node was stopped or restarted just now.",
            mend=f"See whether it goes on: quorate doctor --seconds 30 {evidence.cluster_flag()}. If the network is "
            "that slow, start all nodes with --preset wan; else mend the disk or the load",
        )


def node_failed(evidence: Evidence) -> Iterator[Finding]:
    """A node says that it has given up."""
    for report in evidence.reports:
        if report["role"] == "failed" or report.get("failure"):
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"Node {report['node_id']} has given up: {report.get('failure')}.",
                cause="What it stores cannot be trusted any more, or a write to its disk failed.",
                mend="Mend what it says, then start it again: "
                f"{evidence.start(report['node_id'], report['address'])}. What its disk holds: quorate inspect DIR",
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
                mend=f"See how far it is, and its log: quorate status {evidence.cluster_flag()}",
            )


def _alive(evidence: Evidence) -> tuple[int, int]:
    """(voters that answer, all of them); of nodes while the voters are not known."""
    if evidence.voters:
        return len(evidence.voters & evidence.answering), len(evidence.voters)
    return len(evidence.answers), len(evidence.looks)
