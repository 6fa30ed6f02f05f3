"""What a consensus manager is told, and two presets of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from quorate.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusSettings:
    """Raises :class:`ConfigError` for what makes no sense.

    The last three are the node's: make its configuration with :meth:`raft_settings`.
    """

    replication_factor: int = 3
    """How many voters there should be, each with all of the data: a manager warns of other numbers."""
    partition_detection_ms: int = 3_000
    """What is amiss for so long is told. Above twice the election time-out: so long a failover may take."""
    recovery_retry_ms: int = 500
    """What failed and may be tried again is so after this time; and what is well for so long has recovered."""
    snapshot_interval: int = 300_000
    """The log is cut when the last cut is so many milliseconds ago ..."""
    log_compaction_threshold: int = 5_000
    """... or when so many entries could be cut off, beyond those kept for nodes that lag."""
    max_log_size: int = 10_000
    """About so many entries are in the log at most."""

    def __post_init__(self) -> None:
        least = {"snapshot_interval": 100, "partition_detection_ms": 10, "recovery_retry_ms": 1}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least.get(field.name, 1):
                raise ConfigError(f"{field.name} should be a whole number from {least.get(field.name, 1)} on")
        if self.max_log_size < self.log_compaction_threshold:
            raise ConfigError("max_log_size cannot be less than log_compaction_threshold")

    def but(self, **given: Any) -> Self:
        """The same with other values. Raises :class:`ConfigError` also for names that there are not."""
        unknown = given.keys() - {field.name for field in fields(self)}
        if unknown:
            raise ConfigError(f"a consensus manager has no setting {', '.join(sorted(unknown))}")
        return replace(self, **given)

    def raft_settings(self) -> dict[str, int]:
        """What of it :class:`~quorate.config.RaftConfig` takes, by its names."""
        return {
            "snapshot_interval_ms": self.snapshot_interval,
            "snapshot_threshold": self.log_compaction_threshold,
            "snapshot_trailing_entries": self.max_log_size - self.log_compaction_threshold,
        }


LOW_LATENCY = ConsensusSettings(
    partition_detection_ms=1_000,
    recovery_retry_ms=100,
    snapshot_interval=500,
    log_compaction_threshold=1_000,
    max_log_size=2_000,
)
"""Little is kept, and what is amiss is told soon."""
HIGH_THROUGHPUT = ConsensusSettings(
    partition_detection_ms=5_000,
    recovery_retry_ms=1_000,
    snapshot_interval=2_000,
    log_compaction_threshold=10_000,
    max_log_size=20_000,
)
"""Short hiccups are borne, and the log is cut in larger pieces."""
