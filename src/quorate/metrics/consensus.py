"""Term, leader, members, elections, proposals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from quorate._version import __version__
from quorate.metrics.families import counter, counters, gauge, gauges, histogram
from quorate.node.node import Node
from quorate.node.status import MemberStatus, NodeStatus
from quorate.raft.membership import MemberRole
from quorate.raft.roles import Role

ROLES = ("joining", *(role.value for role in Role), "failed")
WHOLE, OUT_OF_REACH, CUT_OFF = 0, 1, 2
"""How the cluster looks from here: see ``quorate_partition_state``."""


def consensus(node: Node) -> Iterator[Metric]:
    """All of it."""
    status = node.status
    yield gauges(
        "build_info",
        "Always 1; the labels say what runs here",
        ("version", "node_id", "cluster_id"),
        {(__version__, str(node.node_id), node.config.cluster_id): 1},
    )
    yield from _leadership(node, status)
    yield from _members(node, status)
    yield from _elections(node)
    yield from _proposals(node)


def _leadership(node: Node, status: NodeStatus) -> Iterator[Metric]:
    yield gauge("term", "The current term", status.term)
    yield gauge("leader_id", "The id of the leader that this node knows; 0 while it knows none", status.leader or 0)
    yield gauge("is_leader", "1 while this node believes that it leads", node.is_leader)
    yield gauges(
        "role", "1 for what the node is, 0 for the others", ("role",), {(role,): role == status.role for role in ROLES}
    )
    counts = {(role.value,): node.timeline.roles_taken[role] for role in Role}
    yield counters("role_changes_total", "How often this node became what", ("role",), counts)


def _members(node: Node, status: NodeStatus) -> Iterator[Metric]:
    members = status.membership.members if status.membership is not None else ()
    healthy = [member.node_id for member in members if _is_healthy(member)]
    running = node.running
    quorum = running is not None and running.group.core.configuration.quorum.includes(healthy)
    roles = Counter(member.role for member in members)
    yield gauge("cluster_size", "Members of the configuration in force", len(members))
    yield gauge("healthy_members", "Members that this node can reach, with itself", len(healthy))
    yield gauges("members", "Members by what they are", ("role",), {(role.value,): roles[role] for role in MemberRole})
    is_outside = running is not None and status.member_role is None
    yield gauge(
        "quorum_reachable",
        "1 while the members that this node can reach are a quorum; nothing while it waits to be one",
        None if is_outside else quorum,
    )
    state = CUT_OFF if not quorum else OUT_OF_REACH if len(healthy) < len(members) else WHOLE
    yield gauge(
        "partition_state",
        f"{WHOLE}: all members can be reached; {OUT_OF_REACH}: some cannot; {CUT_OFF}: this node reaches no quorum",
        None if is_outside else state,
    )
    yield counter(
        "partitions_total",
        "How often members that were connected became unreachable or silent",
        node.timeline.partitions,
    )
    changes = node.timeline.counts["membership_changed"]
    yield counter("membership_changes_total", "Configurations that came into force", changes)


def _is_healthy(member: MemberStatus) -> bool:
    return member.connected and member.heard is not False


def _elections(node: Node) -> Iterator[Metric]:
    timeline = node.timeline
    yield counter("elections_total", "Elections that ended with a leader, as seen from here", timeline.elections.count)
    yield histogram(
        "election_duration_seconds",
        "From when this node heard from its leader last, or stood itself, until it knew one again",
        timeline.elections,
    )
    yield gauge(
        "last_election_duration_seconds",
        "How long the last election took",
        timeline.election_seconds_last,
    )
    at_us = timeline.elected_at_us
    yield gauge(
        "leader_known_timestamp_seconds", "When this node last came to know a leader", at_us and at_us / 1_000_000
    )
    yield counter("leader_losses_total", "How often a leader that was known was lost", timeline.counts["leader_lost"])
    stood, won = (timeline.roles_taken[role] for role in (Role.CANDIDATE, Role.LEADER))
    yield counter("candidacies_total", "How often this node stood for election, the votes having been promised", stood)
    yield counter("candidacies_won_total", "How often this node was elected", won)


def _proposals(node: Node) -> Iterator[Metric]:
    figures, running = node.figures, node.running
    group = running.group if running is not None else None
    outcomes = {(outcome,): count for outcome, count in figures.proposals.outcomes.items()}
    yield counters("proposals_total", "Proposals of this node by what became of them", ("outcome",), outcomes)
    yield histogram(
        "proposal_duration_seconds", "From a proposal of this node to its outcome", figures.proposals.seconds
    )
    yield gauge("proposals_pending", "Proposals of this node without an outcome", group.pending if group else 0)
    yield gauge("proposals_queued", "Commands that wait to be put into the log", group.queued if group else 0)
    yield gauge("reads_pending", "Strong reads that wait", group.reading if group else 0)
    yield counter(
        "commands_replicated_total",
        "Commands that this node has put into the log as the leader",
        figures.commands_logged,
    )
    yield counter("commands_applied_total", "Commands that were committed and applied here", figures.commands_applied)
    yield histogram(
        "entry_commands", "Commands in each entry that this node has put into the log", figures.entry_commands
    )
    yield histogram(
        "commit_duration_seconds", "From an entry in the leader's log until it is committed", figures.commit_seconds
    )
    yield histogram("apply_duration_seconds", "How long applying kept the event loop at a time", figures.apply_seconds)
