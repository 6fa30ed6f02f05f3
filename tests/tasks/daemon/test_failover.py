"""Leaders die while operations run: none is lost, and none done twice where that is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter

from quorate.effects import AppEffects
from quorate.errors import NotApplied, OutcomeUnknown
from quorate.tasks.daemon import Operation, Placement, RunningOperation, Scope
from tests.tasks.daemon.support import Cluster, Handlers

OPERATIONS = 120


async def hand_over(cluster: Cluster, asked: Operation) -> None:
    """As a careful client does it: with the same id, at any node, until it is certain."""
    while True:
        for member in list(cluster.members.values()):
            try:
                await member.consensus.replicate_operation(asked, timeout=1)
                return
            except (NotApplied, OutcomeUnknown):
                await asyncio.sleep(0.02)


async def test_d36_d37_no_operation_is_lost_when_leaders_die() -> None:
    runs: Counter[str] = Counter()
    finished: Counter[str] = Counter()

    def handlers(node_id: int) -> Handlers:
        async def work(operation: RunningOperation) -> int:
            runs[operation.id] += 1
            await asyncio.sleep(0.02)
            finished[operation.id] += 1
            return node_id

        return {"work": work}

    async with Cluster(3, handlers) as cluster:
        await cluster.all_enlisted()
        ways = [(Scope.GLOBAL, placement) for placement in Placement] + [(Scope.LEADER, Placement.FIRST_FREE)]
        asked = [
            Operation(id=f"work-{number}", type="work", scope=scope, placement=placement, max_retries=20)
            for number, (scope, placement) in zip(range(OPERATIONS), ways * OPERATIONS, strict=False)
        ]
        begun = 0

        async def client(mine: list[Operation]) -> None:
            nonlocal begun
            for each in mine:
                await hand_over(cluster, each)
                begun += 1

        clients = [asyncio.create_task(client(asked[number::8])) for number in range(8)]
        for part in (1, 2):
            await cluster.until(lambda part=part: begun >= part * OPERATIONS // 4, timeout=30)  # type: ignore[misc]
            victim = (await cluster.leader()).node.node_id
            await cluster.kill(victim)
            await cluster.leader()
            await cluster.restart(victim)
        await asyncio.wait_for(asyncio.gather(*clients), 30)
        for each in asked:
            task = await cluster.result(each.id, timeout=30)
            assert task.status == "succeeded"
        assert set(finished) == {each.id for each in asked}
        more = sum(runs.values()) - OPERATIONS
        assert more <= 2 * 3 * 8, "only what dead daemons were doing is done again"


async def test_d29_effects_come_about_once_however_often_an_operation_is_begun() -> None:
    """Daemons die behind their work and before its end is in the log: others do it again, and it counts once."""
    runs: Counter[str] = Counter()

    def handlers(node_id: int) -> Handlers:
        async def add(operation: RunningOperation) -> None:
            runs[operation.id] += 1
            operation.effects.key("INCRBY", "total", 1)
            operation.effects.key("INCRBY", operation.id, 1)
            await asyncio.sleep(0.05)

        return {"add": add}

    async with Cluster(
        3,
        handlers,
        kv=True,
        daemon_options={"effects": AppEffects(None, keys=True)},
        handler_options={"exactly_once": True},
    ) as cluster:
        await cluster.all_enlisted()
        asked = [Operation(id=f"add-{number}", type="add", max_retries=20) for number in range(60)]
        handing = asyncio.create_task(_hand_over_all(cluster, asked))
        for part in (1, 2):
            await cluster.until(lambda part=part: len(runs) >= part * len(asked) // 3, timeout=30)  # type: ignore[misc]
            busy = max(cluster.members.values(), key=lambda member: member.daemon.active_count)
            await cluster.kill(busy.node.node_id)
            await cluster.leader()
            await cluster.restart(busy.node.node_id)
        await asyncio.wait_for(handing, 30)
        for each in asked:
            await cluster.result(each.id, timeout=30)
        keys = (await cluster.leader()).node.kv
        assert sum(runs.values()) > len(asked), "some were begun more than once"
        assert [await keys.get(each.id) for each in asked] == [b"1"] * len(asked)
        assert await keys.get("total") == str(len(asked)).encode()


async def _hand_over_all(cluster: Cluster, asked: list[Operation]) -> None:
    for each in asked:
        await hand_over(cluster, each)
