"""Keys, and those who ask for them by the Redis protocol."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from quorate.kv.machine import KvMachine
from quorate.kv.server.service import Service
from quorate.metrics.families import counter, counters, gauge, histograms

KIND = ("kind",)


def keys(machine: KvMachine) -> Iterator[Metric]:
    """What is there."""
    keyspace = machine.keyspace
    yield gauge("keys", "Keys that there are", len(keyspace))
    yield gauge("keys_expiring", "Keys with an expiry", keyspace.with_deadline)
    yield gauge("keys_bytes", "The memory that keys and values take, about", keyspace.memory_bytes)
    yield counter("key_changes_total", "Changes of keys in the whole cluster, ever: the revision", keyspace.revision)


def resp(service: Service) -> Iterator[Metric]:
    """What was asked of this node."""
    yield gauge("resp_clients", "Clients of the Redis protocol that are connected", len(service.connections))
    yield gauge(
        "resp_blocked_clients", "Clients of the Redis protocol that wait for something to take", len(service.takers)
    )
    yield counter(
        "resp_connections_total", "Clients of the Redis protocol that connected", service.connections_received
    )
    yield counter("resp_commands_total", "Commands of the Redis protocol that were begun", service.commands_processed)
    kinds = {("read",): service.reads.figures, ("write",): service.writes.figures}
    yield counters(
        "resp_failures_total",
        "Commands of the Redis protocol that were not carried out for want of a leader or a quorum",
        KIND,
        {kind: figures.failed for kind, figures in kinds.items()},
    )
    yield histograms(
        "resp_request_duration_seconds",
        "From when a command for keys was begun until it was carried out",
        KIND,
        [(kind, figures.seconds) for kind, figures in kinds.items()],
    )
