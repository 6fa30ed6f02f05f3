"""What must hold after every step of a cluster of cores (Raft figure 3, and the rules of durability)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    HeartbeatReply,
    Message,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from quorate.raft.output import Floor, HardState
from quorate.raft.roles import Role


class DiskView(Protocol):
    """What the invariants ask of a server's disk."""

    hard_state: HardState
    floor: Floor
    repairing: bool

    def term_at(self, index: int) -> int | None:
        """The term of the durable entry at ``index``, 0 at index 0, ``None`` where the log holds none."""
        ...


class ServerView(Protocol):
    """What the invariants ask of a server."""

    node_id: int
    core: RaftCore
    alive: bool

    @property
    def disk(self) -> DiskView:
        """What survives a crash of it."""
        ...


class Invariants:
    """Watches a whole cluster; every method raises ``AssertionError`` on the first violation."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        """Term → its leader."""
        self.committed: dict[int, Entry] = {}
        """Index → the entry that is committed there."""
        self.commit_max = 0
        self._created: dict[tuple[int, int], tuple[int, Entry | None]] = {}  # (index, term) → (previous term, entry)
        self._terms: dict[int, int] = {}
        self._commits: dict[int, int] = {}
        self._applied: dict[int, int] = {}
        self._floors: dict[int, Floor] = {}
        self._in_force: dict[int, tuple[int, Configuration]] = {}  # node → (its entry, configuration) at the last check
        self._memberships = [0]  # the indexes of committed configurations
        self._lost: dict[int, DiskView] = {}  # node → the disk it had before it lost it

    def restarted(self, server: ServerView) -> None:
        """``server`` lost its memory, and what was not durable with it."""
        assert server.core.term == server.disk.hard_state.term
        self._terms[server.node_id] = server.core.term
        self._commits[server.node_id] = server.core.log.committed
        self._applied[server.node_id] = server.core.log.applied
        self._in_force.pop(server.node_id, None)

    def lost(self, server: ServerView) -> None:
        """``server`` is about to lose its disk. Silent as it is from then on, it breaks no promise."""
        if not server.disk.repairing:
            self._lost[server.node_id] = server.disk

    def placed(self, server: ServerView, floor: Floor) -> None:
        """A snapshot took the place of the state."""
        self._applied[server.node_id] = floor.index

    def written(self, core: RaftCore, entries: Iterable[Entry]) -> None:
        """Log Matching (§5.3): an entry's index and term determine it and everything before it."""
        witness = core.node_id in core.configuration.witnesses
        for entry in entries:
            assert not (witness and entry.kind is EntryKind.COMMANDS), f"witness {core.node_id} holds {entry}"
            content = None if entry.kind is EntryKind.WITNESSED else entry
            previous = core.log.term(entry.index - 1)
            known, known_content = self._created.setdefault((entry.index, entry.term), (previous, content))
            assert known == previous, f"log matching: {entry} behind {known} and {previous}"
            if known_content is None:
                self._created[entry.index, entry.term] = (previous, content)
            assert None in (content, known_content) or content == known_content, f"{known_content} and {content}"

    def sending(self, server: ServerView, peer: int, message: Message) -> None:
        """No promise leaves before it is durable, unless a later term has overtaken it."""
        durable = server.disk.hard_state
        repairing = server.core.repairing
        match message:
            case RequestVoteReply(granted=True) if repairing:
                raise AssertionError("voted while repairing")
            case RequestVoteReply(pre_vote=False, granted=True):
                assert durable.term > message.term or durable == HardState(message.term, peer), "vote not durable"
            case RequestVote(pre_vote=False):
                own = HardState(message.term, server.node_id)
                assert durable.term > message.term or durable == own, "own vote not durable"
            case HeartbeatReply():
                assert message.repairing or not repairing, "counts while repairing"
            case AppendEntriesReply(rejected=False):
                assert message.repairing or not repairing, "counts while repairing"
                assert durable.term >= message.term, "term not durable"
                if durable.term == message.term:
                    self._check_acknowledgement(server, message)
            case AppendEntries():
                if peer in server.core.configuration.witnesses:
                    assert all(each.kind is not EntryKind.COMMANDS for each in message.entries), "data for a witness"
            case TimeoutNow():
                assert server.core.configuration.may_lead(peer), "leadership for one that may not lead"

    def _check_acknowledgement(self, server: ServerView, message: AppendEntriesReply) -> None:
        index, log = message.match_index, server.core.log
        if index < server.disk.floor.index:
            return
        found = server.disk.term_at(index)
        assert found is not None, "acknowledged before durable"
        # In memory a later leader may have replaced it meanwhile, or a snapshot; on disk it has not.
        if server.core.term == message.term and index >= log.floor.index:
            assert found == log.term(index), "acknowledged before durable"

    def applying(self, server: ServerView, entries: Iterable[Entry]) -> None:
        """State Machine Safety (§5.4.3), applied once each in order, and never ahead of the own disk."""
        for entry in entries:
            assert entry.index == self._applied.get(server.node_id, 0) + 1, "applied out of order"
            self._applied[server.node_id] = entry.index
            assert server.disk.term_at(entry.index) == entry.term, "applied before durable"
            expected = self.committed[entry.index]
            witnessed = entry.kind is EntryKind.WITNESSED and entry.term == expected.term
            assert expected == entry or witnessed, f"state machine safety at {entry.index}"

    def read_answered(self, index: int, commit_before: int) -> None:
        """A read sees everything that was committed anywhere before it began."""
        assert index >= commit_before, f"stale read: at {index}, but {commit_before} was committed before it began"

    def changed(self, server: ServerView) -> bool:
        """Whether another configuration is in force than at the last check."""
        known = self._in_force.get(server.node_id)
        return known is None or known[0] != server.core.log.configurations.index

    def check(self, servers: Iterable[ServerView]) -> None:
        """Everything that can be seen from the state alone."""
        servers = list(servers)
        alive = [server for server in servers if server.alive]
        for server in alive:
            self._check_server(server)
        for server in alive:
            if server.core.log.committed > self.commit_max:
                self._check_commit(server, servers)
        for server in alive:
            if self.changed(server):
                self._check_configuration(server)
            if server.core.log.floor is not self._floors.get(server.node_id):
                self._check_floor(server)

    def _check_server(self, server: ServerView) -> None:
        core, node_id = server.core, server.node_id
        log = core.log
        assert core.term >= self._terms.get(node_id, 0), "term went back"
        assert log.committed >= self._commits.get(node_id, 0), "commit went back"
        assert log.applied <= log.handed_out <= log.committed <= log.last_index
        assert log.durable <= log.written <= log.last_index
        installing = log.handed_out == log.floor.index
        assert installing or log.handed_out <= log.durable
        assert installing or log.floor.index <= log.applied, "purged what is not applied"
        self._terms[node_id], self._commits[node_id] = core.term, log.committed
        if core.role is Role.LEADER and core.term not in self.leaders:
            self.leaders[core.term] = node_id
            self._check_leader(core)
        if core.role is Role.LEADER:
            assert self.leaders[core.term] == node_id, f"election safety: two leaders in term {core.term}"

    def _check_leader(self, core: RaftCore) -> None:
        log, node_id = core.log, core.node_id
        assert not core.repairing, f"{node_id} leads, and has lost what it had promised"
        proven = log.configurations.at(log.committed)[1]
        # Until its removal is committed, a leader may be needed to commit it (thesis §4.2.2).
        assert core.configuration.may_lead(node_id) or proven.may_lead(node_id), f"{node_id} must not lead"
        assert node_id not in core.configuration.witnesses, f"witness {node_id} leads"
        for index, entry in self.committed.items():
            if index >= log.floor.index:
                complete = index <= log.last_index and log.term(index) == entry.term
                assert complete, f"leader completeness: {node_id} leads term {core.term} without entry {index}"

    def _check_commit(self, server: ServerView, servers: list[ServerView]) -> None:
        """Durable on a majority of each half of the configuration that was in force when it was committed."""
        log = server.core.log
        now = (log.configurations.index, log.configurations.latest)
        before = self._in_force.get(server.node_id, now)
        for entry in self._entries(server, self.commit_max + 1, log.committed + 1):
            holders = {each.node_id for each in servers if self._holds(each, entry)}
            # What settles a joint configuration is appended by its commit, and may have committed more at once.
            rules = {before[1]} if entry.index <= before[0] else {before[1], now[1]}
            assert any(rule.quorum.includes(holders) for rule in rules), f"{entry} committed, durable on {holders}"
            self.committed[entry.index] = entry
            self.commit_max = entry.index
            if entry.kind is EntryKind.MEMBERSHIP:
                self._memberships.append(entry.index)

    @staticmethod
    def _entries(server: ServerView, low: int, high: int) -> Iterable[Entry]:
        while low < high:
            for entry in server.core.log.entries(low, high, 1 << 40):
                yield entry
                low += 1

    def _holds(self, server: ServerView, entry: Entry) -> bool:
        disk = self._lost.get(server.node_id) if server.disk.repairing else server.disk
        if disk is None:
            return False
        return entry.index < disk.floor.index or disk.term_at(entry.index) == entry.term

    def _check_configuration(self, server: ServerView) -> None:
        """At most one configuration of a log is not committed."""
        log = server.core.log
        index = log.configurations.index
        if index > max(self.commit_max, log.floor.index):
            before = log.configurations.at(index - 1)[0]
            assert before <= self.commit_max, f"{server.node_id} holds configurations {before} and {index} uncommitted"
        self._in_force[server.node_id] = (index, log.configurations.latest)

    def _check_floor(self, server: ServerView) -> None:
        """What the log forgot was committed, and the configuration that was in force there is remembered."""
        floor = self._floors[server.node_id] = server.core.log.floor
        if not floor.index:
            return
        assert floor.index <= self.commit_max, f"{server.node_id} gave up {floor.index}, which is not committed"
        assert floor.term == self.committed[floor.index].term
        index = max(each for each in self._memberships if each <= floor.index)
        assert floor.configuration_index == index
        assert floor.configuration == (self.committed[index].payload if index else b"")
