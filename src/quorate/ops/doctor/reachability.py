"""Whether the nodes can be reached, from here and from each other."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.doctor.evidence import Evidence, Look
from quorate.ops.doctor.findings import Finding, Severity, names

SLOW_SECONDS = 0.5
"""A node that answers a question about itself later than this is busy, or far away."""


def nothing_answers(evidence: Evidence) -> Iterator[Finding]:
    """No node answers at all."""
    if evidence.looks and not evidence.answers:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"None of the nodes at {names(list(evidence.asked))} answers.",
            cause="They do not run, they are elsewhere, or this machine cannot reach them.",
            mend="On a machine of one of them: quorate doctor --cluster HOST:PORT --data-dir DIR",
        )


def nothing_listens(evidence: Evidence) -> Iterator[Finding]:
    """A machine refuses the connection."""
    for look in evidence.looks:
        if look.error is not None and look.listens is False:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Nothing listens at {_place(evidence, look)}.",
                cause="The node does not run, or it runs under another --port or --host.",
                mend=f"Look at the end of its log, then start it: {_start(evidence, look)}",
            )


def address_is_silent(evidence: Evidence) -> Iterator[Finding]:
    """Not even a refusal comes back."""
    for look in evidence.looks:
        if look.error == "unreachable" and look.listens is not False:
            host, _, port = look.address.rpartition(":")
            yield Finding(
                severity=Severity.WARNING,
                what=f"There is no way to {_place(evidence, look)}: connections are not even refused.",
                cause="The machine is down, a firewall drops what is sent to the port, or the name is wrong.",
                mend=f"nc -vz {host} {port}, and let TCP port {port} through the firewall",
            )


def no_answer(evidence: Evidence) -> Iterator[Finding]:
    """It takes connections and says nothing."""
    for look in evidence.looks:
        if look.error == "no answer":
            yield Finding(
                severity=Severity.WARNING,
                what=f"{_place(evidence, look)} takes connections, but does not answer.",
                cause="The process is stopped or has no processor, or the node is embedded and speaks to peers alone.",
                mend="See what the process does (ps -o pid,stat,pcpu,args), and restart it if it does nothing",
            )


def not_a_node(evidence: Evidence) -> Iterator[Finding]:
    """Somebody else has the port."""
    for look in evidence.looks:
        if look.error == "not a node":
            port = look.address.rpartition(":")[2]
            yield Finding(
                severity=Severity.WARNING,
                what=f"What answers at {look.address} is no node.",
                cause="Another program has the port, or a proxy answers for a node that is not there.",
                mend=f"ss -ltnp 'sport = :{port}' on that machine, then start the node with a --port that is free",
            )


def nodes_cannot_reach_each_other(evidence: Evidence) -> Iterator[Finding]:
    """A node answers here, but another one has no connection to it."""
    for report in evidence.reports:
        for peer in report.get("peers", ()):
            if peer["connected"] or peer["node_id"] not in evidence.answering:
                continue
            earlier = evidence.earlier(report)
            if earlier and any(p["node_id"] == peer["node_id"] and p["connected"] for p in earlier.get("peers", ())):
                continue  # it has only just broken off, and is dialled again
            host, _, port = peer["address"].rpartition(":")
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']} cannot send to node {peer['node_id']} at {peer['address']}, "
                "which answers here.",
                cause="The network between them lets nothing through, or that address means something else there.",
                mend=f"On the machine of node {report['node_id']}: nc -vz {host} {port}; if the address is wrong, "
                f"restart node {peer['node_id']} with --advertise HOST:PORT",
            )


def member_is_not_heard(evidence: Evidence) -> Iterator[Finding]:
    """The leader has a connection to a member, and no answers."""
    for member in (evidence.leader or {}).get("membership", {}).get("members", ()):
        if member["connected"] and member["heard"] is False:
            yield Finding(
                severity=Severity.WARNING,
                what=f"The leader has a connection to node {member['node_id']}, but hears nothing from it.",
                cause="The node is stopped or overloaded, or what it sends is lost on the way back.",
                mend=f"quorate status {evidence.cluster_flag()}, and see that node's log and machine",
            )


def slow_answers(evidence: Evidence) -> Iterator[Finding]:
    """It takes long to say anything."""
    for look in evidence.answers:
        if look.round_trip > SLOW_SECONDS:
            yield Finding(
                severity=Severity.WARNING,
                what=f"{look.called.capitalize()} took {look.round_trip * 1000:.0f} ms to answer.",
                cause="It is overloaded or short of processor time, or it is far away.",
                mend=f"ping -c 10 {look.address.rpartition(':')[0]}, and top on its machine",
            )


def same_id_twice(evidence: Evidence) -> Iterator[Finding]:
    """Two processes say that they are the same node."""
    places: dict[int, dict[object, str]] = {}
    for look in evidence.answers:
        own = look.report.get("process", {}).get("pid") or look.report["address"]
        places.setdefault(look.report["node_id"], {})[own] = look.address
    for node_id, found in places.items():
        if len(found) > 1:
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"Node {node_id} is at {names(list(found.values()))} at the same time.",
                cause="Two nodes were started with one id: a copied data directory or configuration, as a rule.",
                mend=f"Stop the one that is not the member ({evidence.members.get(node_id, {}).get('address', '?')}), "
                "and start it with an empty --data-dir, an id of its own, and --join",
            )


def another_cluster_answers(evidence: Evidence) -> Iterator[Finding]:
    """Nodes of another cluster are where the peers should be, or among those that were asked."""
    for report in evidence.reports:
        if report.get("other_cluster_at"):
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"Node {report['node_id']} finds another cluster's nodes at {names(report['other_cluster_at'])}.",
                cause="The cluster was recovered by force without this node, or --peers or --cluster-id are wrong.",
                mend=f"If it was recovered: quorate node --node-id {report['node_id']} --join with an empty --data-dir,"
                " and quorate members add; else correct its settings",
            )
    clusters = sorted({str(report["cluster_id"]) for report in evidence.reports if "cluster_id" in report})
    if len(clusters) > 1:
        yield Finding(
            severity=Severity.WARNING,
            what=f"The nodes that were asked are of {len(clusters)} clusters: {names(clusters)}.",
            cause="The addresses are those of several clusters, or a node was started with the wrong --cluster-id.",
            mend="Ask one cluster at a time, or start the node again with its cluster's --cluster-id and an empty "
            "--data-dir",
        )


def _place(evidence: Evidence, look: Look) -> str:
    node_id = evidence.member_at(look.address)
    return look.address if node_id is None else f"{look.address} (node {node_id})"


def _start(evidence: Evidence, look: Look) -> str:
    node_id, port = evidence.member_at(look.address), look.address.rpartition(":")[2]
    return f"quorate node --node-id {node_id or 'ID'} --port {port} …; or quorate doctor --data-dir DIR where it was"
