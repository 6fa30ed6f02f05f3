"""What must hold of the configurations in the logs, and of what members of each kind may do (§6, thesis §4)."""

from __future__ import annotations

from quorate.raft.core import RaftCore
from quorate.raft.entry import EntryKind
from quorate.raft.membership import Configuration, MemberRole
from quorate.raft.messages import RequestVote, RequestVoteReply
from quorate.raft.output import Recovered, Write
from quorate.raft.roles import Role
from quorate.testing.simulation.evidence import Evidence
from quorate.testing.simulation.knowledge import Invariant, Knowledge
from quorate.transport.contract import WireMessage


class _OfConfigurations(Invariant):
    """Knows at which entries each node's log has configurations."""

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self.indexes: dict[int, list[int]] = {}

    def submitted(self, evidence: Evidence, core: RaftCore | None, write: Write) -> None:
        indexes = self.indexes.setdefault(evidence.node_id, [])
        if write.floor is not None:
            indexes[:] = [write.floor.configuration_index]
        if write.entries:
            indexes[:] = [index for index in indexes if index < write.entries[0].index]
        indexes += [entry.index for entry in write.entries if entry.kind is EntryKind.MEMBERSHIP]

    def recovered(self, evidence: Evidence, recovered: Recovered) -> None:
        found = [entry.index for entry in recovered.configurations]
        self.indexes[evidence.node_id] = [recovered.floor.configuration_index, *found]


class OneConfigurationAtATime(_OfConfigurations):
    """§6: a configuration follows another one only once that is committed."""

    name = "one configuration at a time (§6)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        indexes = self.indexes.get(core.node_id, ())
        # Which of them are committed the node itself may not have heard yet: every log was written by some leader.
        if sum(index > len(self.known.committed) for index in indexes) > 1:
            self.fail(f"node {core.node_id} has uncommitted configurations at {indexes}")


class TheLatestIsInForce(_OfConfigurations):
    """§6: a node goes by the latest configuration in its log, committed or not; and equal logs have equal ones."""

    name = "the latest configuration is in force (§6)"

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self._compared: dict[int, Configuration] = {}

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        log = core.log
        if log.written < log.last_index or log.floor.index > log.durable:
            return  # what is written down is not yet, or no longer, what is in memory
        index = log.configurations.index
        latest = max(self.indexes.get(core.node_id, ()), default=0)
        if index != max(latest, log.floor.configuration_index):
            self.fail(f"node {core.node_id} goes by the configuration of entry {index}; the latest is entry {latest}")
        if self._compared.get(core.node_id) is core.configuration:
            return
        self._compared[core.node_id] = core.configuration
        expected = self._expected(core, index)
        if expected is not None and core.configuration != expected:
            self.fail(
                f"node {core.node_id} takes {core.configuration} for the configuration of entry {index}; "
                f"elsewhere that is {expected}"
            )

    def _expected(self, core: RaftCore, index: int) -> Configuration | None:
        if index == 0:
            return None  # what it began with, if it was there
        if index > core.log.floor.index:
            return self.known.proposed.get((index, core.log.term(index)))
        return next((each for at, each in reversed(self.known.configurations) if at == index), None)


class WhoMayLead(Invariant):
    """Thesis §4.2: learners, witnesses, strangers and nodes in repair never lead.

    Who is on the way out may until its removal is committed.
    """

    name = "only voters with data lead (thesis §4.2)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        if core.role is not Role.LEADER:
            return
        _, committed = core.log.configurations.at(core.log.committed)
        if core.repairing:
            self.fail(f"node {core.node_id} leads term {core.term}, and is in repair")
        if not any(_may_lead(each, core.node_id) for each in (core.configuration, committed)):
            self.fail(f"node {core.node_id} leads term {core.term}, but has no such part in {core.configuration}")


def _may_lead(configuration: Configuration, node_id: int) -> bool:
    """As the list of members has it: what the code under test makes of that list is not asked."""
    member = configuration.get(node_id)
    if member is None or member.role is MemberRole.WITNESS:
        return False
    return member.role is MemberRole.VOTER or node_id in configuration.outgoing


class NoVoteInRepair(Invariant):
    """Who has lost what it had promised promises nothing before the cluster has taken it in anew."""

    name = "a node in repair does not vote"

    def sending(self, evidence: Evidence, core: RaftCore | None, peer: int, message: WireMessage) -> None:
        if core is None or not core.repairing:
            return
        match message:
            case RequestVoteReply(granted=True, pre_vote=False):
                self.fail(f"node {evidence.node_id} votes for {peer} in term {message.term}")
            case RequestVote(pre_vote=False):
                self.fail(f"node {evidence.node_id} campaigns in term {message.term}")


class OnlyTheHarmedAreRepaired(Invariant):
    """Repair gives up a node's vote and its copy of everything: it must never be done without a reason."""

    name = "only who lost something is repaired"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        if core.repairing:
            self._check(evidence)

    def recovered(self, evidence: Evidence, recovered: Recovered) -> None:
        if recovered.repairing:
            self._check(evidence)

    def _check(self, evidence: Evidence) -> None:
        # A disk that was empty when the node came back as a new member may pass for a loss where word of that is late.
        # A former witness gives up what it has when it is to hold data.
        node_id = evidence.node_id
        if not (evidence.harmed or evidence.began_at or self.known.was_named_witness(node_id)):
            self.fail(f"node {node_id} is in repair, and nothing ever happened to its disk")


OF_MEMBERSHIP: tuple[type[Invariant], ...] = (
    OneConfigurationAtATime,
    TheLatestIsInForce,
    WhoMayLead,
    NoVoteInRepair,
    OnlyTheHarmedAreRepaired,
)
"""In the order in which they are asked."""
