"""The client beside what a node says of the same, and a worker that is fed by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quorate import App, Model, field
from quorate.config import NodeConfig
from quorate.errors import ConfigError
from quorate.ops.ports import free_ports
from quorate.tasks.broker import Broker
from quorate.tasks.client import OtherRefusal, TasksClient
from quorate.tasks.commands import Claim, Completed, Enlist, Failed, Heartbeat, Released, Report
from quorate.tasks.errors import (
    IdTaken,
    InvalidTask,
    NoSuchQueue,
    NoSuchSchedule,
    NoSuchTask,
    NoSuchWorker,
    NotUnique,
    QueueFull,
    StaleToken,
    TaskRefusal,
    UnknownDependency,
    WrongState,
)
from quorate.tasks.handles import TaskNotDone
from quorate.tasks.lifecycle import State
from quorate.tasks.reading import TaskFilter
from quorate.tasks.submission import TaskRequest
from quorate.tasks.worker import BrokerSource, Effects, Source, Worker, current
from quorate.web.server import NodeServer


class Sale(Model):
    id: int = field(primary_key=True)
    total: int = field(ge=0)


def make_app() -> App:
    app = App(models=[Sale], queues=["spare", "mail"])

    @app.task(retries=0)
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @app.task(exactly_once=True, retries=0)
    async def sell(number: int, total: int) -> None:
        effects = current().effects
        effects.create(Sale(id=number, total=max(total, 0)))
        if total < 0:
            effects.create(Sale, {"id": number + 1000, "total": total})
        effects.key("INCRBY", "sales", 1)

    return app


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NodeServer]:
    (port,) = free_ports(1)
    server = NodeServer(NodeConfig(node_id=1, port=port, data_dir=tmp_path / "node"), make_app())
    await server.start()
    try:
        await server.node.wait_for_leader()
        yield server
    finally:
        await server.stop()


@pytest.fixture
def broker(server: NodeServer) -> Broker:
    return server.broker


@pytest.fixture
async def tasks(server: NodeServer) -> AsyncIterator[TasksClient]:
    async with TasksClient(server.config.address, patience=5) as tasks:
        yield tasks


def a_request(a: int = 1, **more: Any) -> TaskRequest:
    return TaskRequest(type="add", payload=msgspec.Raw(msgspec.json.encode({"a": a})), **more)


async def test_what_it_reads_is_what_the_node_has(tasks: TasksClient, broker: Broker) -> None:
    first = await tasks.submit(a_request(id="one", priority=7, timeout=timedelta(seconds=3), delay="1h"))
    assert (first.task_id, first.status, first.duplicate) == ("one", "scheduled", False)
    second, third = await tasks.submit_many([a_request(), a_request(depends_on=["one"])])
    assert (second.status, third.status) == ("ready", "waiting")
    record = await tasks.task("one")
    assert record == await broker.task("one")
    assert (record.timeout_ms, record.priority, record.result) == (3000, 7, None)
    assert await tasks.wait("one", 0) == record
    page = await tasks.tasks(states=[State.SCHEDULED, State.WAITING], limit=1)
    assert [task.task_id for task in page.tasks] == [third.task_id]
    page = await tasks.tasks(states=[State.SCHEDULED, State.WAITING], limit=1, after=page.next)
    assert [task.task_id for task in page.tasks] == ["one"]
    assert page.tasks == (await broker.tasks(TaskFilter(states=(State.SCHEDULED,)))).tasks
    assert await tasks.stats() == await broker.stats()
    assert await tasks.queues() == await broker.queues()
    again = await tasks.submit(a_request(id="one", priority=7, timeout=3, delay="1h"))
    assert (again.task_id, again.status) == ("one", "scheduled")


async def test_what_operators_do(tasks: TasksClient, broker: Broker) -> None:
    await tasks.submit(a_request(id="one"))
    await tasks.cancel("one")
    assert (await broker.task("one")).status == "cancelled"
    await tasks.retry("one")
    assert (await broker.task("one")).status == "ready"
    queue = await tasks.configure("default", paused=True, pending_max=1)
    assert (queue.paused, queue.pending_max) == (True, 1)
    assert await tasks.purge("default") == 1
    await tasks.remove_queue("default")
    assert await tasks.queues() == []
    schedule = await tasks.schedule("nightly", "0 3 * * *", a_request(), timezone="Europe/Paris")
    assert [schedule] == await tasks.schedules() == await broker.schedules()
    await tasks.unschedule("nightly")
    assert await tasks.schedules() == []
    assert (await tasks.retry_dead(), await tasks.purge_dead()) == (0, 0)


async def test_lists_are_asked_for_page_by_page(tasks: TasksClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.tasks.client.tasks_client.LIMIT_MAX", 1)
    for name in ("ann", "bob", "cy@ +"):
        await tasks.schedule(name.replace(" ", ""), "0 3 * * *", a_request())
    for name in ("ann", "bob", "cy"):
        await tasks.enlist(Enlist(name, None, None, (), 1))
    assert [schedule.name for schedule in await tasks.schedules()] == ["ann", "bob", "cy@+"]
    assert [worker.worker_id for worker in await tasks.workers()] == ["ann", "bob", "cy"]


async def test_what_workers_do(tasks: TasksClient, broker: Broker) -> None:
    source: Source = tasks
    await source.enlist(Enlist("w", ("default",), ("add",), ("gpu",), 4, 5_000))
    (worker,) = await tasks.workers()
    assert [worker] == await broker.workers()
    assert (worker.worker_id, worker.queues, worker.types, worker.capabilities) == ("w", ["default"], ["add"], ["gpu"])
    assert await source.claim(Claim("w", 1), 0) == []
    ids = [each.task_id for each in await tasks.submit_many([a_request(max_retries=0) for _ in range(4)])]
    leases = await source.claim(Claim("w", 10, None, ("add",), ("gpu",), 5_000), 10)
    assert [lease.task_id for lease in leases] == ids
    held = [(lease.task_id, lease.token) for lease in leases]
    assert await source.heartbeat(Heartbeat("w", [*held, ("nobody", 3)], 5_000)) == ["nobody"]
    report = Report(
        [Completed(*held[0], b'{"x":[1,null]}'), Completed(ids[1], 99)],
        [Failed(*held[2], "no", False)],
        [Released(*held[3])],
    )
    assert await source.report(report) == ["succeeded", "stale", "dead", "ready"]
    assert bytes((await tasks.task(ids[0])).result or b"") == b'{"x":[1,null]}'
    assert (await tasks.task(ids[2])).error == "no"
    await source.complete_with(Completed(*held[1]), EFFECTS)
    await source.complete_with(Completed(*held[1]), EFFECTS)  # its answer was lost
    assert bytes((await tasks.task(ids[1])).result or b"") == b"null"
    assert await tasks.retry_dead("default") == 1
    await source.dismiss("w")
    assert await tasks.workers() == []


EFFECTS = Effects(keys=[["SET", "x", "1"]])
Call = Callable[[TasksClient], Awaitable[object]]


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda tasks: tasks.task("nobody"), NoSuchTask("nobody")),
        (lambda tasks: tasks.task("no/body?x"), NoSuchTask("no/body?x")),
        (lambda tasks: tasks.cancel("nobody"), NoSuchTask("nobody")),
        (lambda tasks: tasks.unschedule("nobody"), NoSuchSchedule("nobody")),
        (lambda tasks: tasks.remove_queue("nobody"), NoSuchQueue("nobody")),
        (lambda tasks: tasks.heartbeat(Heartbeat("nobody", [])), NoSuchWorker("nobody")),
        (lambda tasks: tasks.submit(a_request(2, id="one")), IdTaken("one")),
        (lambda tasks: tasks.submit(a_request(unique_key="k")), NotUnique("k", "one")),
        (lambda tasks: tasks.submit_many([a_request(), a_request(unique_key="k")]), NotUnique("k", "one", 1)),
        (lambda tasks: tasks.submit(a_request(depends_on=["nobody"])), UnknownDependency("nobody")),
        (lambda tasks: tasks.retry("one"), WrongState("one", "ready", "retry")),
        (lambda tasks: tasks.submit(a_request(queue="full")), InvalidTask),
        (lambda tasks: tasks.submit(a_request(priority=256)), InvalidTask),
        (lambda tasks: tasks.submit_many([a_request(), a_request(delay=-1)]), InvalidTask),
        (lambda tasks: tasks.complete_with(Completed("one", 1), EFFECTS), StaleToken("one", 1)),
        (lambda tasks: tasks.submit(a_request(queue="spare")), QueueFull("spare", 1)),
        (lambda tasks: tasks.task(""), TaskRefusal),
    ],
)  # fmt: skip
async def test_refusals_are_the_same_as_in_the_node(
    tasks: TasksClient, call: Call, refusal: TaskRefusal | type[TaskRefusal]
) -> None:
    await tasks.submit(a_request(id="one", unique_key="k"))
    await tasks.configure("spare", pending_max=1)
    await tasks.submit(a_request(queue="spare"))
    tasks._nodes._patience = 0.5
    with pytest.raises(TaskRefusal) as caught:
        await call(tasks)
    if isinstance(refusal, type):
        assert type(caught.value) is refusal
    else:
        assert type(caught.value) is type(refusal)
        assert (caught.value.args, caught.value.retry_after) == (refusal.args, refusal.retry_after)


@pytest.mark.parametrize(
    ("effects", "refusal"),
    [
        (Effects(keys=[["INCRBY", "x", "1"]]), OtherRefusal),
        (Effects(keys=[["GET", "x"]]), InvalidTask),
        (Effects(keys=[["NOSUCH", "x"]]), InvalidTask),
        (Effects(models=[{"op": "delete", "resource": "sales", "id": 7}]), OtherRefusal),
        (Effects(models=[{"op": "delete", "resource": "nothing", "id": 7}]), OtherRefusal),
    ],
)
async def test_effects_that_are_refused_leave_the_lease(
    tasks: TasksClient, effects: Effects, refusal: type[TaskRefusal]
) -> None:
    await tasks.submit_many([a_request(), a_request()])
    first, second = await tasks.claim(Claim("w", 2), 10)
    await tasks.complete_with(Completed(first.task_id, first.token), Effects(keys=[["SET", "x", "text"]]))
    with pytest.raises(TaskRefusal) as caught:
        await tasks.complete_with(Completed(second.task_id, second.token), effects)
    assert type(caught.value) is refusal
    assert (await tasks.task(second.task_id)).status == "running"


async def test_programs_send_through_it_and_workers_do_it(server: NodeServer, tasks: TasksClient) -> None:
    app = make_app()
    add, sell = app.tasks.types["add"], app.tasks.types["sell"]
    with pytest.raises(ConfigError, match="no cluster is known"):
        await add.send(a=1)
    async with TasksClient(server.config.address, app=app) as client, client.worker(concurrency=2):
        handles = [await add.send(a=number, b=2) for number in range(20)]
        assert [await handle.result(timeout=20) for handle in handles] == [number + 2 for number in range(20)]
        assert (await (await sell.send(number=1, total=5)).status()).exactly_once
        good = await sell.send(number=2, total=7)
        assert await good.result(timeout=20) is None
        wrong = await sell.send(number=3, total=-1)
        with pytest.raises(TaskNotDone, match="its effects were refused"):
            await wrong.result(timeout=20)
    with pytest.raises(ConfigError, match="no cluster is known"):
        await add.send(a=1)


async def test_of_several_clients_one_is_chosen(server: NodeServer, tasks: TasksClient) -> None:
    app = make_app()
    add = app.tasks.types["add"]
    async with TasksClient(server.config.address, app=app) as first, TasksClient(server.config.address, app=app):
        with pytest.raises(ConfigError, match="several clusters or nodes"):
            await add.send(a=1)
        with first.using():
            handle = await add.send(a=1)
        assert (await handle.status()).status == "ready"
    with pytest.raises(ConfigError, match="without an app"), tasks.using():
        pass
    with pytest.raises(ConfigError, match="without an app"):
        tasks.worker()


async def test_a_worker_in_the_process_of_a_node(server: NodeServer) -> None:
    app = make_app()
    source: Source = BrokerSource(server.broker)
    worker = Worker(app.tasks, source)
    running = asyncio.create_task(worker.run())
    with app.tasks.gateways.chosen(server.broker):
        handles = [await app.tasks.types["add"].send(a=number) for number in range(50)]
        refused = await app.tasks.types["sell"].send(number=1, total=1)
        assert [await handle.result(timeout=20) for handle in handles] == [number + 1 for number in range(50)]
        with pytest.raises(TaskNotDone, match="neither models nor keys"):
            await refused.result(timeout=20)
    worker.stop()
    assert await running is True
