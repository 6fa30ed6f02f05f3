"""Where operations are carried out, and what becomes of those whose place is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from quorate.tasks.daemon import Placement, RunningOperation, Scope
from quorate.tasks.daemon.placement import placed_capability
from quorate.tasks.handles import TaskNotDone
from tests.tasks.daemon.support import Cluster, Handlers, operation


async def test_local_operations_stay_and_the_leader_s_go_to_the_leader() -> None:
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        for member in cluster.members.values():
            here, there = operation(scope=Scope.LOCAL), operation(scope=Scope.LEADER)
            await member.consensus.replicate_operation(here)
            await member.consensus.replicate_operation(there)
            await cluster.result(here.id)
            await cluster.result(there.id)
            assert cluster.by[here.id] == member.node.node_id
            assert cluster.by[there.id] == (await cluster.leader()).node.node_id


async def test_what_the_leader_does_follows_the_leadership_at_once() -> None:
    """Also to daemons that were waiting for something else to do when they came to lead."""
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        for _ in range(3):
            leader = await cluster.leader()
            await leader.node.members.transfer()
            await cluster.net.wait_until(lambda old=leader: cluster.net.leader not in (None, old.node))  # type: ignore[misc]
            asked = operation(scope=Scope.LEADER)
            await leader.consensus.replicate_operation(asked)
            await cluster.result(asked.id, timeout=5)
            assert cluster.by[asked.id] != leader.node.node_id


@pytest.mark.parametrize("placement", [Placement.ROUND_ROBIN, Placement.LEAST_LOADED, Placement.HASH])
async def test_placements_spread_operations(placement: Placement) -> None:
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        member = await cluster.follower()
        await asyncio.sleep(0.3)  # what is known of the daemons may be so old
        asked = [operation(placement=placement, key=str(number)) for number in range(30)]
        for each in asked:
            await member.consensus.replicate_operation(each)
        for each in asked:
            await cluster.result(each.id)
        counts = Counter(cluster.by[each.id] for each in asked)
        if placement is Placement.ROUND_ROBIN:
            assert counts == {1: 10, 2: 10, 3: 10}
        elif placement is Placement.HASH:
            assert len(counts) == 3
            again = [operation(placement=placement, key=each.key) for each in asked]
            other = await cluster.leader()
            for each in again:
                await other.consensus.replicate_operation(each)
                await cluster.result(each.id)
            assert [cluster.by[each.id] for each in again] == [cluster.by[each.id] for each in asked]
        assert all(cluster.done[each.id] == 1 for each in asked)


async def test_least_loaded_goes_where_there_is_least_to_do() -> None:
    release = asyncio.Event()
    by: dict[str, int] = {}

    def handlers(node_id: int) -> Handlers:
        async def hold(operation: RunningOperation) -> None:
            by[operation.id] = node_id
            await release.wait()

        return {"hold": hold}

    async with Cluster(3, handlers, daemon_options={"concurrency": 1}) as cluster:
        await cluster.all_enlisted()
        member = await cluster.leader()
        await asyncio.sleep(0.3)
        asked = [operation("hold", placement=Placement.LEAST_LOADED) for _ in range(6)]
        for each in asked[:3]:
            await member.consensus.replicate_operation(each)
        await cluster.until(lambda: len(by) == 3)
        assert set(by.values()) == {1, 2, 3}
        for each in asked[3:]:
            await member.consensus.replicate_operation(each)
        needs = member.node.tasks.needs()
        assert [needs.get(placed_capability(node_id)) for node_id in (1, 2, 3)] == [1, 1, 1]
        release.set()
        for each in asked:
            await cluster.result(each.id)


async def test_operations_go_to_those_with_the_capabilities() -> None:
    async with Cluster(2, settings={"replication_factor": 2}) as cluster:
        joined = await cluster.net.join()
        leader = await cluster.leader()
        await leader.cluster.add_node(
            node_id=3, host="node3", port=int(joined.config.address.rpartition(":")[2]), capabilities=["task-execution"]
        )
        assert leader.cluster.nodes[3].capabilities == ("task-execution",), "as it was added"
        third = await cluster.equip(joined, capabilities=["gpu", "task-execution"])
        await cluster.all_enlisted()
        await cluster.until(lambda: leader.cluster.nodes[3].capabilities == ("gpu", "task-execution"))
        for placement in Placement:
            asked = operation(capabilities=("gpu",), placement=placement)
            await leader.consensus.replicate_operation(asked)
            await cluster.result(asked.id)
            assert cluster.by[asked.id] == third.node.node_id


@pytest.mark.parametrize("is_leader", [False, True], ids=["a follower", "the leader"])
async def test_operations_placed_with_a_node_that_dies_are_done_by_others(is_leader: bool) -> None:
    """None is lost, and none that waited is run twice."""
    release = asyncio.Event()
    runs: Counter[tuple[str, int]] = Counter()

    def handlers(node_id: int) -> Handlers:
        async def work(operation: RunningOperation) -> None:
            runs[operation.id, node_id] += 1
            await release.wait()

        return {"work": work}

    # A machine that is busy with other things must not cost the living their leases.
    async with Cluster(3, handlers, daemon_options={"concurrency": 1, "lease": "3s"}) as cluster:
        await cluster.all_enlisted()
        victim = await (cluster.leader() if is_leader else cluster.follower())
        asker = next(member for member in cluster.members.values() if member is not victim)
        await asyncio.sleep(0.3)
        place = placed_capability(victim.node.node_id)
        asked = [operation("work", placement=Placement.ROUND_ROBIN) for _ in range(12)]
        for each in asked:
            await asker.consensus.replicate_operation(each)
        await cluster.until(lambda: victim.daemon.active_count == 1)
        local = operation("work", scope=Scope.LOCAL)
        await victim.consensus.replicate_operation(local)
        assert asker.node.tasks.needs()[place] >= 2
        await cluster.kill(victim.node.node_id)
        await cluster.until(lambda: place not in asker.node.tasks.needs(), what="placed anew")
        release.set()
        for each in asked:
            await cluster.result(each.id, asker)
        by_victim = [task for task, node_id in runs if node_id == victim.node.node_id]
        for each in asked:
            times = sum(count for (task, _), count in runs.items() if task == each.id)
            assert times == (2 if each.id in by_victim else 1)
        with pytest.raises(TimeoutError):
            await cluster.result(local.id, asker, timeout=0.1)  # it is for that node, and waits
        await cluster.restart(victim.node.node_id)
        await cluster.result(local.id)


async def test_operations_placed_with_a_daemon_that_goes_are_done_by_others() -> None:
    async with Cluster(daemon_options={"concurrency": 1}) as cluster:
        await cluster.all_enlisted()
        victim = await cluster.follower()
        asker = await cluster.leader()
        await asyncio.sleep(0.3)
        await victim.daemon.drain()
        asked = [operation(placement=Placement.ROUND_ROBIN) for _ in range(9)]
        for each in asked:
            await asker.consensus.replicate_operation(each)
        assert await victim.daemon.stop()
        for each in asked:
            await cluster.result(each.id)
        assert victim.node.node_id not in {cluster.by[each.id] for each in asked}
        assert all(cluster.done[each.id] == 1 for each in asked)


async def test_d96_new_versions_wait_for_daemons_that_know_them() -> None:
    seen: list[tuple[str, int, int]] = []

    def handlers(node_id: int) -> Handlers:
        return {}

    async with Cluster(3, handlers) as cluster:

        def note(node_id: int) -> Any:
            async def run(operation: RunningOperation) -> None:
                seen.append((operation.id, operation.schema_version, node_id))

            return run

        leader = await cluster.leader()
        for node_id in (1, 2, 3):
            member = cluster.members[node_id]
            await member.daemon.stop()
            again = type(member.daemon)(daemon_id=f"versioned-{node_id}", node_id=node_id, lease="1s")
            again.handle("import", note(node_id), schema_version=2 if node_id == 3 else 1)
            await again.attach(member.node)
            member.daemon = member.consensus.daemon = again
        asked = [operation("import", schema_version=version) for version in (1, 2) * 6]
        for each in asked:
            await leader.consensus.replicate_operation(each)
        for each in asked:
            await cluster.result(each.id)
        assert {node_id for _, version, node_id in seen if version == 2} == {3}
        assert len(seen) == 12
        unknown = operation("import", schema_version=3, ttl="100ms")
        await leader.consensus.replicate_operation(unknown)
        with pytest.raises(TaskNotDone, match="expired"):
            await cluster.result(unknown.id)
