from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from quorate.errors import ConfigError
from quorate.tasks.daemon import ClusterManager, ConsensusManager, Daemon, DaemonState, RunningOperation
from quorate.tasks.daemon.daemon import DRAIN_SECONDS
from quorate.tasks.handles import TaskNotDone
from tests.tasks.daemon.support import Cluster, Handlers, operation

ONE = {"replication_factor": 1}


async def double(operation: RunningOperation) -> int:
    return 2 * int(operation.payload)


async def test_d47_a_local_operation_needs_no_cluster() -> None:
    daemon = Daemon(daemon_id="d", node_id=1)
    daemon.handle("double", double)
    with pytest.raises(ConfigError, match="stopped"):
        await daemon.execute("double", 4)
    await daemon.start()
    assert daemon.get_health().state is DaemonState.STARTED
    assert await daemon.execute("double", 4) == 8
    with pytest.raises(ValueError, match="invalid literal"):
        await daemon.execute("double", "x")
    with pytest.raises(ConfigError, match="no handler"):
        await daemon.execute("triple", 4)
    assert daemon.active_count == 0
    assert await daemon.stop()
    assert daemon.get_health().state is DaemonState.STOPPED


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"daemon_id": ""}, "daemon_id"),
        ({"daemon_id": "a b"}, "daemon_id"),
        ({"queue": "a/b"}, "queue"),
        ({"capabilities": ["a b"]}, "capabilities"),
        ({"capabilities": [f"c{number}" for number in range(17)]}, "at most"),
    ],
)
def test_what_makes_no_sense_of_a_daemon_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Daemon(**{"daemon_id": "d", "node_id": 1, **given})


def test_handlers_that_make_no_sense_are_refused() -> None:
    daemon = Daemon(daemon_id="d", node_id=1)
    daemon.handle("double", double)
    for name, newest, oldest in [("double", 1, 1), ("a/b", 1, 1), ("c", 1, 2), ("d", 0, 0)]:
        with pytest.raises(ConfigError):
            daemon.handle(name, double, schema_version=newest, oldest_version=oldest)


async def test_daemon_node_and_managers_have_to_fit() -> None:
    async with Cluster(1, settings=ONE) as cluster:
        node = cluster.members[1].node
        with pytest.raises(ConfigError, match="cannot work together"):
            ConsensusManager(Daemon(daemon_id="d", node_id=2), node, ClusterManager(node_id=1))
        with pytest.raises(ConfigError, match="cluster"):
            await Daemon(daemon_id="d", node_id=1, cluster_id="other").attach(node)
        with pytest.raises(ConfigError, match="of node 2"):
            await Daemon(daemon_id="d", node_id=2).attach(node)
        with pytest.raises(ConfigError, match="not initialized"):
            await ConsensusManager(Daemon(daemon_id="d", node_id=1), node, ClusterManager(node_id=1)).initialize()
        with pytest.raises(ConfigError, match="before the daemon has a node"):
            cluster.members[1].daemon.handle("late", double)


async def test_d21_d22_health_counts_what_is_active_queued_and_done() -> None:
    release = asyncio.Event()

    def handlers(node_id: int) -> Handlers:
        async def hold(operation: RunningOperation) -> None:
            await release.wait()

        def bad(operation: RunningOperation) -> None:
            raise RuntimeError("bad")

        return {"hold": hold, "bad": bad}

    async with Cluster(1, handlers, settings=ONE, daemon_options={"concurrency": 2}) as cluster:
        member = await cluster.leader()
        for number in range(7):
            await member.consensus.replicate_operation(operation("hold", id=f"h{number}"))
        await member.consensus.replicate_operation(operation("bad", id="bad", max_retries=0))
        await cluster.until(lambda: member.daemon.get_health().active_operations == 2)
        health = member.daemon.get_health()
        assert (health.state, health.completed_operations) == (DaemonState.RUNNING, 0)
        assert 1 <= health.queued_operations <= 6
        assert health.success_rate == 1.0
        release.set()
        await cluster.until(lambda: member.daemon.get_health().completed_operations == 7)
        with pytest.raises(TaskNotDone, match="bad"):
            await cluster.result("bad")
        health = member.daemon.get_health()
        assert (health.active_operations, health.queued_operations, health.failed_operations) == (0, 0, 1)
        assert health.success_rate == 7 / 8
        assert health.uptime_seconds > 0
        metrics = member.consensus.metrics()
        assert metrics["consensus_operations_committed"] == 8
        assert metrics["daemon_completed_operations"] == 7


