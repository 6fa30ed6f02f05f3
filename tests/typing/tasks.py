"""What type checkers make of tasks: checked by mypy and basedpyright, never run. See ``test_typing``."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

from quorate import App, Node, TaskHandle, TaskRequest
from quorate.tasks.client import TasksClient
from quorate.tasks.worker import Worker

app = App()


@app.task(queue="mail", retries=3, timeout="30s")
async def send_mail(to: str, subject: str = "") -> str:
    return to + subject


@app.task()
def count(numbers: list[int]) -> int:
    return len(numbers)


@app.task
async def bare(delay: float) -> None: ...


@app.task
def bare_and_not_async(number: int) -> list[int]:
    return [number]


async def called() -> None:
    assert_type(await send_mail("a@example.org", subject="hi"), str)
    assert_type(await asyncio.create_task(send_mail("a@example.org")), str)
    assert_type(count([1]), int)
    assert_type(await bare(0.5), None)
    assert_type(bare_and_not_async(1), list[int])


async def sent() -> None:
    handle = await send_mail.send(to="a@example.org", subject="hi")
    assert_type(handle, TaskHandle[str])
    assert_type(await handle.result(), str)
    assert_type(await handle.result(timeout=5), str)
    assert_type((await handle.status()).status, str)
    assert_type(await (await count.send([1])).result(), int)
    assert_type(await bare_and_not_async.send(1), TaskHandle[list[int]])
    assert_type(send_mail.request("a@example.org"), TaskRequest)


async def sent_with_options(before: TaskHandle[int]) -> None:
    later = send_mail.with_options(delay="5s", priority=9, queue="late", depends_on=[before, "other"], retries=1)
    assert_type(await later.send(to="a@example.org", subject="hi"), TaskHandle[str])
    assert_type(later.request("a@example.org"), TaskRequest)
    assert_type(await bare.with_options(delay=60).send(delay=0.5), TaskHandle[None])


async def looked_at(node: Node) -> None:
    task = await node.tasks.task("one")
    assert_type(send_mail.result_of(task), str)
    assert_type(send_mail.arguments_of(task), dict[str, Any])
    assert_type(task.decoded_result(), Any)
    assert_type(task.decoded_payload(), Any)
    assert_type(send_mail.handle("one"), TaskHandle[str])


async def done_here(node: Node) -> None:
    async with node.worker(concurrency=4, queues=["mail"], lease="10s") as worker:
        assert_type(worker, Worker)
    async with TasksClient("localhost:8080", app=app) as tasks, tasks.worker() as worker:
        assert_type(worker, Worker)


async def refused(node: Node) -> None:
    """Each of these has to be an error, to both: one that is none is one, too."""
    await send_mail(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_mail()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await count([1])  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    count(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await send_mail.send(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_mail.send(to="a", delay=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_mail.with_options(delay=60).send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send_mail.with_options(dely=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send_mail.with_options(priority="9")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.task(retires=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.task("mail")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    node.worker(concurency=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
