"""What a node counts while it works, since it was started: looked at when somebody asks, never before.

Most of it costs an addition; a distribution, a bisection more (:mod:`quorate.measures`).
"""

from __future__ import annotations

from collections import deque

from quorate.errors import CommandFailed, NotApplied, NotLeader, QuorateError
from quorate.measures import COUNTS, Histogram

LEVELS = 13
LEVEL_SAMPLES_MAX = 64


class Figures:
    """Of one node."""

    def __init__(self) -> None:
        self.proposals = Proposals()
        self.commands_logged = 0
        """Commands that this node has put into its log as the leader, those of followers among them."""
        self.commands_applied = 0
        """Commands that the machines here have carried out or refused."""
        self.entry_commands = Histogram(COUNTS)
        """How many commands were in each entry that this node has put into its log."""
        self.commit_seconds = Histogram()
        """From the log of this node, as the leader, until it knew the entry to be committed."""
        self.apply_seconds = Histogram()
        """How long each slice of applying kept the event loop."""
        self.loop_delay_seconds = Histogram()
        """How much later than wanted the event loop came to the node's clock, as it should a hundred times a second."""
        self.compaction_seconds = Histogram()
        """How long it took to save the machines in memory and to cut the log."""
        self.snapshots = SnapshotFigures()
        self.appended = Appended()


class Proposals:
    """What became of this node's proposals. One that was only sent to another node to ask there counts as such."""

    def __init__(self) -> None:
        self.applied = 0
        self.refused = 0
        """Applied, and refused by the state machine."""
        self.not_applied = 0
        self.not_leader = 0
        """Not applied, because another node leads that must be asked itself."""
        self.unknown = 0
        self.seconds = Histogram()
        """From the proposal to its outcome, whatever that was."""

    def succeeded(self, seconds: float) -> None:
        """One was applied, and has a result."""
        self.applied += 1
        self.seconds.observe(seconds)

    def failed(self, error: QuorateError, seconds: float) -> None:
        """One ended with an error."""
        if isinstance(error, CommandFailed):
            self.refused += 1
        elif isinstance(error, NotLeader) and error.leader is not None:
            self.not_leader += 1
        elif isinstance(error, NotApplied):
            self.not_applied += 1
        else:
            self.unknown += 1
        self.seconds.observe(seconds)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many ended how."""
        return {
            "applied": self.applied,
            "refused": self.refused,
            "not_applied": self.not_applied,
            "not_leader": self.not_leader,
            "unknown": self.unknown,
        }


class SnapshotFigures:
    """What was brought to peers as snapshots, and taken in."""

    def __init__(self) -> None:
        self.bytes_sent = 0
        """Of those that came to their end."""
        self.bytes_received = 0
        self.bytes_last: int | None = None
        """The size of the last, sent or installed."""
        self.failed = 0
        """Attempts to bring a peer one that did not come to their end."""
        self.seconds = Histogram()
        """How long those took that did."""

    def sent(self, size: int, seconds: float) -> None:
        """A peer has one of so many bytes."""
        self.bytes_sent += size
        self.bytes_last = size
        self.seconds.observe(seconds)

    def installed(self, size: int) -> None:
        """The state here is now that of one of so many bytes."""
        self.bytes_received += size
        self.bytes_last = size


class Appended:
    """When a leader's log reached which index: so entries that a peer lacks can be told as seconds.

    A sample for each tick in which it grew. When there are many, every other gives way, and so on for what is
    older: what was long ago is known less exactly, by a few parts in a hundred, and kept for an hour and longer.
    """

    def __init__(self) -> None:
        self._levels: list[deque[tuple[int, float]]] = [deque() for _ in range(LEVELS)]
        """The newest in the first; in each next one, twice as far apart."""
        self._last = 0

    def reached(self, index: int, now: float) -> None:
        """The log ends with ``index`` now."""
        if index == self._last:
            return
        if index < self._last:  # another log: this node led an earlier term
            for level in self._levels:
                level.clear()
        self._last = index
        sample = index, now
        for level in self._levels:
            level.append(sample)
            if len(level) <= LEVEL_SAMPLES_MAX:
                return
            level.popleft()
            sample = level.popleft()

    def seconds_behind(self, index: int, now: float) -> float:
        """For how long there have been entries behind ``index``."""
        for level in reversed(self._levels):
            for reached, at in level:
                if reached > index:
                    return now - at
        return 0.0
