"""When the log reaches the disk, in which form, and how often it is cut: four profiles, and each setting alone.

Term and vote are always synced before anybody is told of them, whatever the settings; and so are a segment that is
closed, a suffix that is cut off, and where the log begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quorate.errors import ConfigError

_MIB = 1024 * 1024


class StorageProfile(StrEnum):
    """Named settings: what a write is worth once it is acknowledged."""

    DURABLE = "durable"
    DURABLE_SECURITY = "durable_security"
    BALANCED = "balanced"
    HIGH_THROUGHPUT = "high_throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """How one node stores its log. Raises :class:`ConfigError` for what would leave nobody to sync it."""

    enable_binary: bool = True
    """New files of the log are binary; otherwise they are JSON, in lines."""
    fsync_on_append: bool = True
    """Entries are synced before they are acknowledged; otherwise they have been handed to the operating system."""
    flush_interval_ms: int = 5
    """Without ``fsync_on_append``: no entry that was written waits longer than this for a sync to begin."""
    buffer_size: int = _MIB
    """... and no more bytes than this wait for one."""
    max_events_buffer: int = 2_000
    """... and no more entries than this."""
    event_max_batch: int = 65_536
    """The writer thread gathers what has arrived until it has so many entries, and writes them in one go."""
    opt_persist: bool = True
    """A thread writes; otherwise the event loop does so itself, and waits for the disk."""
    snapshot_threshold: int = 10_000
    """The log is cut when this many applied entries could be, beyond those kept for peers that lag."""
    snapshot_interval_ms: int = 300_000
    """... or when the last cut is so long ago."""

    def __post_init__(self) -> None:
        if not (self.opt_persist or self.fsync_on_append):
            raise ConfigError(
                "opt_persist and fsync_on_append cannot both be off: without the writer thread nobody would sync later"
            )


DURABLE = StorageSettings()
"""What a library should do unless told otherwise."""

PROFILES: dict[StorageProfile, StorageSettings] = {
    StorageProfile.DURABLE: DURABLE,
    StorageProfile.DURABLE_SECURITY: StorageSettings(
        enable_binary=False, snapshot_threshold=2_000, snapshot_interval_ms=60_000
    ),
    StorageProfile.BALANCED: StorageSettings(fsync_on_append=False, flush_interval_ms=20),
    StorageProfile.HIGH_THROUGHPUT: StorageSettings(
        fsync_on_append=False,
        flush_interval_ms=500,
        buffer_size=32 * _MIB,
        max_events_buffer=50_000,
        snapshot_threshold=200_000,
        snapshot_interval_ms=1_800_000,
    ),
}
"""The settings of each profile."""
