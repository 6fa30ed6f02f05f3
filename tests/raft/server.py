"""One server of the tests' cluster: its disk, which survives crashes, and what its core has handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Member, MemberRole
from quorate.raft.messages import Message
from quorate.raft.output import Floor, HardState, Recovered, Write

State = tuple[Entry, ...]
"""What a state machine of the tests has come to: everything it has applied, from the first entry on."""


class Disk:
    """What of a server survives a crash. Implements :class:`~quorate.raft.output.LogReader`."""

    def __init__(
        self,
        hard_state: HardState | None = None,
        log: Sequence[Entry] = (),
        *,
        floor: Floor | None = None,
        state: State = (),
        store: int = 1,
        repairing: bool = False,
    ) -> None:
        """``log`` begins behind ``floor``, where the snapshot has ``state``; ``store`` tells one disk from the next."""
        self.hard_state = hard_state or HardState()
        self.entries = list(log)
        self.floor = floor or Floor()
        self.state = state
        self.store = store
        self.repairing = repairing
        self.staged: dict[int, State] = {}
        """Floor index → the state of a snapshot that was received whole."""
        self.reads = 0

    @property
    def last_index(self) -> int:
        return self.floor.index + len(self.entries)

    def carry_out(self, write: Write) -> None:
        if write.hard_state is not None:
            assert write.hard_state.term >= self.hard_state.term
            self.hard_state = write.hard_state
        if write.floor is not None:
            self.floor, self.state = write.floor, self.staged.pop(write.floor.index)
            self.entries.clear()
        if write.entries:
            first = write.entries[0].index
            assert self.floor.index < first <= self.last_index + 1, "a write leaves a gap"
            self.entries[first - self.floor.index - 1 :] = write.entries

    def compact(self, floor: Floor, state: State) -> None:
        """The state up to ``floor`` is durable; the log gives up what it covers."""
        del self.entries[: floor.index - self.floor.index]
        self.floor, self.state = floor, state

    def term_at(self, index: int) -> int | None:
        if index == self.floor.index:
            return self.floor.term
        return self.entries[index - self.floor.index - 1].term if self.floor.index < index <= self.last_index else None

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        assert low > self.floor.index, f"entry {low} is no longer in the log"
        self.reads += 1
        found: list[Entry] = []
        total = 0
        for each in self.entries[low - self.floor.index - 1 : high - self.floor.index - 1]:
            found.append(each)
            total += len(each.payload)
            if total >= max_bytes:
                break
        return found

    @property
    def recovered(self) -> Recovered:
        runs = [(term, next(run).index) for term, run in groupby(self.entries, key=lambda each: each.term)]
        return Recovered(
            self.hard_state,
            self.last_index,
            tuple((first, term) for term, first in runs),
            self.floor,
            tuple(each for each in self.entries if each.kind is EntryKind.MEMBERSHIP),
            self.repairing,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on its way, whole: the driver's matter, so it is no message of the core's."""

    term: int
    session: int
    floor: Floor
    state: State


@dataclass(slots=True, eq=False)
class Packet:
    """A message under way."""

    source: int
    target: int
    message: Message | Snapshot


@dataclass(slots=True, eq=False)
class Server:
    """A core with its disk, and what it has handed to its driver."""

    node_id: int
    disk: Disk
    core: RaftCore
    alive: bool = True
    slow_disk: bool = False
    slow_apply: bool = False
    writes: deque[Write] = field(default_factory=deque)
    """Writes under way, not durable yet."""
    applied: list[Entry] = field(default_factory=list)
    """What it was given to apply; reported to the core at once, unless ``slow_apply``."""
    arrived: Floor | None = None
    """The floor of a snapshot that is durable, and not yet in the place of the state."""
    ended: list[tuple[int, int]] = field(default_factory=list)
    """(peer, session) of snapshots that were sent: the core is told at the next tick, which paces what follows."""
    read_answers: dict[int, int | None] = field(default_factory=dict)
    """Token → the index at which it may be answered, or ``None``."""
    asked: dict[int, int] = field(default_factory=dict)
    """Token → what was committed anywhere when the read began."""


def witnessed(entries: Iterable[Entry]) -> State:
    """What a witness knows of ``entries``."""
    return tuple(
        Entry(each.index, each.term, EntryKind.WITNESSED, b"") if each.kind is EntryKind.COMMANDS else each
        for each in entries
    )


def members(
    voters: Iterable[int],
    *,
    learners: Iterable[int] = (),
    witnesses: Iterable[int] = (),
    priorities: dict[int, int] | None = None,
    stores: dict[int, int] | None = None,
) -> list[Member]:
    """Members by their ids, in ascending order."""
    roles = dict.fromkeys(voters, MemberRole.VOTER)
    roles |= dict.fromkeys(learners, MemberRole.LEARNER)
    roles |= dict.fromkeys(witnesses, MemberRole.WITNESS)
    return [
        Member(node, role=roles[node], priority=(priorities or {}).get(node, 1), store=(stores or {}).get(node, 0))
        for node in sorted(roles)
    ]