async def test_handlers_that_block_run_beside_the_loop() -> None:
    def handlers(node_id: int) -> Handlers:
        def where(operation: RunningOperation) -> str:
            return threading.current_thread().name

        return {"where": where}

    async with Cluster(1, handlers, settings=ONE) as cluster:
        asked = operation("where")
        await cluster.members[1].consensus.replicate_operation(asked)
        task = await cluster.result(asked.id)
        assert threading.current_thread().name.encode() not in bytes(task.result or b"")


@pytest.mark.parametrize(("seconds", "drained"), [(30.0, True), (0.1, False)])
async def test_d44_a_daemon_that_stops_ends_what_it_does_in_bounded_time(seconds: float, drained: bool) -> None:
    assert DRAIN_SECONDS == 30.0
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def handlers(node_id: int) -> Handlers:
        async def slow(operation: RunningOperation) -> None:
            begun.set()
            await go_on.wait()
            ended.set()

        return {"slow": slow}

    async with Cluster(1, handlers, settings=ONE, daemon_options={"drain_seconds": seconds}) as cluster:
        member = cluster.members[1]
        asked, late = operation("slow"), operation("slow")
        await member.consensus.replicate_operation(asked)
        await begun.wait()
        stopping = asyncio.create_task(member.daemon.stop())
        await cluster.until(lambda: member.daemon.get_health().state is not DaemonState.RUNNING)
        await member.consensus.replicate_operation(late)
        if drained:
            go_on.set()
        assert await stopping is drained
        assert ended.is_set() is drained
        task = await member.node.tasks.task(asked.id)
        assert task.status == ("succeeded" if drained else "ready") or (not drained and task.status == "failed")
        assert (await member.node.tasks.task(late.id)).status == "ready"
        assert await member.daemon.stop(), "again is nothing"


async def test_a_daemon_that_was_drained_can_go_on() -> None:
    async with Cluster(1, settings=ONE) as cluster:
        member = await cluster.leader()
        assert await member.daemon.drain()
        assert not member.daemon.is_running
        asked = operation()
        await member.consensus.replicate_operation(asked)
        with pytest.raises(TimeoutError):
            await cluster.result(asked.id, timeout=0.2)
        member.daemon.resume()
        await cluster.result(asked.id)


async def test_d101_a_handler_that_says_it_is_ill_gets_nothing_and_others_do() -> None:
    ill = {1}
    by: list[int] = []

    def handlers(node_id: int) -> Handlers:
        return {}

    async with Cluster(2, handlers, settings={"replication_factor": 2}) as cluster:
        for node_id, member in cluster.members.items():

            async def work(operation: RunningOperation, node_id: int = node_id) -> None:
                by.append(node_id)

            await member.daemon.stop()
            again = Daemon(daemon_id=f"checked-{node_id}", node_id=node_id, lease="1s")
            again.handle("work", work, health=lambda node_id=node_id: "no disk" if node_id in ill else None)
            await again.attach(member.node)
            member.daemon = member.consensus.daemon = again
        leader = await cluster.leader()
        asked = [operation("work") for _ in range(10)]
        for each in asked:
            await leader.consensus.replicate_operation(each)
        for each in asked:
            await cluster.result(each.id)
        assert set(by) == {2}
        assert "no disk" in cluster.members[1].daemon.get_health().complaints
        await cluster.until(lambda: "no disk" in "".join(leader.cluster.nodes[1].reasons))


async def test_versions_that_a_handler_has_given_up_are_rejected() -> None:
    async with Cluster(1, settings=ONE, handler_options={"schema_version": 3, "oldest_version": 2}) as cluster:
        member = await cluster.leader()
        for version, status in [(1, "dead"), (2, "succeeded"), (3, "succeeded")]:
            asked = operation(schema_version=version)
            await member.consensus.replicate_operation(asked)
            task = await member.node.tasks.wait(asked.id, 10)
            assert task.status == status
