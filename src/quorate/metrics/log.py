"""The log, its syncs, snapshots, the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import Metric

from quorate.measures import COUNTS, Histogram
from quorate.metrics.families import counter, gauge, histogram
from quorate.node.node import Node

DiskBytes = Callable[[Path], tuple[int | None, int | None]]


def log(node: Node, disk_bytes: DiskBytes) -> Iterator[Metric]:
    """All of it. ``disk_bytes`` tells (free, all) of the file system that a directory is on."""
    yield from _indexes(node)
    yield from _syncs(node)
    yield from _snapshots(node)
    free, size = disk_bytes(node.config.data_dir)
    yield gauge("disk_free_bytes", "What may still be written where the data is", free)
    yield gauge("disk_size_bytes", "The size of the file system where the data is", size)


def _indexes(node: Node) -> Iterator[Metric]:
    status, running = node.status, node.running
    durable = running.group.core.log.durable if running is not None else 0
    yield gauge("log_entries", "Entries that the log has", status.last_index - status.snapshot_index)
    yield gauge("log_bytes", "The size of the log on disk", status.log_bytes)
    yield gauge("log_first_index", "The first entry that the log has", status.log_first_index)
    yield gauge("log_last_index", "The last entry of the log", status.last_index)
    yield gauge("commit_index", "Entries up to here are known to be committed", status.commit_index)
    yield gauge("applied_index", "Entries up to here are applied", status.applied_index)
    waiting = max(0, status.commit_index - status.applied_index)
    yield gauge("unapplied_entries", "Committed entries that wait to be applied", waiting)
    yield gauge("unpersisted_entries", "Entries that wait for the log's writer", max(0, status.last_index - durable))
    yield gauge("unsynced_entries", "Entries that are written and not synced", status.storage.unsynced_entries)
    yield gauge("unsynced_bytes", "Bytes of the log that are written and not synced", status.storage.unsynced_bytes)
    received, sent = node.replications
    yield counter("entries_received_total", "Entries that came from leaders", received)
    yield counter("entries_sent_total", "Entries that were sent to followers, for each of them", sent)


def _syncs(node: Node) -> Iterator[Metric]:
    running = node.running
    stats = running.store.stats if running is not None else None
    yield histogram(
        "log_sync_duration_seconds",
        "How long each sync of the log took (fsync)",
        stats.sync_seconds if stats is not None else Histogram(),
    )
    yield histogram(
        "log_batch_entries",
        "Entries in each batch that was written to the log",
        stats.batch_entries if stats is not None else Histogram(COUNTS),
    )


def _snapshots(node: Node) -> Iterator[Metric]:
    counts, figures = node.timeline.counts, node.figures
    snapshots = figures.snapshots
    yield counter("compactions_total", "How often the log was cut", counts["log_compacted"])
    yield histogram(
        "compaction_duration_seconds",
        "How long it took to save the state in memory and to cut the log",
        figures.compaction_seconds,
    )
    yield gauge("snapshot_index", "Up to here the log was cut", node.status.snapshot_index)
    yield gauge("snapshot_bytes", "The size of the last snapshot that was sent or installed", snapshots.bytes_last)
    yield counter("snapshots_sent_total", "Snapshots that were brought to peers", counts["snapshot_sent"])
    yield counter("snapshots_sent_bytes_total", "Bytes of snapshots that were brought to peers", snapshots.bytes_sent)
    yield counter(
        "snapshots_failed_total", "Attempts to bring a peer a snapshot that came to nothing", snapshots.failed
    )
    yield counter("snapshots_installed_total", "Snapshots that were installed here", counts["snapshot_installed"])
    yield counter(
        "snapshots_installed_bytes_total", "Bytes of snapshots that were installed here", snapshots.bytes_received
    )
    yield histogram("snapshot_duration_seconds", "How long it took to bring a peer a snapshot", snapshots.seconds)
