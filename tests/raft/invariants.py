"""What must hold after every step of a cluster of cores (Raft figure 3, and the rules of durability)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry
from quorate.raft.messages import AppendEntriesReply, Message, RequestVote, RequestVoteReply
from quorate.raft.output import HardState
from quorate.raft.roles import Role


class DiskView(Protocol):
    """What the invariants ask of a server's disk."""

    hard_state: HardState
    entries: list[Entry]

    def term_at(self, index: int) -> int | None:
        """The term of the durable entry at ``index``, 0 at index 0, ``None`` beyond the end."""
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
        self._created: dict[tuple[int, int], tuple[int, Entry]] = {}  # (index, term) → (previous term, entry)
        self._terms: dict[int, int] = {}
        self._commits: dict[int, int] = {}
        self._applied: dict[int, int] = {}

    def restarted(self, server: ServerView) -> None:
        """``server`` lost its memory, and what was not durable with it."""
        assert server.core.term == server.disk.hard_state.term
        self._terms[server.node_id] = server.core.term
        self._commits[server.node_id] = server.core.log.committed
        self._applied[server.node_id] = server.core.log.applied

    def written(self, core: RaftCore, entries: Iterable[Entry]) -> None:
        """Log Matching (§5.3): an entry's index and term determine it and everything before it."""
        for entry in entries:
            created = (core.log.term(entry.index - 1), entry)
            known = self._created.setdefault((entry.index, entry.term), created)
            assert known == created, f"log matching: {known} and {created} on {core.node_id}"

    def sending(self, server: ServerView, peer: int, message: Message) -> None:
        """No promise leaves before it is durable, unless a later term has overtaken it."""
        durable = server.disk.hard_state
        match message:
            case RequestVoteReply(pre_vote=False, granted=True):
                assert durable.term > message.term or durable == HardState(message.term, peer), "vote not durable"
            case RequestVote(pre_vote=False):
                own = HardState(message.term, server.node_id)
                assert durable.term > message.term or durable == own, "own vote not durable"
            case AppendEntriesReply(rejected=False):
                assert durable.term >= message.term, "term not durable"
                if durable.term == message.term:
                    found = server.disk.term_at(message.match_index)
                    # In memory a later leader may have replaced it meanwhile; on disk it has not.
                    overtaken = server.core.term > message.term
                    expected = found if overtaken else server.core.log.term(message.match_index)
                    assert found is not None, "acknowledged before durable"
                    assert found == expected, "acknowledged before durable"

    def applying(self, server: ServerView, entries: Iterable[Entry]) -> None:
        """State Machine Safety (§5.4.3), applied once each in order, and never ahead of the own disk."""
        for entry in entries:
            assert entry.index == self._applied.get(server.node_id, 0) + 1, "applied out of order"
            self._applied[server.node_id] = entry.index
            assert server.disk.term_at(entry.index) == entry.term, "applied before durable"
            assert self.committed[entry.index] == entry, f"state machine safety at {entry.index}"

    def read_answered(self, index: int, commit_before: int) -> None:
        """A read sees everything that was committed anywhere before it began."""
        assert index >= commit_before, f"stale read: at {index}, but {commit_before} was committed before it began"

    def check(self, servers: Iterable[ServerView]) -> None:
        """Everything that can be seen from the state alone."""
        servers = list(servers)
        for server in servers:
            if server.alive:
                self._check_server(server)
        for server in servers:
            if server.alive:
                self._check_commit(server, servers)

    def _check_server(self, server: ServerView) -> None:
        core, node_id = server.core, server.node_id
        log = core.log
        assert core.term >= self._terms.get(node_id, 0), "term went back"
        assert log.committed >= self._commits.get(node_id, 0), "commit went back"
        assert log.applied <= log.handed_out <= log.committed <= log.last_index
        assert log.handed_out <= log.durable <= log.written <= log.last_index
        self._terms[node_id], self._commits[node_id] = core.term, log.committed
        if core.role is Role.LEADER and core.term not in self.leaders:
            self.leaders[core.term] = node_id
            for index, entry in self.committed.items():
                complete = index <= log.last_index and log.term(index) == entry.term
                assert complete, f"leader completeness: {node_id} leads term {core.term} without entry {index}"
        if core.role is Role.LEADER:
            assert self.leaders[core.term] == node_id, f"election safety: two leaders in term {core.term}"

    def _check_commit(self, server: ServerView, servers: list[ServerView]) -> None:
        log = server.core.log
        voters = server.core.configuration.voters
        while self.commit_max < log.committed:
            for entry in log.entries(self.commit_max + 1, log.committed + 1, 1 << 40):
                holders = {each.node_id for each in servers if each.disk.term_at(entry.index) == entry.term}
                assert len(holders & voters) > len(voters) // 2, f"entry {entry.index} committed, durable on {holders}"
                self.committed[entry.index] = entry
                self.commit_max = entry.index
