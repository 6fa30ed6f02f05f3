"""What must be durable before what: the term and the vote, the log, the messages that wait for them.

A message that promises something (a vote, an acknowledgement) is handed in together with the state it
promises; it comes out again only when the write holding that state was reported durable.
"""

from __future__ import annotations

from collections import deque

from quorate.raft.log import RaftLog
from quorate.raft.messages import AppendEntriesReply, Envelope
from quorate.raft.output import Floor, HardState, Write


class Persistence:
    """The hard state with its one setter, and the writes under way."""

    def __init__(self, hard_state: HardState, log: RaftLog) -> None:
        self.hard_state = hard_state
        self._log = log
        self._hard_state_written = hard_state
        self._floor: Floor | None = None
        self._next_ticket = 1
        self._under_way: deque[tuple[int, int]] = deque()  # (ticket, the log is durable up to here after it)
        self._held: deque[tuple[int, Envelope]] = deque()

    def set_hard_state(self, term: int, voted_for: int | None) -> None:
        """Enter ``term`` or vote in it. The only place where either changes."""
        if term < self.hard_state.term:
            raise AssertionError(f"term would go back from {self.hard_state.term} to {term}")
        changed = HardState(term, voted_for)
        if changed != self.hard_state:
            self.hard_state = changed

    def reset_log(self, floor: Floor) -> None:
        """A snapshot takes the place of the whole log, in memory now and on the disk with the next write."""
        self._log.reset(floor)
        self._floor = floor
        # Whatever is on its way to the disk belongs to the old log.
        self._under_way = deque((ticket, 0) for ticket, _ in self._under_way)

    @property
    def oldest_ticket(self) -> int | None:
        """The write that has been under way longest, if any is."""
        return self._under_way[0][0] if self._under_way else None

    @property
    def _dirty(self) -> bool:
        return (
            self.hard_state is not self._hard_state_written  # it never becomes what it was before
            or self._floor is not None
            or self._log.written < self._log.last_index
        )

    def hold(self, envelope: Envelope) -> bool:
        """Keep ``envelope`` until all that is in memory now is durable; ``False`` if it is already."""
        if self._dirty:
            ticket = self._next_ticket
        elif self._under_way:
            ticket = self._under_way[-1][0]
        else:
            return False
        if self._held and self._supersedes(ticket, envelope):
            self._held.pop()
        self._held.append((ticket, envelope))
        return True

    def _supersedes(self, ticket: int, envelope: Envelope) -> bool:
        """Whether the message held last says less than ``envelope`` does: one acknowledgement covers earlier ones."""
        last_ticket, last = self._held[-1]
        old, new = last.message, envelope.message
        return (
            last_ticket == ticket
            and last.peer == envelope.peer
            and isinstance(old, AppendEntriesReply)
            and isinstance(new, AppendEntriesReply)
            and (old.term, old.session) == (new.term, new.session)
            and not (old.rejected or new.rejected)
            and old.match_index <= new.match_index
        )

    def take_write(self) -> Write | None:
        """The next write to carry out, if anything is not yet on its way to the disk."""
        if not self._dirty:
            return None
        hard_state = self.hard_state if self.hard_state is not self._hard_state_written else None
        entries = tuple(self._log.unwritten())
        if entries:
            # Writes under way may hold entries that these replace: those count as durable no longer.
            first = entries[0].index
            if self._under_way and self._under_way[-1][1] >= first:
                self._under_way = deque((ticket, min(last, first - 1)) for ticket, last in self._under_way)
            self._log.written = entries[-1].index
        write = Write(self._next_ticket, hard_state, entries, self._floor)
        self._floor = None
        self._under_way.append((write.ticket, self._log.written))
        self._hard_state_written = self.hard_state
        self._next_ticket += 1
        return write

    def persisted(self, ticket: int) -> list[Envelope]:
        """Every write up to ``ticket`` is durable; returns the messages that waited for that."""
        while self._under_way and self._under_way[0][0] <= ticket:
            _, last = self._under_way.popleft()
            # What was cut since and not rewritten yet is beyond ``written``: an old ticket says nothing of it.
            self._log.durable = max(self._log.durable, min(last, self._log.written))
        released = []
        while self._held and self._held[0][0] <= ticket:
            released.append(self._held.popleft()[1])
        return released
