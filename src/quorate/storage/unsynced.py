"""The note that a log is being run without a sync before each acknowledgement, so that a power loss is noticed.

It is durable before the first such entry, and goes when the log is closed with everything synced. A process that is
killed leaves it there, which does no harm: the operating system has every write. It holds the machine's boot id; a
start that finds it with another one knows that the machine went down in between, and that what was not synced yet may
be gone, although it had been acknowledged.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from quorate.storage.filesystem import FileSystem, read_bytes, write_atomically

NAME = "unsynced"


class UnsyncedMarker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which run of the machine, and how long an entry may have waited for its sync."""

    boot_id: str | None
    flush_interval_ms: int


def begin_unsynced(fs: FileSystem, group_directory: Path, flush_interval_ms: int) -> None:
    """From here on there may be entries that are not synced; durable on return."""
    marker = UnsyncedMarker(fs.boot_id(), flush_interval_ms)
    write_atomically(fs, group_directory / NAME, msgspec.json.encode(marker) + b"\n")


def end_unsynced(fs: FileSystem, group_directory: Path) -> None:
    """Everything is synced; durable on return."""
    if fs.exists(group_directory / NAME):
        fs.remove(group_directory / NAME)
        fs.sync_directory(group_directory)


def power_loss(fs: FileSystem, group_directory: Path) -> str | None:
    """What may be missing because the machine went down while entries were not synced; ``None`` if nothing is."""
    path = group_directory / NAME
    if not fs.exists(path):
        return None
    lost = "may be missing on this node"
    try:
        marker = msgspec.json.decode(read_bytes(fs, path), type=UnsyncedMarker)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"{path} cannot be read: the last acknowledged writes {lost} if the machine went down"
    writes = f"acknowledged writes of up to {marker.flush_interval_ms} ms {lost}"
    boot_id = fs.boot_id()
    if boot_id is None or marker.boot_id is None:
        return f"the node was not closed, and whether the machine went down is not known here: if it did, {writes}"
    if boot_id == marker.boot_id:
        return None
    return f"the machine went down while the log was written without a sync for each entry: {writes}"
