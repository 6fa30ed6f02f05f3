from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from quorate.errors import ConfigError, OutcomeUnknown, ProposalTooLarge
from quorate.tasks.daemon import (
    ConsensusSettings,
    LogCompacted,
    Operation,
    OperationChanged,
    OperationState,
    ReadOnlyCluster,
    RunningOperation,
)
from quorate.tasks.daemon.replicating import may_retry
from quorate.tasks.errors import IdTaken, InvalidTask, NoSuchTask, QueueFull
from quorate.tasks.handles import TaskNotDone
from quorate.tasks.limits import PAYLOAD_BYTES_MAX
from tests.tasks.daemon.support import Cluster, Handlers, Member, operation

P, R, C, F = OperationState.PENDING, OperationState.REPLICATED, OperationState.COMMITTED, OperationState.FAILED


def states(member: Member, operation_id: str) -> list[OperationState]:
    return [event.state for event in member.events(OperationChanged) if event.operation_id == operation_id]


async def test_d23_d24_an_operation_is_replicated_committed_and_done() -> None:
    async with Cluster() as cluster:
        member = await cluster.follower()
        asked = operation(payload={"n": [1, 2]}, timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        result = await member.consensus.replicate_operation(asked)
        assert (result.operation_id, result.replicated, result.committed) == (asked.id, True, True)
        assert result.term == member.node.status.term
        assert 0 < result.log_index <= member.node.status.applied_index
        assert not result.duplicate
        for each in cluster.members.values():
            task = await cluster.result(asked.id, each)
            assert bytes(task.result or b"").endswith(b'"payload":{"n":[1,2]}}')
        await cluster.until(lambda: states(member, asked.id) == [P, R, C])
        assert await member.consensus.operation_state(asked.id) is C
        assert await member.consensus.operation_state("nobody") is None
        with pytest.raises(NoSuchTask):
            await member.consensus.result("nobody")


async def test_d28_an_id_stands_for_one_operation_on_any_node_and_behind_a_restart() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        asked = Operation(id="once", type="echo", payload={"n": 1}, placement="round_robin")  # type: ignore[arg-type]
        everyone = list(cluster.members.values())
        results = await asyncio.gather(
            *(member.consensus.replicate_operation(asked) for member in everyone for _ in range(5))
        )
        assert sum(not result.duplicate for result in results) == 1
        await cluster.result("once")
        await cluster.kill(leader.node.node_id)
        again = await (await cluster.leader()).consensus.replicate_operation(asked)
        assert (again.duplicate, again.status, again.committed) == (True, "succeeded", True)
        restarted = await cluster.restart(leader.node.node_id)
        assert (await restarted.consensus.replicate_operation(asked)).duplicate
        assert cluster.done["once"] == 1
        with pytest.raises(IdTaken):
            await restarted.consensus.replicate_operation(Operation(id="once", type="echo", payload={"n": 2}))
        await cluster.until(lambda: states(restarted, "once") == [P, R, C, P, R, F])


async def test_operations_of_many_callers_travel_together_and_one_that_is_refused_costs_the_others_nothing() -> None:
    async with Cluster() as cluster:
        consensus = (await cluster.leader()).consensus
        many = [operation() for _ in range(20)]
        results = await asyncio.gather(*(consensus.replicate_operation(each) for each in many))
        assert [result.operation_id for result in results] == [each.id for each in many]
        assert len({result.log_index for result in results}) == 1
        taken = Operation(id=many[0].id, type="echo", payload={"other": True})
        others = [operation() for _ in range(3)]
        refused, *results = await asyncio.gather(  # type: ignore[assignment]
            *(consensus.replicate_operation(each) for each in (taken, *others)), return_exceptions=True
        )
        assert isinstance(refused, IdTaken)
        assert [result.committed for result in results] == [True] * 3


async def test_d8_what_failed_may_be_tried_again_and_says_so() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        member = await cluster.follower()
        await leader.node.tasks.configure("operations", pending_max=0)
        with pytest.raises(QueueFull):
            await member.consensus.replicate_operation(operation(id="later"))
        await leader.node.tasks.configure("operations", pending_max=10)
        await member.consensus.replicate_operation(operation(id="later"))
        await cluster.until(lambda: states(member, "later") == [P, R, F, P, R, C])
        (failed,) = [event for event in member.events(OperationChanged) if event.state is F]
        assert failed.is_retryable
        assert "full" in failed.error
        with pytest.raises(InvalidTask, match="payload"):
            await member.consensus.replicate_operation(operation(id="big", payload="x" * PAYLOAD_BYTES_MAX))
        assert await member.consensus.operation_state("big") is None


async def test_an_unknown_outcome_is_called_unknown_and_learned_later() -> None:
    async with Cluster(settings={"partition_detection_ms": 5_000}) as cluster:
        leader = await cluster.leader()
        cluster.net.partition_network([leader.node.node_id])
        asked = operation()
        with pytest.raises(OutcomeUnknown):
            await leader.consensus.replicate_operation(asked, timeout=0.2)
        await cluster.until(lambda: states(leader, asked.id) == [P, F])
        assert await leader.consensus.operation_state(asked.id) is F
        cluster.net.heal()
        other = next(member for member in cluster.members.values() if member is not leader)
        await other.consensus.replicate_operation(asked)

        async def learned() -> bool:
            return await leader.consensus.operation_state(asked.id) is C

        await cluster.net.wait_until(learned)
        await cluster.until(lambda: states(leader, asked.id) == [P, F, C])
        await cluster.result(asked.id)
        assert cluster.done[asked.id] == 1


async def test_d66_an_operation_that_nobody_begins_in_time_is_dead() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        asked = operation(capabilities=("gpu",), ttl="200ms")
        await leader.consensus.replicate_operation(asked)
        with pytest.raises(TaskNotDone, match="expired"):
            await leader.consensus.result(asked.id)
        assert cluster.done[asked.id] == 0
        waiting = operation(capabilities=("gpu",))
        await leader.consensus.replicate_operation(waiting)
        with pytest.raises(TimeoutError):
            await leader.consensus.result(waiting.id, timeout=0.05)


async def test_d26_operations_are_begun_in_the_order_of_the_log() -> None:
    order: list[Any] = []

    def handlers(node_id: int) -> Handlers:
        async def note(operation: RunningOperation) -> None:
            order.append(operation.payload)

        return {"note": note}

    async with Cluster(1, handlers, daemon_options={"concurrency": 1}, settings={"replication_factor": 1}) as cluster:
        leader = await cluster.leader()
        for number in range(30):
            await leader.consensus.replicate_operation(operation("note", number))
        await cluster.until(lambda: len(order) == 30)
        assert order == list(range(30))


async def test_d6_d35_the_log_is_cut_and_that_is_told() -> None:
    settings = ConsensusSettings(log_compaction_threshold=40, max_log_size=50, partition_detection_ms=400)
    async with Cluster(
        node_settings=settings.raft_settings(), settings={"max_log_size": 50, "log_compaction_threshold": 40}
    ) as cluster:
        leader = await cluster.leader()
        for _ in range(4):
            await asyncio.gather(*(leader.consensus.replicate_operation(operation()) for _ in range(50)))
            await asyncio.sleep(0)
        for number in range(100):
            await leader.consensus.replicate_operation(operation(payload=number))
        await cluster.until(lambda: leader.events(LogCompacted))
        removed = sum(event.entries_removed for event in leader.events(LogCompacted))
        assert removed == leader.events(LogCompacted)[-1].index
        await cluster.until(lambda: leader.consensus.get_consensus_state().log_size <= 2 * settings.max_log_size)
        assert leader.consensus.get_consensus_state().warnings == ()


async def test_the_parts_of_a_manager_belong_together() -> None:
    async with Cluster(1, settings={"replication_factor": 1}) as cluster:
        member = cluster.members[1]
        with pytest.raises(ConfigError, match="initialized once"):
            await member.consensus.initialize()
        with pytest.raises(ConfigError, match="initialized once"):
            await member.cluster.initialize(member.node)
        with pytest.raises(ConfigError, match="has a node already"):
            await member.daemon.attach(member.node)
        assert member.consensus.get_consensus_state().warnings == ()


async def test_what_never_fits_is_not_worth_another_try() -> None:
    assert not may_retry(ProposalTooLarge("x"))
    assert may_retry(ReadOnlyCluster("x"))
    assert not may_retry(IdTaken("x"))
