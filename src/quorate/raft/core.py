"""The Raft core: dispatches inputs to the roles' parts and gathers what they ask for.

Inputs: :meth:`~RaftCore.step` (a peer's message), :meth:`~RaftCore.tick` (time), :meth:`~RaftCore.propose`,
:meth:`~RaftCore.read_index`, :meth:`~RaftCore.persisted`, :meth:`~RaftCore.applied_to`,
:meth:`~RaftCore.peer_lost`. After any number of them, :meth:`~RaftCore.ready` returns what is now to be done.
Proposals made between two calls of ``ready`` travel together.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from quorate.errors import NotLeader, ProposalDropped, ProtocolViolation
from quorate.raft.config import CoreConfig
from quorate.raft.election import Campaign, ElectionTimer, grants_vote
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from quorate.raft.output import LogReader, Output, ReadReady, Recovered
from quorate.raft.persistence import Persistence
from quorate.raft.quorum import VoteResult
from quorate.raft.reads import FollowerReads, LeaderReads
from quorate.raft.replication import Replication, accept_entries
from quorate.raft.roles import TRANSITIONS, Event, Role


class Leadership:
    """What only a leader has. One object, dropped whole when the node steps down."""

    def __init__(
        self, config: CoreConfig, configuration: Configuration, log: RaftLog, term: int, no_op_index: int
    ) -> None:
        self.replication = Replication(config, configuration, log, term)
        self.reads = LeaderReads(config, configuration, no_op_index)
        self.heartbeat_elapsed = 0
        self.quorum_check_elapsed = 0


class RaftCore:
    """One node's part in one Raft group."""

    def __init__(
        self,
        config: CoreConfig,
        configuration: Configuration,
        recovered: Recovered,
        reader: LogReader,
        rng: Random,
        *,
        applied: int = 0,
        committed: int = 0,
        now: int = 0,
    ) -> None:
        """Continue from what storage ``recovered``.

        ``applied`` is where the state machines continue, ``committed`` what they prove to be committed
        (some may be further than others). ``now`` is the clock's reading, in ticks.
        """
        self.config = config
        self.configuration = configuration
        self.log = RaftLog(recovered, reader, cache_bytes_max=config.cache_bytes_max)
        self.log.commit_to(max(applied, committed))
        self.log.handed_out = self.log.applied = applied
        self.role = Role.FOLLOWER
        self.leader: int | None = None
        self._persistence = Persistence(recovered.hard_state, self.log)
        self._timer = ElectionTimer(config, rng)
        self._now = now
        self._ticked_at = now
        self._campaign: Campaign | None = None
        self._leadership: Leadership | None = None
        self._follower_reads = FollowerReads()
        self._messages: list[Envelope] = []
        self._reads: list[ReadReady] = []

    # -- what can be asked -------------------------------------------------------------------------------

    @property
    def node_id(self) -> int:
        """This node's id."""
        return self.config.node_id

    @property
    def term(self) -> int:
        """The current term."""
        return self._persistence.hard_state.term

    @property
    def voted_for(self) -> int | None:
        """Who got this node's vote in the current term."""
        return self._persistence.hard_state.voted_for

    @property
    def replication(self) -> Replication | None:
        """A leader's view of its peers; ``None`` on any other node."""
        return self._leadership.replication if self._leadership else None

    # -- inputs ------------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """The clock reads ``now`` ticks.

        A jump (the process was stopped, the machine slept) counts as one heartbeat interval for the timers, so
        that messages that wait to be read are heard before anything is concluded; leases count it in full.
        """
        elapsed = min(now - self._ticked_at, self.config.heartbeat_ticks)
        self._ticked_at = max(now, self._ticked_at)
        self._now = max(now, self._now)
        if elapsed <= 0:
            return
        if self._leadership is not None:
            self._tick_leader(self._leadership, elapsed)
        elif self._timer.tick(elapsed) and self.configuration.is_voter(self.node_id):
            self._begin_campaign(pre_vote=True)

    def _tick_leader(self, leadership: Leadership, elapsed: int) -> None:
        leadership.quorum_check_elapsed += elapsed
        if leadership.quorum_check_elapsed >= self.config.election_ticks_max:
            leadership.quorum_check_elapsed = 0
            if not self.configuration.quorum.includes(leadership.replication.take_active()):
                self._become_follower(Event.QUORUM_LOST, self.term, None)
                return
        leadership.heartbeat_elapsed += elapsed
        if leadership.heartbeat_elapsed >= self.config.heartbeat_ticks:
            leadership.heartbeat_elapsed = 0
            leadership.replication.nudge_all()
            self._begin_heartbeat_round(leadership)

    def propose(self, payloads: Sequence[bytes]) -> int:
        """Append one entry per payload; returns the index of the first.

        They are committed if and when their entries come out of :meth:`ready` with the current term. Raises
        :class:`NotLeader`, or :class:`ProposalDropped` while too much is uncommitted; then nothing was appended.
        """
        leadership = self._leadership
        if leadership is None:
            raise NotLeader(self.leader)
        replication = leadership.replication
        size = sum(len(payload) for payload in payloads)
        bound = self.config.uncommitted_bytes_max
        if replication.uncommitted_bytes and replication.uncommitted_bytes + size > bound:
            raise ProposalDropped(f"{replication.uncommitted_bytes} bytes are uncommitted, the bound is {bound}")
        first = self.log.last_index + 1
        entries = [
            Entry(first + offset, self.term, EntryKind.COMMANDS, payload) for offset, payload in enumerate(payloads)
        ]
        self.log.append(entries)
        for entry in entries:
            replication.proposed(entry)
        return first

    def read_index(self, token: int, now: int) -> None:
        """Ask for a linearizable read; its :class:`ReadReady` names ``token``, which must never be used again."""
        self._now = max(now, self._now)
        if self._leadership is not None:
            self._add_read(self._leadership, self.node_id, token, self._now)
        elif self.leader is not None:
            self._follower_reads.asked(token)
            self._send(self.leader, ReadIndex(term=self.term, token=token))
        else:
            self._reads.append(ReadReady(token, None))

    def persisted(self, ticket: int) -> None:
        """The write ``ticket`` and all before it are durable."""
        for envelope in self._persistence.persisted(ticket):
            if envelope.peer == self.node_id:
                self.step(self.node_id, envelope.message)
            else:
                self._messages.append(envelope)

    def applied_to(self, index: int) -> None:
        """The driver has applied everything up to ``index``."""
        self.log.applied_to(index)

    def peer_lost(self, peer: int) -> None:
        """The way to ``peer`` broke: what was under way may be lost."""
        if self._leadership is not None and peer in self._leadership.replication.peers:
            progress = self._leadership.replication.peers[peer]
            progress.probe_from(progress.match + 1)

    def step(self, peer: int, message: Message) -> None:
        """A message from ``peer`` (already authenticated as that member) arrived."""
        if message.term > self.term:
            if not self._enter_higher_term(peer, message):
                return
        elif message.term < self.term:
            self._answer_lower_term(peer, message)
            return
        match message:
            case AppendEntries():
                self._handle_append(peer, message)
            case AppendEntriesReply():
                self._handle_append_reply(peer, message)
            case Heartbeat():
                self._handle_heartbeat(peer, message)
            case HeartbeatReply():
                self._handle_heartbeat_reply(peer, message)
            case RequestVote():
                self._handle_vote_request(peer, message)
            case RequestVoteReply():
                self._handle_vote_reply(peer, message)
            case ReadIndex():
                self._handle_read_request(peer, message)
            case ReadIndexReply():
                self._handle_read_reply(message)

    # -- terms -------------------------------------------------------------------------------------------

    def _enter_higher_term(self, peer: int, message: Message) -> bool:
        """Deal with a term above ours (§5.1); returns whether the message is still to be handled."""
        match message:
            case RequestVote() if self._leader_is_protected:
                # A leader is at work: a node that cannot hear it must not depose it (thesis §4.2.3).
                return False
            case RequestVote(pre_vote=True) | RequestVoteReply(pre_vote=True, granted=True):
                return True  # the term is only a plan; nobody has entered it
            case AppendEntries() | Heartbeat():
                self._become_follower(Event.HIGHER_TERM, message.term, peer)
            case _:
                self._become_follower(Event.HIGHER_TERM, message.term, None)
        return True

    @property
    def _leader_is_protected(self) -> bool:
        return self._leadership is not None or self._timer.leader_is_recent

    def _answer_lower_term(self, peer: int, message: Message) -> None:
        """Tell a node of an earlier term that its time is over (§5.1)."""
        match message:
            case AppendEntries() | Heartbeat():
                reply = AppendEntriesReply(term=self.term, session=0, match_index=0, rejected=True)
                self._send_durable(peer, reply)
            case RequestVote():
                refusal = RequestVoteReply(term=self.term, granted=False, pre_vote=message.pre_vote)
                self._send_durable(peer, refusal)
            case _:
                pass  # an answer to a question of an earlier term: nobody waits for it any more

    # -- changes of role ---------------------------------------------------------------------------------

    def _enter_role(self, event: Event) -> None:
        """Change the role as the table says; whatever belonged to the old one is dropped."""
        self._abandon_reads()
        self._leadership = None
        self._campaign = None
        self.role = TRANSITIONS[self.role, event]

    def _become_follower(self, event: Event, term: int, leader: int | None) -> None:
        self._enter_role(event)
        self.leader = leader
        if term > self.term:
            self._persistence.set_hard_state(term, None)
        self._timer.restart()

    def _begin_campaign(self, *, pre_vote: bool) -> None:
        """Ask everyone for a promise of their vote, or, that won, for the vote itself."""
        self._enter_role(Event.TIMEOUT if pre_vote else Event.PRE_VOTE_WON)
        self.leader = None
        self._timer.restart_campaign()
        self._campaign = Campaign(self.configuration.quorum)
        if not pre_vote:
            self._persistence.set_hard_state(self.term + 1, self.node_id)
        request = RequestVote(
            term=self.term + 1 if pre_vote else self.term,
            last_index=self.log.last_index,
            last_term=self.log.last_term,
            pre_vote=pre_vote,
        )
        for peer in self.configuration.ids:
            if peer != self.node_id and self.configuration.is_voter(peer):
                self._send_durable(peer, request)
        own_vote = RequestVoteReply(term=request.term, granted=True, pre_vote=pre_vote)
        self._send_durable(self.node_id, own_vote)

    def _become_leader(self) -> None:
        self._enter_role(Event.VOTE_WON)
        self.leader = self.node_id
        no_op = Entry(self.log.last_index + 1, self.term, EntryKind.NOOP, b"")
        self._leadership = Leadership(self.config, self.configuration, self.log, self.term, no_op.index)
        self.log.append([no_op])
        self._begin_heartbeat_round(self._leadership)

    # -- elections ---------------------------------------------------------------------------------------

    def _handle_vote_request(self, peer: int, request: RequestVote) -> None:
        if self._leader_is_protected:
            return
        granted = grants_vote(request, peer, self._persistence.hard_state, self.log)
        if granted and not request.pre_vote:
            self._persistence.set_hard_state(self.term, peer)
            self._timer.restart()
        # A refusal tells our own term, so that a candidate which lags behind learns it.
        term = request.term if granted else self.term
        self._send_durable(peer, RequestVoteReply(term=term, granted=granted, pre_vote=request.pre_vote))

    def _handle_vote_reply(self, peer: int, vote: RequestVoteReply) -> None:
        campaign = self._campaign
        if campaign is None or vote.pre_vote != (self.role is Role.PRE_CANDIDATE):
            return
        if vote.granted and vote.pre_vote and vote.term != self.term + 1:
            return  # a promise for an earlier plan
        result = campaign.record(peer, vote.granted)
        if result is VoteResult.LOST:
            self._become_follower(Event.VOTE_LOST, self.term, None)
        elif result is VoteResult.WON and vote.pre_vote:
            self._begin_campaign(pre_vote=False)
        elif result is VoteResult.WON:
            self._become_leader()

    # -- following ---------------------------------------------------------------------------------------

    def _hear_leader(self, peer: int) -> None:
        """``peer`` leads the current term."""
        if self.role is Role.LEADER or (self.leader is not None and self.leader != peer):
            raise ProtocolViolation(f"nodes {self.leader} and {peer} both lead term {self.term}")
        if self.role is not Role.FOLLOWER or self.leader is None:
            self._become_follower(Event.LEADER_HEARD, self.term, peer)
        self._timer.leader_heard()

    def _handle_append(self, peer: int, append: AppendEntries) -> None:
        self._hear_leader(peer)
        self._send_durable(peer, accept_entries(self.log, append))

    def _handle_heartbeat(self, peer: int, heartbeat: Heartbeat) -> None:
        self._hear_leader(peer)
        self.log.commit_to(heartbeat.commit)
        if heartbeat.sequence:
            self._send(peer, HeartbeatReply(term=self.term, session=heartbeat.session, sequence=heartbeat.sequence))

    # -- leading -----------------------------------------------------------------------------------------

    def _begin_heartbeat_round(self, leadership: Leadership) -> None:
        sequence = leadership.reads.begin_round(self._now)
        for peer, progress in leadership.replication.peers.items():
            self._send(peer, leadership.replication.heartbeat(progress, sequence))
        leadership.reads.acknowledged(leadership.replication.peers)

    def _handle_append_reply(self, peer: int, reply: AppendEntriesReply) -> None:
        if self._leadership is None:
            return
        replication = self._leadership.replication
        if peer == self.node_id:
            replication.own_entries_durable(reply.match_index)
        else:
            replication.handle_reply(peer, reply)
        self._maybe_commit(replication)

    def _maybe_commit(self, replication: Replication) -> None:
        """Commit what a quorum holds, but only by counting copies of an entry of this term (§5.4.2)."""
        index = replication.quorum_match()
        if index > self.log.committed and self.log.term(index) == self.term:
            self.log.commit_to(index)
            replication.committed(index)

    def _handle_heartbeat_reply(self, peer: int, reply: HeartbeatReply) -> None:
        leadership = self._leadership
        progress = leadership.replication.peers.get(peer) if leadership else None
        if leadership is None or progress is None or reply.session != progress.session:
            return
        progress.active = True
        progress.round_acked = max(progress.round_acked, reply.sequence)
        leadership.replication.nudge(progress)
        leadership.reads.acknowledged(leadership.replication.peers)

    # -- reads -------------------------------------------------------------------------------------------

    def _handle_read_request(self, peer: int, request: ReadIndex) -> None:
        if self._leadership is not None:
            # The present is not known here: this message may have lain unread while the whole process was stopped.
            self._add_read(self._leadership, peer, request.token, None)
        else:
            self._send(peer, ReadIndexReply(term=self.term, token=request.token, index=0))

    def _add_read(self, leadership: Leadership, origin: int, token: int, now: int | None) -> None:
        if not leadership.reads.add(origin, token, self.log.committed, now):
            self._answer_read(origin, token, None)

    def _handle_read_reply(self, reply: ReadIndexReply) -> None:
        if self._follower_reads.answered(reply.token):
            self._reads.append(ReadReady(reply.token, reply.index or None))

    def _answer_read(self, origin: int, token: int, index: int | None) -> None:
        if origin == self.node_id:
            self._reads.append(ReadReady(token, index))
        else:
            self._send(origin, ReadIndexReply(term=self.term, token=token, index=index or 0))

    def _abandon_reads(self) -> None:
        for token in self._follower_reads.abandon():
            self._reads.append(ReadReady(token, None))
        if self._leadership is not None:
            for read in self._leadership.reads.abandon():
                self._answer_read(read.origin, read.token, None)

    # -- output ------------------------------------------------------------------------------------------

    def _send(self, peer: int, message: Message) -> None:
        self._messages.append(Envelope(peer, message))

    def _send_durable(self, peer: int, message: Message) -> None:
        """Send (or, to this node itself, step) once everything in memory now is durable."""
        envelope = Envelope(peer, message)
        if self._persistence.hold(envelope):
            return
        if peer == self.node_id:
            self.step(peer, message)
        else:
            self._messages.append(envelope)

    def ready(self) -> Output:
        """Everything that is due. Call it after a batch of inputs; see :class:`Output` for what each part asks."""
        leadership = self._leadership
        if leadership is not None:
            if leadership.reads.wants_round:
                self._begin_heartbeat_round(leadership)
            for read in leadership.reads.take_answerable(self.log.committed):
                self._answer_read(read.origin, read.token, read.index)
            self._messages.extend(leadership.replication.messages())
            if self.log.written < self.log.last_index:
                own = AppendEntriesReply(term=self.term, session=0, match_index=self.log.last_index)
                self._send_durable(self.node_id, own)
        output = Output(
            write=self._persistence.take_write(),
            messages=self._messages,
            committed=self.log.take_committed(self.config.apply_bytes_max),
            reads=self._reads,
        )
        self._messages, self._reads = [], []
        return output
