"""Workers in the process of a node, as programs have them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from quorate import App, Model, TaskNotDone, field
from quorate.errors import ConfigError
from quorate.tasks.errors import TooMany
from quorate.tasks.worker import current
from quorate.testing import TestCluster


class Sale(Model):
    id: int = field(primary_key=True)
    total: int = field(ge=0)


async def test_a_node_does_tasks_of_its_app_with_effects_on_its_models_and_keys() -> None:
    app = App(models=[Sale])
    begun, may_end = asyncio.Event(), asyncio.Event()

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task(exactly_once=True, retries=0)
    async def sell(number: int, total: int) -> int:
        current().effects.create(Sale, {"id": number, "total": total})
        current().effects.key("INCRBY", "total", total)
        return await (await double.send(total)).result(timeout=20)

    @app.task
    async def slow() -> str:
        begun.set()
        await may_end.wait()
        return "ended"

    async with TestCluster(3, app=app, kv=True) as cluster:
        leader = await cluster.wait_for_leader()
        one = next(node for node in cluster.nodes if node is not leader)
        async with one.worker(concurrency=6, name="here", queues=["default"], drain_seconds=20) as worker:
            with one.using():
                sold = [await sell.send(number, 10 * number) for number in range(1, 4)]
                assert [await each.result(timeout=20) for each in sold] == [20, 40, 60]
                assert {worker.name} == {(await each.status()).worker for each in sold}
                wrong = await sell.send(9, -1)
                with pytest.raises(TaskNotDone, match="its effects were refused"):
                    await wrong.result(timeout=20)
                last = await slow.send()
            await begun.wait()
            asyncio.get_running_loop().call_soon(may_end.set)
        with one.using():
            assert await slow.handle(last.task_id).result(timeout=0) == "ended", "what was begun is done"
            assert [(sale.id, sale.total) for sale in await Sale.filter().order_by("id")] == [(1, 10), (2, 20), (3, 30)]
        assert await one.kv.get("total") == b"60"
        assert await one.tasks.workers() == []


async def test_a_worker_that_is_not_wanted_says_so_at_once_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.task
    async def nothing() -> None: ...

    async with TestCluster(1, app=app) as cluster:
        node = await cluster.wait_for_leader()

        async def refuse(worker: object) -> None:
            raise TooMany("workers", 10_000)

        node.tasks.enlist = refuse  # type: ignore[method-assign]

        async def use() -> None:
            async with node.worker(name="w"):
                while not caplog.messages:  # noqa: ASYNC110 - nothing tells when it is logged
                    await asyncio.sleep(0.001)

        with caplog.at_level(logging.ERROR), pytest.raises(TooMany):
            await use()
    assert caplog.messages == [f"worker w does nothing any more: {TooMany('workers', 10_000)}"]


async def test_a_node_that_knows_no_tasks_has_no_worker() -> None:
    async with TestCluster(1, tasks=True) as cluster:
        node = await cluster.wait_for_leader()
        with pytest.raises(ConfigError, match="app that declares some"):
            node.worker()
    async with TestCluster(1, app=App(), tasks=True) as cluster:
        node = await cluster.wait_for_leader()
        with pytest.raises(ConfigError, match="declares no tasks"):
            async with node.worker():
                pass
