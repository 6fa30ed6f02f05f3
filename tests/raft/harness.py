"""A cluster of cores in one thread: every message, every disk write and every tick happens when a test says so.

Nothing is random here and nothing runs by itself. The invariants are checked after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random
from typing import TypeVar

from quorate.raft.config import CoreConfig
from quorate.raft.core import RaftCore
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, Member
from quorate.raft.messages import Message
from quorate.raft.output import Output, SnapshotWanted
from quorate.raft.roles import Role
from tests.raft.invariants import Invariants
from tests.raft.server import Disk, Packet, Server, Snapshot, witnessed

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


class Cluster:
    """Servers 1 … ``size`` and the network between them. Nothing is delivered unless asked for."""

    def __init__(
        self,
        size: int = 3,
        *,
        offsets: Sequence[int] | None = None,
        rng: Callable[[int], Random] | None = None,
        disks: dict[int, Disk] | None = None,
        members: Iterable[Member] = (),
        check: bool = True,
        **settings: object,
    ) -> None:
        """Election timeouts are ``offsets[i]`` ticks above the shortest (by default 0, 4, 8 …), or from ``rng``.

        Servers that are not among ``members`` (by default all are, as voters) know of no cluster yet.
        """
        self._settings = settings
        self._offsets = offsets or [4 * position for position in range(size)]
        self._rng = rng or (lambda node_id: FixedTimeouts(dict(enumerate(self._offsets, 1)).get(node_id, 12)))
        self._checking = check
        self.configuration = Configuration(tuple(members)) if members else Configuration.of(range(1, size + 1))
        self.invariants = Invariants()
        self.now = 0
        self.pool: list[Packet] = []
        self.cut: set[tuple[int, int]] = set()
        """Links (from, to) that lose everything."""
        self.lost = 0
        self.installed = 0
        """How many snapshots took the place of a log."""
        self.repaired = 0
        self.observe: Callable[[Server, Output], None] | None = None
        self._tokens = count(1)
        disks = disks or {}
        self.servers = {node_id: self._make(node_id, disks.get(node_id, Disk())) for node_id in range(1, size + 1)}
        for server in self.servers.values():
            self.invariants.written(server.core, server.disk.entries)

    def _make(self, node_id: int, disk: Disk, applied: int = 0) -> Server:
        config = CoreConfig(node_id=node_id, **self._settings)  # type: ignore[arg-type]
        beginning = self.configuration if node_id in self.configuration else Configuration()
        applied = max(applied, disk.floor.index)
        core = RaftCore(config, beginning, disk.recovered, disk, self._rng(node_id), applied=applied, now=self.now)
        return Server(node_id, disk, core, applied=list(disk.state))

    def join(self, node_id: int) -> None:
        """Start a server that knows of no cluster yet."""
        server = self.servers[node_id] = self._make(node_id, Disk())
        self.invariants.restarted(server)

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
                    is_due = bool(server.ended)
                    while server.ended:
                        server.core.snapshot_ended(*server.ended.pop())
                    if server.core.tick(self.now) or is_due:
                        self.pump(server)

    def propose(self, node: int, *payloads: bytes) -> int:
        index = self.core(node).propose(list(payloads) or [b"x"])
        self.pump(self.servers[node])
        return index

    def change(self, node: int, members: Iterable[Member], expected_index: int | None = None) -> int:
        """Have the leader ``node`` begin a change to ``members``; returns the entry's index."""
        index = self.core(node).change_membership(members, expected_index)
        self.pump(self.servers[node])
        return index

    def transfer(self, node: int, target: int | None = None) -> int:
        """Have the leader ``node`` hand over to ``target``; returns to whom."""
        target = self.core(node).transfer_leadership(target)
        self.pump(self.servers[node])
        return target

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

    def step(self, source: int, target: int, message: Message | Snapshot) -> None:
        server = self.servers[target]
        if not server.alive:
            return
        if isinstance(message, Snapshot):
            self._receive(server, source, message)
        else:
            server.core.step(source, message)
        self.pump(server)

    def pump(self, server: Server) -> None:
        """Carry out what the core asks for until it asks for nothing more."""
        while True:
            if self._checking and self.invariants.changed(server):
                self.invariants.check(self.servers.values())
            output = server.core.ready()
            if self.observe is not None:
                self.observe(server, output)
            self._carry_out(server, output)
            if self._checking:
                self.invariants.check(self.servers.values())
            if server.core.repairing:
                self._maybe_repaired(server)
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
        for wanted in output.snapshots:
            self._send_snapshot(server, wanted)
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
            server.arrived = done.floor or server.arrived
        if done is not None:
            server.core.persisted(done.ticket)
            if not server.slow_apply:
                self._place(server)

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
        if applied > len(server.applied):
            server.applied = old.applied[:applied]
        self.invariants.restarted(server)
        self.pump(server)

    # -- snapshots ---------------------------------------------------------------------------------------

    def compact(self, node: int, index: int | None = None) -> None:
        """Make a snapshot of the state at ``index`` (of all that is applied) and cut the log up to there."""
        server = self.servers[node]
        floor = server.core.compact(server.core.log.applied if index is None else index)
        if floor is not None:
            server.disk.compact(floor, tuple(server.applied[: floor.index]))
        self.pump(server)

    def _send_snapshot(self, server: Server, wanted: SnapshotWanted) -> None:
        disk, core = server.disk, server.core
        if disk.floor.index < core.log.floor.index:
            server.ended.append((wanted.peer, wanted.session))  # one is only just arriving here
            return
        state = witnessed(disk.state) if wanted.peer in core.configuration.witnesses else disk.state
        snapshot = Snapshot(core.term, wanted.session, disk.floor, state)
        self.pool.append(Packet(server.node_id, wanted.peer, snapshot))

    def _receive(self, server: Server, source: int, snapshot: Snapshot) -> None:
        server.disk.staged[snapshot.floor.index] = snapshot.state
        if server.core.install_snapshot(source, snapshot.term, snapshot.session, snapshot.floor):
            assert server.core.log.floor == snapshot.floor
            self.installed += 1

    def _place(self, server: Server) -> None:
        floor, server.arrived = server.arrived, None
        if floor is not None:
            server.applied = list(server.disk.state)
            self.invariants.placed(server, floor)
            server.core.applied_to(floor.index)

    def finish_applying(self, node: int) -> None:
        """The state machine of ``node`` has done all that it was given."""
        server = self.servers[node]
        log = server.core.log
        if server.arrived is not None:
            self._place(server)
        elif log.handed_out > max(log.applied, log.floor.index):
            server.core.applied_to(log.handed_out)
        self.pump(server)

    # -- repair ------------------------------------------------------------------------------------------

    def wipe(self, node: int) -> None:
        """The disk of ``node``, which has crashed, is lost; it starts again with an empty one, and knows it."""
        server = self.servers[node]
        assert not server.alive
        self.invariants.lost(server)
        server.disk = Disk(store=server.disk.store + 1, repairing=True)
        server.applied = []
        self.restart(node)

    def _maybe_repaired(self, server: Server) -> None:
        """The driver's rule: a committed configuration names the data that this server has now."""
        log = server.core.log
        own = log.configurations.at(min(log.committed, log.durable))[1].get(server.node_id)
        if own is not None and own.store == server.disk.store:
            server.disk.repairing = False
            server.core.repaired()
            self.repaired += 1

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
            if (packet.source, packet.target) in self.cut:
                self.lose(packet)
            else:
                self._left(packet)
                self.step(packet.source, packet.target, packet.message)

    def lose(self, packet: Packet) -> None:
        """It never arrives."""
        self._left(packet)
        self.lost += 1

    def _left(self, packet: Packet) -> None:
        self.pool.remove(packet)
        if isinstance(packet.message, Snapshot):
            self.servers[packet.source].ended.append((packet.target, packet.message.session))

    def deliver_kind(self, kind: type | tuple[type, ...], source: int = 0, target: int = 0) -> None:
        for packet in self.packets(kind, source, target):
            self.deliver(packet)

    def drop(self, kind: type | tuple[type, ...] = object, source: int = 0, target: int = 0) -> int:
        lost = self.packets(kind, source, target)
        for packet in lost:
            self.lose(packet)
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
        self.drop()
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
        """The terms of the entries in its log."""
        log = self.core(node).log
        return [log.term(index) for index in range(log.floor.index + 1, log.last_index + 1)]
