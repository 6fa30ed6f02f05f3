"""What must hold after every step (Raft figure 3, and the rules of durability), one invariant per class.

Each is told of what it cares about, and raises :class:`Violation`. :class:`Invariants` knows them all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVarTuple, Unpack

from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from quorate.raft.output import HardState, Recovered, Write
from quorate.raft.roles import Role
from quorate.testing.simulation.evidence import Evidence, terms_behind_floor
from quorate.testing.simulation.knowledge import Invariant, Knowledge, Violation, same_entry
from quorate.testing.simulation.membership import OF_MEMBERSHIP
from quorate.testing.simulation.reads import LeasesAreExclusive
from quorate.transport.contract import WireMessage

__all__ = ["ALL", "Invariants", "Violation"]

Ts = TypeVarTuple("Ts")

CHECKED_AT_ONCE_BYTES = 1 << 40
PROMISES = (RequestVoteReply, RequestVote, AppendEntriesReply)
"""Messages that say what must be durable: of the others nothing is demanded when they leave."""


class ElectionSafety(Invariant):
    """§5.2: at most one leader can be elected in a term."""

    name = "election safety (§5.2)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        if core.role is Role.LEADER:
            leader = self.known.leaders.setdefault(core.term, core.node_id)
            if leader != core.node_id:
                self.fail(f"nodes {leader} and {core.node_id} both lead term {core.term}")


class LeaderAppendOnly(Invariant):
    """§5.3: a leader never overwrites or deletes entries of its own log."""

    name = "leader append-only (§5.3)"

    def submitted(self, evidence: Evidence, core: RaftCore | None, write: Write) -> None:
        if core is None or not write.entries or core.role is not Role.LEADER:
            return
        if evidence.role is Role.LEADER and evidence.role_term == core.term:
            first = write.entries[0].index
            if first != evidence.submitted_last + 1:
                self.fail(f"leader {core.node_id} writes entry {first} behind {evidence.submitted_last}")


class LogMatching(Invariant):
    """§5.3: an entry's index and term determine it, and everything before it."""

    name = "log matching (§5.3)"

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self.created: dict[tuple[int, int], tuple[int, Entry]] = {}
        """(index, term) → the term before it, and the entry."""

    def submitted(self, evidence: Evidence, core: RaftCore | None, write: Write) -> None:
        previous: int | None = None
        for entry in write.entries:
            if previous is None:
                before = self.created.get((entry.index, entry.term))
                previous = core.log.term(entry.index - 1) if core is not None and _holds(core, entry) else None
                if previous is None:
                    previous = before[0] if before else 0
            created = (previous, entry)
            known = self.created.setdefault((entry.index, entry.term), created)
            if known[0] != previous or not same_entry(known[1], entry):
                self.fail(f"node {evidence.node_id} has {entry!r} behind term {previous}, elsewhere it is {known}")
            if known[1].kind is EntryKind.WITNESSED:
                self.created[entry.index, entry.term] = created  # another node may know what is in it
            if entry.kind is EntryKind.MEMBERSHIP and (entry.index, entry.term) not in self.known.proposed:
                self.known.proposed[entry.index, entry.term] = Configuration.decode(entry.payload)
            previous = entry.term


def _holds(core: RaftCore, entry: Entry) -> bool:
    """Whether the entry is still in the core's log: what stands before it can only be asked then."""
    log = core.log
    return log.floor.index < entry.index <= log.last_index and log.term(entry.index) == entry.term


class LeaderCompleteness(Invariant):
    """§5.4: a leader's log holds every entry that was committed in an earlier term (by the leader of that term)."""

    name = "leader completeness (§5.4)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        if core.role is not Role.LEADER or (evidence.role is Role.LEADER and evidence.role_term == core.term):
            return
        # One that wins a term that others have left behind need not know what they have committed since.
        count = bisect_left(self.known.committed_in, core.term)
        if not count:
            return
        last = self.known.committed[count - 1]
        # By log matching, all before it are there, too; and what is below the floor is there by its snapshot.
        log = core.log
        if last.index > log.last_index or (last.index >= log.floor.index and log.term(last.index) != last.term):
            self.fail(f"node {core.node_id} leads term {core.term} without the committed {last!r}")


