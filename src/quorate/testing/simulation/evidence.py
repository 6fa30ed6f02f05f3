"""What is known for certain about each node, gathered where it cannot lie: at its disk and at its door."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from quorate.raft.entry import Entry
from quorate.raft.output import HardState, Recovered, Write
from quorate.raft.roles import Role


class Evidence:
    """One node's durable state as its disk confirmed it, and what was last seen of its core."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id
        self.hard_state = HardState()
        """Durable, as confirmed."""
        self.terms: list[int] = []
        """The terms of the durable entries: of entry 1, 2 …, those that only a snapshot holds included."""
        self.floor_index = 0
        """Up to here the log was cut when the node started, or a snapshot took its place since."""
        self.unconfirmed: list[Write] = []
        """Writes under way: of these, any part may be on the disk."""
        self.submitted_last = 0
        """The index of the last entry that the core wants written."""
        self.term = 0
        self.role = Role.FOLLOWER
        self.role_term = 0
        self.committed = 0
        self.applied = 0
        self.began_at = 0
        """How many entries were committed when this disk was empty."""
        self.harmed = False
        """Whether the disk has lost something, or may have, and was not repaired since."""
        self.repairing = False
        """Whether the node knows that."""
        self.lost: list[int] | None = None
        """The terms of the entries that it had before. What was acknowledged then may be counted on, once."""

    def has(self, index: int, term: int) -> bool:
        """Whether an entry is durable here, so that it counts. A copy made since a loss does not before the repair."""
        terms = self.terms if self.lost is None else self.lost
        return 0 < index <= len(terms) and terms[index - 1] == term

    def term_at(self, index: int) -> int | None:
        """The term of the durable entry at ``index``, 0 at index 0, ``None`` beyond the end."""
        if index == 0:
            return 0
        return self.terms[index - 1] if index <= len(self.terms) else None

    def submitted(self, write: Write) -> None:
        """The node began to write."""
        self.unconfirmed.append(write)
        if write.floor is not None:
            self.submitted_last = write.floor.index
        if write.entries:
            self.submitted_last = write.entries[-1].index

    def confirmed(self, writes: Sequence[Write], committed: Sequence[Entry]) -> None:
        """The disk has these, and all before them; ``committed`` is the one true log."""
        for write in writes:
            if write.hard_state is not None:
                self.hard_state = write.hard_state
            if write.floor is not None:
                self._begin_at(write.floor.index, committed)
            if write.entries:
                self.terms[write.entries[0].index - 1 :] = [entry.term for entry in write.entries]
        last = writes[-1].ticket
        self.unconfirmed = [write for write in self.unconfirmed if write.ticket > last]

    def restarted(self, recovered: Recovered, committed: Sequence[Entry]) -> None:
        """The node begins again from what its disk holds, all of which is durable."""
        if recovered.repairing and self.lost is None:
            self.lost = self.terms
        self.repairing = recovered.repairing
        self.hard_state = recovered.hard_state
        self._begin_at(recovered.floor.index, committed)
        self.terms += terms_behind_floor(recovered)
        self.unconfirmed = []
        self.submitted_last = recovered.last_index
        self.term, self.role, self.role_term = recovered.hard_state.term, Role.FOLLOWER, 0
        self.committed = self.applied = 0

    def wiped(self, committed: Sequence[Entry], *, harmed: bool) -> None:
        """The disk is empty. It is a loss (``harmed``) if the node is, or may be, a member."""
        if harmed:
            self.harmed = True
            if self.lost is None and (self.hard_state != HardState() or self.terms or self.unconfirmed):
                self.lost = self.terms
        else:
            self.lost, self.harmed = None, False
        self.hard_state, self.terms, self.floor_index = HardState(), [], 0
        self.unconfirmed, self.submitted_last = [], 0
        self.began_at = len(committed)
        self.repairing = False

    def damaged(self) -> None:
        """Something on the disk is not as it was written."""
        self.harmed = True

    def go_by(self, *, repairing: bool) -> None:
        """What the node knows about itself by now."""
        if repairing and not self.repairing and self.lost is None:
            self.lost = list(self.terms)
        elif self.repairing and not repairing:
            self.lost, self.harmed = None, False
        self.repairing = repairing

    def _begin_at(self, floor_index: int, committed: Sequence[Entry]) -> None:
        """What is at or below a floor was committed, so it is known without looking."""
        self.floor_index = floor_index
        self.terms = [entry.term for entry in committed[:floor_index]]


def terms_behind_floor(recovered: Recovered) -> list[int]:
    """The term of each entry of a recovered log."""
    starts = [*recovered.term_starts, (recovered.last_index + 1, 0)]
    terms: list[int] = []
    for (first, term), (following, _) in pairwise(starts):
        terms += [term] * (following - first)
    return terms
