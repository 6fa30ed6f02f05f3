"""Random schedules: anything may be lost, repeated, reordered, delayed or crash; every step keeps the invariants.

Afterwards the cluster is healed and must come to life: one leader, everything committed, every machine the same.
A seed that fails is replayed by running the test with that seed alone.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from quorate.errors import NotLeader, ProposalDropped
from quorate.raft.messages import AppendEntriesReply, Heartbeat
from quorate.raft.roles import Role
from tests.raft.harness import Cluster, Server

STEPS = 5000
POOL_MAX = 60
CRASHED_MAX = 2


class Chaos:
    """One run from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.counts: Counter[str] = Counter()
        size = rng.choice((3, 3, 5))
        self.cluster = Cluster(
            size,
            rng=lambda node_id: Random(rng.getrandbits(32)),
            append_entries_max=rng.choice((1, 3, 100)),
            inflight_appends_max=rng.choice((1, 2, 64)),
            append_bytes_max=rng.choice((30, 1000)),
            cache_bytes_max=rng.choice((500, 1 << 20)),
            uncommitted_bytes_max=400,
            # All clocks run alike here, in whole ticks, so that a lease must hold.
            lease_reads=rng.random() < 0.5,
            heartbeat_ticks=2,
            election_ticks_min=6,
            election_ticks_max=12,
        )
        self.loss = rng.choice((0.0, 0.02, 0.1, 0.3))
        self.doubling = rng.choice((0.0, 0.05, 0.2))
        self.haste = rng.choice((2, 5, 15))  # deliveries for each tick
        self.crash_rate = rng.choice((0.0, 0.002, 0.01))
        self.cut_rate = rng.choice((0.0, 0.003, 0.01))
        self.attention = rng.choice((1.0, 0.9, 0.5))  # how often a node notices that time passes
        self.proposed = 0
        self.terms: dict[int, list[int]] = {}

    def servers(self, *, alive: bool = True) -> list[Server]:
        return [server for server in self.cluster.servers.values() if server.alive is alive]

    def step(self) -> None:
        rng, cluster = self.rng, self.cluster
        chance = rng.random()
        if chance < self.crash_rate:
            self.crash_or_restart()
        elif chance < self.crash_rate + self.cut_rate:
            self.cut_or_heal()
        elif chance < self.crash_rate + self.cut_rate + 1 / (self.haste + 1):
            awake = [server.node_id for server in self.servers() if rng.random() < self.attention]
            if awake:
                cluster.tick(*awake)
            else:
                cluster.now += 1
        elif chance < 0.93 and cluster.pool:
            self.touch_packet()
        else:
            self.touch_server(rng.choice(self.servers() or self.servers(alive=False)))
        if len(cluster.pool) > POOL_MAX:
            rng.shuffle(cluster.pool)
            self.counts["lost"] += len(cluster.pool) - POOL_MAX
            del cluster.pool[POOL_MAX:]
        self.notice_truncations()

    def touch_packet(self) -> None:
        cluster, rng = self.cluster, self.rng
        # Mostly in order, sometimes any: links keep their order, reconnects and late copies do not.
        packet = cluster.pool[0] if rng.random() < 0.7 else rng.choice(cluster.pool)
        self.counts["reordered"] += packet is not cluster.pool[0]
        if rng.random() < self.doubling:
            self.counts["doubled"] += 1
            cluster.step(packet.source, packet.target, packet.message)
        elif rng.random() < self.loss:
            self.counts["lost"] += 1
            cluster.pool.remove(packet)
        else:
            cluster.deliver(packet)

    def touch_server(self, server: Server) -> None:
        cluster, rng = self.cluster, self.rng
        node = server.node_id
        if not server.alive:
            return
        action = rng.choice(("propose", "propose", "read", "disk", "persist", "persist", "apply", "peer_lost"))
        if action == "propose":
            try:
                self.proposed += 1
                cluster.propose(node, b"%d" % self.proposed)
                self.counts["proposals"] += 1
            except (NotLeader, ProposalDropped):
                pass
        elif action == "read":
            cluster.read(node)
        elif action == "disk":
            server.slow_disk = not server.slow_disk
            cluster.persist(node)
        elif action == "persist" and server.writes:
            self.counts["slow writes"] += 1
            cluster.persist(node, rng.randint(1, len(server.writes)))
        elif action == "apply":
            server.slow_apply = not server.slow_apply
            if server.core.log.handed_out > server.core.log.applied:
                server.core.applied_to(server.core.log.handed_out)
                cluster.pump(server)
        elif action == "peer_lost":
            server.core.peer_lost(rng.choice(list(cluster.servers)))
            cluster.pump(server)

    def crash_or_restart(self) -> None:
        cluster, rng = self.cluster, self.rng
        crashed = self.servers(alive=False)
        if crashed and (len(crashed) >= CRASHED_MAX or rng.random() < 0.6):
            server = rng.choice(crashed)
            cluster.restart(server.node_id, applied=rng.randint(0, len(server.applied)))
            self.terms.pop(server.node_id, None)
        else:
            server = rng.choice(self.servers())
            self.counts["unpersisted writes lost"] += len(server.writes)
            cluster.crash(server.node_id, half_done=rng.randint(0, len(server.writes)))
        self.counts["crashes and restarts"] += 1

    def cut_or_heal(self) -> None:
        if self.cluster.cut:
            self.cluster.heal()
        elif self.rng.random() < 0.6:
            self.cluster.isolate(self.rng.choice(self.cluster.leaders or list(self.cluster.servers)))
        else:
            source, target = self.rng.sample(list(self.cluster.servers), 2)
            self.cluster.cut.add((source, target))
        self.counts["cuts"] += 1

    def notice_truncations(self) -> None:
        for server in self.servers():
            node, log = server.node_id, server.core.log
            before, now = self.terms.get(node, []), self.cluster.terms(node)
            if now[: len(before)] != before:
                self.counts["truncations"] += 1
            self.terms[node] = now
            assert log.committed == 0 or now[log.committed - 1] == log.term(log.committed)

    def heal(self) -> None:
        """All faults end; within a few election timeouts everything must work again."""
        cluster = self.cluster
        cluster.heal()
        for server in self.servers(alive=False):
            cluster.restart(server.node_id, applied=len(server.applied))
        for server in self.servers():
            server.slow_disk = server.slow_apply = False
            if server.core.log.handed_out > server.core.log.applied:
                server.core.applied_to(server.core.log.handed_out)
            cluster.persist(server.node_id)
        cluster.run(200)
        (leader,) = cluster.leaders
        index = cluster.propose(leader, b"last")
        tokens = {node: cluster.read(node) for node in cluster.servers}
        cluster.run(10)
        for server in self.servers():
            assert server.core.leader == leader
            assert server.core.log.applied == server.core.log.last_index == index
            assert server.applied == cluster[leader].applied
            assert cluster.answer(server.node_id, tokens[server.node_id]) is not None
            assert server.core.replication is None or server.core.replication.uncommitted_bytes == 0
        self.counts["elections"] += len(cluster.invariants.leaders)
        self.counts["committed"] += cluster.invariants.commit_max
        for server in self.servers():
            self.counts["reads"] += sum(index is not None for index in server.read_answers.values())