class StateMachineSafety(Invariant):
    """§5.4.3: no two nodes ever take different entries for committed at one index."""

    name = "state machine safety (§5.4.3)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        low, high, committed = evidence.committed, core.log.committed, self.known.committed
        floor = core.log.floor
        if floor.index > low:
            if floor.index > len(committed) or committed[floor.index - 1].term != floor.term:
                self.fail(f"node {core.node_id} has a snapshot at {floor}, which was not committed")
            low = floor.index
        while low < high:
            for entry in core.log.entries(low + 1, high + 1, CHECKED_AT_ONCE_BYTES):
                low = entry.index
                if low > len(committed):
                    continue  # the next invariant takes it in
                first = committed[low - 1]
                if not same_entry(entry, first):
                    self.fail(f"node {core.node_id} committed {entry!r} where {first!r} was committed")


class CommittedIsDurable(Invariant):
    """§5.3, §5.4.2: when an entry counts as committed it is durable on a quorum, on each half of a joint one.

    Of a witness, its place and its term are. What a node in repair has does not count.
    """

    name = "committed entries are durable on a quorum (§5.3)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        committed, log = self.known.committed, core.log
        if len(committed) >= log.committed:
            return
        while len(committed) < log.committed:
            for entry in log.entries(len(committed) + 1, log.committed + 1, CHECKED_AT_ONCE_BYTES):
                quorum = self._in_force(evidence, core, entry.index).quorum
                holders = {each.node_id for each in self.known.evidence.values() if each.has(entry.index, entry.term)}
                if not quorum.includes(holders):
                    self.fail(
                        f"{entry!r} counts as committed on {core.node_id}, but is durable only on {holders}, "
                        f"no majority of {[sorted(half) for half in quorum.halves]}"
                    )
                self.known.commit(entry, core.term)

    @staticmethod
    def _in_force(evidence: Evidence, core: RaftCore, index: int) -> Configuration:
        """The configuration by which ``index`` was committed.

        A leader that commits a joint configuration appends the one that settles it in the same step, and what
        stands between them may be committed by either.
        """
        joint_index, joint = core.log.configurations.at(core.log.committed)
        by_it = joint.is_joint and joint_index > evidence.committed and index <= joint_index
        return joint if by_it else core.configuration


class OwnTermCommits(Invariant):
    """§5.4.2, figure 8: a leader commits by counting copies only what is of its own term."""

    name = "a leader counts copies of its own term only (§5.4.2)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        led_before = evidence.role is Role.LEADER and evidence.role_term == core.term
        if core.role is Role.LEADER and led_before and core.log.committed > evidence.committed:
            term = core.log.term(core.log.committed)
            if term != core.term:
                self.fail(f"node {core.node_id} commits {core.log.committed}, of term {term}, in term {core.term}")


class NeverBackwards(Invariant):
    """Figure 2: the term, the commit index and the applied index only ever grow (the latter two in one process)."""

    name = "never backwards (figure 2)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        for what, before, now in (
            ("term", evidence.term, core.term),
            ("commit index", evidence.committed, core.log.committed),
            ("applied index", evidence.applied, core.log.applied),
        ):
            if now < before:
                self.fail(f"node {core.node_id}: the {what} went from {before} back to {now}")


class Bounds(Invariant):
    """applied ≤ handed out ≤ committed ≤ last, and handed out ≤ durable ≤ written ≤ last."""

    name = "applied ≤ committed ≤ last"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        log = core.log
        if not log.applied <= log.handed_out <= log.committed <= log.last_index:
            self.fail(
                f"node {core.node_id}: applied {log.applied}, handed out {log.handed_out}, "
                f"committed {log.committed}, last {log.last_index}"
            )
        if log.durable < log.floor.index:
            return  # a snapshot is being installed
        if log.floor.index > max(log.applied, evidence.floor_index):
            self.fail(f"node {core.node_id}: the log begins behind {log.floor.index}, applied is {log.applied}")
        if not log.handed_out <= log.durable <= log.written <= log.last_index:
            self.fail(
                f"node {core.node_id}: handed out {log.handed_out}, durable {log.durable}, "
                f"written {log.written}, last {log.last_index}"
            )
        on_disk = evidence.term_at(log.durable)
        if on_disk != log.term(log.durable):
            found = f"an entry of term {on_disk} there" if on_disk is not None else f"{len(evidence.terms)} entries"
            self.fail(f"node {core.node_id} takes {log.durable} for durable, its disk has {found}")


