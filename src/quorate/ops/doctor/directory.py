"""A data directory whose node does not start: what keeps it from that."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from quorate.ops.doctor.disk import free_space_severity
from quorate.ops.doctor.evidence import Directory, Evidence
from quorate.ops.doctor.findings import Finding, Severity, size_text
from quorate.ops.inspect.directory import DirectoryReport
from quorate.storage.directory import StoredIdentity

DAMAGES_MAX = 10


def directory_is_new(evidence: Evidence) -> Iterator[Finding]:
    """Nothing is in it."""
    if evidence.directory is not None and evidence.directory.is_new:
        yield Finding(
            severity=Severity.NOTE,
            what=f"{evidence.directory.path} is empty, or not there: a node would begin anew with it.",
            cause="No node was started with it yet, or the path is another.",
            mend="Start the node with the --data-dir that was used before; a new one, with --join",
        )


def directory_is_none_of_ours(evidence: Evidence) -> Iterator[Finding]:
    """It has files of something else."""
    found = evidence.directory
    if found is not None and found.problem is not None:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"No node can use {found.path}: {found.problem}.",
            cause="The path is wrong, or may not be read.",
            mend="Give the node's --data-dir, and run this as the user that the node runs as: "
            f"ls -ld {quote(found.path)}",
        )


def directory_is_not_writable(evidence: Evidence) -> Iterator[Finding]:
    """The user that runs this may not write there."""
    found = evidence.directory
    if found is not None and not found.is_writable:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{found.path} cannot be written to.",
            cause="It belongs to another user, or the disk is mounted read-only.",
            mend=f"ls -ld {quote(found.path)}; chown it to the user of the node, or run this as that user",
        )


def directory_disk_fills(evidence: Evidence) -> Iterator[Finding]:
    """No room is left where it is."""
    found = evidence.directory
    if found is None or found.free_bytes is None or not found.total_bytes:  # some file systems have no size
        return
    severity = free_space_severity(found.free_bytes, found.total_bytes)
    if severity is not None:
        yield Finding(
            severity=severity,
            what=f"The disk of {found.path} has {size_text(found.free_bytes)} left.",
            cause="Something fills it. A node that cannot write does not start, or stops.",
            mend="See what fills it, and free some: du -xh --max-depth=2, where it is mounted: "
            f"df -h {quote(found.path)}",
        )


def directory_is_locked(evidence: Evidence) -> Iterator[Finding]:
    """A process uses it: a second one cannot."""
    report = _report(evidence)
    if report is None or report.used_by is None:
        return
    identity = report.identity
    answers = identity is not None and identity.node_id in evidence.answering
    process = report.used_by.removeprefix("process ")
    if answers or not evidence.looks:
        yield Finding(
            severity=Severity.NOTE,
            what=f"{report.path} is in use by {report.used_by}: the node runs.",
            cause="Only one process may use a data directory.",
            mend="Nothing; to start the node anew, stop that process first",
        )
    else:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{report.path} is in use by {report.used_by}, but its node does not answer.",
            cause="That process hangs, is still starting or stopping, or has another --port than the cluster knows.",
            mend=f"See what it does: ps -o pid,stat,etime,args -p {process}; kill it if it hangs, then start the node "
            "again",
        )


def directory_is_damaged(evidence: Evidence) -> Iterator[Finding]:
    """What is there cannot be read."""
    report = _report(evidence)
    if report is None or report.used_by is not None:
        return  # what is read while it is written may look torn
    for problem in report.problems[:DAMAGES_MAX]:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"Damaged: {problem}.",
            cause="The disk lost or changed what had been written, or somebody did.",
            mend="Start the node while a majority of the others runs: it sets the data aside and has itself repaired. "
            f"What is damaged: quorate inspect {quote(report.path)}",
        )


def directory_is_repaired(evidence: Evidence) -> Iterator[Finding]:
    """A repair was begun and not ended, or the cluster was recovered by force."""
    report = _report(evidence)
    if report is None:
        return
    if report.repairing is not None:
        yield Finding(
            severity=Severity.WARNING,
            what=f"The node of {report.path} does not vote until it is repaired: {report.repairing}.",
            cause="It lost data that it had voted with.",
            mend="Start it, and a majority of the others: then the repair ends by itself",
        )
    for name in report.recoveries:
        yield Finding(
            severity=Severity.NOTE,
            what=f"The cluster of {report.path} was recovered by force: {name}.",
            cause="Somebody ran quorate recover. Nodes that were left out must not come back with their old data.",
            mend="Start those that were left out with empty directories and --join; who they are: "
            f"cat {quote(f'{report.path}/{name}')}",
        )


def directory_has_another_id(evidence: Evidence) -> Iterator[Finding]:
    """It is another node's, another cluster's, or that of a node that was removed."""
    found, report = evidence.directory, _report(evidence)
    if found is None or report is None or report.identity is None:
        return
    yield from _wrong_node(found, report.identity)
    yield from _wrong_cluster(evidence, report, report.identity)


def _wrong_node(found: Directory, identity: StoredIdentity) -> Iterator[Finding]:
    if found.node_id not in (None, identity.node_id):
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{found.path} belongs to node {identity.node_id}, not to node {found.node_id}.",
            cause="--data-dir or --node-id is another node's.",
            mend=f"Start it with --node-id {identity.node_id}, or with its own --data-dir",
        )


def _wrong_cluster(evidence: Evidence, report: DirectoryReport, identity: StoredIdentity) -> Iterator[Finding]:
    clusters = {str(each["cluster_id"]) for each in evidence.reports if "cluster_id" in each}
    if clusters and identity.cluster_id not in clusters:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{report.path} is of cluster {identity.cluster_id!r}, and the nodes that answer are of "
            f"{', '.join(map(repr, sorted(clusters)))}.",
            cause="The directory or --cluster-id is another cluster's.",
            mend=f"Start it with --cluster-id {identity.cluster_id} and that cluster's --peers, or with an empty "
            "--data-dir",
        )
    elif evidence.members and identity.node_id not in evidence.members:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{report.path} is that of node {identity.node_id}, which is no member of the cluster.",
            cause="The node was removed, or never added.",
            mend=f"Delete the directory, then: {evidence.start(identity.node_id, identity.address)} --join; and: "
            f"quorate members add {identity.node_id}@{identity.address} {evidence.cluster_flag()}",
        )


def _report(evidence: Evidence) -> DirectoryReport | None:
    return evidence.directory.report if evidence.directory is not None else None