def run(seed: int) -> Counter[str]:
    chaos = Chaos(seed)
    for _ in range(STEPS):
        chaos.step()
    chaos.heal()
    return chaos.counts


BATCHES, SEEDS_PER_BATCH = 4, 30


@pytest.mark.parametrize("batch", range(BATCHES))
def test_anything_may_happen_and_nothing_is_violated(batch: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(batch * SEEDS_PER_BATCH, (batch + 1) * SEEDS_PER_BATCH):
        try:
            counts += run(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    for event, least in {
        "elections": 2 * SEEDS_PER_BATCH,
        "committed": 40 * SEEDS_PER_BATCH,
        "proposals": 40 * SEEDS_PER_BATCH,
        "reads": 20 * SEEDS_PER_BATCH,
        "truncations": 10,
        "crashes and restarts": 50,
        "unpersisted writes lost": 5,
        "slow writes": 50,
        "lost": 200,
        "doubled": 100,
        "reordered": 500,
        "cuts": 20,
    }.items():
        assert counts[event] >= least, f"only {counts[event]} {event}: {dict(counts)}"


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(3) == run(3)


def test_a_violation_would_be_noticed() -> None:
    """The invariants themselves: an acknowledgement before the disk is caught, and so is a second leader."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[2].disk.entries.clear()
    reply = AppendEntriesReply(term=1, session=2, match_index=1)
    with pytest.raises(AssertionError, match="acknowledged before durable"):
        cluster.invariants.sending(cluster[2], 1, reply)
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.core(2).role = Role.LEADER
    with pytest.raises(AssertionError, match="two leaders"):
        cluster.step(1, 3, Heartbeat(term=1, session=3, sequence=9, commit=0))
