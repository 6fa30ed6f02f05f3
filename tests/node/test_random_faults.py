"""Clients add to a tally, through any node and with retries, while nodes crash and networks part.

Afterwards every acknowledged request is in the tally, none is in it twice, none is in it that nobody made, and all
nodes hold the same, in the same order, with the same times.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from quorate import ApplyContext, NotApplied, OutcomeUnknown, ReadUnavailable, StateMachine
from quorate.testing import TestCluster


class Tally(StateMachine):
    """Every command ever applied, in order."""

    def __init__(self) -> None:
        self.applied: list[tuple[bytes, int]] = []

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.applied.append((command, context.time_us))
        return len(self.applied)

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        raise AssertionError("nothing restores a state here")


class Clients:
    """A few clients; each waits for one answer before it asks for the next thing."""

    def __init__(self, cluster: TestCluster, rng: Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self.acknowledged: list[bytes] = []
        self.attempted: set[bytes] = set()
        self.reads = 0
        self.unknown = 0
        self.finished = False

    async def run(self, name: int) -> None:
        number = 0
        while not self.finished:
            number += 1
            await self._increment(b"%d.%d" % (name, number))
            await self._read()

    async def _increment(self, command: bytes) -> None:
        """Until it is acknowledged: an unknown outcome is no reason to let go, as retries are safe."""
        self.attempted.add(command)
        while True:
            nodes = self._cluster.nodes
            if nodes:
                try:
                    node = self._rng.choice(nodes)
                    await node.propose(command, request_id=command.decode(), timeout=0.3)
                except OutcomeUnknown:
                    self.unknown += 1
                except NotApplied:
                    pass
                else:
                    self.acknowledged.append(command)
                    return
            if self.finished:
                return
            await asyncio.sleep(0.005)

    async def _read(self) -> None:
        known = len(self.acknowledged)
        try:
            for node in self._rng.sample(self._cluster.nodes, k=min(1, len(self._cluster.nodes))):
                assert await node.read(lambda tally: len(tally.applied), timeout=0.3) >= known, "a stale read"
                self.reads += 1
        except ReadUnavailable:
            pass


async def make_trouble(cluster: TestCluster, rng: Random, fault: str) -> None:
    running = [node.node_id for node in cluster.nodes]
    leader = cluster.leader.node_id if cluster.leader else rng.choice(running)
    match fault:
        case "crash the leader":
            await cluster.crash(leader)
        case "crash any":
            await cluster.crash(rng.choice(running))
        case "kill the leader":
            await cluster.kill(leader)
        case "crash all":
            await cluster.crash()
        case "part the leader":
            cluster.partition_network([leader])
        case "part everyone":
            cluster.partition_network(*([node_id] for node_id in running))
        case "mute the leader":
            for other in running:
                cluster.network.cut(leader, other)
        case "deafen the leader":
            for other in running:
                cluster.network.cut(other, leader)
        case "lose messages":
            cluster.network.drop_probability = 0.2


async def repair(cluster: TestCluster) -> None:
    cluster.heal()
    cluster.network.drop_probability = 0.0
    running = {node.node_id for node in cluster.nodes}
    await asyncio.gather(*(cluster.start(node_id) for node_id in {1, 2, 3} - running))


FAULTS = (
    "crash the leader", "crash any", "kill the leader", "crash all", "part the leader", "part everyone",
    "mute the leader", "deafen the leader", "lose messages",
)  # fmt: skip
NO_QUORUM = ("crash all", "part everyone")


@pytest.mark.parametrize("seed", [1, 2])
async def test_acknowledged_requests_are_applied_exactly_once(seed: int) -> None:
    rng = Random(seed)
    async with TestCluster(3, machine=Tally, seed=seed) as cluster:
        await cluster.wait_for_leader()
        clients = Clients(cluster, rng)
        running = [asyncio.create_task(clients.run(name)) for name in range(4)]
        for fault in rng.sample(FAULTS, k=len(FAULTS)):
            progress = len(clients.acknowledged)
            await cluster.wait_until(lambda progress=progress: len(clients.acknowledged) >= progress + 10)
            await make_trouble(cluster, rng, fault)
            if fault not in NO_QUORUM:
                progress = len(clients.acknowledged)
                await cluster.wait_until(lambda progress=progress: len(clients.acknowledged) >= progress + 10)
            await repair(cluster)
        await cluster.wait_for_leader()
        clients.finished = True
        await asyncio.gather(*running)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()

        tallies = [node.machine.applied for node in cluster.nodes]
        assert len(tallies) == 3
        assert tallies[0] == tallies[1] == tallies[2]
        applied = [command for command, _ in tallies[0]]
        assert len(applied) == len(set(applied)), "applied twice"
        assert set(clients.acknowledged) <= set(applied), "lost"
        assert set(applied) <= clients.attempted, "invented"
        times = [time for _, time in tallies[0]]
        assert times == sorted(times)
        assert clients.reads > 0
        assert len(clients.acknowledged) > 100
