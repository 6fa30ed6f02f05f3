"""What the invariants have in common: what is known for certain of all nodes together, and what an invariant is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.output import Recovered, Write
from quorate.raft.quorum import majority_size
from quorate.testing.simulation.evidence import Evidence
from quorate.transport.contract import WireMessage


class Violation(Exception):
    """An invariant does not hold: (which, what was found)."""

    def __init__(self, invariant: str, found: str) -> None:
        super().__init__(f"{invariant}: {found}")
        self.invariant, self.found = invariant, found


class Knowledge:
    """What all invariants share: every node's evidence, the one true log, and the configurations in it."""

    def __init__(self) -> None:
        self.evidence: dict[int, Evidence] = {}
        self.committed: list[Entry] = []
        """The committed entries, from index 1 on, as the first node that knew of each had it."""
        self.committed_in: list[int] = []
        """For each of them the term whose leader committed it, which may be later than the entry's own."""
        self.leaders: dict[int, int] = {}
        """Term → its leader."""
        self.configurations: list[tuple[int, Configuration]] = [(0, Configuration())]
        """(index, configuration) of all that are committed; the first is the one that the cluster began with."""
        self.proposed: dict[tuple[int, int], Configuration] = {}
        """(index, term) → each configuration that ever was in a log."""
        self.lease_holders: Callable[[], Iterable[tuple[RaftCore, int]]] = tuple
        """The cores that lead, as far as they know, with the present in ticks of each."""
        self.on_configuration: Callable[[], None] = _nothing
        """Called when another configuration is committed."""

    @property
    def configuration(self) -> Configuration:
        """The latest one that is committed."""
        return self.configurations[-1][1]

    @property
    def possible(self) -> list[Configuration]:
        """All that may be in force, or come into force by themselves: the latest committed one, and later ones."""
        last = max(self.configurations[-1][0], len(self.committed))
        return [self.configuration, *(each for (index, _), each in self.proposed.items() if index > last)]

    def may_be_member(self, node_id: int) -> bool:
        """Whether a node belongs to the cluster, or may soon."""
        return any(node_id in configuration for configuration in self.possible)

    def was_ever_member(self, node_id: int) -> bool:
        """Whether a node was a member since its disk was empty."""
        since = self.evidence[node_id].began_at
        history = [self.configurations[0]] if not since else []
        history += [each for each in self.configurations if each[0] > since]
        return any(node_id in configuration for _, configuration in history)

    def was_named_witness(self, node_id: int) -> bool:
        """Whether a node is a witness in any configuration that ever was in a log."""
        return any(node_id in each.witnesses for each in self.proposed.values())

    def was_removed(self, node_id: int) -> bool:
        """Whether a node may be told that it is no member any more."""
        if node_id not in self.configuration:
            return True
        since = self.evidence[node_id].began_at
        return any(
            node_id in former and node_id not in later
            for (_, former), (index, later) in pairwise(self.configurations)
            if index > since
        )

    def survives_without(self, node_ids: Iterable[int]) -> bool:
        """Whether in each half of each possible configuration a majority is left that never lost anything, and data.

        Who comes with an empty disk may pass for one that lost it, until the cluster has written it down. Witnesses
        hold no data: what was acknowledged may be on as few others as are missing for a majority.
        """
        gone = {*node_ids, *(each.node_id for each in self.evidence.values() if self._passes_for_lost(each))}
        return all(_survives_without(each, gone) for each in self.possible if each.members)

    def _passes_for_lost(self, evidence: Evidence) -> bool:
        is_new = evidence.began_at > 0 and evidence.node_id not in self.configuration
        return evidence.harmed or evidence.repairing or is_new

    def commit(self, entry: Entry, term: int) -> None:
        """One more entry is committed, by the leader of ``term``."""
        self.committed.append(entry)
        self.committed_in.append(term)
        if entry.kind is EntryKind.MEMBERSHIP:
            self.configurations.append((entry.index, Configuration.decode(entry.payload)))
            self.on_configuration()


class Invariant:
    """Told of everything; interested in some of it."""

    name = ""

    def __init__(self, knowledge: Knowledge) -> None:
        self.known = knowledge

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        """A node's core is not as it was; ``evidence`` still says how it was."""

    def submitted(self, evidence: Evidence, core: RaftCore | None, write: Write) -> None:
        """A node wants something durable; ``evidence`` does not know it yet."""

    def sending(self, evidence: Evidence, core: RaftCore | None, peer: int, message: WireMessage) -> None:
        """A message leaves a node."""

    def recovered(self, evidence: Evidence, recovered: Recovered) -> None:
        """A node starts from its disk; ``evidence`` still says what that should hold."""

    def wiped(self, evidence: Evidence) -> None:
        """A disk was emptied; ``evidence`` still says what it held."""

    def state_seen(self, node_id: int, index: int, digest: str) -> None:
        """A node's state machines have applied ``index``, and their state has this digest."""

    def fail(self, found: str) -> None:
        """Raise the violation."""
        raise Violation(self.name, found)


def _survives_without(configuration: Configuration, gone: set[int]) -> bool:
    if not configuration.quorum.includes(set(configuration.ids) - gone):
        return False
    for half in filter(None, (configuration.voters, configuration.outgoing)):
        copies_min = majority_size(half) - len(half & configuration.witnesses)
        if len((half & gone) - configuration.witnesses) >= copies_min:
            return False
    return True


def same_entry(one: Entry, other: Entry) -> bool:
    """Whether two entries are the same, as far as both are known: a witness knows only where an entry is."""
    if EntryKind.WITNESSED in (one.kind, other.kind):
        return (one.index, one.term) == (other.index, other.term) and EntryKind.MEMBERSHIP not in (one.kind, other.kind)
    return one == other


def _nothing() -> None:
    pass
