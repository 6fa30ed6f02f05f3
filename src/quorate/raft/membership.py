"""Who belongs to the cluster, as the core sees it: ids only."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.errors import ConfigError
from quorate.raft.quorum import Quorum


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members: ``voters`` decide, ``learners`` only receive the log.

    ``outgoing`` holds the former voters while a change is under way (joint consensus, §6); it is empty otherwise.
    """

    voters: frozenset[int]
    learners: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    quorum: Quorum = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.voters:
            raise ConfigError("a cluster needs at least one voter")
        halves = (self.voters, self.outgoing) if self.outgoing else (self.voters,)
        object.__setattr__(self, "quorum", Quorum(halves))

    @property
    def members(self) -> tuple[int, ...]:
        """Every node that receives the log, in ascending order."""
        return tuple(sorted(self.voters | self.outgoing | self.learners))

    def is_voter(self, node_id: int) -> bool:
        """Whether the node has a say in any half."""
        return node_id in self.voters or node_id in self.outgoing
