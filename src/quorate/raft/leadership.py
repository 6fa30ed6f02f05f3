"""What only a leader has and does. One object, dropped whole when the node steps down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quorate.errors import LeadershipMoving, MembershipConflict, ProposalDropped
from quorate.raft.config import CoreConfig
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration, Member
from quorate.raft.messages import AppendEntriesReply, HeartbeatReply, ReadIndexReply, TimeoutNow
from quorate.raft.outbox import Outbox
from quorate.raft.output import ReadReady
from quorate.raft.persistence import Persistence
from quorate.raft.reads import LeaderReads
from quorate.raft.replication import Replication
from quorate.raft.roles import Event
from quorate.raft.transfer import Transfer, best_successor


class Leadership:
    """One node's time in office: the term's entries, the peers' progress, reads, membership, its end."""

    def __init__(
        self, config: CoreConfig, log: RaftLog, persistence: Persistence, outbox: Outbox, *, term: int, now: int
    ) -> None:
        self._config = config
        self._log = log
        self._persistence = persistence
        self._outbox = outbox
        self._term = term
        self._now = now
        self._no_op_index = log.last_index + 1
        self.replication = Replication(config, log, term)
        self.reads = LeaderReads(config, log.configurations.latest, self._no_op_index)
        self.transfer: Transfer | None = None
        self._since_heartbeat = 0
        self._since_quorum_check = 0
        self._oldest_ticket: int | None = None
        self._disk_waited = 0
        log.append([Entry(self._no_op_index, term, EntryKind.NOOP, b"")])
        self.begin_round()

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self._log.configurations.latest

    # -- time --------------------------------------------------------------------------------------------

    def tick(self, elapsed: int, now: int) -> Event | None:
        """Let time pass; returns why this leadership is over, if it is."""
        self._now = now
        ended = self._check_quorum(elapsed) or self._check_disk(elapsed)
        if ended is not None:
            return ended
        if self.transfer is not None and self.transfer.tick(elapsed):
            self.transfer = None
        self._since_heartbeat += elapsed
        if self._since_heartbeat >= self._config.heartbeat_ticks:
            self._since_heartbeat = 0
            self.replication.nudge_all()
            self.begin_round()
        return None

    @property
    def is_due(self) -> bool:
        """Whether the last :meth:`tick` has brought something to send, or may have."""
        return self._since_heartbeat == 0 or self.transfer is not None

    def _check_quorum(self, elapsed: int) -> Event | None:
        self._since_quorum_check += elapsed
        if self._since_quorum_check >= self._config.election_ticks_max:
            self._since_quorum_check = 0
            if not self.configuration.quorum.includes(self.replication.take_active()):
                return Event.QUORUM_LOST
        return None

    def _check_disk(self, elapsed: int) -> Event | None:
        """A leader whose own disk hangs may still find a quorum among the others, slowly; it is not fit to lead."""
        oldest = self._persistence.oldest_ticket
        if oldest is None or oldest != self._oldest_ticket or len(self.configuration.voters) == 1:
            self._oldest_ticket, self._disk_waited = oldest, 0
            return None
        self._disk_waited += elapsed
        if self._disk_waited >= 2 * self._config.election_ticks_max:
            return Event.DISK_STALLED
        if self._disk_waited >= self._config.election_ticks_max and self.transfer is None:
            successor = self.fittest_successor
            if successor is not None:
                self.transfer = Transfer(successor, self._config)
        return None

    def begin_round(self) -> None:
        """Send everyone a heartbeat; its answers confirm reads, leases and that a quorum is there."""
        sequence = self.reads.begin_round(self._now)
        for peer, progress in self.replication.peers.items():
            self._outbox.send(peer, self.replication.heartbeat(progress, sequence))
        self.reads.acknowledged(self.replication.peers)

    # -- proposals ---------------------------------------------------------------------------------------

    def propose(self, payloads: Sequence[bytes]) -> int:
        """The leader's part of :meth:`~quorate.raft.core.RaftCore.propose`."""
        if self.transfer is not None or not self.configuration.may_lead(self._config.node_id):
            # One that leaves ends with its removal: what it left behind that, perhaps none of the rest could commit.
            raise LeadershipMoving
        size = sum(len(payload) for payload in payloads)
        uncommitted, bound = self.replication.uncommitted_bytes, self._config.uncommitted_bytes_max
        if uncommitted and uncommitted + size > bound:
            raise ProposalDropped(f"{uncommitted} bytes are uncommitted, the bound is {bound}")
        first = self._log.last_index + 1
        entries = [
            Entry(first + offset, self._term, EntryKind.COMMANDS, payload) for offset, payload in enumerate(payloads)
        ]
        self._log.append(entries)
        for entry in entries:
            self.replication.proposed(entry)
        return first

    def change_membership(self, members: Iterable[Member], expected_index: int | None) -> int:
        """The leader's part of :meth:`~quorate.raft.core.RaftCore.change_membership`."""
        if self.transfer is not None:
            raise LeadershipMoving
        in_force = self._log.configurations.index
        if expected_index is not None and expected_index != in_force:
            raise MembershipConflict(
                f"the change was made for the configuration of entry {expected_index}, but that of entry {in_force} "
                "is in force by now: look at it and try again"
            )
        if self.obstacle_to_change is not None:
            raise MembershipConflict(self.obstacle_to_change)
        changed = self.configuration.changed_to(members)
        self._check_majority(changed)
        return self._append_configuration(changed)

    def _check_majority(self, changed: Configuration) -> None:
        """Refuse what could not be committed, and not be undone either: there would be no majority to do it.

        Who is no member yet has the benefit of the doubt.
        """
        able = self.replication.able() | (changed.voters - set(self.configuration.ids))
        if changed.voters != self.configuration.voters and not changed.quorum.includes(able):
            missing = ", ".join(str(node_id) for node_id in sorted(changed.voters - able))
            raise MembershipConflict(f"afterwards there would be no majority: nodes that cannot be reached: {missing}")

    @property
    def obstacle_to_change(self) -> str | None:
        """Why the membership cannot be changed at this moment."""
        in_force = self._log.configurations.index
        if in_force > self._log.committed or self.configuration.is_joint:
            return f"the change of entry {in_force} is still under way: one at a time"
        if self._no_op_index > self._log.committed:
            # A leader must have committed in its own term first: see the correction of 2015 to the thesis, §4.1.
            return "this leader has just been elected and does not know yet what is committed"
        return None

    def _append_configuration(self, configuration: Configuration) -> int:
        entry = Entry(self._log.last_index + 1, self._term, EntryKind.MEMBERSHIP, configuration.encode())
        self._log.append([entry])
        self.replication.go_by(configuration)
        self.reads.go_by(configuration)
        return entry.index

    # -- committing --------------------------------------------------------------------------------------

    def handle_append_reply(self, peer: int, reply: AppendEntriesReply) -> Event | None:
        """A peer, or this node's own disk, has more (or less) than was known."""
        if peer == self._config.node_id:
            self.replication.own_entries_durable(reply.match_index)
        else:
            self.replication.handle_reply(peer, reply)
        return self._maybe_commit()

    def _maybe_commit(self) -> Event | None:
        """Commit what a quorum holds, but only by counting copies of an entry of this term (§5.4.2)."""
        index = self.replication.quorum_match()
        if index <= self._log.committed or self._log.term(index) != self._term:
            return None
        self._log.commit_to(index)
        self.replication.committed(index)
        if self._log.configurations.index > index:
            return None
        if self.configuration.is_joint:
            self._append_configuration(self.configuration.settled())
            return self._maybe_commit()
        # A leader that is not among the voters manages a cluster it has no part in, until that is committed (§6).
        return None if self.configuration.may_lead(self._config.node_id) else Event.REMOVED

    def handle_heartbeat_reply(self, peer: int, reply: HeartbeatReply) -> None:
        """A peer still follows."""
        progress = self.replication.heard(peer, reply.session, repairing=reply.repairing)
        if progress is None:
            return
        if not reply.sequence:
            return  # it is still receiving what was sent before the round: nothing is lost
        progress.round_acked = max(progress.round_acked, reply.sequence)
        self.replication.nudge(progress)
        self.reads.acknowledged(self.replication.peers)

    # -- the end of it -----------------------------------------------------------------------------------

    @property
    def fittest_successor(self) -> int | None:
        """Whom to hand the leadership to, if there is anybody."""
        return best_successor(self.replication.peers, self.configuration)

    def hand_over(self, target: int | None) -> int:
        """The leader's part of :meth:`~quorate.raft.core.RaftCore.transfer_leadership`."""
        if target is None:
            target = self.fittest_successor
            if target is None:
                raise MembershipConflict("no other voter can be reached that could lead")
        elif target == self._config.node_id or not self.configuration.may_lead(target):
            raise MembershipConflict(f"node {target} cannot take over: only another voter can")
        if self.transfer is not None and self.transfer.target != target:
            raise LeadershipMoving
        if self.transfer is None:
            self.transfer = Transfer(target, self._config)
        return target

    def _urge_successor(self) -> None:
        transfer = self.transfer
        progress = self.replication.peers.get(transfer.target) if transfer else None
        if transfer is None or progress is None or not self.configuration.may_lead(transfer.target):
            self.transfer = None  # it was removed, or made a learner
        elif transfer.may_ask(progress, self._log.last_index):
            # The message may arrive at any time of this term, so from here on no promise of the followers counts.
            self.reads.forgo_lease()
            self._outbox.send(transfer.target, TimeoutNow(term=self._term))

    # -- output ------------------------------------------------------------------------------------------

    def prepare_output(self) -> list[ReadReady]:
        """Send what is due; returns the reads of this node that may be answered."""
        if self.reads.wants_round:
            self.begin_round()
        answers: list[ReadReady] = []
        for read in self.reads.take_answerable(self._log.committed):
            if read.origin == self._config.node_id:
                answers.append(ReadReady(read.token, read.index))
            else:
                self._outbox.send(read.origin, ReadIndexReply(term=self._term, token=read.token, index=read.index))
        self._outbox.extend(list(self.replication.messages()))
        if self.transfer is not None:
            self._urge_successor()
        if self._log.written < self._log.last_index:
            own = AppendEntriesReply(term=self._term, session=0, match_index=self._log.last_index)
            self._outbox.send_durable(self._config.node_id, own)
        return answers
