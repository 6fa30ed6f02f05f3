"""Who belongs to the cluster, and whether that is wise."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.node.status import even_voters_warning
from quorate.ops.cluster_status import Report
from quorate.ops.doctor.evidence import Evidence, awaits_admission
from quorate.ops.doctor.findings import Finding, Severity, names


def even_voters(evidence: Evidence) -> Iterator[Finding]:
    """An even number of voters, those to be included."""
    coming = {node_id for node_id, member in evidence.members.items() if member["promote"] and not member["leaving"]}
    voters = len(evidence.voters | coming)
    if voters and voters % 2 == 0:
        yield Finding(
            severity=Severity.WARNING,
            what=f"{even_voters_warning(voters)}.",
            cause="A node was added or removed, and its counterpart was not.",
            mend=f"One fewer: {_one_fewer(evidence, coming)}; or one more, which may be a --witness without data: "
            f"{evidence.add()}",
        )


def _one_fewer(evidence: Evidence, coming: set[int]) -> str:
    """Without a voter that does not answer; if all do, without a witness; or one that does not lead is a learner."""
    voters = evidence.voters | coming
    witnesses = {node_id for node_id in voters if evidence.members[node_id]["role"] == "witness"}
    if spare := voters - evidence.answering or witnesses:
        return f"quorate members remove {max(spare)} {evidence.cluster_flag()}"
    leader = evidence.leader["node_id"] if evidence.leader is not None else None
    return f"quorate members demote {max(voters - {leader})} {evidence.cluster_flag()}"


def single_voter(evidence: Evidence) -> Iterator[Finding]:
    """A cluster of one."""
    if len(evidence.voters) == 1:
        yield Finding(
            severity=Severity.NOTE,
            what="The cluster has a single voter: nothing survives its loss.",
            cause="It was started alone, or all others were removed.",
            mend=f"Start two more with --join and add them: {evidence.add()}",
        )


def memberships_differ(evidence: Evidence) -> Iterator[Finding]:
    """Nodes go by different configurations, and go on doing so."""
    by_index: dict[int, list[str]] = {}
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        if not report.get("membership") or awaits_admission(report) or not (earlier or {}).get("membership"):
            continue
        index = report["membership"]["configuration_index"]
        if earlier is not None and index == earlier["membership"]["configuration_index"]:
            by_index.setdefault(index, []).append(f"node {report['node_id']}")
    if len(by_index) > 1:
        told = names([f"{names(nodes)} by that of entry {index}" for index, nodes in sorted(by_index.items())])
        yield Finding(
            severity=Severity.WARNING,
            what=f"Not all nodes go by the same membership: {told}.",
            cause="Those with the older one do not get the log: they are cut off, far behind, or were removed.",
            mend=f"See why the older ones do not follow: quorate members list {evidence.cluster_flag()}",
        )


def change_lasts(evidence: Evidence) -> Iterator[Finding]:
    """A change of the membership is under way, and does not end."""
    membership = evidence.membership
    if membership is None or not membership["joint"]:
        return
    index = membership["configuration_index"]
    before = [look.report.get("membership") or {} for look in evidence.before]
    lasts = any(each.get("joint") and each["configuration_index"] == index for each in before)
    yield Finding(
        severity=Severity.WARNING if lasts else Severity.NOTE,
        what=f"The membership is being changed: entry {index} is a joint configuration.",
        cause="Old and new majority have to agree, and one of them is not there."
        if lasts
        else "Somebody changes it just now.",
        mend=f"Start the voters that do not answer: quorate members list {evidence.cluster_flag()}",
    )


def joining_node_waits(evidence: Evidence) -> Iterator[Finding]:
    """A node waits for somebody to add it, or for its peers."""
    for report in evidence.reports:
        if awaits_admission(report) and report["node_id"] not in evidence.members:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} waits to be added.",
                cause="It was started with --join, and nobody has added it yet.",
                mend=_admit(evidence, report),
            )
        elif report["role"] == "joining":
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} waits for peers of which it knows no id yet.",
                cause="Not all of its --peers run, or they cannot be reached from its machine.",
                mend=f"Start the peers; if they are members already: {_admit(evidence, report)}",
            )


def _admit(evidence: Evidence, report: Report) -> str:
    flag = evidence.cluster_flag() if evidence.members else "--cluster HOST:PORT"
    return f"quorate members add {report['node_id']}@{report['address']} {flag}"


def node_is_no_member(evidence: Evidence) -> Iterator[Finding]:
    """A node runs that the cluster does not know."""
    for report in evidence.reports:
        if report["role"] in ("joining", "failed") or awaits_admission(report) or not evidence.members:
            continue
        if report.get("member_role") is None or report["node_id"] not in evidence.members:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} at {report['address']} runs, but is no member.",
                cause="It was removed, or is not told yet that it was added.",
                mend=f"Stop it and delete its data; if it is to come back, start it with --join, then: "
                f"{_admit(evidence, report)}",
            )


def learner_waits_for_its_vote(evidence: Evidence) -> Iterator[Finding]:
    """A voter to be, which is still a learner."""
    for node_id, member in evidence.members.items():
        if member["promote"] and member["role"] != "voter":
            yield Finding(
                severity=Severity.NOTE,
                what=f"Node {node_id} is still a {member['role']}, and votes once it has caught up "
                f"(it lacks {member['lag'] if member['lag'] is not None else 'an unknown number of'} entries).",
                cause="It was added a short time ago, or it cannot be brought the data.",
                mend=f"See whether it gains, else its log: quorate members list {evidence.cluster_flag()}; if it is "
                f"not to be added after all: quorate members remove {node_id} {evidence.cluster_flag()}",
            )


def few_copies(evidence: Evidence) -> Iterator[Finding]:
    """Witnesses decide with so few holders of data that a write may be on one disk only."""
    witnesses = sum(evidence.members[node_id]["role"] == "witness" for node_id in evidence.voters)
    copies = len(evidence.voters) // 2 + 1 - witnesses
    if witnesses and copies <= 1 < len(evidence.voters):
        yield Finding(
            severity=Severity.NOTE if copies == 1 else Severity.CRITICAL,
            what=f"With {witnesses} witness{'es' if witnesses > 1 else ''} of {len(evidence.voters)} voters, a write "
            f"may be on {'one disk' if copies == 1 else 'no disk'} when it is acknowledged.",
            cause="A witness votes and holds no data.",
            mend=f"Start one more node with data, and add it: {evidence.add()}",
        )


def node_is_repaired(evidence: Evidence) -> Iterator[Finding]:
    """A node lost its data, and does not vote until the others have taken it in anew."""
    ids = {report["node_id"] for report in evidence.reports if report.get("repairing")}
    ids |= {node_id for node_id, member in evidence.members.items() if member["repairing"]}
    for node_id in sorted(ids):
        yield Finding(
            severity=Severity.WARNING,
            what=f"Node {node_id} lost its data, and does not vote while the others repair it.",
            cause="Its disk was damaged, wiped or replaced.",
            mend="Nothing, as long as a majority lives; dmesg on its machine says what its disk is worth",
        )