class OneVotePerTerm(Invariant):
    """§5.2: a node votes for at most one candidate in a term, restarts or not."""

    name = "one vote per term (§5.2)"

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self._votes: dict[tuple[int, int], int] = {}

    def recovered(self, evidence: Evidence, recovered: Recovered) -> None:
        if recovered.repairing:  # it comes back as another voter, if at all
            self._forget(evidence)

    def wiped(self, evidence: Evidence) -> None:
        # A member comes back as another voter, if at all. Who is none does not vote until it is added anew; whoever
        # counts on a vote of its earlier life lacks the entry that removed it, and so finds no quorum.
        self._forget(evidence)

    def _forget(self, evidence: Evidence) -> None:
        for voter, term in list(self._votes):
            if voter == evidence.node_id:
                del self._votes[voter, term]

    def sending(self, evidence: Evidence, core: RaftCore | None, peer: int, message: WireMessage) -> None:
        match message:
            case RequestVoteReply(pre_vote=False, granted=True):
                self._voted(evidence.node_id, message.term, peer)
            case RequestVote(pre_vote=False):
                self._voted(evidence.node_id, message.term, evidence.node_id)

    def _voted(self, voter: int, term: int, candidate: int) -> None:
        before = self._votes.setdefault((voter, term), candidate)
        if before != candidate:
            self.fail(f"node {voter} voted for {before} and for {candidate} in term {term}")


class PromisesAreDurable(Invariant):
    """Figure 2, "updated on stable storage before responding": no vote, no acknowledgement before its record."""

    name = "promises are durable before they leave (figure 2)"

    def sending(self, evidence: Evidence, core: RaftCore | None, peer: int, message: WireMessage) -> None:
        durable, node_id = evidence.hard_state, evidence.node_id
        match message:
            case RequestVoteReply(pre_vote=False, granted=True):
                if durable.term <= message.term and durable != HardState(message.term, peer):
                    self.fail(f"node {node_id} votes for {peer} in term {message.term}; its disk says {durable}")
            case RequestVote(pre_vote=False):
                if durable.term <= message.term and durable != HardState(message.term, node_id):
                    self.fail(f"node {node_id} campaigns in term {message.term}; its disk says {durable}")
            case AppendEntriesReply(rejected=False):
                if durable.term < message.term:
                    self.fail(f"node {node_id} answers in term {message.term}; its disk says {durable}")
                if durable.term == message.term:
                    self._acknowledged(evidence, core, message)

    def _acknowledged(self, evidence: Evidence, core: RaftCore | None, reply: AppendEntriesReply) -> None:
        index, found = reply.match_index, evidence.term_at(reply.match_index)
        if found is None:
            self.fail(f"node {evidence.node_id} acknowledges {index}; its disk ends at {len(evidence.terms)}")
        # In memory a later leader may have replaced the entry meanwhile; on disk it has not.
        if core is None or core.term != reply.term or index < core.log.floor.index:
            return
        if core.log.term(index) != found:
            self.fail(
                f"node {evidence.node_id} acknowledges entry {index} of term {core.log.term(index)}; "
                f"on its disk it is of term {found}"
            )


class DurableSurvives(Invariant):
    """What a disk has confirmed is there after a crash, and nothing else that was never written."""

    name = "what is durable survives"

    def recovered(self, evidence: Evidence, recovered: Recovered) -> None:
        if recovered.repairing:
            return  # it says itself that it lost what it had
        node_id, found = evidence.node_id, evidence.terms[: recovered.floor.index] + terms_behind_floor(recovered)
        states = [evidence.hard_state, *(write.hard_state for write in evidence.unconfirmed if write.hard_state)]
        if recovered.hard_state not in states:
            self.fail(f"node {node_id} finds {recovered.hard_state} on its disk, expected one of {states}")
        replaced_from = min(
            (write.entries[0].index for write in evidence.unconfirmed if write.entries), default=len(evidence.terms) + 1
        )
        kept = evidence.terms[: replaced_from - 1]
        if found[: len(kept)] != kept:
            self.fail(
                f"node {node_id} had confirmed {len(evidence.terms)} entries, of which writes under way replace those "
                f"from {replaced_from} on; it finds {len(found)}: terms {found[-5:]} at the end, not {kept[-5:]}"
            )
        written = {(entry.index, entry.term) for write in evidence.unconfirmed for entry in write.entries}
        written.update(enumerate(evidence.terms, start=1))
        for index, term in enumerate(found[len(kept) :], start=len(kept) + 1):
            if (index, term) not in written:
                self.fail(f"node {node_id} finds entry {index} of term {term}, which it never wrote")


