"""Whether the nodes can be reached, from here and from each other."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.ops.cluster_status import Report
from quorate.ops.doctor.evidence import ANSWER_SECONDS_MAX, Evidence, Look, Obstacle, host_and_port
from quorate.ops.doctor.findings import Finding, Severity, names

SLOW_SECONDS = 0.5
"""A node that answers a question about itself later than this is busy, or far away."""


def nothing_answers(evidence: Evidence) -> Iterator[Finding]:
    """No node answers at all."""
    if not evidence.answers:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"No node answers at {names(list(evidence.asked))}.",
            cause="They do not run, they are elsewhere, or this machine cannot reach them.",
            mend=f"On the machine of one of them: quorate doctor {evidence.cluster_flag()} --data-dir DIR",
        )


def nothing_listens(evidence: Evidence) -> Iterator[Finding]:
    """A machine refuses the connection."""
    for look in evidence.looks:
        if look.obstacle is Obstacle.REFUSED:
            answered = any(each.address == look.address and each.error is None for each in evidence.before)
            yield Finding(
                severity=Severity.WARNING,
                what=f"Nothing listens at {_place(evidence, look)}.",
                cause=f"The node ended, or is being restarted: {evidence.seconds:.0f} s ago it answered."
                if answered
                else "The node does not run, or it runs under another --port or --host.",
                mend="See the end of its log, then start it with the flags that it had: "
                f"{evidence.start(evidence.member_at(look.address), look.address)}",
            )


def name_is_unknown(evidence: Evidence) -> Iterator[Finding]:
    """There is no address for a node's name."""
    for look in evidence.looks:
        if look.obstacle is Obstacle.UNKNOWN_NAME:
            host, _ = host_and_port(look.address)
            yield Finding(
                severity=Severity.WARNING,
                what=f"The name of {_place(evidence, look)} is not known here.",
                cause="It is misspelt, it has no entry in the DNS (yet), or no DNS server answers.",
                mend=f"getent hosts {host}; if the node is elsewhere now: quorate members update "
                f"{evidence.member_at(look.address) or 'ID'} --address HOST:PORT {evidence.cluster_flag()}",
            )


def address_is_silent(evidence: Evidence) -> Iterator[Finding]:
    """Not even a refusal comes back."""
    for look in evidence.looks:
        if look.error == "unreachable" and look.obstacle in (Obstacle.SILENT, None):
            host, port = host_and_port(look.address)
            yield Finding(
                severity=Severity.WARNING,
                what=f"There is no way to {_place(evidence, look)}: connections are not even refused.",
                cause="The machine is down, or a firewall drops what is sent to the port.",
                mend=f"ping -c 3 {host}; nc -vz -w 3 {host} {port}; if only the first succeeds, let TCP port {port} "
                "through the firewall",
            )


def no_answer(evidence: Evidence) -> Iterator[Finding]:
    """It takes connections and says nothing."""
    for look in evidence.looks:
        if look.error == "no answer":
            hangs_up = look.round_trip < ANSWER_SECONDS_MAX
            yield Finding(
                severity=Severity.WARNING,
                what=f"{_place(evidence, look)} takes connections, but {'ends them' if hangs_up else 'stays'} without "
                "an answer.",
                cause="Another program has the port, which speaks TLS or another protocol; or the node has just ended, "
                "or is embedded and speaks to peers alone."
                if hangs_up
                else "The process is stopped or has no processor, or the node is embedded and speaks to peers alone.",
                mend=f"On its machine: {_who_listens(look)}, then what it does: ps -o pid,stat,pcpu,args -p PID; "
                "if it is stopped (T): kill -CONT PID; if it hangs, kill it and start the node again",
            )


def not_a_node(evidence: Evidence) -> Iterator[Finding]:
    """Somebody else has the port."""
    for look in evidence.looks:
        if look.error == "not a node":
            node_id = evidence.member_at(look.address)
            yield Finding(
                severity=Severity.WARNING,
                what=f"What answers at {_place(evidence, look)} is no node.",
                cause="Another program has the port, or a proxy answers for a node that is not there.",
                mend=f"On its machine: {_who_listens(look)}; end that program, then: "
                f"{evidence.start(node_id, look.address)}; or start the node with another --port, then: "
                f"quorate members update {node_id or 'ID'} --address HOST:PORT {evidence.cluster_flag()}",
            )


