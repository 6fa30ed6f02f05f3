"""Drives one core: gathers inputs during a turn of the event loop, then carries out what the core asks.

Everything here happens on the event loop's thread. Only the writer waits for the disk, and it reports back through
:meth:`Group.persisted`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import ParamSpec

from quorate.config import TICK_MS, RaftConfig
from quorate.errors import NodeStopped, NotLeader, OutcomeUnknown, ProposalDropped, QuorateError, ReadUnavailable
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.outcome import Applied
from quorate.machine.router import Router
from quorate.node.applier import Applier
from quorate.node.events import EventStream, LeaderElected, LeaderLost, RoleChanged
from quorate.node.forwarding import (
    Forward,
    ForwardAccepted,
    ForwardRefused,
    PendingForwards,
    decode_commands,
    encode_commands,
)
from quorate.node.proposals import LocalUnit, Proposal, ProposalQueue, RemoteUnit, Unit, WaitingProposals, batches
from quorate.node.reads import ReadGate
from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry
from quorate.raft.membership import Member
from quorate.raft.messages import Message
from quorate.raft.output import Floor, Output, SnapshotWanted
from quorate.raft.roles import Role
from quorate.storage.writer import Writer
from quorate.transport.contract import WireMessage

log = logging.getLogger(__name__)
P = ParamSpec("P")

GROUP = 0
"""The only group so far; frames and directories carry its number."""
EXPIRE_TICKS = 10
_LEADER_LOST = "the leader was lost before it said whether it took the command"


def _nothing() -> None:
    pass


def ticks(seconds: float) -> int:
    """The core's clock when the event loop's reads ``seconds``."""
    return int(seconds * 1000 / TICK_MS)


class Group:
    """One Raft group on one node."""

    def __init__(
        self,
        core: RaftCore,
        *,
        config: RaftConfig,
        router: Router,
        writer: Writer,
        send: Callable[[int, Sequence[WireMessage]], None],
        connected: Container[int],
        events: EventStream,
        rng: Random,
        wall_clock_us: Callable[[], int],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.core = core
        self.on_turn: Callable[[], None] = _nothing
        """Called behind each turn in which something may have changed."""
        self._config = config
        self._writer = writer
        self._send = send
        self._connected = connected
        self._events = events
        self._rng = rng
        self._wall_clock_us = wall_clock_us
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._queue = ProposalQueue(config.max_pending_proposals, core.config.uncommitted_bytes_max)
        self._waiting = WaitingProposals()
        self._waiting.applied_index = core.log.applied
        self._forwards = PendingForwards(rng.getrandbits(62))
        self._reads = ReadGate(rng.getrandbits(62), config.max_pending_proposals)
        self._known: tuple[Role, int | None, int] = (core.role, core.leader, core.term)
        self._turn_due = False
        self._tick_timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._durable_awaited: tuple[int, asyncio.Future[None]] | None = None
        self.stopped = False
        self.on_snapshot_wanted: Callable[[SnapshotWanted], None] | None = None
        """Told of peers that need a snapshot."""
        self.applier = Applier(
            router,
            core.log.applied,
            on_applied=self._applied,
            on_progress=self._progressed,
            failing_loudly=self.failing_loudly,
        )

    @property
    def applied_index(self) -> int:
        """Up to here the state machines have applied the log."""
        return self.applier.applied_index

    # -- inputs ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count time."""
        self._tick()

    def _now_ticks(self) -> int:
        return ticks(self._loop.time())

    def _tick(self) -> None:
        self._tick_timer = self._loop.call_later(TICK_MS / 1000, self._tick)
        self._ticks += 1
        if self._ticks % EXPIRE_TICKS == 0:
            with self.failing_loudly():
                self._expire()
        self._input(self.core.tick, self._now_ticks())

    @contextmanager
    def failing_loudly(self) -> Iterator[None]:
        """Whatever goes wrong inside, foreseen or not, stops the node: a half-done step must not be continued."""
        try:
            yield
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, Exception):
                raise

    def _input(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Give the core an input; what follows from it is carried out at the end of this turn."""
        if self.stopped:
            return
        try:
            method(*args, **kwargs)
        except Exception as error:
            self.fail(error)
        self._schedule_turn()

    def received(self, peer: int, message: Message) -> None:
        """A peer's consensus message arrived."""
        self._input(self.core.step, peer, message)

    def persisted(self, ticket: int) -> None:
        """The writer has made everything up to ``ticket`` durable."""
        self._input(self.core.persisted, ticket)
        self._notice_durable()

    def peer_lost(self, peer: int) -> None:
        """The connection to a peer broke."""
        self._input(self.core.peer_lost, peer)
        self._forwards.lose(peer, _LEADER_LOST)

    @property
    def pending(self) -> int:
        """Proposals of this node without an outcome."""
        return self._queue.count + self._waiting.count + self._forwards.count

    def propose(self, command: Command, timeout: float, *, may_forward: bool = True) -> asyncio.Future[Applied]:
        """Propose a command; the future ends with its outcome. Raises what :class:`NotApplied` covers at once."""
        if self.stopped:
            raise NodeStopped("the node is not running")
        if self.core.leader is None:
            raise NotLeader(None)
        if self.pending >= self._config.max_pending_proposals:
            raise ProposalDropped(f"{self.pending} proposals wait for their outcome already")
        future: asyncio.Future[Applied] = self._loop.create_future()
        proposal = Proposal(future, self._loop.time() + timeout)
        self._queue.add(LocalUnit([command], proposal, self._waiting, may_forward))
        self._schedule_turn()
        return future

    def read_barrier(self) -> asyncio.Future[None]:
        """A future that ends when the local state holds everything acknowledged anywhere before this call."""
        if self.stopped:
            raise ReadUnavailable("the node is not running")
        future: asyncio.Future[None] = self._loop.create_future()
        self._reads.enter(future)
        self._schedule_turn()
        return future

    # -- a turn ------------------------------------------------------------------------------------------

    def change_membership(self, members: Iterable[Member], expected_index: int | None) -> int:
        """See :meth:`RaftCore.change_membership`; raises what that raises, and :class:`NodeStopped`."""
        if self.stopped:
            raise NodeStopped("the node is not running")
        index = self.core.change_membership(members, expected_index)
        self._schedule_turn()
        return index

    def transfer_leadership(self, target: int | None) -> int:
        """See :meth:`RaftCore.transfer_leadership`; raises what that raises, and :class:`NodeStopped`."""
        if self.stopped:
            raise NodeStopped("the node is not running")
        target = self.core.transfer_leadership(target)
        self._schedule_turn()
        return target

    def _schedule_turn(self) -> None:
        if not self._turn_due and not self.stopped:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self.stopped:
            return
        with self.failing_loudly():
            if self._queue:
                self._place_proposals()
            if self._reads.wants_token:
                self._ask_for_reads()
            self._carry_out(self.core.ready())
            self.on_turn()

    def _carry_out(self, output: Output) -> None:
        if output.write is not None:
            self._writer.submit(output.write)
        if output.messages:
            by_peer: dict[int, list[WireMessage]] = {}
            for envelope in output.messages:
                by_peer.setdefault(envelope.peer, []).append(envelope.message)
            for peer, messages in by_peer.items():
                self._send(peer, messages)
        self._notice_changes()
        for read in output.reads:
            self._reads.confirmed(read, self.applied_index)
        if output.committed:
            self.applier.apply(output.committed)
        if self.on_snapshot_wanted is not None:
            for wanted in output.snapshots:
                self.on_snapshot_wanted(wanted)

    def _notice_changes(self) -> None:
        role, leader, term = known = (self.core.role, self.core.leader, self.core.term)
        if known == self._known:
            return
        (old_role, old_leader, old_term), self._known = self._known, known
        if role is not old_role:
            self._events.publish(RoleChanged(term, role))
        if leader != old_leader:
            # This turn may have forwarded to the new leader already.
            self._forwards.lose_all_but(leader, _LEADER_LOST)
            if old_leader is not None:
                log.info("term %d: leader %d is lost", old_term, old_leader)
                self._events.publish(LeaderLost(old_term, old_leader))
        if leader is not None and (leader, term) != (old_leader, old_term):
            log.info("term %d: node %d leads", term, leader)
            self._events.publish(LeaderElected(term, leader))

    # -- proposals ---------------------------------------------------------------------------------------

    def _place_proposals(self) -> None:
        """Put what was proposed into the log, or send it to the node that can."""
        units = self._queue.take()
        try:
            self._place([unit for unit in units if not (isinstance(unit, LocalUnit) and unit.abandoned)])
        except BaseException:
            # Nothing of this turn has left the core, and nothing will: the node fails.
            for unit in units:
                unit.refused(NodeStopped("the node has failed"))
            raise

    def _place(self, units: list[Unit]) -> None:
        leader = self.core.leader
        if self.core.replication is not None:
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
            index = self.core.propose([payload])
        except (NotLeader, ProposalDropped) as error:
            for unit in units:
                unit.refused(error)
            return
        position = 0
        for unit in units:
            unit.accepted(index, self.core.term, position)
            position += len(unit.commands)

    def _forward(self, leader: int, units: list[Unit]) -> None:
        allowed: list[LocalUnit] = []
        for unit in units:
            if isinstance(unit, LocalUnit) and unit.may_forward:
                allowed.append(unit)
            else:
                unit.refused(NotLeader(leader))  # a follower that forwarded to us by mistake asks the leader itself
        for batch, commands in batches(allowed):
            number = self._forwards.add(leader, [unit.proposal for unit in batch if isinstance(unit, LocalUnit)])
            self._send(leader, [Forward(number=number, commands=encode_commands(commands))])

    def received_forward(self, peer: int, message: Forward | ForwardAccepted | ForwardRefused) -> None:
        """A message about forwarded proposals arrived."""
        if self.stopped:
            return
        with self.failing_loudly():
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
        else:
            self._schedule_turn()

    # -- reads -------------------------------------------------------------------------------------------

    def _ask_for_reads(self) -> None:
        def read_index(token: int) -> None:
            self.core.read_index(token, self._now_ticks())

        self._reads.ask(self._loop.time(), read_index)

    # -- applying ----------------------------------------------------------------------------------------

    def _applied(self, entry: Entry, outcomes: list[object]) -> None:
        self._waiting.applied(entry.index, entry.term, outcomes)

    def _progressed(self, batch_done: bool) -> None:
        if batch_done:
            self.core.applied_to(self.applied_index)
            if self.core.log.committed > self.applied_index:
                self._schedule_turn()
        self._reads.applied(self.applied_index)

    # -- snapshots ---------------------------------------------------------------------------------------

    def compact(self, index: int) -> Floor | None:
        """See :meth:`RaftCore.compact`."""
        return None if self.stopped else self.core.compact(index)

    def snapshot_ended(self, peer: int, session: int) -> None:
        """See :meth:`RaftCore.snapshot_ended`."""
        self._input(self.core.snapshot_ended, peer, session)

    def has_everything_up_to(self, floor: Floor) -> bool:
        """Whether a snapshot of ``floor`` could bring nothing that is not here."""
        log = self.core.log
        return floor.index <= log.committed or log.matches(floor.index, floor.term)

    def install_snapshot(self, leader: int, term: int, session: int, floor: Floor) -> bool:
        """See :meth:`RaftCore.install_snapshot`. If it is, nothing is applied from now on to :meth:`state_replaced`."""
        if self.stopped:
            return False
        installing = False
        with self.failing_loudly():
            installing = self.core.install_snapshot(leader, term, session, floor)
            if installing:
                self.applier.suspend()
        self._schedule_turn()
        return installing and not self.stopped

    async def until_durable(self, index: int) -> None:
        """Return when the log is durable up to ``index``; never, if the node stops before. One call at a time."""
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._durable_awaited = (index, waiting)
        self._notice_durable()
        await waiting

    def _notice_durable(self) -> None:
        if self._durable_awaited is not None and self.core.log.durable >= self._durable_awaited[0]:
            _, waiting = self._durable_awaited
            self._durable_awaited = None
            if not waiting.done():
                waiting.set_result(None)

    def state_replaced(self, floor: Floor) -> None:
        """The state is now that of a snapshot: go on behind its ``floor``."""
        if self.stopped:
            return
        with self.failing_loudly():
            self.core.applied_to(floor.index)
            self._waiting.skipped_to(floor.index, floor.term)
            self.applier.go_on_behind(floor.index)
            self._reads.applied(floor.index)
        self._schedule_turn()

    # -- ends --------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._loop.time()
        self._waiting.expire(now)
        self._forwards.expire(now)
        self._ask_for_reads()

    def fail(self, error: BaseException) -> None:
        """Give up: the state or the disk can no longer be trusted."""
        if not self.stopped:
            unforeseen = None if isinstance(error, QuorateError) else error
            log.critical("node %d stops: %s", self.core.node_id, error or repr(error), exc_info=unforeseen)
            self.stop()
            self._on_failure(error)

    def stop(self, *, tell: bool = True) -> None:
        """End every proposal and every read, and take no more input. ``tell`` the followers whose proposals wait."""
        if self.stopped:
            return
        self.stopped = True
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        self.applier.stop()
        stopping = NodeStopped("the node is stopping")
        for unit in self._queue.take():
            if tell or isinstance(unit, LocalUnit):
                unit.refused(stopping)
        self._forwards.lose_all_but(None, "the node stopped before the leader said whether it took the command")
        self._waiting.fail_all(OutcomeUnknown("the node stopped before the command was confirmed"))
        self._reads.fail_all(ReadUnavailable("the node is stopping"))
