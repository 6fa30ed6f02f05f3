"""Linearizable reads without a log entry: ReadIndex and leases (§8; thesis §6.4).

A leader may answer a read at the commit index it had when the read arrived, once it knows that it still led
*after* the read arrived: a quorum has answered a heartbeat round that was begun later. One round serves all reads
that arrived before it. Before the no-op of its term is committed, a leader does not know the commit index yet
and answers nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from quorate.raft.config import CoreConfig
from quorate.raft.membership import Configuration
from quorate.raft.progress import Progress


@dataclass(slots=True)
class PendingRead:
    """A read that waits for its round. ``origin`` is the node that asked, ``token`` the name it gave."""

    origin: int
    token: int
    index: int
    sequence: int = 0
    """The heartbeat round that confirms it; 0 until one is begun."""


class LeaderReads:
    """The reads a leader has to confirm, its heartbeat rounds, and the lease they give. Dies with the leadership."""

    PENDING_MAX = 10_000

    def __init__(self, config: CoreConfig, configuration: Configuration, no_op_index: int) -> None:
        self._config = config
        self._configuration = configuration
        self._no_op_index = no_op_index
        self._lease_allowed = config.lease_reads
        self._sequence = 0
        self._confirmed = 0
        self._rounds: deque[tuple[int, int]] = deque()  # (sequence, begun at) of rounds not yet confirmed
        self._lease_from: int | None = None
        self._pending: deque[PendingRead] = deque()
        self._confirmable: list[PendingRead] = []

    def add(self, origin: int, token: int, commit: int, now: int | None) -> bool:
        """A read arrived; ``False`` if too many wait already.

        ``now`` must be the present, as a lease may have run out since the last tick; without it a round confirms.
        """
        read = PendingRead(origin, token, max(commit, self._no_op_index))
        if self._has_lease(commit, now):
            self._confirmable.append(read)
        elif len(self._pending) + len(self._confirmable) >= self.PENDING_MAX:
            return False
        else:
            self._pending.append(read)
        return True

    def _has_lease(self, commit: int, now: int | None) -> bool:
        return (
            self._lease_allowed
            and now is not None
            and commit >= self._no_op_index
            and self._lease_from is not None
            and now < self._lease_from + self._config.lease_ticks
        )

    def go_by(self, configuration: Configuration) -> None:
        """Another configuration is in force: what a quorum of the former one promised is no lease any more."""
        self._configuration = configuration
        self._lease_from = None

    def forgo_lease(self) -> None:
        """Another node was asked to campaign, and may be elected while followers still keep their promise."""
        self._lease_allowed = False

    @property
    def wants_round(self) -> bool:
        """Whether reads wait for a round and none is under way (one at a time, so that it serves many)."""
        return bool(self._pending) and self._pending[-1].sequence == 0 and not self._rounds

    def begin_round(self, now: int) -> int:
        """Begin a heartbeat round; it confirms every read that has arrived. Returns its sequence number."""
        self._sequence += 1
        self._rounds.append((self._sequence, now))
        for read in reversed(self._pending):
            if read.sequence:
                break
            read.sequence = self._sequence
        return self._sequence

    def acknowledged(self, peers: dict[int, Progress]) -> None:
        """A round was begun or answered: see which rounds a quorum has answered by now (alone, a node is one)."""
        answered = {peer: progress.round_acked for peer, progress in peers.items() if not progress.repairing}
        answered[self._config.node_id] = self._sequence
        self._confirmed = max(self._confirmed, self._configuration.quorum.reached(answered))
        while self._rounds and self._rounds[0][0] <= self._confirmed:
            self._lease_from = self._rounds.popleft()[1]
        while self._pending and 0 < self._pending[0].sequence <= self._confirmed:
            self._confirmable.append(self._pending.popleft())

    def take_answerable(self, commit: int) -> Iterator[PendingRead]:
        """Confirmed reads whose index is committed (which waits for the no-op of the term)."""
        waiting = []
        for read in self._confirmable:
            if read.index <= commit:
                yield read
            else:
                waiting.append(read)
        self._confirmable = waiting

    def abandon(self) -> Iterator[PendingRead]:
        """All reads that can no longer be answered here."""
        yield from self._confirmable
        yield from self._pending


class FollowerReads:
    """The reads a follower has asked its leader about; they die with that leader or that term."""

    ASKED_MAX = 1024

    def __init__(self) -> None:
        self._tokens: deque[int] = deque()

    def asked(self, token: int) -> None:
        """``token`` was sent to the leader. An unanswered one is forgotten when too many have followed it."""
        self._tokens.append(token)
        if len(self._tokens) > self.ASKED_MAX:
            self._tokens.popleft()

    def answered(self, token: int) -> bool:
        """An answer arrived; ``False`` if it is for a read given up since, or for another process's token."""
        if token not in self._tokens:
            return False
        self._tokens.remove(token)
        return True

    def abandon(self) -> list[int]:
        """All tokens that no answer will be accepted for any more."""
        tokens = list(self._tokens)
        self._tokens.clear()
        return tokens
