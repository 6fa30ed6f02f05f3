"""Who belongs to the cluster, and whether that is wise."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.node.status import even_voters_warning
from quorate.ops.doctor.evidence import Evidence
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
            mend=f"quorate members add ID@HOST:PORT {evidence.cluster_flag()}, or quorate members remove ID; a node "
            "that only reads can be a --learner, one without data a --witness",
        )


def single_voter(evidence: Evidence) -> Iterator[Finding]:
    """A cluster of one."""
    if len(evidence.voters) == 1:
        yield Finding(
            severity=Severity.NOTE,
            what="The cluster has a single voter: nothing survives its loss.",
            cause="It was started alone, or all others were removed.",
            mend=f"quorate members add ID@HOST:PORT {evidence.cluster_flag()}, twice",
        )


def memberships_differ(evidence: Evidence) -> Iterator[Finding]:
    """Nodes go by different configurations, and go on doing so."""
    by_index: dict[int, list[str]] = {}
    for report in evidence.reports:
        earlier = evidence.earlier(report)
        if not report.get("membership") or not earlier or not earlier.get("membership"):
            continue
        index = report["membership"]["configuration_index"]
        if index == earlier["membership"]["configuration_index"]:
            by_index.setdefault(index, []).append(f"node {report['node_id']}")
    if len(by_index) > 1:
        told = names([f"{names(nodes)} by that of entry {index}" for index, nodes in sorted(by_index.items())])
        yield Finding(
            severity=Severity.WARNING,
            what=f"Not all nodes go by the same membership: {told}.",
            cause="Those with the older one do not get the log: they are cut off, far behind, or were removed.",
            mend=f"quorate members list {evidence.cluster_flag()}, then see why the older ones do not follow",
        )


def change_lasts(evidence: Evidence) -> Iterator[Finding]:
    """A change of the membership is under way, and does not end."""
    membership, leader = evidence.membership, evidence.leader
    if membership is None or not membership["joint"]:
        return
    earlier = evidence.earlier(leader) if leader else None
    same = (earlier or {}).get("membership") or {}
    lasts = same.get("joint") and same["configuration_index"] == membership["configuration_index"]
    yield Finding(
        severity=Severity.WARNING if lasts else Severity.NOTE,
        what=f"The membership is being changed: entry {membership['configuration_index']} is a joint configuration.",
        cause="Old and new majority have to agree, and one of them is not there."
        if lasts
        else "Somebody changes it just now.",
        mend=f"quorate members list {evidence.cluster_flag()}, and start the voters that do not answer",
    )


def joining_node_waits(evidence: Evidence) -> Iterator[Finding]:
    """A node waits for somebody to add it, or for its peers."""
    for report in evidence.reports:
        if report["role"] == "joining":
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} waits to be added, or for peers of which it knows no id yet.",
                cause="It was started with --join and nobody added it; or not all of its --peers run.",
                mend=f"quorate members add {report['node_id']}@{report['address']} {evidence.cluster_flag()}; or start "
                "the peers",
            )


def node_is_no_member(evidence: Evidence) -> Iterator[Finding]:
    """A node runs that the cluster does not know."""
    for report in evidence.reports:
        if report["role"] in ("joining", "failed") or not evidence.members:
            continue
        if report.get("member_role") is None or report["node_id"] not in evidence.members:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} at {report['address']} runs, but is no member.",
                cause="It was removed, or waits to be added.",
                mend=f"quorate members add {report['node_id']}@{report['address']} {evidence.cluster_flag()}; or stop "
                "it and delete its data",
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
                mend=f"quorate members list {evidence.cluster_flag()}; if it stays so, see that node's log",
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
            mend=f"quorate members add ID@HOST:PORT {evidence.cluster_flag()}: one more node with data",
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
            mend="Nothing, as long as a majority lives; df and dmesg on its machine say what its disk is worth",
        )
