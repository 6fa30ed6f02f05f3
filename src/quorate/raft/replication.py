"""Replication: the leader's side (§5.3, §5.4.2) and the follower's acceptance of entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

from quorate.raft.config import CoreConfig
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.inflights import Inflights
from quorate.raft.log import RaftLog
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntries, AppendEntriesReply, Envelope, Heartbeat
from quorate.raft.output import SnapshotWanted
from quorate.raft.progress import Progress, ProgressState


class Replication:
    """What a leader knows of its peers and what it sends them. It dies with the leadership."""

    def __init__(self, config: CoreConfig, log: RaftLog, term: int) -> None:
        self._config = config
        self._log = log
        self._term = term
        self._sessions = count(1)
        self.configuration = Configuration()
        self.peers: dict[int, Progress] = {}
        self._snapshots: list[SnapshotWanted] = []  # to be told to the driver
        self._own_match = 0
        self._proposed: deque[tuple[int, int]] = deque()  # (index, bytes) proposed here and not yet committed
        self.uncommitted_bytes = 0
        self.go_by(log.configurations.latest)

    def go_by(self, configuration: Configuration) -> None:
        """Another configuration is in force. Progress is kept for those who stay; who comes (back) starts anew."""
        self.configuration = configuration
        wanted = [peer for peer in configuration.ids if peer != self._config.node_id]
        self.peers = {peer: self.peers.get(peer) or self._new_progress() for peer in wanted}

    def _new_progress(self) -> Progress:
        window = Inflights(self._config.inflight_appends_max, self._config.inflight_bytes_max)
        return Progress(next(self._sessions), self._log.last_index + 1, window)

    # -- sending -----------------------------------------------------------------------------------------

    def messages(self) -> Iterator[Envelope]:
        """Everything that may be sent now: entries within each window, and news of the commit index."""
        for peer, progress in self.peers.items():
            if progress.next <= self._log.floor.index and (progress.recheck or not progress.paused):
                progress.wait_for_snapshot()
                self._snapshots.append(SnapshotWanted(peer, progress.session))
            while self._wants_entries(peer, progress):
                yield Envelope(peer, self._append_message(peer, progress))
            if progress.recheck:
                progress.recheck = False
                yield Envelope(peer, self._append_nothing(peer, progress))
            if progress.commit_sent < min(self._log.committed, progress.match):
                yield Envelope(peer, self.heartbeat(progress, sequence=0))

    def take_snapshots(self) -> list[SnapshotWanted]:
        """The peers found to need a snapshot since the last call."""
        snapshots, self._snapshots = self._snapshots, []
        return snapshots

    def _wants_entries(self, peer: int, progress: Progress) -> bool:
        ahead = progress.next <= self._last_for(peer)
        return not progress.paused and (progress.state is ProgressState.PROBE or ahead)

    def _last_for(self, peer: int) -> int:
        """The last entry to send to ``peer``.

        A witness gets none that this node may still lose: with a longer log than all that could lead, it would keep
        each of them from leading.
        """
        return self._own_match if peer in self.configuration.witnesses else self._log.last_index

    def _append_message(self, peer: int, progress: Progress) -> AppendEntries:
        entries = self._log.entries(
            progress.next,
            self._last_for(peer) + 1,
            self._config.append_bytes_max,
            self._config.append_entries_max,
        )
        previous = progress.next - 1
        last = previous + len(entries)
        message = self._append(peer, progress, previous, entries)
        progress.sent(last, sum(len(entry.payload) for entry in message.entries))
        progress.commit_sent = max(progress.commit_sent, min(self._log.committed, last))
        return message

    def _append_nothing(self, peer: int, progress: Progress) -> AppendEntries:
        """An append that only asks whether everything sent so far is there."""
        return self._append(peer, progress, progress.next - 1, ())

    def _append(self, peer: int, progress: Progress, previous: int, entries: Sequence[Entry]) -> AppendEntries:
        witness = peer in self.configuration.witnesses
        return AppendEntries(
            term=self._term,
            session=progress.session,
            previous_index=previous,
            previous_term=self._log.term(previous),
            commit=self._log.committed,
            entries=tuple(map(_witnessed, entries)) if witness else tuple(entries),
            witness=witness,
        )

    def heartbeat(self, progress: Progress, sequence: int) -> Heartbeat:
        """A heartbeat of round ``sequence``; 0 only tells the commit index and wants no answer."""
        progress.commit_sent = min(self._log.committed, progress.match)
        return Heartbeat(term=self._term, session=progress.session, sequence=sequence, commit=progress.commit_sent)

    def nudge(self, progress: Progress) -> None:
        """A peer is alive: if it lacks entries and made no progress for an interval, something may be lost."""
        if not progress.nudge_due:
            return  # rounds for reads come far more often than anything can be called lost
        progress.nudge_due = False
        if progress.state is ProgressState.PROBE:
            progress.probe_sent = False
        elif progress.state is ProgressState.REPLICATE:
            progress.recheck = progress.match == progress.match_last_check < self._log.last_index
        progress.match_last_check = progress.match

    def nudge_all(self) -> None:
        """A heartbeat interval is over: the next sign of life of each peer is the time for :meth:`nudge`."""
        for progress in self.peers.values():
            progress.nudge_due = True

    # -- answers -----------------------------------------------------------------------------------------

    def heard(self, peer: int, session: int, *, repairing: bool) -> Progress | None:
        """``peer`` has answered: its progress, unless it is to be forgotten or the answer is to another session."""
        progress = self.peers.get(peer)
        if progress is None or session != progress.session:
            return None
        if repairing and not progress.repairing:
            self._begin_anew(peer)
            return None
        progress.active = True
        progress.repairing = repairing
        return progress

    def receiving(self, peer: int) -> None:
        """``peer`` is alive: a long message of it is arriving."""
        if (progress := self.peers.get(peer)) is not None:
            progress.active = True

    def _begin_anew(self, peer: int) -> None:
        """``peer`` lost its data: neither what it confirmed before counts, nor such answers still under way."""
        self.peers[peer] = self._new_progress()
        self.peers[peer].repairing = True

    def handle_reply(self, peer: int, reply: AppendEntriesReply) -> None:
        """A peer's answer to an append of this term."""
        progress = self.heard(peer, reply.session, repairing=reply.repairing)
        if progress is None:
            return
        if reply.rejected and reply.repairing and reply.previous_index <= progress.match:
            self._begin_anew(peer)
        elif reply.rejected:
            if progress.answers_current_send(reply.previous_index):
                hint = min(reply.hint_index, reply.previous_index - 1)
                agreed, _ = self._log.last_index_within_term(hint, reply.hint_term)
                progress.probe_from(agreed + 1)
        elif reply.match_index <= self._log.last_index:
            progress.matched(reply.match_index, self._log.floor.index)

    def peer_lost(self, peer: int) -> None:
        """The way to ``peer`` broke: what was sent may be lost. A snapshot is the driver's matter."""
        progress = self.peers.get(peer)
        if progress is not None and progress.state is not ProgressState.SNAPSHOT:
            progress.probe_from(progress.match + 1)

    def snapshot_ended(self, peer: int, session: int) -> None:
        """The driver has brought ``peer`` a snapshot, or could not: find out what it has now."""
        progress = self.peers.get(peer)
        if progress is not None and progress.session == session and progress.state is ProgressState.SNAPSHOT:
            progress.probe_from(progress.match + 1)

    def own_entries_durable(self, index: int) -> None:
        """This node's own log is durable up to ``index``: now it counts as its own follower."""
        self._own_match = max(self._own_match, index)

    def quorum_match(self) -> int:
        """The highest index that is durable on a quorum; it may commit only if it is of this term (§5.4.2)."""
        matches = {peer: progress.match for peer, progress in self.peers.items() if not progress.repairing}
        matches[self._config.node_id] = self._own_match
        return self.configuration.quorum.reached(matches)

    def able(self) -> set[int]:
        """The nodes that were heard from lately and are not being repaired, this one included."""
        heard = {peer for peer, known in self.peers.items() if known.active or known.was_active}
        return {self._config.node_id} | {peer for peer in heard if not self.peers[peer].repairing}

    def take_active(self) -> set[int]:
        """The nodes heard from since the last call, this one included."""
        active = {peer for peer, progress in self.peers.items() if progress.active and not progress.repairing}
        for progress in self.peers.values():
            progress.was_active, progress.active = progress.active, False
        return active | {self._config.node_id}

    # -- the bound on uncommitted proposals --------------------------------------------------------------

    def proposed(self, entry: Entry) -> None:
        """Count an entry that was appended for a proposal."""
        self._proposed.append((entry.index, entry.size_bytes))
        self.uncommitted_bytes += entry.size_bytes

    def committed(self, index: int) -> None:
        """Entries up to ``index`` are committed and count no longer."""
        while self._proposed and self._proposed[0][0] <= index:
            self.uncommitted_bytes -= self._proposed.popleft()[1]


