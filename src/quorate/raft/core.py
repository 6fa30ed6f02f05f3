"""The Raft core: dispatches inputs to the roles' parts and gathers what they ask for.

Inputs: :meth:`~RaftCore.step` (a peer's message), :meth:`~RaftCore.tick` (time), :meth:`~RaftCore.propose`,
:meth:`~RaftCore.read_index`, :meth:`~RaftCore.change_membership`, :meth:`~RaftCore.transfer_leadership`,
:meth:`~RaftCore.persisted`, :meth:`~RaftCore.applied_to`, :meth:`~RaftCore.peer_lost`,
:meth:`~RaftCore.install_snapshot`, :meth:`~RaftCore.snapshot_ended`, :meth:`~RaftCore.compact`,
:meth:`~RaftCore.lost_promises`, :meth:`~RaftCore.repaired`. After any number of them, :meth:`~RaftCore.ready`
returns what is now to be done. Proposals made between two calls of ``ready`` travel together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from quorate.errors import NotLeader, ProtocolViolation
from quorate.raft.config import CoreConfig
from quorate.raft.election import Campaign, ElectionTimer, grants_vote, patience_ticks
from quorate.raft.leadership import Leadership
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration, Member
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from quorate.raft.outbox import Outbox
from quorate.raft.output import Floor, LogReader, Output, ReadReady, Recovered
from quorate.raft.persistence import Persistence
from quorate.raft.quorum import VoteResult
from quorate.raft.reads import FollowerReads
from quorate.raft.replication import Replication, accept_entries
from quorate.raft.roles import TRANSITIONS, Event, Role


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

        ``configuration`` is the one the cluster began with, in force until the log says otherwise. ``applied`` is
        where the state machines continue, ``committed`` what they prove to be committed (some may be further than
        others). ``now`` is the clock's reading, in ticks.
        """
        self.config = config
        if applied < recovered.floor.index:
            raise ProtocolViolation(f"the state ends at {applied}, but the log begins behind {recovered.floor.index}")
        self.log = RaftLog(recovered, reader, cache_bytes_max=config.cache_bytes_max, initial=configuration)
        self.log.commit_to(max(applied, committed))
        self.log.handed_out = self.log.applied = applied
        self.role = Role.FOLLOWER
        self.leader: int | None = None
        self.repairing = recovered.repairing
        """Whether this node lost what it had promised: it votes for nobody, and what it says counts for nothing."""
        self._persistence = Persistence(recovered.hard_state, self.log)
        self._outbox = Outbox(config.node_id, self._persistence)
        self._timer = ElectionTimer(config, rng)
        self._now = now
        self._ticked_at = now
        self._campaign: Campaign | None = None
        self._leadership: Leadership | None = None
        self._agreed = (0, 0)  # (term, up to here the log was found to be that of its leader)
        self._session = 0  # the leader's with this node, as of what it said last
        self._follower_reads = FollowerReads()
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
    def configuration(self) -> Configuration:
        """The configuration in force: the latest in the log, committed or not (§6)."""
        return self.log.configurations.latest

    @property
    def is_leader(self) -> bool:
        """Whether this node leads its term. A later term may have another leader without its knowing."""
        return self._leadership is not None

    @property
    def replication(self) -> Replication | None:
        """A leader's view of its peers; ``None`` on any other node."""
        return self._leadership.replication if self._leadership else None

    @property
    def may_change_membership(self) -> bool:
        """Whether this node leads, knows what is committed, and no change of the membership is under way."""
        return self._leadership is not None and self._leadership.obstacle_to_change is None

    @property
    def fittest_successor(self) -> int | None:
        """Whom this leader would hand its leadership to; ``None`` while it has heard of nobody who could take it."""
        return self._leadership.fittest_successor if self._leadership else None

    @property
    def successor(self) -> int | None:
        """The node that this leader is handing its leadership to."""
        transfer = self._leadership.transfer if self._leadership else None
        return transfer.target if transfer else None

    @property
    def hears_leader(self) -> bool:
        """Whether this node leads, or heard from a leader of its term a moment ago."""
        return self._leader_is_protected

    # -- inputs ------------------------------------------------------------------------------------------

    def tick(self, now: int) -> bool:
        """The clock reads ``now`` ticks. Returns whether anything became due; mostly nothing does.

        A jump (the process was stopped, the machine slept) counts as one heartbeat interval for the timers, so
        that messages that wait to be read are heard before anything is concluded; leases count it in full.
        """
        elapsed = min(now - self._ticked_at, self.config.heartbeat_ticks)
        self._ticked_at = max(now, self._ticked_at)
        self._now = max(now, self._now)
        if elapsed <= 0:
            return False
        if (leadership := self._leadership) is not None:
            reason = leadership.tick(elapsed, self._now)
            self._end_leadership(reason)
            return reason is not None or leadership.is_due
        self._timer.patience_ticks = patience_ticks(self.config, self._electorate)
        if self._timer.tick(elapsed) and self._may_campaign:
            self._begin_campaign(pre_vote=True)
            self._step_own_messages()
            return True
        return False

    def propose(self, payloads: Sequence[bytes]) -> int:
        """Append one entry per payload; returns the index of the first.

        They are committed if and when their entries come out of :meth:`ready` with the current term. Raises
        :class:`NotLeader`, or :class:`~quorate.errors.ProposalDropped` while too much is uncommitted; then nothing
        was appended.
        """
        return self._require_leadership().propose(payloads)

    def change_membership(self, members: Iterable[Member], expected_index: int | None = None) -> int:
        """Begin the change to ``members``; returns the index of its first entry (§6, joint consensus).

        Where those who decide are others than before, the change passes through a joint configuration by itself.
        ``expected_index`` is the entry of the configuration that the caller has looked at. Raises
        :class:`NotLeader`, :class:`~quorate.errors.MembershipConflict` if that one is no longer in force or a change
        is under way, and :class:`~quorate.errors.ConfigError` for members that cannot be.
        """
        return self._require_leadership().change_membership(members, expected_index)

    def transfer_leadership(self, target: int | None = None) -> int:
        """Hand the leadership to ``target``, or to the node that is fittest; returns which (thesis §3.10).

        Nothing is proposed meanwhile. If the target does not take over within an election timeout, all goes on as
        before. Raises :class:`NotLeader` or :class:`~quorate.errors.MembershipConflict`.
        """
        return self._require_leadership().hand_over(target)

    def _require_leadership(self) -> Leadership:
        if self._leadership is None:
            raise NotLeader(self.leader)
        return self._leadership

    def read_index(self, token: int, now: int) -> None:
        """Ask for a linearizable read; its :class:`ReadReady` names ``token``, which must never be used again."""
        self._now = max(now, self._now)
        if self._leadership is not None:
            self._add_read(self._leadership, self.node_id, token, self._now)
        elif self.leader is not None:
            self._follower_reads.asked(token)
            self._outbox.send(self.leader, ReadIndex(term=self.term, token=token))
        else:
            self._reads.append(ReadReady(token, None))

    def persisted(self, ticket: int) -> None:
        """The write ``ticket`` and all before it are durable."""
        self._outbox.persisted(ticket)
        self._step_own_messages()

    def applied_to(self, index: int) -> None:
        """The driver has applied everything up to ``index``, or put a snapshot of that index in place."""
        self.log.applied_to(index)

    def compact(self, index: int) -> Floor | None:
        """Give up the log up to ``index``, as far as it is applied; the new floor, or ``None`` if it did not rise.

        The state up to there must be durable outside of the log. The driver keeps the floor before it removes
        anything.
        """
        return self.log.compact(index)

    def receiving(self, peer: int) -> None:
        """A long message from ``peer`` is arriving: it is alive, and its heartbeats may be behind that message.

        Ours may be behind what it sends, too. So its leader is told that this node goes on listening to it.
        """
        if self._leadership is not None:
            self._leadership.replication.receiving(peer)
        elif self.leader == peer:
            self._timer.leader_heard()
            self._outbox.send(
                peer, HeartbeatReply(term=self.term, session=self._session, sequence=0, repairing=self.repairing)
            )

    def peer_lost(self, peer: int) -> None:
        """The way to ``peer`` broke: what was under way may be lost."""
        if self._leadership is not None:
            self._leadership.replication.peer_lost(peer)

    def snapshot_ended(self, peer: int, session: int) -> None:
        """Bringing ``peer`` a snapshot, as asked in :class:`~quorate.raft.output.SnapshotWanted`, has ended."""
        if self._leadership is not None:
            self._leadership.replication.snapshot_ended(peer, session)

    def install_snapshot(self, leader: int, term: int, session: int, floor: Floor) -> bool:
        """A snapshot that ``leader`` sent in ``term`` is here, whole and verified (§7).

        Returns whether it is to be installed: the next write then has the floor in it; once that is durable, the
        driver puts the state in place and calls :meth:`applied_to` with its index. Nothing is handed out for
        applying meanwhile. Otherwise it is of no use (any more), and to be discarded.
        """
        if term < self.term:
            return False
        if term > self.term:
            self._become_follower(Event.HIGHER_TERM, term, leader)
        self._hear_leader(leader, session)
        known = floor.index <= self.log.committed
        if not known and self.log.matches(floor.index, floor.term):
            self.log.commit_to(floor.index)
            known = True
        if not known:
            self._persistence.reset_log(floor)
        self._agreed_to(floor.index)
        reply = AppendEntriesReply(term=self.term, session=session, match_index=floor.index, repairing=self.repairing)
        self._outbox.send_durable(leader, reply)
        return not known

    def lost_promises(self) -> None:
        """It turned out that this node lost what it had promised: from now on it is one that is being repaired."""
        self.repairing = True
        if self.role is not Role.FOLLOWER:
            self._become_follower(Event.PROMISES_LOST, self.term, None)

    def repaired(self) -> None:
        """The cluster has taken this node in anew, with the data that it has now: it may vote again.

        The driver knows it from a configuration that names this data, and that is committed, and durable here.
        """
        self.repairing = False

    def step(self, peer: int, message: Message) -> None:
        """A message from ``peer`` (already authenticated as that node) arrived."""
        self._step(peer, message)
        self._step_own_messages()

    def _step(self, peer: int, message: Message) -> None:
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
                if self._leadership is not None:
                    self._end_leadership(self._leadership.handle_append_reply(peer, message))
            case Heartbeat():
                self._handle_heartbeat(peer, message)
            case HeartbeatReply():
                if self._leadership is not None:
                    self._leadership.handle_heartbeat_reply(peer, message)
            case RequestVote():
                self._handle_vote_request(peer, message)
            case RequestVoteReply():
                self._handle_vote_reply(peer, message)
            case TimeoutNow():
                self._handle_timeout_now(peer)
            case ReadIndex():
                self._handle_read_request(peer, message)
            case ReadIndexReply():
                self._handle_read_reply(message)

    def _step_own_messages(self) -> None:
        while (message := self._outbox.take_own()) is not None:
            self._step(self.node_id, message)

    # -- terms -------------------------------------------------------------------------------------------

    def _enter_higher_term(self, peer: int, message: Message) -> bool:
        """Deal with a term above ours (§5.1); returns whether the message is still to be handled."""
        match message:
            case RequestVote(transfer=False) if self._leader_is_protected:
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
                reply = AppendEntriesReply(
                    term=self.term, session=0, match_index=0, rejected=True, repairing=self.repairing
                )
                self._outbox.send_durable(peer, reply)
            case RequestVote():
                refusal = RequestVoteReply(term=self.term, granted=False, pre_vote=message.pre_vote)
                self._outbox.send_durable(peer, refusal)
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

    @property
    def _electorate(self) -> Configuration:
        """The configuration by which this node stands, or does not."""
        if self.configuration.is_voter(self.node_id):
            return self.configuration
        # Until it is committed, only this node may hold the entry that removes it: then nobody else can win.
        return self.log.configurations.at(self.log.committed)[1]

    @property
    def _may_campaign(self) -> bool:
        return self._electorate.may_lead(self.node_id) and not self.repairing

    def _begin_campaign(self, *, pre_vote: bool, transfer: bool = False) -> None:
        """Ask everyone for a promise of their vote, or, that won (or told by the leader), for the vote itself."""
        wanted_by = Event.TIMEOUT if pre_vote else Event.PRE_VOTE_WON
        self._enter_role(Event.OFFICE_HANDED_OVER if transfer else wanted_by)
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
            transfer=transfer,
        )
        for peer in self.configuration.ids:
            if peer != self.node_id and self.configuration.is_voter(peer):
                self._outbox.send_durable(peer, request)
        own_vote = RequestVoteReply(term=request.term, granted=True, pre_vote=pre_vote)
        self._outbox.send_durable(self.node_id, own_vote)

    def _become_leader(self) -> None:
        self._enter_role(Event.VOTE_WON)
        self.leader = self.node_id
        self._leadership = Leadership(
            self.config, self.log, self._persistence, self._outbox, term=self.term, now=self._now
        )

    def _end_leadership(self, reason: Event | None) -> None:
        if reason is not None:
            self._become_follower(reason, self.term, None)

    # -- elections ---------------------------------------------------------------------------------------

    def _handle_vote_request(self, peer: int, request: RequestVote) -> None:
        if self.repairing or (self._leader_is_protected and not request.transfer):
            return
        granted = grants_vote(request, peer, self._persistence.hard_state, self.log)
        if granted and not request.pre_vote:
            self._persistence.set_hard_state(self.term, peer)
            self._timer.restart()
        # A refusal tells our own term, so that a candidate which lags behind learns it.
        term = request.term if granted else self.term
        self._outbox.send_durable(peer, RequestVoteReply(term=term, granted=granted, pre_vote=request.pre_vote))

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

    def _handle_timeout_now(self, peer: int) -> None:
        """The leader hands its office over. No pre-vote: the leader itself has seen that this node is fit."""
        if self.role is Role.FOLLOWER and self.leader == peer and self._may_take_over:
            self._begin_campaign(pre_vote=False, transfer=True)

    @property
    def _may_take_over(self) -> bool:
        return self.configuration.may_lead(self.node_id) and not self.repairing

    # -- following ---------------------------------------------------------------------------------------

    def _hear_leader(self, peer: int, session: int) -> None:
        """``peer`` leads the current term."""
        if self.role is Role.LEADER or (self.leader is not None and self.leader != peer):
            raise ProtocolViolation(f"nodes {self.leader} and {peer} both lead term {self.term}")
        if self.role is not Role.FOLLOWER or self.leader is None:
            self._become_follower(Event.LEADER_HEARD, self.term, peer)
        if self.voted_for is None:
            # The term has its leader. A node that lost its data, or is here for the second time, may have voted.
            self._persistence.set_hard_state(self.term, peer)
        self._session = session
        self._timer.leader_heard()

    def _handle_append(self, peer: int, append: AppendEntries) -> None:
        self._hear_leader(peer, append.session)
        reply = accept_entries(self.log, append, repairing=self.repairing)
        self._agreed_to(reply.match_index)
        self._outbox.send_durable(peer, reply)

    def _agreed_to(self, index: int) -> None:
        self._agreed = (self.term, max(index, self._agreed_index))

    @property
    def _agreed_index(self) -> int:
        """Up to here the log was found to be that of this term's leader."""
        term, index = self._agreed
        return index if term == self.term else 0

    def _handle_heartbeat(self, peer: int, heartbeat: Heartbeat) -> None:
        self._hear_leader(peer, heartbeat.session)
        if self.repairing or self.node_id not in self.configuration:
            # It may go by what was here before the loss, or by what this node had when it was last a member.
            self.log.commit_to(min(heartbeat.commit, self._agreed_index))
        else:
            self.log.commit_to(heartbeat.commit)
        if heartbeat.sequence:
            reply = HeartbeatReply(
                term=self.term, session=heartbeat.session, sequence=heartbeat.sequence, repairing=self.repairing
            )
            self._outbox.send(peer, reply)

    # -- reads -------------------------------------------------------------------------------------------

    def _handle_read_request(self, peer: int, request: ReadIndex) -> None:
        if self._leadership is not None:
            # The present is not known here: this message may have lain unread while the whole process was stopped.
            self._add_read(self._leadership, peer, request.token, None)
        else:
            self._outbox.send(peer, ReadIndexReply(term=self.term, token=request.token, index=0))

    def _add_read(self, leadership: Leadership, origin: int, token: int, now: int | None) -> None:
        if not leadership.reads.add(origin, token, self.log.committed, now):
            self._decline_read(origin, token)

    def _handle_read_reply(self, reply: ReadIndexReply) -> None:
        if self._follower_reads.answered(reply.token):
            self._reads.append(ReadReady(reply.token, reply.index or None))

    def _decline_read(self, origin: int, token: int) -> None:
        if origin == self.node_id:
            self._reads.append(ReadReady(token, None))
        else:
            self._outbox.send(origin, ReadIndexReply(term=self.term, token=token, index=0))

    def _abandon_reads(self) -> None:
        for token in self._follower_reads.abandon():
            self._reads.append(ReadReady(token, None))
        if self._leadership is not None:
            for read in self._leadership.reads.abandon():
                self._decline_read(read.origin, read.token)

    # -- output ------------------------------------------------------------------------------------------

    def ready(self) -> Output:
        """Everything that is due. Call it after a batch of inputs; see :class:`Output` for what each part asks."""
        if self._leadership is not None:
            self._reads += self._leadership.prepare_output()
            self._step_own_messages()
        output = Output(
            write=self._persistence.take_write(),
            messages=self._outbox.take(),
            committed=self.log.take_committed(self.config.apply_bytes_max),
            reads=self._reads,
        )
        if self._leadership is not None:
            output.snapshots = self._leadership.replication.take_snapshots()
        self._reads = []
        return output
