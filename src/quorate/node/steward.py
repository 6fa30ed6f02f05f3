"""The leader's housekeeping of the membership: what it changes by itself, one thing at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from quorate.errors import ConfigError, NotApplied
from quorate.node.group import Group
from quorate.node.operations import promoted
from quorate.node.roster import Roster
from quorate.raft.core import RaftCore
from quorate.raft.membership import Member
from quorate.raft.progress import Progress, ProgressState

log = logging.getLogger(__name__)

STEWARD_SECONDS = 0.1
"""How often it looks."""
OFFER_LOOKS = 50
"""A node that was offered the leadership and did not take it is offered it again after so many looks."""
CAUGHT_UP_ENTRIES = 200
"""A learner that lacks no more than this has caught up (thesis §4.2.1): so little is sent in a moment."""


class Steward:
    """Takes in anew who lost its data, promotes learners that caught up, follows those who move.

    And it hands the leadership to a node of higher priority once there is one that has everything.
    """

    def __init__(self, group: Group, roster: Roster, address: str) -> None:
        """``address`` is where this node itself is reached."""
        self._group = group
        self._roster = roster
        self._address = address
        self._told: set[str] = set()
        self._looks = 0
        self._next_offer = 0

    def look(self) -> None:
        """Do what is due, if this node leads and nothing else is under way."""
        core = self._group.core
        self._looks += 1
        if core.replication is None or core.successor is not None or not core.may_change_membership:
            return
        changed = self._repaired(core) or self._promoted(core) or self._moved(core)
        if changed is not None:
            self._change(core, changed)
        else:
            self._give_way(core, core.replication.peers)

    def _change(self, core: RaftCore, changed: Member) -> None:
        members = [
            changed if member.node_id == changed.node_id else self._completed(member) for member in core.configuration
        ]
        try:
            self._group.change_membership(members, core.log.configurations.index)
        except (NotApplied, ConfigError) as error:
            self._tell(f"node {changed.node_id} cannot be changed to {changed}: {error}")

    def _completed(self, member: Member) -> Member:
        """The member with the data it votes with, now that a new configuration is written down anyway."""
        return replace(member, store=member.store or self._roster.claimed_store(member.node_id))

    def _repaired(self, core: RaftCore) -> Member | None:
        """A member that lost its data and is not yet written down with the new one.

        The entry that does so is committed without it, and it votes again once it holds that entry. Then it holds
        all that it ever acknowledged; and no vote that it gave before can elect anyone any more, as nobody who
        lacks the entry finds a quorum.
        """
        for member, progress in self._peers(core):
            store = self._roster.claimed_store(member.node_id)
            if not progress.repairing or not store or member.store == store:
                continue
            able = {peer.node_id for peer, known in self._peers(core) if not known.repairing} | {core.node_id}
            if not core.configuration.quorum.includes(able):
                self._tell(
                    f"node {member.node_id} lost its data and cannot be repaired, as there is no quorum without it: "
                    "see quorate recover"
                )
                continue
            log.warning("node %d lost its data and is repaired: until then it does not vote", member.node_id)
            return replace(member, store=store)
        return None

    def _promoted(self, core: RaftCore) -> Member | None:
        """A learner, or a new witness, that is to have a say and has caught up."""
        for member, progress in self._peers(core):
            wanted = member.promote and not progress.repairing
            near = progress.state is ProgressState.REPLICATE and progress.active
            if wanted and near and core.log.last_index - progress.match <= CAUGHT_UP_ENTRIES:
                changed = promoted(self._completed(member))
                if self._is_possible(core, changed):  # of several, another one may have to be the first
                    return changed
        return None

    def _is_possible(self, core: RaftCore, changed: Member) -> bool:
        others = [member for member in core.configuration if member.node_id != changed.node_id]
        try:
            core.configuration.changed_to((*others, changed))
        except ConfigError as error:
            self._tell(f"node {changed.node_id} cannot have its say: {error}")
            return False
        return True

    def _moved(self, core: RaftCore) -> Member | None:
        """A member that announces another address than the one in the log."""
        for member in core.configuration:
            own = member.node_id == core.node_id
            address = self._address if own else self._roster.moved(member.node_id)
            taken = [other.address for other in core.configuration]
            if address is not None and address not in taken:
                log.info("node %d moved from %s to %s", member.node_id, member.address, address)
                return replace(self._completed(member), address=address)
        return None

    def _give_way(self, core: RaftCore, peers: dict[int, Progress]) -> None:
        own = core.configuration.get(core.node_id)
        if own is None or self._looks < self._next_offer:
            return
        better = [
            member
            for member, progress in self._peers(core)
            if member.priority > own.priority
            and core.configuration.may_lead(member.node_id)
            and progress.state is ProgressState.REPLICATE
            and progress.active
            and not progress.repairing
            and progress.match >= core.log.committed
        ]
        if better:
            self._next_offer = self._looks + OFFER_LOOKS
            best = max(better, key=lambda member: (member.priority, peers[member.node_id].match))
            try:
                self._group.transfer_leadership(best.node_id)
            except NotApplied as error:
                self._tell(f"cannot hand over to node {best.node_id}: {error}")

    @staticmethod
    def _peers(core: RaftCore) -> Iterable[tuple[Member, Progress]]:
        peers = core.replication.peers if core.replication is not None else {}
        return [(member, peers[member.node_id]) for member in core.configuration if member.node_id in peers]

    def _tell(self, line: str) -> None:
        """Log it once."""
        if line not in self._told:
            self._told.add(line)
            log.error("%s", line)
