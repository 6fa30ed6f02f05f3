"""What a node does for those who submit tasks, and for those who do them: on real nodes, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from quorate import Node
from quorate.errors import NotApplied
from quorate.tasks import reading
from quorate.tasks.broker import Broker
from quorate.tasks.commands import Claim, Completed, Enlist, Failed, Heartbeat, Released, Report
from quorate.tasks.errors import (
    IdTaken,
    InvalidTask,
    NoSuchQueue,
    NoSuchTask,
    QueueFull,
    QueueInUse,
    StaleToken,
    WrongState,
)
from quorate.tasks.lifecycle import State
from quorate.tasks.reading import PAGE_BYTES_MAX, TaskFilter
from quorate.tasks.records import Dependency, LeasedTask
from quorate.tasks.submission import TaskRequest
from quorate.testing import TestCluster

NO_WAIT, SOON = 0.0, 20.0


def request(kind: str = "send", **more: object) -> TaskRequest:
    return TaskRequest(type=kind, payload=msgspec.Raw(b'{"n":1}'), **more)  # type: ignore[arg-type]


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, tasks=True) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
def broker(cluster: TestCluster) -> Broker:
    return cluster.node(1).tasks


async def claim(broker: Broker, worker: str = "w", limit: int = 1, wait: float = SOON) -> list[LeasedTask]:
    return await broker.claim(Claim(worker, limit), wait)


def done(lease: LeasedTask, result: bytes = b"7") -> Report:
    return Report([Completed(lease.task_id, lease.token, result)])


async def test_a_task_submitted_to_one_node_is_done_at_another_and_its_result_read_on_the_third(
    cluster: TestCluster,
) -> None:
    first, second, third = (cluster.node(node_id).tasks for node_id in (1, 2, 3))
    submitted = await first.submit(request(id="a"))
    assert (submitted.task_id, submitted.status, submitted.duplicate) == ("a", "ready", False)
    (lease,) = await claim(second)
    assert (lease.task_id, lease.token, lease.attempt, bytes(lease.payload)) == ("a", 1, 1, b'{"n":1}')
    assert (await third.task("a")).status == "running"
    waiting = asyncio.ensure_future(third.wait("a", SOON))
    assert await second.report(done(lease)) == ["succeeded"]
    task = await waiting
    assert (task.status, task.attempt, bytes(task.result or b"")) == ("succeeded", 1, b"7")


async def test_an_id_is_one_task_however_often_it_is_submitted(cluster: TestCluster) -> None:
    answers = await asyncio.gather(*(cluster.node(1 + n % 3).tasks.submit(request(id="a")) for n in range(9)))
    assert sorted(answer.duplicate for answer in answers) == [False] + 8 * [True]
    assert (await cluster.node(1).tasks.stats()).pending == 1
    with pytest.raises(IdTaken):
        await cluster.node(2).tasks.submit(request("another", id="a"))


async def test_who_waits_for_tasks_gets_them_as_they_come_and_each_goes_to_one(cluster: TestCluster) -> None:
    workers = [
        asyncio.ensure_future(claim(cluster.node(1 + n % 3).tasks, f"w{n}", limit=5, wait=1.0)) for n in range(12)
    ]
    await cluster.node(1).tasks.submit_many([request(id=f"t{n}") for n in range(40)])
    leases = [lease for leases in await asyncio.gather(*workers) for lease in leases]
    rest = await claim(cluster.node(2).tasks, limit=100, wait=1.0) if len(leases) < 40 else []
    assert sorted(lease.task_id for lease in leases + rest) == sorted(f"t{n}" for n in range(40))
    assert len({lease.token for lease in leases + rest}) == 40


async def test_who_finds_nothing_is_told_so_when_the_time_is_over(broker: Broker) -> None:
    assert await claim(broker, wait=NO_WAIT) == []
    await broker.submit(request(delay="1h"))
    assert await claim(broker, wait=0.2) == []
    await broker.submit(request(capabilities=["gpu"], id="g"))
    assert await claim(broker, wait=0.2) == []
    (lease,) = await broker.claim(Claim("w", 1, capabilities=("gpu", "disk")), SOON)
    assert lease.task_id == "g"


async def test_who_waits_is_served_when_the_claim_of_another_has_failed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = broker._dispatching._engine
    propose = engine.propose
    under_way, fails = asyncio.Event(), asyncio.Event()

    async def failing(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(engine, "propose", propose)
        under_way.set()
        await fails.wait()
        raise NotApplied("there is no leader")

    await broker.submit(request())
    monkeypatch.setattr(engine, "propose", failing)
    first = asyncio.ensure_future(claim(broker, "w1", wait=30.0))
    await under_way.wait()
    second = asyncio.ensure_future(claim(broker, "w2", wait=30.0))
    await asyncio.sleep(0)
    fails.set()
    with pytest.raises(NotApplied):
        await first
    async with asyncio.timeout(10):
        assert len(await second) == 1


async def test_a_claim_that_is_broken_off_gives_back_what_it_got(broker: Broker) -> None:
    for _ in range(20):
        claiming = asyncio.ensure_future(claim(broker, limit=3))
        await asyncio.sleep(0)
        await broker.submit_many([request() for _ in range(3)])
        claiming.cancel()
        await asyncio.wait([claiming])
    leases: list[LeasedTask] = []
    async with asyncio.timeout(SOON):
        while len(leases) < 60:
            leases += await claim(broker, limit=60, wait=1.0)
    assert {lease.attempt for lease in leases} == {1}


async def test_a_delayed_task_comes_when_it_is_due_and_a_failed_one_again(broker: Broker) -> None:
    await broker.submit(request(id="later", delay=0.2, max_retries=1, backoff="100ms"))
    assert (await broker.task("later")).status == "scheduled"
    (lease,) = await claim(broker)
    assert lease.attempt == 1
    assert await broker.report(Report(failed=[Failed("later", lease.token, "no luck")])) == ["failed"]
    task = await broker.task("later")
    assert (task.status, task.error) == ("failed", "no luck")
    (lease,) = await claim(broker)
    assert lease.attempt == 2
    assert await broker.report(Report(failed=[Failed("later", lease.token, "again")])) == ["dead"]
    assert await broker.retry_dead() == 1
    (lease,) = await claim(broker)
    assert (lease.attempt, await broker.report(done(lease))) == (1, ["succeeded"])


async def test_a_lease_that_is_not_kept_alive_is_lost(cluster: TestCluster) -> None:
    broker = cluster.node(1).tasks
    await broker.enlist(Enlist("slow", None, None, (), 1, 1000))
    await broker.submit(request(id="a"))
    (lost,) = await broker.claim(Claim("slow", 1, lease_ms=1000), SOON)
    (lease,) = await claim(cluster.node(2).tasks, "quick")
    assert (lease.task_id, lease.attempt, lease.token > lost.token) == ("a", 2, True)
    assert await broker.heartbeat(Heartbeat("slow", [("a", lost.token)], 1000)) == ["a"]
    assert await broker.report(done(lost, b'"late"')) == ["stale"]
    with pytest.raises(StaleToken):
        await broker.complete_with(Completed("a", lost.token), [])
    assert await broker.report(done(lease)) == ["succeeded"]
    assert await broker.report(done(lease)) == ["succeeded"], "a retry is answered alike"
    assert bytes((await broker.task("a")).result or b"") == b"7"


async def test_tasks_wait_for_those_that_they_depend_on(broker: Broker) -> None:
    batch = [request(id="roof", depends_on=["walls"]), request(id="walls", depends_on=["floor"]), request(id="floor")]
    answers = await broker.submit_many(batch)
    assert [(each.task_id, each.status) for each in answers] == [
        ("roof", "waiting"),
        ("walls", "waiting"),
        ("floor", "ready"),
    ]
    assert (await broker.task("roof")).waits_for == [Dependency("walls", "waiting")]
    page = await broker.tasks(TaskFilter(states=(State.WAITING,)))
    assert [task.waits_for for task in page.tasks] == [[Dependency("walls", "waiting")], [Dependency("floor", "ready")]]
    for expected in ("floor", "walls", "roof"):
        (lease,) = await claim(broker, limit=3)
        assert lease.task_id == expected
        await broker.report(done(lease))
    assert (await broker.task("roof")).waits_for == []


async def test_a_task_that_depended_on_another_in_vain_says_on_which(broker: Broker) -> None:
    await broker.submit_many([request(id="floor"), request(id="walls", depends_on=["floor"])])
    await broker.submit(request(id="roof", depends_on=["walls"]))
    await broker.cancel("floor")
    walls, roof, late = await broker.wait("walls", SOON), await broker.wait("roof", SOON), "late"
    await broker.submit(request(id=late, depends_on=["walls"]))
    assert [(task.status, task.reason, task.error) for task in (walls, roof, await broker.task(late))] == [
        ("dead", "dependency", "it depends on the task floor, which was cancelled"),
        ("dead", "dependency", "it depends on the task walls, which is dead"),
        ("dead", "dependency", "it depends on the task walls, which is dead"),
    ]


async def test_lists_of_workers_and_schedules_are_whole_and_pages_bounded(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await broker.enlist(Enlist(f"w{number}", None, None, ("gpu",), 1))
        await broker.schedule(f"s{number}", "0 * * * *", request())
    assert [worker.worker_id for worker in (await broker.worker_page("w0", 1)).workers] == ["w1"]
    assert ((await broker.worker_page("", 2)).next, (await broker.schedule_page("", 2)).next) == ("w1", "s1")
    assert ((await broker.worker_page("", 3)).next, (await broker.schedule_page("", 3)).next) == (None, None)
    for page_bytes in (PAGE_BYTES_MAX, 7):
        monkeypatch.setattr(reading, "PAGE_BYTES_MAX", page_bytes)
        assert [worker.worker_id for worker in await broker.workers()] == ["w0", "w1", "w2"]
        assert [schedule.name for schedule in await broker.schedules()] == ["s0", "s1", "s2"]
    assert ((await broker.worker_page()).next, (await broker.schedule_page()).next) == ("w0", "s0")


async def test_a_queue_is_removed_however_much_has_ended_in_it(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.tasks.broker.PURGE_TASKS_MAX", 2)
    await broker.submit_many([request(id=f"t{number}", queue="mail") for number in range(4)])
    with pytest.raises(QueueInUse):
        await broker.remove_queue("mail")
    for number in range(4):
        await broker.cancel(f"t{number}")
    assert await broker.remove_queue("mail") == 4
    with pytest.raises(NoSuchQueue):
        await broker.queue("mail")
    assert await broker.queues() == []


async def test_what_is_wrong_with_a_task_of_a_batch_is_told_with_its_position(broker: Broker) -> None:
    await broker.submit(request(id="taken"))
    with pytest.raises(InvalidTask) as found:
        await broker.submit_many([request(), request(delay=-1)])
    assert (found.value.field, found.value.position) == ("delay", 1)
    circle = [request(id="a"), request(id="b", depends_on=["c"]), request(id="c", depends_on=["b"])]
    with pytest.raises(InvalidTask, match="circle"):
        await broker.submit_many(circle)
    with pytest.raises(IdTaken) as taken:
        await broker.submit_many([request(id="x", depends_on=["y"]), request("other", id="taken"), request(id="y")])
    assert taken.value.position == 1
    assert (await broker.stats()).pending == 1, "a batch is all or nothing"


async def test_a_full_queue_takes_no_more(broker: Broker) -> None:
    await broker.configure("small", pending_max=2)
    await broker.submit_many([request(queue="small", id="a"), request(queue="small", id="b")])
    with pytest.raises(QueueFull):
        await broker.submit(request(queue="small"))
    assert (await broker.submit(request(queue="small", id="a"))).duplicate
    await broker.submit(request(queue="other"))
    (lease,) = await broker.claim(Claim("w", 1, ("small",)), SOON)
    await broker.submit(request(queue="small"))
    assert lease.task_id == "a"


async def test_operators_pause_cancel_and_purge(broker: Broker) -> None:
    await broker.submit_many([request(id=f"t{n}") for n in range(5)])
    await broker.configure("default", paused=True)
    assert await claim(broker, wait=0.2) == []
    await broker.cancel("t0")
    with pytest.raises(WrongState):
        await broker.cancel("t0")
    with pytest.raises(NoSuchTask):
        await broker.cancel("nobody")
    await broker.configure("default", paused=False)
    (lease,) = await claim(broker)
    with pytest.raises(WrongState):
        await broker.cancel(lease.task_id)
    await broker.cancel(lease.task_id, force=True)
    assert await broker.report(done(lease)) == ["stale"]
    assert await broker.purge([State.READY, State.SCHEDULED]) == 3
    stats = await broker.stats()
    assert (stats.pending, stats.tasks["cancelled"] <= 5) == (0, True)


async def test_who_waits_gets_what_a_queue_has_when_it_goes_on(broker: Broker) -> None:
    await broker.configure("default", paused=True)
    await broker.submit(request(id="a"))
    claiming = asyncio.ensure_future(claim(broker))
    await asyncio.sleep(0.2)
    await broker.configure("default", paused=False)
    async with asyncio.timeout(SOON / 4):
        (lease,) = await claiming
    assert lease.task_id == "a"


async def test_lists_have_filters_and_pages(broker: Broker) -> None:
    await broker.submit_many([request("odd" if n % 2 else "even", id=f"t{n}") for n in range(10)])
    (lease,) = await broker.claim(Claim("w", 1, types=("odd",)), SOON)
    page = await broker.tasks(TaskFilter(limit=4))
    assert [task.task_id for task in page.tasks] == ["t9", "t8", "t7", "t6"]
    page = await broker.tasks(TaskFilter(limit=100, before=int(page.next or 0)))
    assert ([task.task_id for task in page.tasks], page.next) == ([f"t{n}" for n in range(5, -1, -1)], None)
    page = await broker.tasks(TaskFilter(states=(State.READY,), type="odd"))
    assert [task.task_id for task in page.tasks] == ["t9", "t7", "t5", "t3"]
    page = await broker.tasks(TaskFilter(states=(State.RUNNING, State.DEAD), worker="w"))
    assert [task.task_id for task in page.tasks] == [lease.task_id]
    assert (await broker.tasks(TaskFilter(queue="nowhere"))).tasks == []


async def test_a_worker_that_gives_back_a_task_has_not_tried_it(broker: Broker) -> None:
    await broker.submit(request(id="a", max_retries=0))
    for _ in range(3):
        (lease,) = await claim(broker)
        assert lease.attempt == 1
        assert await broker.report(Report(released=[Released("a", lease.token)])) == ["ready"]


async def test_workers_are_known_as_long_as_they_are_heard_of(broker: Broker) -> None:
    await broker.enlist(Enlist("w1", ("mail",), None, ("gpu",), 4, 1000))
    (worker,) = await broker.workers()
    assert (worker.worker_id, worker.queues, worker.types, worker.capabilities) == ("w1", ["mail"], None, ["gpu"])
    async with asyncio.timeout(SOON):
        while await broker.workers():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await broker.enlist(Enlist("w2", None, None, (), 1))
    await broker.dismiss("w2")
    assert await broker.workers() == []


async def test_a_schedule_submits_one_task_for_each_slot_whoever_leads(cluster: TestCluster) -> None:
    broker = cluster.node(1).tasks
    schedule = await broker.schedule("tick", "* * * * * *", request("tock"))
    assert schedule.next_at > datetime.now(UTC)
    for _ in range(3):
        leader = await cluster.wait_for_leader()
        before = (await broker.stats()).tasks["ready"]
        await leader.transfer_leadership()
        async with asyncio.timeout(SOON):
            while (await broker.stats()).tasks["ready"] <= before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await broker.unschedule("tick")
    ids = [task.task_id for task in (await broker.tasks(TaskFilter(type="tock"))).tasks]
    times = [datetime.fromisoformat(task_id.partition("@")[2]) for task_id in reversed(ids)]
    assert len(set(times)) == len(times)
    assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))], "no slot is left out"


async def test_a_node_whose_state_is_replaced_by_a_snapshot_goes_on_serving(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    behind = next(node for node in cluster.nodes if node is not leader)
    await leader.tasks.submit(request(id="seen"))
    node_id = behind.node_id
    waiting = asyncio.ensure_future(claim_for_ever(behind, 6))
    await cluster.kill(node_id)
    await asyncio.wait([waiting])
    for start in range(0, 3000, 500):
        await leader.tasks.submit_many([request(id=f"t{start + n}", delay="1h") for n in range(500)])
    restarted = await cluster.start(node_id)
    assert (await restarted.tasks.stats()).pending == 3001 - sum(1 for _ in waiting.result())


async def claim_for_ever(node: Node, limit: int) -> list[LeasedTask]:
    try:
        return await claim(node.tasks, limit=limit)
    except Exception:
        return []
