"""Random schedules: anything may be lost, repeated, reordered, delayed or crash; every step keeps the invariants.

Members come and go, logs are cut, leaders hand over, disks are lost. Afterwards the cluster is healed and must come to
life: one leader, everything committed, every machine the same. A seed that fails is replayed by running the test with
that seed alone.
"""

from __future__ import annotations

from collections import Counter

import pytest

from quorate.raft.messages import AppendEntriesReply, Heartbeat
from quorate.raft.roles import Role
from tests.raft.chaos import Chaos
from tests.raft.harness import Cluster

STEPS = 5000


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
        "changes": 30,
        "compactions": 100,
        "snapshots": 20,
        "transfers": 10,
        "disks lost": 2,
        "repairs": 1,
        "committed": 25 * SEEDS_PER_BATCH,
        "proposals": 20 * SEEDS_PER_BATCH,
        "reads": 12 * SEEDS_PER_BATCH,
        "truncations": 3,
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
