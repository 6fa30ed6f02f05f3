"""What goes to the other members, comes from them, and is missing there."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from quorate.metrics.families import counters, gauges
from quorate.node.node import Node
from quorate.node.status import MemberStatus
from quorate.transport.contract import Lane, PeerStats

PEER = ("peer",)
UNKNOWN = PeerStats()

COUNTED: tuple[tuple[str, str, Callable[[PeerStats], int]], ...] = (
    ("peer_sent_messages_total", "Messages that left for this member", lambda stats: stats.frames_sent),
    ("peer_sent_bytes_total", "Bytes that left for this member", lambda stats: stats.bytes_sent),
    ("peer_received_messages_total", "Messages that came from this member", lambda stats: stats.frames_received),
    ("peer_received_bytes_total", "Bytes that came from this member", lambda stats: stats.bytes_received),
    (
        "peer_dropped_messages_total",
        "Messages to this member that were given up: no connection, or too much waits already",
        lambda stats: stats.dropped,
    ),
    ("peer_connections_total", "Connections to this member that came up", lambda stats: stats.connections),
    ("peer_connection_losses_total", "Connections to this member that were lost", lambda stats: stats.losses),
)


def peers(node: Node) -> Iterator[Metric]:
    """A sample for each other member of the configuration in force."""
    status, running = node.status, node.running
    members = status.membership.members if status.membership is not None else ()
    others = [member for member in members if member.node_id != node.node_id]
    yield gauges(
        "peer_connected",
        "1 while messages to this member can leave",
        PEER,
        {_label(member): member.connected for member in others},
    )
    yield gauges(
        "peer_lag_entries",
        "Entries of the log that this member is not known to have; the leader tells",
        PEER,
        {_label(member): member.lag for member in others},
    )
    yield gauges(
        "peer_lag_seconds",
        "For how long the oldest entry that this member is not known to have has been in the log; the leader tells",
        PEER,
        {_label(member): _seconds_behind(node, member) for member in others},
    )
    waiting = (
        {}
        if running is None
        else {
            _label(member): float(sum(running.transport.backlog_bytes(member.node_id, lane) for lane in Lane))
            for member in others
        }
    )
    yield gauges("peer_backlog_bytes", "What was sent to this member and has not left yet", PEER, waiting)
    stats = {} if running is None else running.transport.stats()
    for name, meaning, counted in COUNTED:
        values = {_label(member): counted(stats.get(member.node_id, UNKNOWN)) for member in others}
        yield counters(name, meaning, PEER, values)


def _label(member: MemberStatus) -> tuple[str]:
    return (str(member.node_id),)


def _seconds_behind(node: Node, member: MemberStatus) -> float | None:
    if member.match_index is None:
        return None
    return node.figures.appended.seconds_behind(member.match_index, get_running_loop().time()) if member.lag else 0.0
