"""One random run: what may happen to a cluster, and how it is healed."""

from __future__ import annotations

from collections import Counter
from random import Random

from quorate.errors import ConfigError, NotApplied
from quorate.raft.membership import Configuration, Member, MemberRole
from tests.raft.harness import Cluster
from tests.raft.server import Server, members

POOL_MAX = 60
CRASHED_MAX = 2
OUTSIDERS = 2
HEAL_ROUNDS_MAX = 40


class Chaos:
    """One run from one seed; in some runs the membership changes all the time, logs are cut, disks are lost."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.counts: Counter[str] = Counter()
        size = rng.choice((3, 3, 5))
        self.witness = rng.choice((0, 0, 0, size))
        voters = range(1, size + (not self.witness))
        self.cluster = Cluster(
            size,
            members=members(voters, witnesses=(self.witness,) if self.witness else ()),
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
        self.compacting = rng.choice((0.0, 0.1, 0.5))
        self.changing = rng.choice((0.0, 0.02, 0.2))
        self.transferring = rng.choice((0.0, 0.05, 0.1))
        self.losing_disks = rng.choice((0.0, 0.3)) if not self.witness else 0.0
        self.proposed = 0
        self.terms: dict[int, tuple[int, list[int]]] = {}
        if self.changing:
            for node in range(size + 1, size + 1 + OUTSIDERS):
                self.cluster.join(node)

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
            for packet in cluster.pool[POOL_MAX:]:
                cluster.lose(packet)
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
            cluster.lose(packet)
        else:
            cluster.deliver(packet)

    def touch_server(self, server: Server) -> None:
        cluster, rng = self.cluster, self.rng
        node = server.node_id
        if not server.alive or self.manage(server):
            return
        action = rng.choice(("propose", "propose", "read", "disk", "persist", "persist", "apply", "peer_lost"))
        if action == "propose":
            try:
                self.proposed += 1
                cluster.propose(node, b"%d" % self.proposed)
                self.counts["proposals"] += 1
            except NotApplied:
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
            cluster.finish_applying(node)
        elif action == "peer_lost":
            server.core.peer_lost(rng.choice(list(cluster.servers)))
            cluster.pump(server)

    def manage(self, server: Server) -> bool:
        """Now and then, do as an operator does."""
        cluster, rng, node = self.cluster, self.rng, server.node_id
        chance = rng.random()
        try:
            if chance < self.changing:
                cluster.change(node, self.readmitting(server) or self.other_members())
                self.counts["changes"] += 1
            elif chance < self.changing + self.compacting:
                before = server.disk.floor.index
                cluster.compact(node, rng.randint(before, max(before, server.core.log.applied)))
                self.counts["compactions"] += server.disk.floor.index > before
            elif chance < self.changing + self.compacting + self.transferring:
                cluster.transfer(node, rng.choice((None, *cluster.servers)))
                self.counts["transfers"] += 1
            else:
                return False
        except (NotApplied, ConfigError):
            pass
        return True

    def other_members(self) -> list[Member]:
        cluster, rng = self.cluster, self.rng
        able = [node for node, server in cluster.servers.items() if node != self.witness and not server.disk.repairing]
        rng.shuffle(able)
        voters = able[: rng.randint(1, 5)]
        learners = able[len(voters) :][: rng.randint(0, 2)]
        witnesses = [self.witness] if self.witness and rng.random() < 0.7 else []
        priorities = {node: rng.choice((1, 1, 1, 2)) for node in able}
        stores = {node: server.disk.store for node, server in cluster.servers.items()}
        return members(voters, learners=learners, witnesses=witnesses, priorities=priorities, stores=stores)

    def readmitting(self, server: Server) -> list[Member]:
        """Who lost its data is named with what it has now: as a learner first, or at once in the role that it had."""
        lost = [each for each in self.cluster.servers.values() if each.disk.repairing]
        configuration = server.core.configuration
        found = {member.node_id: member for member in configuration if not member.leaving}
        for each in lost:
            member = found.get(each.node_id)
            if member is None or member.store == each.disk.store:
                return []
            role = self.rng.choice((MemberRole.LEARNER, member.role))
            found[each.node_id] = Member(each.node_id, role=role, store=each.disk.store)
        return [found[node] for node in sorted(found)] if lost else []

    def may_lose_its_disk(self, server: Server) -> bool:
        """One at a time, and only where the others are enough to decide and to know everything."""
        if any(each.disk.repairing for each in self.cluster.servers.values()):
            return False
        known = [each.core.configuration for each in self.cluster.servers.values()]
        halves = [half for configuration in known for half in configuration.quorum.halves if server.node_id in half]
        return all(len(half) >= 3 for half in halves)

    def crash_or_restart(self) -> None:
        cluster, rng = self.cluster, self.rng
        crashed = self.servers(alive=False)
        if crashed and (len(crashed) >= CRASHED_MAX or rng.random() < 0.6):
            server = rng.choice(crashed)
            if rng.random() < self.losing_disks and self.may_lose_its_disk(server):
                cluster.wipe(server.node_id)
                self.counts["disks lost"] += 1
            else:
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
            first, before = self.terms.get(node, (0, []))
            floor, now = log.floor.index, self.cluster.terms(node)
            kept = before[max(0, floor - first) :]
            if floor >= first and now[: len(kept)] != kept:
                self.counts["truncations"] += 1
            self.terms[node] = (floor, now)

    def heal(self) -> None:
        """All faults end; within a few election timeouts everything must work again."""
        cluster = self.cluster
        cluster.heal()
        for server in self.servers(alive=False):
            cluster.restart(server.node_id, applied=len(server.applied))
        for server in self.servers():
            server.slow_disk = server.slow_apply = False
            cluster.persist(server.node_id)
            cluster.finish_applying(server.node_id)
        for _ in range(HEAL_ROUNDS_MAX):
            cluster.run(100)
            (leader,) = cluster.leaders
            if not self.finish_repairs(cluster[leader]):
                break
        configuration = cluster.core(leader).configuration
        assert not configuration.is_joint
        index = cluster.propose(leader, b"last")
        tokens = {node: cluster.read(node) for node in configuration.ids}
        cluster.run(20)
        for node in configuration.ids:
            server = cluster[node]
            assert not server.core.repairing
            assert server.core.leader == leader
            assert server.core.configuration == configuration
            assert server.core.log.applied == server.core.log.last_index == index
            if node in configuration.witnesses:
                continue
            assert server.applied == cluster[leader].applied
            assert cluster.answer(node, tokens[node]) is not None
            assert server.core.replication is None or server.core.replication.uncommitted_bytes == 0
        self.count(configuration)

    def finish_repairs(self, leader: Server) -> bool:
        """Take in anew who lost its data; returns whether there was anything to do."""
        if leader.core.configuration.is_joint:
            return True
        if not any(node.core.repairing and node.node_id in leader.core.configuration for node in self.servers()):
            return False
        try:
            self.cluster.change(leader.node_id, self.readmitting(leader) or list(leader.core.configuration))
        except NotApplied:
            pass
        return True

    def count(self, configuration: Configuration) -> None:
        cluster = self.cluster
        self.counts["elections"] += len(cluster.invariants.leaders)
        self.counts["committed"] += cluster.invariants.commit_max
        self.counts["snapshots"] += cluster.installed
        self.counts["repairs"] += cluster.repaired
        for server in self.servers():
            self.counts["reads"] += sum(index is not None for index in server.read_answers.values())
