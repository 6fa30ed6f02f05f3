"""What the leader knows of one peer's log.

::

    ┌───────┐  first match   ┌───────────┐
    │       ├───────────────►│           │
    │ PROBE │                │ REPLICATE │
    │       │◄───────────────┤           │
    └─┬───▲─┘  hint or loss  └───────▲───┘
      │   │                          │
      │   │ it ended                 │ the peer matches behind the floor
    ┌─▼───┴────┐                     │
    │ SNAPSHOT ├─────────────────────┘
    └──────────┘

PROBE sends one message and waits, to find where the logs agree. REPLICATE sends ahead without waiting, within
the window. SNAPSHOT sends nothing: what the peer lacks is no longer in the log, and the driver brings it a snapshot.
"""

from __future__ import annotations

from enum import Enum

from quorate.raft.inflights import Inflights


class ProgressState(Enum):
    """How the leader sends to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One peer's progress, as of one replication ``session``: answers to another session do not count."""

    __slots__ = (
        "active",
        "commit_sent",
        "inflights",
        "match",
        "match_last_check",
        "next",
        "nudge_due",
        "probe_sent",
        "recheck",
        "repairing",
        "round_acked",
        "session",
        "state",
        "was_active",
    )

    def __init__(self, session: int, next_index: int, inflights: Inflights) -> None:
        self.session = session
        self.match = 0
        """The highest index known to be durable there."""
        self.next = next_index
        """The next index to send; everything below was sent, or is assumed to be there."""
        self.state = ProgressState.PROBE
        self.probe_sent = False
        self.inflights = inflights
        self.commit_sent = 0
        self.nudge_due = False
        """Whether its next sign of life is the time to see if it gets on: once per heartbeat interval."""
        self.match_last_check = 0
        self.recheck = False
        """Whether to ask if what was sent ahead has arrived: nothing came back for a whole heartbeat interval."""
        self.round_acked = 0
        """The latest heartbeat round that it has answered."""
        self.active = True
        """Whether anything was heard from it since the last quorum check."""
        self.was_active = False
        """The same of the interval before that check."""
        self.repairing = False
        """Whether it lost its data, so that nothing it says counts for a quorum."""

    @property
    def paused(self) -> bool:
        """Whether nothing may be sent before an answer arrives."""
        match self.state:
            case ProgressState.PROBE:
                return self.probe_sent
            case ProgressState.REPLICATE:
                return self.inflights.full
            case ProgressState.SNAPSHOT:
                return True

    def sent(self, last_index: int, size_bytes: int) -> None:
        """Entries up to ``last_index`` left for this peer."""
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
        else:
            self.inflights.add(last_index, size_bytes)
            self.next = last_index + 1

    def matched(self, index: int, floor: int = 0) -> None:
        """The peer confirmed that its log is durable up to ``index``; ours begins behind ``floor``."""
        if index > self.match:
            self.match = index
            self.inflights.free_to(index)
        self.next = max(self.next, index + 1)
        if self.state is ProgressState.PROBE or (self.state is ProgressState.SNAPSHOT and self.match >= floor):
            self.state = ProgressState.REPLICATE
            self.probe_sent = False
            self.next = self.match + 1

    def answers_current_send(self, previous_index: int) -> bool:
        """Whether a rejection of an append behind ``previous_index`` concerns what was sent last, not the past."""
        if self.state is ProgressState.REPLICATE:
            return previous_index > self.match
        return self.state is ProgressState.PROBE and previous_index == self.next - 1

    def wait_for_snapshot(self) -> None:
        """What it lacks is no longer in the log."""
        self.state = ProgressState.SNAPSHOT
        self.probe_sent = self.recheck = False
        self.inflights.clear()

    def probe_from(self, next_index: int) -> None:
        """Go back to probing at ``next_index`` (never below what is known to match)."""
        self.state = ProgressState.PROBE
        self.probe_sent = False
        self.inflights.clear()
        self.next = max(next_index, self.match + 1)
