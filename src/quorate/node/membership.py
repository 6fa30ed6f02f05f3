"""Keeps a running node in line with the configuration in its log: its connections, its duties, its right to vote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from quorate.errors import CorruptLog, QuorateError
from quorate.node.calls import Farewell
from quorate.node.conditions import Conditions
from quorate.node.durable import DurableState
from quorate.node.events import EventStream, MembershipChanged
from quorate.node.group import GROUP, Group
from quorate.node.members import described
from quorate.node.roster import Roster
from quorate.node.steward import STEWARD_SECONDS, Steward
from quorate.raft.membership import Configuration
from quorate.transport.contract import Announcement, Transport

log = logging.getLogger(__name__)

FAREWELL_SECONDS = 0.2
"""Who was removed is told after this time: it may be the one that asked for it, and waits for the answer."""
PARTING_SECONDS = 2.0
"""A connection outlives the membership of who is at its other end by this long."""


class Membership:
    """What changes when the configuration does."""

    def __init__(
        self,
        group: Group,
        roster: Roster,
        durable: DurableState,
        transport: Transport,
        conditions: Conditions,
        events: EventStream,
        *,
        on_witness: Callable[[], None],
        on_lost_data: Callable[[], None],
    ) -> None:
        """``on_witness`` is called when this node turns out to be a witness, ``on_lost_data`` when it comes without."""
        self.roster = roster
        self._conditions = conditions
        self._group = group
        self._durable = durable
        self._transport = transport
        self._events = events
        self._on_witness = on_witness
        self._on_lost_data = on_lost_data
        group.on_other_kind = self._turn
        self._steward = Steward(group, roster, durable.identity.address)
        self._seen: tuple[Configuration, int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dialled: set[str] = set()
        self._removed = False  # by the configuration in force

    def start(self) -> None:
        """Go by what the log says now, and begin to look after the members."""
        self.noticed()
        self._plan_look()

    def stop(self, error: QuorateError) -> None:
        """End what is pending."""
        if self._timer is not None:
            self._timer.cancel()
        self._conditions.fail_all(error)

    # -- the configuration -------------------------------------------------------------------------------

    def noticed(self) -> None:
        """A turn of the group is over. Cheap unless the configuration has changed."""
        core = self._group.core
        configurations = core.log.configurations
        committed_index, committed = configurations.at(core.log.committed)
        seen = (configurations.latest, configurations.index, committed_index)
        if seen != self._seen:
            changed = self._seen is not None and seen[1] != self._seen[1]
            self._seen = seen
            gone = [each.node_id for each in self.roster.committed if each.node_id not in committed]
            comes_back = self._comes_back(configurations.latest)
            self.roster.go_by(configurations.latest, configurations.index, committed, committed_index)
            if gone:
                asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._take_leave, gone)
            self.redial(afresh=comes_back)
            if changed:
                told = described(configurations.latest)
                facts = {"event": MembershipChanged.name, "index": seen[1], "members": told}
                log.info("the configuration is that of entry %d: %s", seen[1], told, extra=facts)
                self._events.publish(MembershipChanged(configurations.index, configurations.latest))
        if core.repairing:
            self._maybe_repaired()
        self._conditions.look()

    def _comes_back(self, configuration: Configuration) -> bool:
        """Whether this node is a member again: those who go by its removal have to hear of the later entry."""
        node_id = self._group.core.node_id
        if node_id in configuration:
            came_back, self._removed = self._removed, False
            return came_back
        self._removed = self._removed or node_id in self.roster.configuration
        return False

    def _turn(self) -> None:
        """Be what the leader takes this node for: a witness, or not one.

        The configurations here cannot tell: those that are replayed may be from a time when this node was something
        else. A holder of data becomes a witness on the spot, its state is not needed any more; a witness lacks what
        it was not sent, so it begins anew. Raises :class:`CorruptLog` then.
        """
        if not self._durable.identity.witness:
            self._durable.remember_witness()
            self._on_witness()
        else:
            self._durable.give_up()
            raise CorruptLog("this node was a witness and holds no data: it begins anew when it is restarted")

    def _maybe_repaired(self) -> None:
        """Vote again once the cluster has written down, for good, which data this node now votes with."""
        core = self._group.core
        _, agreed = core.log.configurations.at(min(core.log.committed, core.log.durable))
        own = agreed.get(core.node_id)
        if own is not None and own.store == self._durable.identity.store:
            self._durable.store.repaired()
            core.repaired()
            log.warning("node %d is repaired, and votes again", core.node_id, extra={"event": "repaired"})

    def lost_data(self, reason: str) -> None:
        """The peers know that this node had other data: what it promised is lost."""
        core = self._group.core
        if not core.repairing:
            log.error("node %d: %s", core.node_id, reason)
            self._durable.store.mark_repairing(reason)
            self._on_lost_data()
            core.lost_promises()
            self.redial(afresh=True)

    # -- connections -------------------------------------------------------------------------------------

    def redial(self, *, afresh: bool = False) -> None:
        """Keep connections to those who matter; ``afresh``, so that each handshake tells the latest."""
        wanted = self.roster.dialled
        if afresh:
            for address in sorted(self._dialled):
                self._transport.hang_up(address)
            self._dialled.clear()
        elif self._dialled - wanted:
            asyncio.get_running_loop().call_later(PARTING_SECONDS, self._hang_up)
        for address in sorted(wanted - self._dialled):
            self._transport.dial(address)
        self._dialled |= wanted
        self._durable.remember_peers(self.roster.known)

    def _take_leave(self, gone: list[int]) -> None:
        if not self._group.stopped:
            for peer in gone:
                if not self.roster.admits(peer) and peer != self._group.core.node_id:
                    farewell = Farewell(configuration_index=self.roster.committed_index)
                    self._transport.send(peer, GROUP, [farewell])

    def _hang_up(self) -> None:
        """Give up the connections that are not wanted any more; who left has had time to hear of it."""
        if not self._group.stopped:
            unwanted = self._dialled - self.roster.dialled
            for address in sorted(unwanted):
                self._transport.hang_up(address)
            self._dialled -= unwanted

    def is_final(self, farewell: Farewell) -> bool:
        """Whether a peer that takes its leave of this node knows something later than this node does."""
        return farewell.configuration_index > self.roster.committed_index

    def announcement(self) -> Announcement:
        """What this node says about itself now."""
        core = self._group.core
        return Announcement(
            store=self._durable.identity.store,
            configuration_index=core.log.configurations.index,
            member=core.node_id in core.configuration or core.repairing,
            repairing=core.repairing,
        )

    # -- the leader's duties -----------------------------------------------------------------------------

    def _plan_look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STEWARD_SECONDS, self._look)

    def _look(self) -> None:
        self._plan_look()
        with self._group.failing_loudly():
            self._steward.look()
