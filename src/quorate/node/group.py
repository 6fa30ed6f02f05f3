"""Drives one core: gathers inputs during a turn of the event loop, then carries out what the core asks.

Everything here happens on the event loop's thread. Only the writer waits for the disk, and it reports back through
:meth:`Group.persisted`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager
from random import Random
from types import TracebackType
from typing import TypeVarTuple, Unpack

from quorate.config import TICK_MS, RaftConfig
from quorate.errors import NodeStopped, NotLeader, QuorateError, ReadUnavailable
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied
from quorate.machine.router import Router
from quorate.node.applier import Applier
from quorate.node.events import EventStream, LeaderElected, LeaderLost, PeersSilent, RoleChanged
from quorate.node.figures import Figures
from quorate.node.forwarding import ForwardMessage
from quorate.node.hearing import SILENT_MS, SILENT_TIMEOUTS, Hearing
from quorate.node.placement import Placement
from quorate.node.reads import ReadGate
from quorate.raft.core import RaftCore
from quorate.raft.membership import Member
from quorate.raft.messages import AppendEntries, Heartbeat, Message
from quorate.raft.output import Floor, Output, SnapshotWanted
from quorate.raft.roles import Role
from quorate.storage.writer import Writer
from quorate.transport.contract import WireMessage

log = logging.getLogger(__name__)
Ts = TypeVarTuple("Ts")

GROUP = 0
"""The only group so far; frames and directories carry its number."""
EXPIRE_TICKS = 10


def _nothing() -> None:
    pass


def ticks(seconds: float) -> int:
    """The core's clock when the event loop's reads ``seconds``."""
    return int(seconds * 1000 / TICK_MS)


class _FailingLoudly:
    """See :meth:`Group.failing_loudly`. Every turn needs one, so all share one."""

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        self._fail(error)
        return isinstance(error, Exception)


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
        figures: Figures,
    ) -> None:
        self.core = core
        self.figures = figures
        self.on_turn: Callable[[], None] = _nothing
        """Called behind each turn, and with each tick that brings none."""
        self.on_other_kind: Callable[[], None] = _nothing
        """Called when this node is a witness to the leader but not to itself, or the other way round."""
        self._router = router
        self._writer = writer
        self._send = send
        self._events = events
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._placement = Placement(
            core,
            config=config,
            unordered=router.unordered,
            send=send,
            connected=connected,
            rng=rng,
            wall_clock_us=wall_clock_us,
            figures=figures,
        )
        self._reads = ReadGate(rng.getrandbits(62), config.max_pending_proposals)
        self._known: tuple[Role, int | None, int] = (core.role, core.leader, core.term)
        self._turn_due = False
        self._tick_timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._tick_due_at = self._loop.time()
        self.hearing = Hearing(max(SILENT_MS, SILENT_TIMEOUTS * config.election_timeout_ms) // TICK_MS)
        self._leader_heard_at = self._loop.time()
        self._received_from: dict[int, int] = {}
        """The tick in which bits of a peer's long message came last."""
        self._latest_session = (0, 0)
        """The term, and the leader's session with this node in it, of the latest that came."""
        self._durable_awaited: tuple[int, asyncio.Future[None]] | None = None
        self._failing_loudly = _FailingLoudly(self.fail)
        self.entries_received = 0
        """Log entries that came from leaders; one that came twice counts twice."""
        self.entries_sent = 0
        """Log entries that were sent to followers, to each of them."""
        self.stopped = False
        self.on_snapshot_wanted: Callable[[SnapshotWanted], None] | None = None
        """Told of peers that need a snapshot."""
        self.applier = Applier(
            router,
            core.log.applied,
            replay_to=core.log.last_index,
            on_applied=self._placement.applied,
            on_progress=self._progressed,
            failing_loudly=self.failing_loudly,
            seconds=figures.apply_seconds,
        )

    @property
    def applied_index(self) -> int:
        """Up to here the state machines have applied the log."""
        return self.applier.applied_index

    # -- inputs ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count time, and to apply what the log is known to have committed."""
        self._tick()
        self._schedule_turn()

    def _now_ticks(self) -> int:
        return ticks(self._loop.time())

    def _tick(self) -> None:
        """Let time pass. Most ticks bring nothing about, and are spared a turn."""
        self._tick_timer = self._loop.call_later(TICK_MS / 1000, self._tick)
        self._ticks += 1
        self._note_tick(self._loop.time())
        expires = self._ticks % EXPIRE_TICKS == 0
        with self.failing_loudly():
            if expires:
                self._expire()
            moved = self.core.tick(self._now_ticks())
            if moved or expires or self._reads.wants_token or self._placement.is_due:
                self._schedule_turn()
            else:
                self.on_turn()

    def _note_tick(self, now: float) -> None:
        """Count how late it is, and where the log is by now."""
        self.figures.loop_delay_seconds.observe(max(0.0, now - self._tick_due_at))
        self._tick_due_at = now + TICK_MS / 1000
        if self.core.is_leader:
            self.figures.appended.reached(self.core.log.last_index, now)

    def failing_loudly(self) -> AbstractContextManager[None]:
        """Whatever goes wrong inside, foreseen or not, stops the node: a half-done step must not be continued."""
        return self._failing_loudly

    def _input(self, method: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Give the core an input; what follows from it is carried out at the end of this turn."""
        if self.stopped:
            return
        try:
            method(*args)
        except Exception as error:
            self.fail(error)
        self._schedule_turn()

    def received(self, peer: int, message: Message) -> None:
        """A peer's consensus message arrived."""
        self.hearing.heard(peer, self._ticks)
        if isinstance(message, AppendEntries | Heartbeat):
            self._leader_heard_at = self._loop.time()
        if isinstance(message, AppendEntries):
            self.entries_received += len(message.entries)
            with self.failing_loudly():
                self._notice_kind(message.term, message.session, is_witness=message.witness)
        self._input(self.core.step, peer, message)

    def receiving(self, peer: int) -> None:
        """A long message of a peer is arriving. Told for each bit of it; once a tick is enough."""
        if self._received_from.get(peer) != self._ticks:
            self._received_from[peer] = self._ticks
            self.hearing.heard(peer, self._ticks)
            self._input(self.core.receiving, peer)

    def offered_snapshot(self, term: int, session: int, *, for_witness: bool) -> None:
        """The leader of ``term`` offers a snapshot. Raises what :attr:`on_other_kind` does."""
        self._notice_kind(term, session, is_witness=for_witness)

    def _notice_kind(self, term: int, session: int, *, is_witness: bool) -> None:
        """Whether the leader takes this node for what it is; what comes late, of an earlier session, cannot tell."""
        is_late = term < self.core.term or (term, session) < self._latest_session
        if is_late or not self._router.machines:
            return
        self._latest_session = (term, session)
        if is_witness is not self._router.is_witness:
            self.on_other_kind()

    def persisted(self, ticket: int) -> None:
        """The writer has made everything up to ``ticket`` durable."""
        self._input(self.core.persisted, ticket)
        self._notice_durable()

    def peer_lost(self, peer: int) -> None:
        """The connection to a peer broke."""
        self._input(self.core.peer_lost, peer)
        self._placement.peer_lost(peer)

    @property
    def pending(self) -> int:
        """Proposals of this node without an outcome."""
        return self._placement.pending

    @property
    def queued(self) -> int:
        """Commands, of this node and forwarded to it, that are in no log yet."""
        return self._placement.queued

    @property
    def reading(self) -> int:
        """Strong reads that wait."""
        return len(self._reads)

    def propose(
        self, command: Command, timeout: float, *, may_forward: bool = True, alone: bool = False
    ) -> asyncio.Future[Applied]:
        """Propose a command; the future ends with its outcome. Raises what :class:`NotApplied` covers at once."""
        if self.stopped:
            raise NodeStopped("the node is not running")
        if self.core.leader is None:
            raise NotLeader(None)
        future = self._placement.propose(command, timeout, may_forward=may_forward, alone=alone)
        self._schedule_turn()
        return future

    def received_forward(self, peer: int, message: ForwardMessage) -> None:
        """A message about forwarded proposals arrived."""
        if self.stopped:
            return
        with self.failing_loudly():
            self._placement.received(peer, message)
            if self._placement.is_due:
                self._schedule_turn()

    def read_barrier(self, timeout: float) -> asyncio.Future[None]:
        """A future that ends when the local state holds everything acknowledged anywhere before this call.

        It ends with :class:`ReadUnavailable` if that is not so within ``timeout`` seconds, or a little more.
        """
        if self.stopped:
            raise ReadUnavailable("the node is not running")
        future: asyncio.Future[None] = self._loop.create_future()
        self._reads.enter(future, self._loop.time() + timeout)
        self._schedule_turn()
        return future

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

    # -- a turn ------------------------------------------------------------------------------------------

    def _schedule_turn(self) -> None:
        if not self._turn_due and not self.stopped:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self.stopped:
            return
        with self.failing_loudly():
            if self._placement.is_due:
                self._placement.place()
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
                if isinstance(envelope.message, AppendEntries):
                    self.entries_sent += len(envelope.message.entries)
            for peer, messages in by_peer.items():
                self._send(peer, messages)
        self._notice_changes()
        self._placement.committed(self.core.log.committed)
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
            self._placement.leader_changed(leader)
            self.hearing.begin(self._ticks)
            if old_leader is not None:
                facts = {"event": LeaderLost.name, "term": old_term, "leader": old_leader}
                log.info("term %d: leader %d is lost", old_term, old_leader, extra=facts)
                is_own = old_leader == self.core.node_id
                silent_seconds = 0.0 if is_own else self._loop.time() - self._leader_heard_at
                self._events.publish(LeaderLost(old_term, old_leader, silent_seconds))
        if leader is not None and (leader, term) != (old_leader, old_term):
            facts = {"event": LeaderElected.name, "term": term, "leader": leader}
            log.info("term %d: node %d leads", term, leader, extra=facts)
            self._events.publish(LeaderElected(term, leader))

    # -- reads -------------------------------------------------------------------------------------------

    def _ask_for_reads(self) -> None:
        def read_index(token: int) -> None:
            self.core.read_index(token, self._now_ticks())

        self._reads.ask(self._loop.time(), read_index)

    # -- applying ----------------------------------------------------------------------------------------

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
        here = self.core.log
        return floor.index <= here.committed or here.matches(floor.index, floor.term)

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
            self._placement.skipped_to(floor)
            self.applier.go_on_behind(floor.index)
            self._reads.applied(floor.index)
        self._schedule_turn()

    # -- ends --------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        self._placement.expire()
        self._reads.expire(self._loop.time())
        self._ask_for_reads()
        if self.hearing.look(self._expected(), self._ticks):
            self._events.publish(PeersSilent(self.hearing.silent))

    def _expected(self) -> set[int]:
        """Who answers this node if all is well: a leader, everyone; without one, those whose votes are asked for."""
        configuration = self.core.configuration
        if self.core.leader not in (None, self.core.node_id):
            return set()  # it hears from the leader alone, and would notice
        asked = (peer for peer in configuration.ids if self.core.is_leader or configuration.is_voter(peer))
        return {peer for peer in asked if peer != self.core.node_id}

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
        self._placement.stop(tell=tell)
        self._reads.fail_all(ReadUnavailable("the node is stopping"))
