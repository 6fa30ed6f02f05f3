"""The core's settings. Times are ticks of the driver's clock; sizes are bytes of payload."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.errors import ConfigError

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Settings of one core; every queue it keeps has its bound here."""

    node_id: int
    heartbeat_ticks: int = 5
    """A leader sends a heartbeat round this often."""
    election_ticks_min: int = 15
    """Nobody campaigns, and nobody votes, sooner than this after hearing from a leader."""
    election_ticks_max: int = 30
    """Election timeouts are drawn from (min, max]; a leader without a quorum for this long steps down."""
    append_entries_max: int = 100
    """Entries in one AppendEntries message."""
    append_bytes_max: int = MIB
    """Bytes in one AppendEntries message (a single larger entry still travels, alone)."""
    inflight_appends_max: int = 64
    """AppendEntries messages under way to one peer without an answer."""
    inflight_bytes_max: int = 8 * MIB
    """Bytes under way to one peer without an answer."""
    uncommitted_bytes_max: int = 64 * MIB
    """Bytes proposed and not yet committed; a leader refuses more."""
    apply_bytes_max: int = 4 * MIB
    """Bytes handed out for applying before the driver reports progress."""
    cache_bytes_max: int = 16 * MIB
    """Bytes of applied entries kept in memory for peers that lag."""
    lease_reads: bool = False
    """Answer reads from the leader's lease (thesis §6.4.1): one round trip less, trusting clocks to run alike."""
    lease_drift_percent: int = 20
    """How much faster a follower's clock may run than the leader's before a lease read could be stale."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_ticks < self.election_ticks_min < self.election_ticks_max:
            raise ConfigError(
                "timings must satisfy 0 < heartbeat < election minimum < election maximum, got "
                f"{self.heartbeat_ticks}, {self.election_ticks_min}, {self.election_ticks_max} ticks"
            )

    @property
    def lease_ticks(self) -> int:
        """How long a confirmed heartbeat round protects reads, counted from its sending.

        A count of ticks may be off by one on either side, as clocks are read in whole ticks.
        """
        return (self.election_ticks_min - 1) * 100 // (100 + self.lease_drift_percent) - 1
