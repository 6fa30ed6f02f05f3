"""Puts proposals into the log: here, if this node leads, or by way of the leader. Sees each of them to its outcome.

What was proposed in one turn of the event loop waits in a queue until that turn ends; then it becomes a few entries,
or is forwarded. See :mod:`quorate.node.proposals` and :mod:`quorate.node.forwarding` for how the rest of the way goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Sequence
from random import Random
from time import monotonic

from quorate.config import RaftConfig
from quorate.errors import NodeStopped, NotLeader, OutcomeUnknown, ProposalDropped, QuorateError
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.outcome import Applied
from quorate.node.figures import Figures
from quorate.node.forwarding import (
    Forward,
    ForwardAccepted,
    ForwardMessage,
    ForwardRefused,
    PendingForwards,
    decode_commands,
    encode_commands,
)
from quorate.node.proposals import (
    LargeUnderWay,
    LocalUnit,
    Proposal,
    ProposalQueue,
    RemoteUnit,
    Unit,
    WaitingProposals,
    batches,
)
from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry
from quorate.raft.output import Floor
from quorate.transport.contract import WireMessage

_LEADER_LOST = "the leader was lost before it said whether it took the command"


class Placement:
    """All proposals of one group on one node, from their arrival to their outcome."""

    def __init__(
        self,
        core: RaftCore,
        *,
        config: RaftConfig,
        unordered: Container[str],
        send: Callable[[int, Sequence[WireMessage]], None],
        connected: Container[int],
        rng: Random,
        wall_clock_us: Callable[[], int],
        figures: Figures,
    ) -> None:
        """``unordered``: see :attr:`~quorate.machine.router.Router.unordered`."""
        self._core = core
        self._pending_max = config.max_pending_proposals
        self._send = send
        self._connected = connected
        self._rng = rng
        self._wall_clock_us = wall_clock_us
        self._loop = asyncio.get_running_loop()
        self._queue = ProposalQueue(config.max_pending_proposals, core.config.uncommitted_bytes_max, unordered)
        self._waiting = WaitingProposals()
        self._waiting.applied_index = core.log.applied
        self._forwards = PendingForwards(rng.getrandbits(62))
        self._large = LargeUnderWay()
        self._figures = figures
        self._uncommitted: deque[tuple[int, float]] = deque()
        """Index of each entry that was put into the log here and is not known to be committed; and when that was."""

    @property
    def pending(self) -> int:
        """Proposals of this node without an outcome."""
        return self._queue.count + self._waiting.count + self._forwards.count

    @property
    def queued(self) -> int:
        """Commands, of this node and forwarded, that are in no log yet."""
        return self._queue.count

    @property
    def is_due(self) -> bool:
        """Whether something waits for :meth:`place`."""
        return bool(self._queue) and (not self._core.is_leader or self._queue.is_due(self._has_room_for))

    def _has_room_for(self, size: int) -> bool:
        return self._large.has_room_for(size, self._core.term, self._loop.time())

    def propose(
        self, command: Command, timeout: float, *, may_forward: bool, alone: bool = False
    ) -> asyncio.Future[Applied]:
        """Queue a command; the future ends with its outcome. Raises :class:`ProposalDropped` if too many wait."""
        if self.pending >= self._pending_max:
            raise ProposalDropped(f"{self.pending} proposals wait for their outcome already")
        future: asyncio.Future[Applied] = self._loop.create_future()
        proposal = Proposal(future, self._loop.time() + timeout)
        self._queue.add(LocalUnit([command], proposal, self._waiting, may_forward, alone))
        return future

    # -- into the log ------------------------------------------------------------------------------------

    def place(self) -> None:
        """Put what was proposed into the log, or send it to the node that can."""
        units = self._queue.take_due(self._has_room_for) if self._core.is_leader else self._queue.take()
        try:
            self._place([unit for unit in units if not (isinstance(unit, LocalUnit) and unit.abandoned)])
        except BaseException:
            # Nothing of this turn has left the core, and nothing will: the node fails.
            for unit in units:
                unit.refused(NodeStopped("the node has failed"))
            raise

    def _place(self, units: list[Unit]) -> None:
        leader = self._core.leader
        if self._core.is_leader:
            for batch, commands in batches(units):
                self._append(batch, commands)
        elif leader is not None and leader in self._connected:
            self._forward(leader, units)
        else:
            for unit in units:
                unit.refused(NotLeader(None))

    def _append(self, units: list[Unit], commands: list[Command]) -> None:
        payload = encode_batch(Batch(self._wall_clock_us(), self._rng.getrandbits(64), commands))
        try:
            index = self._core.propose([payload])
        except (NotLeader, ProposalDropped) as error:
            for unit in units:
                unit.refused(error)
            return
        self._large.added(index, len(payload), self._core.term, self._loop.time())
        self._uncommitted.append((index, monotonic()))
        self._figures.commands_logged += len(commands)
        self._figures.entry_commands.observe(len(commands))
        position = 0
        for unit in units:
            unit.accepted(index, self._core.term, position)
            position += len(unit.commands)

    def _forward(self, leader: int, units: list[Unit]) -> None:
        allowed: list[LocalUnit] = []
        for unit in units:
            if isinstance(unit, LocalUnit) and unit.may_forward:
                allowed.append(unit)
            else:
                unit.refused(NotLeader(leader))  # a follower that forwarded to us by mistake asks the leader itself
        for batch, commands in batches(allowed):
            number = self._forwards.add(leader, [unit.proposal for unit in batch])
            self._send(leader, [Forward(number=number, commands=encode_commands(commands))])

    # -- forwarded ---------------------------------------------------------------------------------------

    def received(self, peer: int, message: ForwardMessage) -> None:
        """A message about forwarded proposals arrived."""
        match message:
            case Forward():
                self._accept_forward(peer, message)
            case ForwardAccepted():
                proposals = self._forwards.answered(peer, message.number)
                self._waiting.add(message.index, message.term, message.position, proposals)
            case ForwardRefused():
                refusal = ProposalDropped(message.reason) if message.reason else NotLeader(message.leader or None)
                for proposal in self._forwards.answered(peer, message.number):
                    proposal.fail(refusal)

    def _accept_forward(self, peer: int, forward: Forward) -> None:
        number = forward.number

        def accepted(index: int, term: int, position: int) -> None:
            self._send(peer, [ForwardAccepted(number=number, index=index, term=term, position=position)])

        def refused(error: QuorateError) -> None:
            leader = error.leader or 0 if isinstance(error, NotLeader) else 0
            reason = "" if isinstance(error, NotLeader) else str(error)
            self._send(peer, [ForwardRefused(number=number, leader=leader, reason=reason)])

        try:
            self._queue.add(RemoteUnit(decode_commands(forward.commands), accepted, refused))
        except QuorateError as error:
            refused(error)

    # -- outcomes ----------------------------------------------------------------------------------------

    def committed(self, index: int) -> None:
        """The log is committed up to ``index``."""
        uncommitted = self._uncommitted
        if uncommitted and uncommitted[0][0] <= index:
            now = monotonic()
            while uncommitted and uncommitted[0][0] <= index:
                self._figures.commit_seconds.observe(now - uncommitted.popleft()[1])

    def applied(self, entry: Entry, outcomes: list[object]) -> None:
        """An entry was applied here, with these outcomes."""
        self._large.applied(entry.index, self._loop.time())
        self._waiting.applied(entry.index, entry.term, outcomes)
        self._figures.commands_applied += len(outcomes)

    def skipped_to(self, floor: Floor) -> None:
        """The state is now that of a snapshot: what led to its ``floor`` was not seen here."""
        self._large.applied(floor.index, self._loop.time())
        self._waiting.skipped_to(floor.index, floor.term)

    def peer_lost(self, peer: int) -> None:
        """The connection to a peer broke."""
        self._forwards.lose(peer, _LEADER_LOST)

    def leader_changed(self, leader: int | None) -> None:
        """Another node leads, or none. What this turn has forwarded to the new one already is not lost."""
        self._forwards.lose_all_but(leader, _LEADER_LOST)
        self._uncommitted.clear()

    def expire(self) -> None:
        """End the proposals whose time is over."""
        now = self._loop.time()
        for unit in self._queue.take_late(now):
            unit.refused(ProposalDropped("other large proposals were before it all the time"))
        self._waiting.expire(now)
        self._forwards.expire(now)

    def stop(self, *, tell: bool) -> None:
        """End all of them; ``tell`` the followers whose proposals wait."""
        stopping = NodeStopped("the node is stopping")
        for unit in self._queue.take():
            if tell or isinstance(unit, LocalUnit):
                unit.refused(stopping)
        self._forwards.lose_all_but(None, "the node stopped before the leader said whether it took the command")
        self._waiting.fail_all(OutcomeUnknown("the node stopped before the command was confirmed"))