def nodes_cannot_reach_each_other(evidence: Evidence) -> Iterator[Finding]:
    """A node answers here, but another one has no connection to it."""
    stayed = {report["node_id"]: report for report in evidence.reports if evidence.earlier(report)}
    for report in stayed.values():  # one that came up only now is not connected at once
        earlier = {peer["node_id"]: peer for peer in (evidence.earlier(report) or {}).get("peers", ())}
        for peer in report.get("peers", ()):
            there = stayed.get(peer["node_id"])
            if peer["connected"] or there is None:
                continue
            if earlier.get(peer["node_id"], {}).get("connected"):
                continue  # it has only just broken off, and is dialled again
            yield _no_connection(report, peer, there)


def _no_connection(report: Report, peer: Report, there: Report) -> Finding:
    here, other = report["node_id"], peer["node_id"]
    host, port = host_and_port(peer["address"])
    cause = "The network between them lets nothing through, or that address means something else there."
    mend = (
        f"On the machine of node {here}: nc -vz -w 3 {host} {port}; if the address is wrong, restart node {other} "
        "with --advertise HOST:PORT"
    )
    without = [each["node_id"] for each in (report, there) if each.get("schema", {}) is None]
    if len(without) == 1:
        cause = f"Node {without[0]} was started without --app, and nodes that serve models refuse one that does not."
        mend = f"Start node {without[0]} again with the --app of the others"
    return Finding(
        severity=Severity.WARNING,
        what=f"Node {here} cannot send to node {other} at {peer['address']}, which answers here.",
        cause=cause,
        mend=mend,
    )


def member_is_not_heard(evidence: Evidence) -> Iterator[Finding]:
    """The leader has a connection to a member, and no answers."""
    for member in ((evidence.leader or {}).get("membership") or {}).get("members", ()):
        if member["connected"] and member["heard"] is False:
            yield Finding(
                severity=Severity.WARNING,
                what=f"The leader has a connection to node {member['node_id']}, but hears nothing from it.",
                cause="The node is stopped or overloaded, or what it sends is lost on the way back.",
                mend=f"See that node's log and machine, and whether it lasts: quorate status {evidence.cluster_flag()}",
            )


def slow_answers(evidence: Evidence) -> Iterator[Finding]:
    """It takes long to say anything."""
    for look in evidence.answers:
        if look.round_trip > SLOW_SECONDS and evidence.earlier(look.report):  # one that starts is busy with that
            yield Finding(
                severity=Severity.WARNING,
                what=f"{look.called.capitalize()} took {look.round_trip * 1000:.0f} ms to answer.",
                cause="It is overloaded or short of processor time, or it is far away.",
                mend=f"ping -c 10 {host_and_port(look.address)[0]}, and top on its machine",
            )


def same_id_twice(evidence: Evidence) -> Iterator[Finding]:
    """Two processes say that they are the same node."""
    places: dict[int, dict[str, str]] = {}
    for look in evidence.answers:
        places.setdefault(look.report["node_id"], {})[look.report["address"]] = look.address
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
    """A node of another cluster is where a member should be, or among those that were asked."""
    strangers = {look.address: f"a node of cluster {look.report.get('cluster_id')!r}" for look in evidence.strangers}
    for report in evidence.reports:
        for address in report.get("other_cluster_at", ()):
            if address not in _seen(evidence):  # or what the node remembers of it may be over
                strangers[address] = "a node of another cluster"
    for address, stranger in strangers.items():
        node_id = evidence.member_at(address)
        yield Finding(
            severity=Severity.WARNING if node_id is None else Severity.CRITICAL,
            what=f"At {address} answers {stranger}, not of {evidence.cluster_id!r}.",
            cause="It was started with the wrong --cluster-id or --port, or one of the clusters was recovered by force "
            "without the other's nodes; or the addresses that were asked are those of several clusters.",
            mend=f"If it should be of {evidence.cluster_id!r}: stop it, then with an empty directory: "
            f"{evidence.start(node_id, address)} --cluster-id {evidence.cluster_id}"
            f"{'' if node_id is not None else ' --join'}; else leave it out of --cluster and --peers",
        )


def _seen(evidence: Evidence) -> set[str]:
    """The addresses of which is known what is there."""
    unknown = (Obstacle.SILENT, Obstacle.UNKNOWN_NAME)
    return {look.address for look in evidence.looks if look.obstacle not in unknown}


def _place(evidence: Evidence, look: Look) -> str:
    node_id = evidence.member_at(look.address)
    return look.address if node_id is None else f"{look.address} (node {node_id})"


def _who_listens(look: Look) -> str:
    return f"ss -ltnp 'sport = :{host_and_port(look.address)[1]}'"
