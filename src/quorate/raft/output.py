"""What the core asks of its driver, and the contract of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quorate.raft.entry import Entry
from quorate.raft.messages import Envelope


@dataclass(frozen=True, slots=True)
class HardState:
    """What must survive a restart besides the log (Raft figure 2): the latest term, and the vote given in it."""

    term: int = 0
    voted_for: int | None = None


@dataclass(frozen=True, slots=True)
class Floor:
    """Where a log begins: everything up to ``index`` (of ``term``) is in a snapshot, and in the log no more.

    ``configuration`` is the encoded one that was in force there, from entry ``configuration_index``; it is empty
    if that was the one the cluster began with (index 0).
    """

    index: int = 0
    term: int = 0
    configuration_index: int = 0
    configuration: bytes = b""


@dataclass(frozen=True, slots=True)
class Write:
    """One request to make something durable. Writes are carried out whole and in the order of their tickets.

    First ``hard_state`` (if not ``None``). Then ``floor`` (if not ``None``): a snapshot takes the place of the
    whole log, which begins anew behind it. Then ``entries``: they replace everything in the log from
    ``entries[0].index`` on. When all are durable, and not before, the driver calls ``core.persisted(ticket)``.
    """

    ticket: int
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    floor: Floor | None = None


@dataclass(frozen=True, slots=True)
class ReadReady:
    """The read that got ``token`` may be answered from a state that has applied ``index``.

    ``index`` is ``None`` when the read could not be confirmed (leadership was lost): ask again with a new token.
    """

    token: int
    index: int | None


@dataclass(frozen=True, slots=True)
class SnapshotWanted:
    """``peer`` lacks entries that are no longer in the log: bring it a snapshot of the state.

    Once that has ended, well or not, the driver calls ``core.snapshot_ended(peer, session)``. A peer that still
    lacks entries then is named anew, so the driver paces its attempts.
    """

    peer: int
    session: int


@dataclass(slots=True)
class Output:
    """Everything that became due since the last call of ``ready()``."""

    write: Write | None = None
    """To be made durable. Whatever depends on it, the core itself holds back until ``persisted``."""
    messages: list[Envelope] = field(default_factory=list)
    """To be sent, in this order per peer. May leave at once; may be lost."""
    committed: Sequence[Entry] = ()
    """To be applied, in this order, once each. They are durable here and on a quorum."""
    reads: list[ReadReady] = field(default_factory=list)
    """Reads of this node that may be answered now (or never)."""
    snapshots: list[SnapshotWanted] = field(default_factory=list)
    """Peers that need a snapshot."""


class LogReader(Protocol):
    """How the core looks at entries that it no longer keeps in memory: all of them were persisted before."""

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries ``low`` … ``high`` - 1, cut short after the first that brings the payloads to ``max_bytes``.

        At least one entry is returned when ``low < high``.
        """


@dataclass(frozen=True, slots=True)
class Recovered:
    """What storage found at start: the core continues from here."""

    hard_state: HardState = HardState()
    last_index: int = 0
    term_starts: tuple[tuple[int, int], ...] = ()
    """(first index, term) of each run of entries of one term, in ascending order: all entries behind the floor."""
    floor: Floor = Floor()
    """``last_index`` is never below it."""
    configurations: tuple[Entry, ...] = ()
    """The MEMBERSHIP entries behind the floor, in ascending order."""
    repairing: bool = False
    """Whether this node has lost what it had promised: it must not vote until the cluster has taken it in anew."""
