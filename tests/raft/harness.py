"""A cluster of cores in one thread: every message, every disk write and every tick happens when a test says so.

Nothing is random here and nothing runs by itself. The invariants are checked after every step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby
from random import Random
from typing import TypeVar

from quorate.raft.config import CoreConfig
from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import Message
from quorate.raft.output import HardState, Output, Recovered, Write
from quorate.raft.roles import Role
from tests.raft.invariants import Invariants

M = TypeVar("M")
SETTLE_STEPS_MAX = 20_000


def entry(index: int, term: int, payload: bytes | None = None) -> Entry:
    return Entry(index, term, EntryKind.COMMANDS, b"%d.%d" % (index, term) if payload is None else payload)


def entries(terms: Iterable[int], first: int = 1) -> list[Entry]:
    """Entries ``first``, ``first`` + 1 … of these terms."""
    return [entry(index, term) for index, term in enumerate(terms, start=first)]


class FixedTimeouts(Random):
    """Draws the lowest value plus a fixed offset, so that a test knows every election timeout."""

    def __init__(self, offset: int) -> None:
        super().__init__(0)
        self._offset = offset

    def randint(self, a: int, b: int) -> int:
        return min(b, a + self._offset)


class Disk:
    """What of a server survives a crash. Implements :class:`~quorate.raft.output.LogReader`."""

    def __init__(self, hard_state: HardState | None = None, log: Sequence[Entry] = ()) -> None:
        self.hard_state = hard_state or HardState()
        self.entries = list(log)
        self.reads = 0

    def carry_out(self, write: Write) -> None:
        if write.hard_state is not None:
            assert write.hard_state.term >= self.hard_state.term
            self.hard_state = write.hard_state
        if write.entries:
            first = write.entries[0].index
            assert first <= len(self.entries) + 1, "a write leaves a gap"
            self.entries[first - 1 :] = write.entries

    def term_at(self, index: int) -> int | None:
        if index == 0:
            return 0
        return self.entries[index - 1].term if index <= len(self.entries) else None

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        self.reads += 1
        found: list[Entry] = []
        total = 0
        for each in self.entries[low - 1 : high - 1]:
            found.append(each)
            total += len(each.payload)
            if total >= max_bytes:
                break
        return found

    @property
    def recovered(self) -> Recovered:
        runs = [(term, next(run).index) for term, run in groupby(self.entries, key=lambda each: each.term)]
        return Recovered(self.hard_state, len(self.entries), tuple((first, term) for term, first in runs))


@dataclass(slots=True, eq=False)
class Packet:
    """A message under way."""

    source: int
    target: int
    message: Message


@dataclass(slots=True, eq=False)
class Server:
    """A core with its disk, and what it has handed to its driver."""

    node_id: int
    disk: Disk
    core: RaftCore
    alive: bool = True
    slow_disk: bool = False
    slow_apply: bool = False
    writes: deque[Write] = field(default_factory=deque)
    """Writes under way, not durable yet."""
    applied: list[Entry] = field(default_factory=list)
    read_answers: dict[int, int | None] = field(default_factory=dict)
    """Token → the index at which it may be answered, or ``None``."""
    asked: dict[int, int] = field(default_factory=dict)
    """Token → what was committed anywhere when the read began."""


class Cluster:
    """Servers 1 … ``size`` and the network between them. Nothing is delivered unless asked for."""

    def __init__(
        self,
        size: int = 3,
        *,
        offsets: Sequence[int] | None = None,
        rng: Callable[[int], Random] | None = None,
        disks: dict[int, Disk] | None = None,
        check: bool = True,
        **settings: object,
    ) -> None:
        """Election timeouts are ``offsets[i]`` ticks above the shortest (by default 0, 4, 8 …), or from ``rng``."""
        self._settings = settings
        self._offsets = offsets or [4 * position for position in range(size)]
        self._rng = rng or (lambda node_id: FixedTimeouts(self._offsets[node_id - 1]))
        self._checking = check
        self.configuration = Configuration.of(range(1, size + 1))
        self.invariants = Invariants()
        self.now = 0
        self.pool: list[Packet] = []
        self.cut: set[tuple[int, int]] = set()
        """Links (from, to) that lose everything."""
        self.lost = 0
        self.observe: Callable[[Server, Output], None] | None = None
        self._tokens = count(1)
        disks = disks or {}
        self.servers = {node_id: self._make(node_id, disks.get(node_id, Disk())) for node_id in range(1, size + 1)}
        for server in self.servers.values():
            self.invariants.written(server.core, server.disk.entries)

    def _make(self, node_id: int, disk: Disk, applied: int = 0) -> Server:
        config = CoreConfig(node_id=node_id, **self._settings)  # type: ignore[arg-type]
        core = RaftCore(
            config, self.configuration, disk.recovered, disk, self._rng(node_id), applied=applied, now=self.now
        )
        return Server(node_id, disk, core)

    def __getitem__(self, node_id: int) -> Server:
        return self.servers[node_id]

    def core(self, node_id: int) -> RaftCore:
        return self.servers[node_id].core

    def session(self, leader: int, peer: int) -> int:
        """The number of ``leader``'s replication to ``peer``: answers to another one do not count."""
        replication = self.core(leader).replication
        assert replication is not None, f"{leader} does not lead"
        return replication.peers[peer].session

    # -- inputs, each followed by what the core asks for -------------------------------------------------

    def tick(self, *nodes: int, times: int = 1) -> None:
        """Let time pass, on ``nodes`` or everywhere; nothing is delivered meanwhile."""
        for _ in range(times):
            self.now += 1
            for server in [self.servers[node] for node in nodes] or list(self.servers.values()):
                if server.alive:
                    server.core.tick(self.now)
                    self.pump(server)

    def propose(self, node: int, *payloads: bytes) -> int:
        index = self.core(node).propose(list(payloads) or [b"x"])
        self.pump(self.servers[node])
        return index

    def read(self, node: int) -> int:
        """Ask for a read index; returns the token."""
        token = next(self._tokens)
        server = self.servers[node]
        server.asked[token] = self.invariants.commit_max
        server.core.read_index(token, self.now)
        self.pump(server)
        return token

    def answer(self, node: int, token: int) -> int | str | None:
        """What became of a read: its index, ``None`` for "ask again", or "pending"."""
        return self.servers[node].read_answers.get(token, "pending")

    def step(self, source: int, target: int, message: Message) -> None:
        server = self.servers[target]
        if server.alive:
            server.core.step(source, message)
            self.pump(server)

    def pump(self, server: Server) -> None:
        """Carry out what the core asks for until it asks for nothing more."""
        while True:
            output = server.core.ready()
            if self.observe is not None:
                self.observe(server, output)
            self._carry_out(server, output)
            if self._checking:
                self.invariants.check(self.servers.values())
            if not (output.committed or output.write is not None) or not server.alive:
                return

    def _carry_out(self, server: Server, output: Output) -> None:
        if output.write is not None:
            self.invariants.written(server.core, output.write.entries)
            server.writes.append(output.write)
        for envelope in output.messages:
            self.invariants.sending(server, envelope.peer, envelope.message)
            if (server.node_id, envelope.peer) in self.cut:
                self.lost += 1
            else:
                self.pool.append(Packet(server.node_id, envelope.peer, envelope.message))
        if output.committed:
            self.invariants.check(self.servers.values())
            self.invariants.applying(server, output.committed)
            server.applied += output.committed
            if not server.slow_apply:
                server.core.applied_to(output.committed[-1].index)
        for read in output.reads:
            assert read.token not in server.read_answers, "answered twice"
            server.read_answers[read.token] = read.index
            if read.index is not None:
                self.invariants.read_answered(read.index, server.asked[read.token])
        if not server.slow_disk and server.writes:
            self._persist(server)

    # -- disks -------------------------------------------------------------------------------------------

    def _persist(self, server: Server, writes: int | None = None) -> None:
        done = None
        for _ in range(len(server.writes) if writes is None else writes):
            done = server.writes.popleft()
            server.disk.carry_out(done)
        if done is not None:
            server.core.persisted(done.ticket)

    def persist(self, node: int, writes: int | None = None) -> None:
        """Finish what ``node`` is writing: the first ``writes`` of it, or all."""
        server = self.servers[node]
        self._persist(server, writes)
        self.pump(server)

    def crash(self, node: int, *, half_done: int = 0) -> None:
        """Stop ``node``. Of its writes under way, ``half_done`` have reached the disk without a word of it."""
        server = self.servers[node]
        for write in list(server.writes)[:half_done]:
            server.disk.carry_out(write)
        server.writes.clear()
        server.alive = False

    def restart(self, node: int, *, applied: int = 0) -> None:
        """Start ``node`` again from its disk, with a state machine that has ``applied`` so much."""
        old = self.servers[node]
        server = self.servers[node] = self._make(node, old.disk, applied)
        server.applied = old.applied[:applied]
        self.invariants.restarted(server)
        self.pump(server)

    # -- the network -------------------------------------------------------------------------------------

    def packets(self, kind: type | tuple[type, ...] = object, source: int = 0, target: int = 0) -> list[Packet]:
        """What is under way, optionally of this kind, from ``source``, to ``target``."""
        return [
            packet
            for packet in self.pool
            if isinstance(packet.message, kind) and source in (0, packet.source) and target in (0, packet.target)
        ]

    def messages(self, kind: type[M], source: int = 0, target: int = 0) -> list[M]:
        return [packet.message for packet in self.packets(kind, source, target)]  # type: ignore[misc]

    def deliver(self, *chosen: Packet) -> None:
        """Deliver these packets, or all that are under way now (not what they cause)."""
        for packet in chosen or list(self.pool):
            self.pool.remove(packet)
            if (packet.source, packet.target) in self.cut:
                self.lost += 1
            else:
                self.step(packet.source, packet.target, packet.message)

    def deliver_kind(self, kind: type | tuple[type, ...], source: int = 0, target: int = 0) -> None:
        for packet in self.packets(kind, source, target):
            self.deliver(packet)

    def drop(self, kind: type | tuple[type, ...] = object, source: int = 0, target: int = 0) -> int:
        lost = self.packets(kind, source, target)
        for packet in lost:
            self.pool.remove(packet)
        return len(lost)

    def settle(self) -> None:
        """Deliver until nothing is under way; time stands still."""
        for _ in range(SETTLE_STEPS_MAX):
            if not self.pool:
                return
            self.deliver(self.pool[0])
        raise AssertionError("the cluster does not come to rest")

    def isolate(self, node: int) -> None:
        for other in self.servers:
            if other != node:
                self.cut |= {(node, other), (other, node)}

    def heal(self) -> None:
        self.cut.clear()

    # -- longer moves ------------------------------------------------------------------------------------

    def campaign(self, node: int) -> None:
        """Tick only ``node`` until it asks for promises of votes."""
        for _ in range(2 * self.core(node).config.election_ticks_max):
            if self.core(node).role is not Role.FOLLOWER:
                return
            self.tick(node)
        raise AssertionError(f"{node} does not campaign")

    def elect(self, node: int) -> None:
        """Make ``node`` the leader: everyone forgets the old one, it campaigns, all goes well."""
        others = [server.node_id for server in self.servers.values() if server.alive and server.node_id != node]
        for other in others:
            if not self.core(other).replication:
                self.tick(other, times=self.core(other).config.election_ticks_min + 1 - self._waited(other))
        self.pool.clear()
        self.campaign(node)
        self.settle()
        assert self.core(node).role is Role.LEADER, f"{node} was not elected"

    def _waited(self, node: int) -> int:
        """How long ``node`` has waited already, so that it forgets its leader without campaigning itself."""
        return self.core(node)._timer._since_leader

    def run(self, ticks: int) -> None:
        """Let time pass with everything delivered at once."""
        for _ in range(ticks):
            self.tick()
            self.settle()

    @property
    def leaders(self) -> list[int]:
        return [each.node_id for each in self.servers.values() if each.alive and each.core.role is Role.LEADER]

    def terms(self, node: int) -> list[int]:
        """The terms of the entries in memory."""
        log = self.core(node).log
        return [log.term(index) for index in range(1, log.last_index + 1)]