def _witnessed(entry: Entry) -> Entry:
    """What a witness receives of an entry: its place and its term, and who is a member."""
    if entry.kind is not EntryKind.COMMANDS:
        return entry
    return Entry(entry.index, entry.term, EntryKind.WITNESSED, b"")


def accept_entries(log: RaftLog, message: AppendEntries, *, repairing: bool = False) -> AppendEntriesReply:
    """A follower's handling of AppendEntries (§5.3): check, append what is new, learn the commit index.

    An entry that is already there is left alone, so a late, shorter copy of an earlier message never cuts
    anything. The reply may leave once the log is durable up to its ``match_index``.
    """
    if message.previous_index < log.committed:
        # What is committed matches by definition; go on behind it without looking at what may be compacted.
        known = log.committed - message.previous_index
        entries, previous = message.entries[known:], log.committed
    else:
        entries, previous = message.entries, message.previous_index
        if not log.matches(previous, message.previous_term):
            return _rejected(log, message, repairing)
    for position, entry in enumerate(entries):
        if not log.matches(entry.index, entry.term):
            log.append(entries[position:])
            break
    match = previous + len(entries)
    log.commit_to(min(message.commit, match))
    return AppendEntriesReply(term=message.term, session=message.session, match_index=match, repairing=repairing)


def _rejected(log: RaftLog, message: AppendEntries, repairing: bool) -> AppendEntriesReply:
    hint_index, hint_term = log.last_index_within_term(message.previous_index, message.previous_term)
    return AppendEntriesReply(
        term=message.term,
        session=message.session,
        match_index=0,
        rejected=True,
        previous_index=message.previous_index,
        hint_index=hint_index,
        hint_term=hint_term,
        repairing=repairing,
    )