class EqualStates(Invariant):
    """§2: equal logs give equal states."""

    name = "equal applied index, equal state (§2)"

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self._digests: dict[int, tuple[str, int]] = {}

    def state_seen(self, node_id: int, index: int, digest: str) -> None:
        known, by = self._digests.setdefault(index, (digest, node_id))
        if known != digest:
            self.fail(f"nodes {by} and {node_id} have applied {index} and differ: {known}, {digest}")


ALL: tuple[type[Invariant], ...] = (
    NeverBackwards,
    Bounds,
    ElectionSafety,
    LeaderAppendOnly,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    CommittedIsDurable,
    OwnTermCommits,
    *OF_MEMBERSHIP,
    OneVotePerTerm,
    PromisesAreDurable,
    DurableSurvives,
    EqualStates,
    LeasesAreExclusive,
)
"""In the order in which they are asked."""


class Invariants:
    """All of them. Nothing here raises, as it is called from inside of nodes: ``abort`` is given the violation."""

    def __init__(self, node_ids: Sequence[int], abort: Callable[[BaseException], None]) -> None:
        self.known = Knowledge()
        self.known.evidence = {node_id: Evidence(node_id) for node_id in node_ids}
        self._abort = abort
        invariants = [invariant(self.known) for invariant in ALL]
        # Only those that listen are told: this is called after every step.
        self._changed = [each.changed for each in invariants if type(each).changed is not Invariant.changed]
        self._submitted = [each.submitted for each in invariants if type(each).submitted is not Invariant.submitted]
        self._sending = [each.sending for each in invariants if type(each).sending is not Invariant.sending]
        self._recovered = [each.recovered for each in invariants if type(each).recovered is not Invariant.recovered]
        self._wiped = [each.wiped for each in invariants if type(each).wiped is not Invariant.wiped]
        self._state_seen = [each.state_seen for each in invariants if type(each).state_seen is not Invariant.state_seen]

    def changed(self, core: RaftCore) -> None:
        """A core is not as it was."""
        evidence = self.known.evidence[core.node_id]
        evidence.go_by(repairing=core.repairing)
        self._tell(self._changed, evidence, core)
        evidence.term, evidence.role, evidence.role_term = core.term, core.role, core.term
        evidence.committed, evidence.applied = core.log.committed, core.log.applied

    def submitted(self, node_id: int, core: RaftCore | None, write: Write) -> None:
        """A node gave its writer something to do."""
        evidence = self.known.evidence[node_id]
        self._tell(self._submitted, evidence, core, write)
        evidence.submitted(write)

    def durable(self, node_id: int, writes: Sequence[Write]) -> None:
        """A node's disk has confirmed writes."""
        self.known.evidence[node_id].confirmed(writes, self.known.committed)

    def sending(self, node_id: int, core: RaftCore | None, peer: int, message: WireMessage) -> None:
        """A message leaves a node."""
        if isinstance(message, PROMISES):
            self._tell(self._sending, self.known.evidence[node_id], core, peer, message)

    def recovered(self, node_id: int, recovered: Recovered) -> None:
        """A node starts from its disk."""
        evidence = self.known.evidence[node_id]
        self._tell(self._recovered, evidence, recovered)
        evidence.restarted(recovered, self.known.committed)

    def wiped(self, node_id: int) -> None:
        """A node's disk was emptied."""
        evidence = self.known.evidence[node_id]
        self._tell(self._wiped, evidence)
        evidence.wiped(self.known.committed, harmed=self.known.may_be_member(node_id))

    def damaged(self, node_id: int) -> None:
        """Something on a node's disk is not as it was written."""
        self.known.evidence[node_id].damaged()

    def state_seen(self, node_id: int, index: int, digest: str) -> None:
        """A node's state has this digest at this index."""
        self._tell(self._state_seen, node_id, index, digest)

    def _tell(self, listeners: Sequence[Callable[[Unpack[Ts]], None]], *args: *Ts) -> None:
        try:
            for listener in listeners:
                listener(*args)
        except Violation as violation:
            self._abort(violation)
